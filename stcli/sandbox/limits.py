"""Limits over a sliding window, and the busiest window that was ever seen.

The limit counts what was admitted, the peak counts what arrived: a client that sends too much is
seen to do so even where the limiter refuses it.
"""

import math
import time
from collections import deque

from stcli.sandbox.clock import http_date_after
from stcli.sandbox.settings import RetryAfterForm


class SlidingWindow:
    """At most `limit` admissions within any `seconds`."""

    def __init__(self, limit: int, seconds: float) -> None:
        self.limit = limit
        self.seconds = seconds
        self._admitted: deque[float] = deque()

    def admit(self, now: float) -> float | None:
        """None if admitted, else the seconds until there is room again."""
        while self._admitted and self._admitted[0] <= now - self.seconds:
            self._admitted.popleft()
        if len(self._admitted) < self.limit:
            self._admitted.append(now)
            return None
        return self._admitted[0] + self.seconds - now


class Peak:
    """The largest number of arrivals within any `seconds` of real time."""

    def __init__(self, seconds: float) -> None:
        self.seconds = seconds
        self.largest = 0
        self._arrivals: deque[float] = deque()

    def arrive(self) -> None:
        now = time.monotonic()
        while self._arrivals and self._arrivals[0] <= now - self.seconds:
            self._arrivals.popleft()
        self._arrivals.append(now)
        self.largest = max(self.largest, len(self._arrivals))


class AbuseWatch:
    """Counts calls beyond the limit; after so many of them everything is refused for a while."""

    def __init__(self, allowed: int, block_seconds: float) -> None:
        self.allowed = allowed
        self.block_seconds = block_seconds
        self.abuses = 0
        self._blocked_until = 0.0

    def blocked_for(self, now: float) -> float | None:
        return self._blocked_until - now if now < self._blocked_until else None

    def abuse(self, now: float) -> None:
        self.abuses += 1
        if self.abuses % self.allowed == 0:
            self._blocked_until = now + self.block_seconds


def retry_after(seconds: float, form: RetryAfterForm) -> str:
    return http_date_after(seconds) if form == "date" else str(max(1, math.ceil(seconds)))
