"""What a shared PostgreSQL and a host are asked for: by writers at once, by a pass over new leads, by a
first sync, by a run with nothing to do, beside the same passes on the file of one host; and by a
worker's looks for whose turn it is.

The server keeps what it says it has written (``fsync``), on this machine's disk.
"""

from __future__ import annotations

import multiprocessing
import os
import statistics
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from multiprocessing.connection import Connection as Line
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import psycopg

from stcli.database_address import driver_address
from stcli.domain.connection import Connection
from stcli.domain.connection import State as ConnectionState
from stcli.domain.ids import BookingId, CampaignName, RfCampaignId, RunId, UserId
from stcli.store.engine import Lease
from stcli.store.ledger import Booked, Intent, LedgerScope
from stcli.store.locks import Locks, Process
from stcli.store.places import FilePlace, Place, ServerPlace
from stcli.store.state import State
from stcli.wiring import Application
from stcli.worker.working import Intervals
from tests.benchmarks.measuring import EVERY_PASS, Bench, Ran, Spread, ratios, unlimited
from tests.postgres_server import fresh_database, running_server

WRITERS = (1, 2, 4, 8, 16)
WRITE_SECONDS = 5.0
LEADS = 1_000
CUSTOMERS = 10_000
TURNS = 5
CAMPAIGNS = 500


def run() -> str:
    with running_server(durable=True) as server:
        return "\n\n".join((_writers(server), _passes(server), _ticks(server)))


# Writers at once


def _writers(server: str) -> str:
    """Bookings that are intended and settled, each in a transaction of its own under a lease."""
    rows = [
        "| writers | kept in | transactions a second | a transaction (median) | the longest |",
        "|---|---|---|---|---|",
    ]
    with TemporaryDirectory(prefix="stcli-bench-") as folder:
        for number in WRITERS:
            backups = Path(folder, "backups")
            places = {
                "PostgreSQL": ServerPlace(
                    fresh_database(server, f"writers_{number}"), backups, _never
                ),
                "SQLite": FilePlace(Path(folder, f"{number}.db"), backups, _never),
            }
            for engine, place in places.items():
                took = _written(place, number)
                rows.append(
                    f"| {number} | {engine} | {len(took) / WRITE_SECONDS:,.0f} "
                    f"| {statistics.median(took) * 1000:.1f} ms | {max(took) * 1000:,.0f} ms |"
                )
    return "\n".join(rows)


def _never() -> None:
    """Nobody asks for a stop."""


def _written(place: Place, writers: int) -> list[float]:
    """The seconds of each transaction that so many processes made in ``WRITE_SECONDS``."""
    place.open().close()  # its tables are made once
    context = multiprocessing.get_context("spawn")
    lines: list[Line] = []
    processes = []
    for number in range(writers):
        here, there = context.Pipe()
        processes.append(context.Process(target=_write, args=(place, number, there), daemon=True))
        processes[-1].start()
        lines.append(here)
    for line in lines:
        line.recv()  # it is ready
    for line in lines:
        line.send(True)
    took = [seconds for line in lines for seconds in line.recv()]
    for process in processes:
        process.join()
    return took


def _write(place: Place, number: int, line: Line) -> None:
    state = place.open()
    campaign = CampaignName(f"campaign-{number}")
    scope = LedgerScope(campaign, "leads", "production/1", RfCampaignId(number))
    me = Process("bench", os.getpid(), str(number))
    locks = Locks(state.database, me, lambda _: True, lambda: datetime.now(UTC))
    took: list[float] = []
    with locks.hold(campaign, "leads") as held:
        line.send(True)
        line.recv()
        end = time.monotonic() + WRITE_SECONDS
        user = number * 10**6
        while time.monotonic() < end:
            user += 1
            took += _one_booking(state, held.lease, scope, UserId(user))
    state.close()
    line.send(took)


def _one_booking(
    state: State, lease: Lease, scope: LedgerScope, person: UserId
) -> tuple[float, float]:
    """The seconds of both of its transactions."""
    now, run_id, code = datetime.now(UTC), RunId("run"), f"code-{person}"
    began = time.monotonic()
    state.ledger.intend(lease, scope, [Intent(person, code, code, "draft")], run_id, now)
    between = time.monotonic()
    made = Booked(person, code, code, BookingId(person), now, found=False)
    state.ledger.settle(lease, scope, [made], run_id, now)
    return between - began, time.monotonic() - between


# Passes


@dataclass(frozen=True, slots=True)
class Cost:
    """A command, and what it came to on the server: transactions, processor seconds, bytes."""

    ran: Ran
    transactions: int = 0
    server_cpu: float = 0.0
    grown: int = 0


@dataclass
class Server:
    """A database as the server itself accounts for it."""

    address: str

    def commits(self) -> int:
        return int(self._asked("SELECT xact_commit FROM pg_stat_database WHERE datname = %s"))

    def size(self) -> int:
        return int(self._asked("SELECT pg_database_size(%s)"))

    def cpu(self) -> float:
        """Processor seconds of every process of the server that has ended."""
        folder = self._asked("SELECT setting FROM pg_settings WHERE name = 'data_directory'", False)
        pid = Path(folder, "postmaster.pid").read_text(encoding="ascii").split()[0]
        fields = Path(f"/proc/{pid}/stat").read_text(encoding="ascii").rpartition(")")[2].split()
        return (int(fields[13]) + int(fields[14])) / os.sysconf("SC_CLK_TCK")

    def _asked(self, statement: str, named: bool = True) -> Any:
        address = driver_address(self.address)
        with psycopg.connect(address, autocommit=True) as sql:
            values = (address.rpartition("/")[2],) if named else ()
            return sql.execute(statement, values).fetchone()[0]  # type: ignore[index]


def _cost(at: Bench, server: Server | None, *words: str) -> Cost:
    if server is None:
        return Cost(at.stcli(*words, "--json"))
    commits, cpu, size = server.commits(), server.cpu(), server.size()
    ran = at.stcli(*words, "--json")
    time.sleep(1.5)  # what a connection did is accounted for after it has ended
    return Cost(ran, server.commits() - commits, server.cpu() - cpu, server.size() - size)


@contextmanager
def _campaign(database: str | None) -> Iterator[Bench]:
    variables = {} if database is None else {"STCLI_DATABASE_URL": database}
    with unlimited(customers=CUSTOMERS, leads=LEADS, **variables) as at:
        at.connect("spring-hvac", EVERY_PASS)
        at.stcli("map", "validate", "spring-hvac", "--accept")
        yield at


HEADERS = (
    "work", "on SQLite", "on PostgreSQL", "to SQLite", "processor of the host", "of the server",
    "transactions", "bytes", "RF requests", "ST requests",
)  # fmt: skip


def _passes(server: str) -> str:
    database = fresh_database(server, "passes")
    shared = Server(database)
    with _campaign(None) as alone, _campaign(database) as many:
        firsts = [
            (f"{LEADS:,} new leads", _pair(alone, many, shared, "leads", "run")),
            (f"first sync, {CUSTOMERS:,} customers", _pair(alone, many, shared, "sync", "run")),
        ]
        _pair(alone, many, shared, "run")
        idle = [_pair(alone, many, shared, "run") for _ in range(TURNS)]
    rows = [
        f"| {' | '.join(HEADERS)} |",
        "|---" * len(HEADERS) + "|",
    ]
    rows.extend(_row(name, [pair]) for name, pair in firsts)
    rows.append(_row("all passes, nothing to do", idle))
    return "\n".join(rows)


def _pair(alone: Bench, many: Bench, shared: Server, *words: str) -> tuple[Cost, Cost]:
    return _cost(alone, None, *words), _cost(many, shared, *words)


def _row(name: str, pairs: list[tuple[Cost, Cost]]) -> str:
    on_file = Spread(tuple(one.ran.seconds for one, _ in pairs))
    on_server = Spread(tuple(other.ran.seconds for _, other in pairs))
    others = [other for _, other in pairs]
    asked = [_requests(other.ran.document) for other in others]
    cells = (
        name,
        f"{on_file} s",
        f"{on_server} s",
        str(ratios(on_server.values, on_file.values)),
        f"{Spread(tuple(other.ran.cpu_seconds for other in others))} s",
        f"{Spread(tuple(other.server_cpu for other in others))} s",
        f"{statistics.median(other.transactions for other in others):,.0f}",
        f"{statistics.median(other.grown for other in others):,.0f}",
        f"{statistics.median(rf for rf, _ in asked):,.0f}",
        f"{statistics.median(st for _, st in asked):,.0f}",
    )
    return f"| {' | '.join(cells)} |"


def _requests(document: Any) -> tuple[int, int]:
    """Of one pass, or of every pass of a run."""
    passes = document.get("passes", [document])
    return (
        sum(one["requests"]["referral_factory"] for one in passes),
        sum(one["requests"]["servicetitan"] for one in passes),
    )


# Ticks


def _ticks(server: str) -> str:
    """The processor seconds of looks over many campaigns whose turn it is not."""
    with TemporaryDirectory(prefix="stcli-bench-") as home:
        app = Application(
            {"STCLI_HOME": home, "STCLI_DATABASE_URL": fresh_database(server, "ticks")}
        )
        folder = Path(home, "campaigns")
        folder.mkdir()
        for number in range(CAMPAIGNS):
            name = CampaignName(f"campaign-{number}")
            text = f"version: 1\nreferral_campaign: {name}\nservicetitan: {{tenant_id: 1}}\n{EVERY_PASS}"
            (folder / f"{name}.yaml").write_text(text, encoding="utf-8")
            connection = Connection(name, ConnectionState.CONNECTED)
            app.state.connections.save(
                connection,
                step="finalize",
                before=ConnectionState.CONNECTED,
                actor="bench",
                note="",
                now=app.now(),
            )
            app.state.turns.took(name, app.now())
        intervals = Intervals(app)
        took = []
        for _ in range(TURNS + 1):
            began = time.process_time()
            assert intervals.due() == []
            took.append(time.process_time() - began)
        app.state.close()
    return (
        f"A worker's look whose turn it is, {CAMPAIGNS} campaigns: {took[0]:.2f} s of the processor the "
        f"first time, then {Spread(tuple(took[1:]))} s."
    )
