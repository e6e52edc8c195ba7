"""An export feed: what changed, in the order in which it changed.

Every change appends one entry and makes the record's earlier entry stale, so a record stands once,
at its newest position. Nothing is ever sorted: the clock that dates the entries never runs back.
"""

import base64
import binascii
import json
import zlib
from bisect import bisect_left, bisect_right
from dataclasses import dataclass
from datetime import datetime

from stcli.sandbox.clock import parse_instant


class UnknownPosition(ValueError):
    """What came as `from` is neither a date nor a token of this feed."""


@dataclass(frozen=True, slots=True)
class FeedPage:
    """The keys of one page, and how to go on."""

    keys: list[int]
    has_more: bool
    continue_from: str


class ChangeFeed:
    def __init__(self, name: str) -> None:
        self.name = name
        self._times: list[datetime] = []
        self._keys: list[int] = []
        self._newest: dict[int, int] = {}

    def changed(self, key: int, at: datetime) -> None:
        if self._times and at < self._times[-1]:
            raise ValueError(f"{self.name}: {key} changed at {at}, before the change ahead of it")
        self._newest[key] = len(self._keys)
        self._times.append(at)
        self._keys.append(key)

    def read(self, start: str, settled: datetime, page_size: int, *, recent: bool) -> FeedPage:
        """One page from `start`; changes later than `settled` are shown only with `recent`."""
        position = self._position(start)
        settled_end = bisect_right(self._times, settled)
        end = len(self._keys) if recent else settled_end
        keys: list[int] = []
        has_more = False
        while position < end:
            key = self._keys[position]
            if self._newest[key] == position:
                if len(keys) == page_size:
                    has_more = True
                    break
                keys.append(key)
            position += 1
        if recent and not has_more:
            # The unsettled stretch is read again next time: that is the price of seeing it early.
            position = min(position, settled_end)
        return FeedPage(keys, has_more, self._token(position))

    def __len__(self) -> int:
        return len(self._newest)

    def _position(self, start: str) -> int:
        if not start:
            return 0
        try:
            return bisect_left(self._times, parse_instant(start))
        except ValueError:
            return self._read_token(start)

    def _token(self, position: int) -> str:
        plain = json.dumps([self.name, position])
        checked = f"{zlib.crc32(plain.encode()):08x}{plain}"
        return base64.urlsafe_b64encode(checked.encode()).decode().rstrip("=")

    def _read_token(self, token: str) -> int:
        try:
            checked = base64.urlsafe_b64decode(token + "=" * (-len(token) % 4)).decode()
            plain = checked[8:]
            if checked[:8] != f"{zlib.crc32(plain.encode()):08x}":
                raise UnknownPosition(token)
            name, position = json.loads(plain)
        except (binascii.Error, UnicodeError, ValueError, TypeError) as error:
            raise UnknownPosition(token) from error
        if name != self.name or not isinstance(position, int):
            raise UnknownPosition(token)
        return min(position, len(self._keys))
