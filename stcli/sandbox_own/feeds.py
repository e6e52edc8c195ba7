"""Export feeds: records in the order in which they last changed, with tokens to go on from.

Each change appends one entry; the entry of an earlier change of the same record is passed over. So a
record stands once, at its newest place, and reading on costs what was read, not what there is.
"""

from __future__ import annotations

import base64
import binascii
from bisect import bisect_left, bisect_right
from dataclasses import dataclass, field
from datetime import UTC, datetime


class BadToken(ValueError):
    """``from`` is neither a token of this feed nor a date."""


@dataclass(slots=True)
class Feed:
    """The changes of one kind of record."""

    name: str
    _times: list[float] = field(default_factory=list)
    _ids: list[int] = field(default_factory=list)
    _newest: dict[int, int] = field(default_factory=dict)

    def touch(self, record: int, at: float) -> None:
        """The record changed now; a time before the last entry's counts as the last entry's."""
        self._newest[record] = len(self._ids)
        self._ids.append(record)
        self._times.append(max(at, self._times[-1]) if self._times else at)

    def page(
        self, start: str, *, size: int, now: float, lag: float, recent: bool
    ) -> tuple[list[int], bool, str]:
        """Ids, whether there are more, and the token behind them."""
        position = self._position(start)
        settled = bisect_right(self._times, now - lag)
        end = len(self._ids) if recent else settled
        found: list[int] = []
        while position < end and len(found) < size:
            record = self._ids[position]
            if self._newest[record] == position:
                found.append(record)
            position += 1
        has_more = (
            any(
                self._newest[self._ids[index]] == index
                for index in range(position, min(end, position + size))
            )
            or end > position + size
        )
        # At the end of recent changes the token points before them: they will be repeated.
        behind = position if has_more else min(position, settled)
        return found, has_more, self._token(max(behind, 0))

    def _token(self, position: int) -> str:
        return base64.urlsafe_b64encode(f"{self.name}:{position}".encode()).decode()

    def _position(self, start: str) -> int:
        if not start:
            return 0
        try:
            at = datetime.fromisoformat(start)
        except ValueError:
            return self._position_of(start)
        at = at.replace(tzinfo=UTC) if at.tzinfo is None else at
        return bisect_left(self._times, at.timestamp())

    def _position_of(self, token: str) -> int:
        try:
            name, _, number = base64.urlsafe_b64decode(token.encode()).decode().partition(":")
            if name != self.name or not 0 <= int(number) <= len(self._ids):
                raise BadToken(token)
            return int(number)
        except (ValueError, binascii.Error, UnicodeDecodeError):
            raise BadToken(token) from None
