"""What a shared PostgreSQL costs and carries: beside SQLite, and by itself.

The server is this machine's, started for it with its files flushed as they are in earnest.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import psycopg

from stcli.database_address import driver_address
from stcli.sandbox.settings import SandboxSettings
from stcli.store.engine import Database
from stcli.store.places import FilePlace, Place, ServerPlace
from tests.benchmarks.measuring import Bench, bench
from tests.integration.conftest import FIELDS
from tests.postgres_server import fresh_database, running_server

SECONDS = 3.0
LEADS, CUSTOMERS = 3000, 20_000
WORDS = f"""\
leads:
  action: create_booking
  fields:
{FIELDS}
"""
SYNC = """\
leads:
  action: nothing
sync:
  type: ongoing
  fields:
    first_name: {type: dynamic, from: name, transform: [first_name]}
    email:      {type: dynamic, from: email}
"""
UNLIMITED = {"STCLI_RF_RATE_PER_MINUTE": "900000", "STCLI_ST_RATE_PER_SECOND": "15000"}


def run() -> str:
    with running_server(durable=True) as server:
        return "\n\n".join([_writers(server), _passes(server)])


def _writers(server: str) -> str:
    """How many transactions that write a second, all of them one after the other."""
    lines = ["| writers at once | SQLite, a second | PostgreSQL, a second |", "|---|---|---|"]
    for number in (1, 4, 16):
        with TemporaryDirectory(prefix="stcli-bench-") as folder:
            there = FilePlace(Path(folder, "stcli.db"), Path(folder), lambda: None)
            url = fresh_database(server, f"writers_{number}")
            here = ServerPlace(url, Path(folder), lambda: None)
            lines.append(f"| {number} | {_rate(there, number):.0f} | {_rate(here, number):.0f} |")
    return "\n".join(lines)


def _rate(place: Place, writers: int) -> float:
    place.database().close()
    counts = [0] * writers
    end = time.monotonic() + SECONDS

    def write(number: int, database: Database) -> None:
        while time.monotonic() < end:
            with database.write() as sql:
                sql.execute(
                    "INSERT INTO worker_turns VALUES (?, ?) ON CONFLICT (campaign) DO UPDATE SET "
                    "deferred_at = excluded.deferred_at",
                    (str(number), str(counts[number])),
                )
            counts[number] += 1

    databases = [place.database() for _ in range(writers)]
    threads = [
        threading.Thread(target=write, args=pair)
        for pair in zip(range(writers), databases, strict=True)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    for database in databases:
        database.close()
    return sum(counts) / SECONDS


@dataclass(frozen=True, slots=True)
class Cost:
    """Of one pass: seconds by the clock and on the processor, transactions of the server, and by how
    many bytes the database grew."""

    seconds: float
    cpu_seconds: float
    transactions: int
    grown: int


def _passes(server: str) -> str:
    lines = [
        (
            "| pass, without limits | SQLite, s | PostgreSQL, s | of the processor | transactions | "
            "bytes grown |"
        ),
        "|---|---|---|---|---|---|",
    ]
    for name, words, size in (
        (f"leads: {LEADS:,} bookings", WORDS, {"leads": LEADS, "customers": 2}),
        (f"sync: {CUSTOMERS:,} customers", SYNC, {"leads": 2, "customers": CUSTOMERS}),
    ):
        command = ("leads" if "bookings" in name else "sync", "run", "campaign-1")
        first, again = _both(server, words, size, command)
        for title, (file, shared) in ((name, first), (f"{name}; nothing new", again)):
            lines.append(
                f"| {title} | {file.seconds:.1f} | {shared.seconds:.1f} | "
                f"{file.cpu_seconds:.1f}, {shared.cpu_seconds:.1f} | {shared.transactions:,} | "
                f"{shared.grown:,} |"
            )
    return "\n".join(lines)


def _both(
    server: str, words: str, size: dict[str, Any], command: tuple[str, ...]
) -> tuple[tuple[Cost, Cost], tuple[Cost, Cost]]:
    """A first pass and one with nothing new, each with SQLite and with PostgreSQL."""
    costs = []
    for database in (None, fresh_database(server, f"passes_{command[0]}")):
        settings = SandboxSettings(
            **size, more_campaigns=1, feed_page_size=5000, feed_lag_seconds=0.0,
            st_requests_per_window=10**9, rf_requests_per_window=10**9,
            token_requests_per_window=10**6, request_log_size=1,
        )  # fmt: skip
        variables = UNLIMITED | ({} if database is None else {"STCLI_DATABASE_URL": database})
        with bench(settings, **variables) as at:
            at.connect("campaign-1", words, "--referral-campaign", "campaign-1")
            if database is not None:
                at.stcli("map", "validate", "campaign-1", "--accept")
            costs.append([_cost(at, database, command) for _ in range(2)])
    (file, file_again), (shared, shared_again) = costs
    return (file, shared), (file_again, shared_again)


def _cost(at: Bench, database: str | None, command: tuple[str, ...]) -> Cost:
    before = _seen(database)
    ran = at.stcli(*command)
    after = _seen(database)
    return Cost(ran.seconds, ran.cpu_seconds, after[0] - before[0], after[1] - before[1])


def _seen(database: str | None) -> tuple[int, int]:
    """Transactions that the server has committed in this database, and its size."""
    if database is None:
        return 0, 0
    with _asked(database) as sql:
        sql.execute("SELECT pg_stat_force_next_flush()")
        row = sql.execute(
            "SELECT xact_commit, pg_database_size(current_database()) FROM pg_stat_database "
            "WHERE datname = current_database()"
        ).fetchone()
    return int(row[0]), int(row[1])


@contextmanager
def _asked(database: str) -> Iterator[Any]:
    with closing(psycopg.connect(driver_address(database), autocommit=True)) as sql:
        yield sql
