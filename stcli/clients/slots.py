"""The moments at which requests may be sent, shared by whoever shares a limit.

One row for each key: when the next slot is free, and until when a server that complained is left alone.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Callable
from contextlib import closing, suppress
from pathlib import Path
from typing import NamedTuple, Protocol, TypeVar

from stcli.errors import StateError
from stcli.paths import private_file, private_folder

Result = TypeVar("Result")
Clock = Callable[[], float]

LONGEST_PAUSE_SECONDS = 3600.0
LONGEST_QUEUE_SECONDS = 60.0
LONGEST_QUEUE_SLOTS = 100
"""More than these reserved ahead of now and of a pause is no queue but a clock that was set back."""
SET_BACK_SECONDS = 1.0
TRY_SECONDS = 0.25
"""How long a look waits for another program's lock, where nothing can interrupt it."""


def queue_limit(spacing: float) -> float:
    """How many seconds ahead slots may be reserved."""
    return LONGEST_QUEUE_SECONDS + LONGEST_QUEUE_SLOTS * spacing


class InUse(StateError):
    """Another program has held the slots for ``TRY_SECONDS``."""


class Taken(NamedTuple):
    """The first of the slots that were reserved, in seconds of the caller's clock, and what that
    showed then. None where a pause of ``pause`` seconds is longer than the caller waits."""

    first: float | None
    pause: float
    now: float


class Slots(Protocol):
    """Each method may wait for others; ``InUse`` where that takes long.

    ``share``: the part of the allowed rate that slots are made for. What is missing to one, as a part
    of a second, is how much later than others a request may arrive.
    """

    share: float

    def take(
        self, key: str, count: int, spacing: float, patience: float, clock: Clock, lead: float = 0.0
    ) -> Taken:
        """Reserve ``count`` slots that are ``spacing`` seconds apart, behind all that others have, the
        first at least ``lead`` seconds ahead."""
        ...

    def pause(self, key: str, seconds: float, clock: Clock) -> None:
        """Reserve nothing before so many seconds have passed; a longer pause stays."""
        ...

    def longest_pause(self, clock: Clock) -> float:
        """What is left of the longest pause of all keys, in seconds; 0: there is none."""
        ...


_TABLE = """CREATE TABLE IF NOT EXISTS slots (
    key TEXT PRIMARY KEY,
    next_at REAL NOT NULL,
    paused_until REAL NOT NULL,
    written_at REAL NOT NULL) WITHOUT ROWID"""
_DAMAGED = {sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB}


class SlotFile:
    """The slots that the processes of one home share: a small SQLite file of its own."""

    share = 0.98

    def __init__(self, file: Path) -> None:
        self._file = file

    def take(
        self, key: str, count: int, spacing: float, patience: float, clock: Clock, lead: float = 0.0
    ) -> Taken:
        def work(sql: sqlite3.Connection) -> Taken:
            now = clock()
            next_at, paused_until = self._row(sql, key, now)
            if paused_until - now > patience:
                return Taken(None, paused_until - now, now)
            if next_at > max(now, paused_until) + queue_limit(spacing):
                next_at = 0.0
            start = max(now + lead, next_at, paused_until)
            self._save(sql, key, start + count * spacing, paused_until, now)
            return Taken(start, max(paused_until - now, 0.0), now)

        return self._transact(work)

    def pause(self, key: str, seconds: float, clock: Clock) -> None:
        def work(sql: sqlite3.Connection) -> None:
            now = clock()
            next_at, paused_until = self._row(sql, key, now)
            self._save(sql, key, next_at, max(paused_until, now + seconds), now)

        self._transact(work)

    def longest_pause(self, clock: Clock) -> float:
        if not self._file.exists():
            return 0.0

        def work(sql: sqlite3.Connection) -> float:
            now = clock()
            keys = [row[0] for row in sql.execute("SELECT key FROM slots").fetchall()]
            return max((self._row(sql, key, now)[1] - now for key in keys), default=0.0)

        return max(self._transact(work), 0.0)

    @staticmethod
    def _row(sql: sqlite3.Connection, key: str, now: float) -> tuple[float, float]:
        """When the next slot is free and until when a pause lasts, by the clock as it goes now."""
        row: tuple[float, float, float] | None = sql.execute(
            "SELECT next_at, paused_until, written_at FROM slots WHERE key = ?", (key,)
        ).fetchone()
        if row is None:
            return 0.0, 0.0
        next_at, paused_until, written_at = row
        if now < written_at - SET_BACK_SECONDS:
            # The clock was set back since: what was left then is left now.
            next_at -= written_at - now
            paused_until -= written_at - now
        if paused_until > now + LONGEST_PAUSE_SECONDS:
            paused_until = 0.0
        return next_at, paused_until

    @staticmethod
    def _save(
        sql: sqlite3.Connection, key: str, next_at: float, paused_until: float, now: float
    ) -> None:
        sql.execute(
            "INSERT INTO slots (key, next_at, paused_until, written_at) VALUES (?, ?, ?, ?) "
            "ON CONFLICT (key) DO UPDATE SET next_at = excluded.next_at, "
            "paused_until = excluded.paused_until, written_at = excluded.written_at",
            (key, next_at, paused_until, now),
        )

    def _transact(self, work: Callable[[sqlite3.Connection], Result]) -> Result:
        """Run ``work`` in one exclusive transaction; a damaged file is replaced once."""
        try:
            try:
                return self._once(work)
            except sqlite3.DatabaseError as error:
                if getattr(error, "sqlite_errorcode", 0) & 0xFF not in _DAMAGED:
                    raise
                self._file.unlink(missing_ok=True)
                return self._once(work)
        except (OSError, sqlite3.Error) as error:
            if getattr(error, "sqlite_errorcode", 0) & 0xFF == sqlite3.SQLITE_BUSY:
                raise InUse(
                    f"the rate limits cannot be kept in {self._file}: {error}",
                    "Another program holds the file, such as an open SQL shell; end that first.",
                ) from error
            raise StateError(
                f"the rate limits cannot be kept in {self._file}: {error}",
                "Check the folder's permissions and the free space.",
            ) from error

    def _once(self, work: Callable[[sqlite3.Connection], Result]) -> Result:
        private_folder(self._file.parent)
        private_file(self._file)
        with closing(sqlite3.connect(self._file, timeout=TRY_SECONDS, isolation_level=None)) as sql:
            # Losing the last quarter of a second to a power cut does no harm.
            sql.execute("PRAGMA synchronous = OFF")
            sql.execute("BEGIN IMMEDIATE")
            try:
                sql.execute(_TABLE)
                result = work(sql)
                sql.execute("COMMIT")
            except BaseException:
                with suppress(sqlite3.Error):
                    sql.execute("ROLLBACK")
                raise
            return result
