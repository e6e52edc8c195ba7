"""When a request is tried again, and how long to wait before.

One policy, bounded by attempts and by the time spent, and one loop. The wait grows and is drawn at
random between nothing and its bound ("full jitter"), so that many clients do not come back together;
a longer delay that the server names is always honoured.
"""

from __future__ import annotations

import asyncio
import random
import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from typing import TypeVar

from stcli.errors import NoAnswer, Unavailable

Result = TypeVar("Result")
Ready = TypeVar("Ready")


class Again(Exception):
    """A signal of the loop, never seen outside: the request may be sent again.

    ``failure`` is raised if it is not. ``wait_seconds`` is the server's own delay; None: it named
    none.
    """

    def __init__(self, failure: Unavailable, wait_seconds: float | None = None) -> None:
        super().__init__(failure.message)
        self.failure = failure
        self.wait_seconds = wait_seconds


DISCOURAGED_ATTEMPTS = 2


@dataclass(slots=True)
class RetryPolicy:
    """``attempts`` in all; ``total_seconds`` spent on answers and waits; bounds of a wait.

    The time in ``ready`` is not counted: waiting for one's turn is no failure.

    A policy is shared by the requests to one system and remembers one thing of them: after one that
    failed in all its attempts, without a delay named by the server, the next have two attempts each
    until one is answered. Otherwise every pass of every campaign would wait in full for a system
    that is down.
    """

    attempts: int = 8
    total_seconds: float = 300.0
    first_wait_seconds: float = 0.5
    longest_wait_seconds: float = 30.0
    monotonic: Callable[[], float] = time.monotonic
    sleep: Callable[[float], Awaitable[None]] = asyncio.sleep
    random: Callable[[], float] = random.random
    _is_discouraged: bool = field(default=False, init=False)

    async def run(
        self,
        ready: Callable[[], Awaitable[Ready]],
        attempt: Callable[[Ready], Awaitable[Result]],
    ) -> Result:
        """Call ``ready`` and ``attempt`` until an answer comes; ``Again`` asks for another turn.

        Used up: the last failure is raised. A later definite failure does not undo that an earlier
        attempt may have had an effect: then that one's ``NoAnswer`` is raised.
        """
        spent_seconds = 0.0
        number = 0
        attempts = (
            min(self.attempts, DISCOURAGED_ATTEMPTS) if self._is_discouraged else self.attempts
        )
        in_doubt: NoAnswer | None = None
        try:
            while True:
                number += 1
                turn = await ready()
                began = self.monotonic()
                try:
                    result = await attempt(turn)
                    self._is_discouraged = False
                    return result
                except Again as again:
                    if isinstance(again.failure, NoAnswer):
                        in_doubt = again.failure
                    spent_seconds += self.monotonic() - began
                    wait = self._wait_seconds(number, again)
                    if number >= attempts or spent_seconds + wait > self.total_seconds:
                        self._is_discouraged |= again.wait_seconds is None
                        raise again.failure from again.failure.__cause__
                await self.sleep(wait)
                spent_seconds += wait
        except Unavailable:
            if in_doubt is not None:
                raise in_doubt from in_doubt.__cause__
            raise

    def _wait_seconds(self, number: int, again: Again) -> float:
        bound = min(self.first_wait_seconds * 2.0 ** (number - 1), self.longest_wait_seconds)
        # A server that names no delay at all, such as 0, is not to be called without a pause.
        return max(self.random() * bound, again.wait_seconds or 0.0)


async def at_once() -> None:
    """The ``ready`` of a request that waits for nobody's turn."""


def retry_after_seconds(header: str, server_date: str, now: float) -> float | None:
    """The delay of a Retry-After header in either form (RFC 9110, 10.2.3); None: there is none.

    A date is compared with the server's own clock where the answer tells it, because ours may differ.
    """
    text = header.strip()
    if text.isascii() and text.isdigit():
        return float(text[:9])
    at = _instant(text)
    if at is None:
        return None
    return max(at - (_instant(server_date) or now), 0.0)


def _instant(text: str) -> float | None:
    try:
        at = parsedate_to_datetime(text)
    except (ValueError, OverflowError):
        return None
    aware: datetime = at if at.tzinfo is not None else at.replace(tzinfo=UTC)
    return aware.timestamp()
