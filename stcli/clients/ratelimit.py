"""One rate for all processes that share a home.

Evenly spaced slots (the generic cell rate algorithm with a burst of one): a bucket with a capacity
would let that much through on top of a full window. Slots are reserved a quarter of a second at a
time in a small database of its own, so that it is touched a few times a second at most. A slot whose
moment has passed is thrown away: after a stall nothing is sent in a bunch. The rate is 98 % of the
allowed one, which leaves room for the uneven time that requests take to arrive.
"""

from __future__ import annotations

import asyncio
import os
import sqlite3
import time
from collections import deque
from collections.abc import Awaitable, Callable
from contextlib import closing
from pathlib import Path

from stcli.errors import StateError
from stcli.paths import private_folder

SHARE = 0.98
BLOCK_SECONDS = 0.25
LATE_SECONDS = 0.02
"""A slot may be used this much after its moment; the share leaves room for it."""
LONGEST_PAUSE_SECONDS = 3600.0

_TABLE = """CREATE TABLE IF NOT EXISTS slots (
    key TEXT PRIMARY KEY, next_at REAL NOT NULL, paused_until REAL NOT NULL)"""


class RateLimiter:
    """Hands out moments at which a request may be sent, in the order they were asked for."""

    def __init__(
        self,
        file: Path,
        key: str,
        per_second: float,
        *,
        clock: Callable[[], float] = time.time,
        sleep: Callable[[float], Awaitable[None]] = asyncio.sleep,
    ) -> None:
        self._file = file
        self._key = key
        self._spacing = 1.0 / (per_second * SHARE)
        self._block = max(1, int(per_second * BLOCK_SECONDS))
        self._clock = clock
        self._sleep = sleep
        self._slots: deque[float] = deque()
        self._turn = asyncio.Lock()

    async def acquire(self) -> None:
        """Return when a request may be sent."""
        async with self._turn:
            while True:
                if not self._slots:
                    self._slots.extend(await asyncio.to_thread(self._reserve))
                slot = self._slots.popleft()
                wait = slot - self._clock()
                if wait > 0:
                    await self._sleep(wait)
                elif wait < -LATE_SECONDS:
                    continue
                if self._clock() - slot <= LATE_SECONDS:
                    return

    async def pause(self, seconds: float) -> None:
        """Hold back every request of this key, in all processes, for so long."""
        self._slots.clear()
        await asyncio.to_thread(self._pause, min(seconds, LONGEST_PAUSE_SECONDS))

    def _connect(self) -> sqlite3.Connection:
        private_folder(self._file.parent)
        try:
            os.close(os.open(self._file, os.O_RDWR | os.O_CREAT, 0o600))
            connection = sqlite3.connect(self._file, timeout=30, isolation_level=None)
            connection.execute("PRAGMA synchronous=OFF")
            connection.execute(_TABLE)
        except (OSError, sqlite3.Error) as error:
            raise self._unusable(error) from error
        return connection

    def _unusable(self, error: Exception) -> StateError:
        return StateError(
            f"the rate limits cannot be kept in {self._file}: {error}",
            "Check the folder's permissions and the free space; a damaged file may be deleted.",
        )

    def _reserve(self) -> list[float]:
        try:
            with closing(self._connect()) as sql:
                sql.execute("BEGIN IMMEDIATE")
                row = sql.execute(
                    "SELECT next_at, paused_until FROM slots WHERE key = ?", (self._key,)
                ).fetchone()
                now = self._clock()
                start = self._start(now, *(row or (0.0, 0.0)))
                after = start + self._block * self._spacing
                sql.execute(
                    "INSERT INTO slots VALUES (?, ?, 0) ON CONFLICT (key) DO UPDATE SET "
                    "next_at = excluded.next_at",
                    (self._key, after),
                )
                sql.execute("COMMIT")
        except sqlite3.Error as error:
            raise self._unusable(error) from error
        return [start + index * self._spacing for index in range(self._block)]

    def _start(self, now: float, next_at: float, paused_until: float) -> float:
        # A moment further ahead than any pause and a crowd of processes explain comes from a clock
        # that was set back since.
        if next_at > now + LONGEST_PAUSE_SECONDS + 60:
            next_at = now
        if paused_until > now + LONGEST_PAUSE_SECONDS:
            paused_until = now
        return max(now, next_at, paused_until)

    def _pause(self, seconds: float) -> None:
        try:
            with closing(self._connect()) as sql:
                until = self._clock() + seconds
                sql.execute(
                    "INSERT INTO slots VALUES (?, 0, ?) ON CONFLICT (key) DO UPDATE SET "
                    "paused_until = max(paused_until, excluded.paused_until)",
                    (self._key, until),
                )
        except sqlite3.Error as error:
            raise self._unusable(error) from error
