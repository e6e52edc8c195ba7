"""When a request is tried again, and how long to wait before.

A policy is bounded by attempts and by total time. The server's own delay is always obeyed; where it
names none the wait grows and is spread at random, so that many clients do not come back at once.
"""

from __future__ import annotations

import asyncio
import random
import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from typing import TypeVar

from stcli.errors import Unavailable

Result = TypeVar("Result")


class Again(Exception):
    """The request may be sent again. ``wait_seconds``: the server's own delay, if it named one."""

    def __init__(self, failure: Unavailable, wait_seconds: float | None = None) -> None:
        super().__init__(str(failure))
        self.failure = failure
        self.wait_seconds = wait_seconds


@dataclass(frozen=True, slots=True)
class RetryPolicy:
    """Attempts in all, seconds in all, and the first and longest wait between two attempts."""

    attempts: int = 6
    total_seconds: float = 300.0
    first_wait_seconds: float = 0.5
    longest_wait_seconds: float = 30.0
    monotonic: Callable[[], float] = time.monotonic
    sleep: Callable[[float], Awaitable[None]] = asyncio.sleep
    random: Callable[[], float] = random.random

    async def run(self, attempt: Callable[[], Awaitable[Result]]) -> Result:
        """Call ``attempt`` until it returns, raises something else than ``Again``, or the policy is
        used up; then the last failure is raised."""
        deadline = self.monotonic() + self.total_seconds
        number = 0
        while True:
            number += 1
            try:
                return await attempt()
            except Again as again:
                wait = again.wait_seconds
                if wait is None:
                    longest = self.first_wait_seconds * 2 ** (number - 1)
                    wait = self.random() * min(longest, self.longest_wait_seconds)
                if number >= self.attempts or self.monotonic() + wait > deadline:
                    raise again.failure from None
            await self.sleep(wait)


def retry_after_seconds(header: str | None, now: datetime) -> float | None:
    """The delay in a Retry-After header, in either of its two forms; None where there is none."""
    if header is None:
        return None
    text = header.strip()
    if text.isascii() and text.isdigit():
        return float(text[:9])
    try:
        at = parsedate_to_datetime(text)
    except ValueError:
        return None
    at = at.replace(tzinfo=UTC) if at.tzinfo is None else at
    return max((at - now).total_seconds(), 0.0)
