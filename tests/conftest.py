"""Every test is alone: a home of its own, no secrets of the machine, no network but loopback."""

from __future__ import annotations

import os
import signal
import socket
from collections.abc import Callable, Iterator
from itertools import islice
from pathlib import Path
from typing import Any

import hypothesis
import keyring
import keyring.backend
import keyring.errors
import pytest

# A gate gives the same answer twice; new examples are searched where somebody asks for many.
hypothesis.settings.register_profile("fixed", derandomize=True, deadline=None, database=None)
if not os.environ.get("STCLI_TEST_EXAMPLES"):
    hypothesis.settings.load_profile("fixed")


def pytest_xdist_auto_num_workers() -> int:
    """Many tests wait for a server, a process or a clock, so there is work for three times the cores."""
    return (os.cpu_count() or 1) * 3


def pytest_configure() -> None:
    """Shells start what they put into the background deaf to Ctrl-C, and children inherit that."""
    if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
        signal.signal(signal.SIGINT, signal.default_int_handler)


def made_once(
    tmp_path_factory: pytest.TempPathFactory, name: str, make: Callable[[Path], None]
) -> Path:
    """A folder that the first worker which asks for it makes for all."""
    import fcntl  # not everywhere, and few tests need it

    own = tmp_path_factory.getbasetemp()
    folder = (own.parent if "PYTEST_XDIST_WORKER" in os.environ else own) / name
    with folder.with_suffix(".lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not (done := folder / "made").exists():
            folder.mkdir()
            make(folder)
            done.touch()
    return folder


LONG = frozenset(
    "test_chaos test_exactly_once test_image test_installed test_scheduled test_sync_at_size "
    "test_sync_stops test_tutorial".split()
)
"""Files whose tests take longest."""


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Each worker begins with its share of the long tests, so that the last ones to end are short.
    pytest-xdist hands the workers equal parts of the list, one after the other."""
    workers = int(os.environ.get("PYTEST_XDIST_WORKER_COUNT", "1"))
    long = [item for item in items if item.path.stem in LONG]
    short = iter([item for item in items if item.path.stem not in LONG])
    size, rest = divmod(len(items), workers)
    ordered: list[pytest.Item] = []
    for worker in range(workers):
        own = long[worker::workers]
        ordered += [*own, *islice(short, max(size + (worker < rest) - len(own), 0))]
    items[:] = [*ordered, *short]


class MemoryKeyring(keyring.backend.KeyringBackend):
    """A real backend of the keyring library that keeps its entries in memory."""

    priority = 1  # type: ignore[assignment] # the library reads a number here

    def __init__(self) -> None:
        super().__init__()
        self.entries: dict[tuple[str, str], str] = {}

    def get_password(self, service: str, username: str) -> str | None:
        return self.entries.get((service, username))

    def set_password(self, service: str, username: str, password: str) -> None:
        self.entries[service, username] = password

    def delete_password(self, service: str, username: str) -> None:
        if self.entries.pop((service, username), None) is None:
            raise keyring.errors.PasswordDeleteError(username)


@pytest.fixture(autouse=True)
def isolated(
    tmp_path: Path, tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch
) -> Iterator[MemoryKeyring]:
    """No variable, home, keyring or address of this machine reaches a test."""
    for name in list(os.environ):
        if name.startswith("STCLI_") or name in ("CREDENTIALS_DIRECTORY", "EDITOR", "VISUAL"):
            monkeypatch.delenv(name)
    home = tmp_path_factory.mktemp("user")
    for name, folder in (
        ("HOME", home),
        ("XDG_CONFIG_HOME", home / "config"),
        ("XDG_STATE_HOME", home / "state"),
        ("XDG_DATA_HOME", home / "data"),
        ("XDG_CACHE_HOME", home / "cache"),
    ):
        monkeypatch.setenv(name, str(folder))
    monkeypatch.setenv("STCLI_HOME", str(tmp_path / "home"))
    memory = MemoryKeyring()
    before = keyring.get_keyring()
    keyring.set_keyring(memory)
    yield memory
    keyring.set_keyring(before)


@pytest.fixture(autouse=True)
def only_loopback(monkeypatch: pytest.MonkeyPatch) -> None:
    """A connection to anywhere else fails the test that makes it."""
    connect = socket.socket.connect

    def checked(self: socket.socket, address: Any) -> None:
        if isinstance(address, tuple) and address[0] not in ("127.0.0.1", "::1", "localhost"):
            raise AssertionError(f"a test tried to reach {address[0]}")
        connect(self, address)

    monkeypatch.setattr(socket.socket, "connect", checked)


@pytest.fixture(scope="session")
def postgres_server() -> Iterator[str]:
    """The address of a PostgreSQL with a database ``made`` that has all tables."""
    from stcli.store.migrations import migrate
    from stcli.store.postgres import open_postgres
    from tests.postgres_server import fresh_database, running_server

    with running_server() as address:
        database = open_postgres(fresh_database(address, "made"))
        migrate(database, version="1.0.0")
        database.close()
        yield address


@pytest.fixture
def postgres(postgres_server: str) -> str:
    """What STCLI_DATABASE_URL is to say: a state with all its tables and nothing in them."""
    from tests.postgres_server import emptied, stcli_address

    where = f"{postgres_server}/made"
    emptied(where)
    return stcli_address(where)
