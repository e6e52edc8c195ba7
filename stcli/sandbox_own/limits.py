"""Sliding windows, and a record of how close callers came to them."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable


class Window:
    """At most ``limit`` calls within any ``seconds``; remembers the most it ever let through and
    how often it refused."""

    def __init__(self, limit: int, seconds: float, clock: Callable[[], float]) -> None:
        self.limit = limit
        self.seconds = seconds
        self.most = 0
        self.refused = 0
        self._clock = clock
        self._calls: deque[float] = deque()

    def allow(self) -> bool:
        now = self._clock()
        while self._calls and self._calls[0] <= now - self.seconds:
            self._calls.popleft()
        if len(self._calls) >= self.limit:
            self.refused += 1
            return False
        self._calls.append(now)
        self.most = max(self.most, len(self._calls))
        return True

    def wait(self) -> int:
        """Whole seconds until a call would be let through."""
        if not self._calls:
            return 1
        return max(1, int(self._calls[0] + self.seconds - self._clock()) + 1)
