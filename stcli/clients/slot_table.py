"""The slots that many hosts share: a table of the PostgreSQL that keeps their state.

The database's clock is the one clock of all hosts. What a host is told is converted to its own clock,
so that hosts whose clocks differ still keep one rate together. How far both are apart is known from the
question that was answered fastest: any other answer came late by some part of its way, and slots that
are moved by that would come in bunches.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from contextlib import AbstractContextManager
from dataclasses import dataclass
from typing import Any, Protocol

from stcli.clients.slots import LONGEST_PAUSE_SECONDS, Clock, Taken, queue_limit


class Statements(Protocol):
    """A transaction: ``?`` stands for each value."""

    def execute(self, statement: str, values: tuple[object, ...] = ()) -> Iterable[Any]: ...


Begun = Callable[[], AbstractContextManager[Statements]]
"""A transaction that commits at its end and waits for no other writer but those of the same row."""


DRIFT = 1e-4
"""By how many seconds in a second two clocks may move apart (a tenth of that is usual)."""


@dataclass(frozen=True, slots=True)
class Apart:
    """How far the database's clock is ahead of this host's, give or take ``error``, as of ``at`` (by
    this host's clock)."""

    seconds: float
    error: float
    at: float

    def error_at(self, now: float) -> float:
        return self.error + abs(now - self.at) * DRIFT


class SlotTable:
    """``rate_slots``: a row for each key, locked by whoever reserves."""

    share = 0.96
    """Half of the missing 40 ms in a second is what one host leaves; half is for the ways from
    different hosts, which take unequal times, and for clocks that are not quite told apart."""

    def __init__(self, begun: Begun) -> None:
        self._begun = begun
        self._apart: Apart | None = None

    def take(
        self, key: str, count: int, spacing: float, patience: float, clock: Clock, lead: float = 0.0
    ) -> Taken:
        with self._begun() as sql:
            next_at, paused_until = _locked(sql, key)
            there, here = self._times(sql, clock)
            if paused_until - there > patience:
                return Taken(None, paused_until - there, here)
            if next_at > max(there, paused_until) + queue_limit(spacing):
                next_at = 0.0
            start = max(there + lead, next_at, paused_until)
            sql.execute(
                "UPDATE rate_slots SET next_at = ? WHERE key = ?", (start + count * spacing, key)
            )
        return Taken(start - there + here, max(paused_until - there, 0.0), here)

    def _times(self, sql: Statements, clock: Clock) -> tuple[float, float]:
        """The database's time and this host's, at one moment."""
        before = clock()
        there = _now(sql)
        after = clock()
        seen = Apart(there - (before + after) / 2, (after - before) / 2, after)
        known = self._apart
        if (
            known is None
            or seen.error <= known.error_at(after)
            # One of both clocks was set.
            or abs(seen.seconds - known.seconds) > seen.error + known.error_at(after)
        ):
            known = self._apart = seen
        return after + known.seconds, after

    def pause(self, key: str, seconds: float, clock: Clock) -> None:  # noqa: ARG002 - a file needs it
        with self._begun() as sql:
            _locked(sql, key)
            sql.execute(
                "UPDATE rate_slots SET paused_until = greatest(paused_until, ?) WHERE key = ?",
                (_now(sql) + seconds, key),
            )

    def longest_pause(self, clock: Clock) -> float:  # noqa: ARG002 - a file needs it
        with self._begun() as sql:
            until = [row[0] for row in sql.execute("SELECT paused_until FROM rate_slots")]
            now = _now(sql)
        left = [moment - now for moment in until if moment - now <= LONGEST_PAUSE_SECONDS]
        return max(left, default=0.0) if left and max(left) > 0 else 0.0


def _locked(sql: Statements, key: str) -> tuple[float, float]:
    """When the next slot is free and until when a pause lasts; nobody else changes it until the end."""
    sql.execute(
        "INSERT INTO rate_slots (key, next_at, paused_until) VALUES (?, 0, 0) ON CONFLICT DO NOTHING",
        (key,),
    )
    ((next_at, paused_until),) = sql.execute(
        "SELECT next_at, paused_until FROM rate_slots WHERE key = ? FOR UPDATE", (key,)
    )
    return next_at, paused_until


def _now(sql: Statements) -> float:
    """The database's clock now, not when the transaction began: it may have waited for the row."""
    ((now,),) = sql.execute(
        "SELECT CAST(extract(epoch FROM clock_timestamp()) AS DOUBLE PRECISION)"
    )
    return float(now)
