"""One pass of a campaign at a time: leases with an owner, an expiry and a fencing number.

A lease is held for ``LEASE_SECONDS`` and renewed by a thread of its own, so that nothing in the pass
can stall it. A dead process of the same host is taken over at once, one of another host when its
lease has expired. Each take-over raises the fencing number that every ledger write checks.
"""

from __future__ import annotations

import secrets
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from datetime import datetime, timedelta

from stcli.errors import Interrupted, LeaseLost, Locked, StateError, StateUnreachable, Terminated
from stcli.store.copying import refuse_half_copy
from stcli.store.engine import Database, Lease, utc_instant, utc_text

LEASE_SECONDS = 60
RENEW_EVERY_SECONDS = 15
CLOCKS_MAY_DIFFER = timedelta(hours=1)
"""A lease of another host that ends later than this allows was written by a wrong clock."""

FENCE_STEP = 2**20
_HELD: set[tuple[str, int]] = set()
"""What this process holds, by name and fence. A lock that could not be released, because the database
was away, is its own in name only."""


@dataclass(frozen=True, slots=True)
class Process:
    """Which process this is; ``start`` tells apart two processes that had the same number."""

    host: str
    pid: int
    start: str


@dataclass(frozen=True, slots=True)
class Holder:
    """Who holds a lock, and since when."""

    process: Process
    kind: str
    since: datetime
    expires: datetime


class HeldLease:
    """A lease while it is held; ``check`` raises once it is certain or possible that it was lost."""

    def __init__(self, lease: Lease, renewed: float) -> None:
        self.lease = lease
        self._good_until = renewed + LEASE_SECONDS
        self._lost = False

    def renewed(self, at: float) -> None:
        self._good_until = at + LEASE_SECONDS

    def lose(self) -> None:
        self._lost = True

    def check(self) -> None:
        """Call right before a remote write: a process that slept too long must not send it.

        The monotonic clock judges, so that a wall clock set back cannot stretch a lease.
        """
        if self._lost or time.monotonic() >= self._good_until:
            raise LeaseLost(
                f"the lock on {self.lease.name} was not renewed in time and may be another's now",
                "Nothing was written after that; run the pass again.",
            )


class Locks:
    """The leases of a database. ``is_alive`` tells whether a process of this host still runs."""

    def __init__(
        self,
        database: Database,
        me: Process,
        is_alive: Callable[[Process], bool],
        now: Callable[[], datetime],
    ) -> None:
        self._database = database
        self._me = me
        self._is_alive = is_alive
        self._now = now

    def holder(self, name: str) -> Holder | None:
        """Who holds the lock now, if anyone does."""
        with self._database.read() as sql:
            row = sql.execute(
                "SELECT host, pid, process_start, pass, acquired_at, expires_at FROM locks "
                "WHERE name = ? AND held = 1",
                (name,),
            ).one_or_none()
        if row is None:
            return None
        return Holder(
            Process(row[0], row[1], row[2]), row[3], utc_instant(row[4]), utc_instant(row[5])
        )

    def working(self, name: str) -> Holder | None:
        """Who is at work under this lock; a dead process holds nothing."""
        holder = self.holder(name)
        return holder if holder and self._still_holds(holder, self._now()) else None

    def all_working(self) -> dict[str, Holder]:
        """Every lock that somebody is at work under, the oldest first."""
        with self._database.read() as sql:
            rows = sql.execute(
                "SELECT name, host, pid, process_start, pass, acquired_at, expires_at FROM locks "
                "WHERE held = 1 ORDER BY acquired_at"
            ).all()
        found = {
            row[0]: Holder(
                Process(row[1], row[2], row[3]), row[4], utc_instant(row[5]), utc_instant(row[6])
            )
            for row in rows
        }
        now = self._now()
        return {name: holder for name, holder in found.items() if self._still_holds(holder, now)}

    def refuse_while_held(self) -> None:
        """``Locked`` where any pass is running."""
        for name, holder in self.all_working().items():
            raise _locked(name, holder)

    @contextmanager
    def hold(self, name: str, kind: str) -> Iterator[HeldLease]:
        """Hold the lock for the block, or raise ``Locked`` saying who holds it since when."""
        # Counted from before the wait for the database, as the row's own expiry is.
        started = time.monotonic()
        held = HeldLease(self._take(name, kind), started)
        key = (name, held.lease.fence)
        _HELD.add(key)
        stop = threading.Event()
        renewer = threading.Thread(
            target=self._renew, args=(held, stop), name=f"lease {name}", daemon=True
        )
        renewer.start()
        try:
            yield held
        finally:
            stop.set()
            renewer.join(timeout=5)
            _HELD.discard(key)
            self._release(held.lease)

    def _take(self, name: str, kind: str) -> Lease:
        now = self._now()
        with self._database.write() as sql:
            refuse_half_copy(sql)
            row = sql.execute(
                "SELECT fence, held, host, pid, process_start, pass, acquired_at, expires_at "
                "FROM locks WHERE name = ?",
                (name,),
            ).one_or_none()
            fence = (0 if row is None else row[0]) + self._step()
            if row is not None and row[1]:
                holder = Holder(
                    Process(row[2], row[3], row[4]),
                    row[5],
                    utc_instant(row[6]),
                    utc_instant(row[7]),
                )
                is_left = holder.process == self._me and (name, row[0]) not in _HELD
                if not is_left and self._still_holds(holder, now):
                    raise _locked(name, holder)
            sql.execute(
                "INSERT INTO locks VALUES (?, ?, 1, ?, ?, ?, ?, ?, ?) ON CONFLICT (name) DO UPDATE "
                "SET fence = excluded.fence, held = 1, host = excluded.host, pid = excluded.pid, "
                "process_start = excluded.process_start, pass = excluded.pass, "
                "acquired_at = excluded.acquired_at, expires_at = excluded.expires_at",
                (
                    name,
                    fence,
                    self._me.host,
                    self._me.pid,
                    self._me.start,
                    kind,
                    utc_text(now),
                    utc_text(now + timedelta(seconds=LEASE_SECONDS)),
                ),
            )
        return Lease(name, fence)

    def _step(self) -> int:
        """By how much the fence rises. A standby that takes over may not know of the last holder: the
        next one must not get that one's number."""
        return 1 + secrets.randbelow(FENCE_STEP) if self._database.is_shared else 1

    def _still_holds(self, holder: Holder, now: datetime) -> bool:
        if holder.process.host == self._me.host:
            return self._is_alive(holder.process)
        # A clock that ran ahead, of either host, must not keep a lock for years.
        return now < holder.expires < now + timedelta(seconds=LEASE_SECONDS) + CLOCKS_MAY_DIFFER

    def _renew(self, held: HeldLease, stop: threading.Event) -> None:
        while not stop.wait(RENEW_EVERY_SECONDS):
            started = time.monotonic()
            try:
                with self._database.write(held.lease) as sql:
                    sql.execute(
                        "UPDATE locks SET expires_at = ? WHERE name = ?",
                        (
                            utc_text(self._now() + timedelta(seconds=LEASE_SECONDS)),
                            held.lease.name,
                        ),
                    )
            except LeaseLost:
                held.lose()
                return
            except (Interrupted, Terminated):
                # The pass ends, well before the lease does.
                return
            except StateError:
                # The database is busy or full for the moment; `check` stops the pass if it stays so.
                continue
            held.renewed(started)

    def _release(self, lease: Lease) -> None:
        # After a stop nobody waits to say so: the lock of a process that ended is free at once. Nor is
        # it an error of the pass that the database is away: the lease ends by itself.
        with suppress(Interrupted, Terminated, StateUnreachable), self._database.write() as sql:
            sql.execute(
                "UPDATE locks SET held = 0 WHERE name = ? AND fence = ?", (lease.name, lease.fence)
            )


def _locked(name: str, holder: Holder) -> Locked:
    process = holder.process
    return Locked(
        f"a {holder.kind} pass of {name} is running since {holder.since:%Y-%m-%d %H:%M:%S} UTC "
        f"(process {process.pid} on {process.host})",
        "Let it finish, or stop that process; its lock is then free at once.",
    )
