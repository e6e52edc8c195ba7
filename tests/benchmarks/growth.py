"""What a sync and a qualify pass cost: a first one, one with nothing new, one with a thousand changes;
by the number of customers and of open bookings."""

from __future__ import annotations

import sqlite3
import sys
from collections.abc import Sequence
from contextlib import closing
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path

from tests.benchmarks.measuring import EVERY_PASS, Bench, Ran, Spread, ratios, unlimited
from tests.benchmarks.plot import log_plot

SIZES = (1_000, 10_000, 100_000, 1_000_000)
CHANGES = 1_000
PLOT = Path(__file__).parents[2] / "docs" / "growth.svg"
TURNS = 5


@dataclass(frozen=True, slots=True)
class Cost:
    """What one size came to: seconds of first passes, of several looks and of as many passes with
    nothing new, of a pass with a thousand changes."""

    customers: int
    bookings: int
    first_sync: Ran
    first_qualify: Ran
    status: Spread
    idle_sync: Spread
    idle_qualify: Spread
    idle_run: Spread
    idle_requests: int
    changed: Ran

    @property
    def apart(self) -> Spread:
        """Both passes with nothing new, each a process, to the ``stcli status`` of the same turn."""
        both = [a + b for a, b in zip(self.idle_sync.values, self.idle_qualify.values, strict=True)]
        return ratios(both, self.status.values)

    @property
    def together(self) -> Spread:
        """All passes with nothing new in one process, as a scheduler calls them, to the same."""
        return ratios(self.idle_run.values, self.status.values)


def measure(customers: int) -> Cost:
    bookings = customers // 10
    with unlimited(customers=customers, leads=2) as at:
        at.connect("spring-hvac", EVERY_PASS)
        at.stcli("leads", "run")
        first_sync = at.stcli("sync", "run", "--json")
        _open_bookings(at, bookings)
        first_qualify = at.stcli("qualify", "run", "--json")
        assert not _done(at.stcli("sync", "run", "--json"))
        status, syncs, qualifies, all_passes = [], [], [], []
        for _ in range(TURNS):
            status.append(at.stcli("status"))
            syncs.append(at.stcli("sync", "run", "--json"))
            qualifies.append(at.stcli("qualify", "run", "--json"))
            all_passes.append(at.stcli("run", "--json"))
        idle = syncs[-1].document, qualifies[-1].document
        for ran in (*syncs, *qualifies, *all_passes):
            assert not _done(ran), ran.out
        at.ask("/customers/rename", number=min(CHANGES, customers))
        changed = at.stcli("sync", "run", "--json")
        assert changed.document["counts"]["seen"] >= min(CHANGES, customers), changed.out
        return Cost(
            customers,
            bookings,
            first_sync,
            first_qualify,
            _seconds(status),
            _seconds(syncs),
            _seconds(qualifies),
            _seconds(all_passes),
            sum(one["requests"]["servicetitan"] for one in idle),
            changed,
        )


def _done(ran: Ran) -> int:
    """How much a run of one pass or of all did or failed at."""
    passes = ran.document.get("passes") or [ran.document]
    nothing = {"seen", "unchanged", "skipped"}
    return sum(
        number for one in passes for what, number in one["counts"].items() if what not in nothing
    )


def _seconds(runs: list[Ran]) -> Spread:
    return Spread(tuple(run.seconds for run in runs))


def _open_bookings(at: Bench, number: int) -> None:
    """Leads with bookings that nothing has become of, written into the state: to book a hundred
    thousand through the API would take half an hour. The feed tells nothing of them, so a first
    qualify pass judges them all and reads little."""
    file = Path(at.environment["STCLI_HOME"], "state", "stcli.db")
    now = datetime.now(UTC)
    at_text = f"{now - timedelta(days=2):%Y-%m-%dT%H:%M:%S.%fZ}"
    with closing(sqlite3.connect(file, timeout=30)) as sql, sql:
        tenant, campaign = sql.execute("SELECT tenant, rf_campaign_id FROM ledger").fetchone()
        ids = range(10**9, 10**9 + number)
        sql.executemany(
            "INSERT INTO ledger (tenant, tab, rf_campaign_id, user_id, campaign, code, state, "
            "external_id, booking_id, booked_on, updated_at) "
            "VALUES (?, 'leads', ?, ?, 'spring-hvac', ?, 'booked', ?, ?, ?, ?)",
            ((tenant, campaign, n, f"X{n}", f"X{n}", n, at_text, at_text) for n in ids),
        )
        sql.executemany(
            "INSERT INTO qualifications (campaign, tenant, user_id, code, state, due, changed_at) "
            "VALUES ('spring-hvac', ?, ?, ?, 'open', 1, ?)",
            ((tenant, n, f"X{n}", at_text) for n in ids),
        )


def run(sizes: tuple[int, ...] = SIZES) -> str:
    """The table of every size; the plot of it goes to ``docs/growth.svg``."""
    headers = (
        "customers", "first sync", "peak", "open bookings", "judging them", "peak", "status",
        "idle sync", "idle qualify", "both, to status", "idle `run`", "`run`, to status",
        "idle ST requests", "1,000 changes", "peak", "ST requests",
    )  # fmt: skip
    rows = [f"| {' | '.join(headers)} |", "|---" * len(headers) + "|"]
    costs = []
    for size in sizes:
        cost = measure(size)
        costs.append(cost)
        cells = (
            f"{cost.customers:,}",
            f"{cost.first_sync.seconds:.1f} s",
            f"{cost.first_sync.peak_mb:.0f} MB",
            f"{cost.bookings:,}",
            f"{cost.first_qualify.seconds:.1f} s",
            f"{cost.first_qualify.peak_mb:.0f} MB",
            f"{cost.status} s",
            f"{cost.idle_sync} s",
            f"{cost.idle_qualify} s",
            str(cost.apart),
            f"{cost.idle_run} s",
            str(cost.together),
            str(cost.idle_requests),
            f"{cost.changed.seconds:.2f} s",
            f"{cost.changed.peak_mb:.0f} MB",
            str(cost.changed.document["requests"]["servicetitan"]),
        )
        rows.append(f"| {' | '.join(cells)} |")
        print(rows[-1], file=sys.stderr, flush=True)
    PLOT.write_text(_drawn(costs), encoding="utf-8")
    return "\n".join(rows)


def _drawn(costs: Sequence[Cost]) -> str:
    sizes = [cost.customers for cost in costs]
    return log_plot(
        "Seconds of a pass, by the number of customers",
        sizes,
        {
            "first sync": [cost.first_sync.seconds for cost in costs],
            "judging open bookings": [cost.first_qualify.seconds for cost in costs],
            "1,000 changes": [cost.changed.seconds for cost in costs],
            "idle sync": [cost.idle_sync.median for cost in costs],
            "idle run": [cost.idle_run.median for cost in costs],
            "status": [cost.status.median for cost in costs],
        },
    )
