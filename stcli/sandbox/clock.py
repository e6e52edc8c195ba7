"""The time that the emulated servers live in: the real one plus what tests have added to it.

It never runs backwards, not even when the machine's clock does: the feeds are ordered by it.
"""

import time
from datetime import UTC, date, datetime, timedelta
from email.utils import format_datetime


class VirtualClock:
    """Readings are non-decreasing and strictly increasing where `tick` is used."""

    def __init__(self) -> None:
        self._started = datetime.now(UTC)
        self._monotonic = time.monotonic()
        self._advanced = timedelta(0)
        self._last = self._started

    def now(self) -> datetime:
        elapsed = timedelta(seconds=time.monotonic() - self._monotonic)
        self._last = max(self._last, self._started + elapsed + self._advanced)
        return self._last

    def tick(self) -> datetime:
        """A reading later than every earlier one, for records that are ordered by it."""
        before = self._last
        reading = self.now()
        if reading <= before:
            reading = before + timedelta(microseconds=1)
            self._last = reading
        return reading

    def seconds(self) -> float:
        return self.now().timestamp()

    def today(self) -> date:
        return self.now().date()

    def advance(self, seconds: float) -> datetime:
        if seconds < 0:
            raise ValueError("time only moves forward")
        self._advanced += timedelta(seconds=seconds)
        return self.now()


def instant_text(moment: datetime) -> str:
    """The way ServiceTitan writes an instant: UTC, fractions of a second, a final Z."""
    return moment.isoformat(timespec="microseconds").replace("+00:00", "Z")


def parse_instant(text: str) -> datetime:
    """A date or date-time in ISO 8601; without an offset it is UTC. ValueError if it is neither."""
    if len(text) < len("2026-01-01") or text[4] != "-":
        raise ValueError(text)
    moment = datetime.fromisoformat(text)
    return moment.replace(tzinfo=UTC) if moment.tzinfo is None else moment.astimezone(UTC)


def http_date_after(seconds: float) -> str:
    """An HTTP date that many real seconds from now: the caller waits by its own real clock."""
    moment = datetime.now(UTC) + timedelta(seconds=seconds + 0.999)
    return format_datetime(moment.replace(microsecond=0), usegmt=True)
