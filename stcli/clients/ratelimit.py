"""One rate for all processes that share a home, or a database.

Evenly spaced slots (the generic cell rate algorithm with a burst of one): a bucket with a capacity
would let that much through on top of a full window. Slots are reserved up to an eighth of a second at
a time, from whoever keeps them for all (see ``slots.py``), so that it is asked about eight times a
second where much is to be sent, and the next ones while half of the last are left, so that no slot
passes meanwhile. No more are reserved than requests wait, because what a process does not use is lost
to all. A slot whose moment passed more than ``LATE_SECONDS`` ago is thrown away: after a stall nothing
is sent in a bunch. A request that was held up, such as by a slow connection, may leave late, but in no
second do more leave than were meant to: else it takes another slot, before all who have no connection
yet. The rate is 98 % of the allowed one: 20 ms in a second for slots that are used late and for the
uneven time that requests take to arrive, together.

A pause holds back every process from its next reservation on; slots already reserved are less than a
quarter of a second of requests.
"""

from __future__ import annotations

import asyncio
import time
from collections import deque
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from typing import ParamSpec, Protocol, TypeVar

from stcli.clients.slots import LONGEST_PAUSE_SECONDS, SET_BACK_SECONDS, InUse, Slots
from stcli.errors import Unavailable

Arguments = ParamSpec("Arguments")
Result = TypeVar("Result")

SHARE = 0.98
BLOCK_SECONDS = 0.125
LATE_SECONDS = 0.02
"""Of slots used so late, one more at most falls into a second, and 98 % of 60 leave room for one: none
is left for requests that arrive unevenly. Each process keeps its own count, and none knows how late
another one is."""
WINDOW_SECONDS = 1.0
LOOK_EVERY_SECONDS = 1.0
"""A longer wait looks again, so that a clock that is set back does not prolong it."""

BUSY_SECONDS = 30.0
"""How long another program's lock on the file is waited for."""


class Limiter(Protocol):
    """Hands out the moments at which a request may be sent; each key has its own."""

    async def acquire(self, key: str, per_second: float) -> None:
        """Return when the caller may begin with one request, in the order of the calls."""
        ...

    async def confirm(self, key: str, per_second: float) -> None:
        """Called right before its first byte: return at once, or, where requests that were held up
        would leave in a bunch, at the next moment that is free."""
        ...

    async def pause(self, key: str, seconds: float) -> None:
        """Hold back every request of this key, in all processes, for so long."""
        ...


@dataclass(slots=True)
class _Lane:
    """The slots that this process holds of one key, for one event loop.

    ``waiting``: how many requests wait for a slot. ``taken`` and ``written``: when requests of the last
    ``WINDOW_SECONDS`` were meant to leave, and when they did. ``calm``: no request with a connection
    waits for a slot; they go before the others.
    """

    loop: asyncio.AbstractEventLoop
    turn: asyncio.Lock = field(default_factory=asyncio.Lock)
    first: asyncio.Lock = field(default_factory=asyncio.Lock)
    hurried: int = 0
    waiting: int = 0
    calm: asyncio.Event = field(default_factory=asyncio.Event)
    slots: deque[float] = field(default_factory=deque)
    taken: deque[float] = field(default_factory=deque)
    written: deque[float] = field(default_factory=deque)
    reserved_at: float = 0.0
    pauses: int = 0
    ahead: asyncio.Task[None] | None = None
    """The reservation that is under way."""

    def __post_init__(self) -> None:
        self.calm.set()

    def drop(self) -> None:
        """A pause began: what was meant to leave before it has to ask again."""
        self.forget()
        self.pauses += 1

    def forget(self) -> None:
        self.slots.clear()
        self.taken.clear()
        self.written.clear()

    def has_room(self, now: float) -> bool:
        """Whether one more request may leave: in no window do more leave than were meant to."""
        for moments in (self.taken, self.written):
            while moments and moments[0] <= now - WINDOW_SECONDS:
                moments.popleft()
        return len(self.written) < len(self.taken)


class RateLimiter:
    """The limiter of all processes that share ``slots``.

    ``patience_seconds``: a pause that lasts longer is not waited for; ``acquire`` raises
    ``Unavailable``. It is the time budget of one request (see ``retry.py``): where the request that
    was told the delay gives up, those behind it do not hang.
    """

    def __init__(
        self,
        slots: Slots,
        *,
        clock: Callable[[], float] = time.time,
        sleep: Callable[[float], Awaitable[None]] = asyncio.sleep,
        patience_seconds: float = 300.0,
    ) -> None:
        self._slots = slots
        self._clock = clock
        self._sleep = sleep
        self._patience_seconds = patience_seconds
        self._lanes: dict[str, _Lane] = {}

    async def acquire(self, key: str, per_second: float) -> None:
        lane = self._lane(key)
        lane.waiting += 1
        try:
            async with lane.turn:  # asyncio's lock is fair: first come, first served
                while True:
                    await lane.calm.wait()
                    if await self._try(lane, key, per_second):
                        return
        finally:
            lane.waiting -= 1

    async def confirm(self, key: str, per_second: float) -> None:
        lane = self._lane(key)
        while not lane.has_room(self._clock()):
            await self._take_first(lane, key, per_second)
        lane.written.append(self._clock())

    async def _take_first(self, lane: _Lane, key: str, per_second: float) -> None:
        """The next slot, before all who have no connection yet."""
        lane.hurried += 1
        lane.waiting += 1
        lane.calm.clear()
        try:
            async with lane.first:
                while not await self._try(lane, key, per_second):
                    pass
        finally:
            lane.hurried -= 1
            lane.waiting -= 1
            if not lane.hurried:
                lane.calm.set()

    async def _try(self, lane: _Lane, key: str, per_second: float) -> bool:
        """One look at the next slot; whether it was taken. Nothing is held over an await, so a
        pause or a clock that is set back meanwhile is seen at the next look."""
        few = min(_block(per_second) // 2, lane.waiting - 1)
        if lane.ahead is None and len(lane.slots) <= few:
            lane.ahead = asyncio.create_task(self._fill(lane, key, per_second))
            # What went wrong is for who waits for it just then; later another one is made.
            lane.ahead.add_done_callback(lambda task: task.cancelled() or task.exception())
        if not lane.slots and (ahead := lane.ahead) is not None:
            await asyncio.wait({ahead})
            if not ahead.cancelled() and (error := ahead.exception()) is not None:
                raise error
            return False
        now = self._clock()
        if now < lane.reserved_at - SET_BACK_SECONDS:
            lane.forget()
            return False
        wait = lane.slots[0] - now
        if wait > 0:
            await self._sleep(min(wait, LOOK_EVERY_SECONDS))
            return False
        moment = lane.slots.popleft()
        if wait < -LATE_SECONDS:
            return False
        lane.taken.append(moment)
        return True

    async def _fill(self, lane: _Lane, key: str, per_second: float) -> None:
        """Reserve the next slots."""
        pauses = lane.pauses
        try:
            count = min(_block(per_second), max(lane.waiting - len(lane.slots), 1))
            slots, reserved_at = await _patiently(self._reserve, key, per_second, count)
        finally:
            lane.ahead = None
        if lane.pauses != pauses:
            return
        if reserved_at < lane.reserved_at - SET_BACK_SECONDS:
            lane.forget()
        lane.slots.extend(slots)
        lane.reserved_at = reserved_at

    async def pause(self, key: str, seconds: float) -> None:
        lane = self._lane(key)
        lane.drop()
        await _patiently(
            self._slots.pause, key, min(max(seconds, 0.0), LONGEST_PAUSE_SECONDS), self._clock
        )
        # What was reserved while the pause was being written does not know of it.
        lane.drop()

    def longest_pause_seconds(self) -> float:
        """How long a server that complained is still to be left alone; 0: none is."""
        return self._slots.longest_pause(self._clock)

    def _lane(self, key: str) -> _Lane:
        loop = asyncio.get_running_loop()
        lane = self._lanes.get(key)
        if lane is None or lane.loop is not loop:
            lane = self._lanes[key] = _Lane(loop)
        return lane

    def _reserve(self, key: str, per_second: float, count: int) -> tuple[list[float], float]:
        spacing = 1.0 / (per_second * SHARE)
        taken = self._slots.take(key, count, spacing, self._patience_seconds, self._clock)
        if taken.first is None:
            raise Unavailable(
                "the remote system asked to be left alone for another "
                f"{taken.pause:.0f} seconds (too many requests)",
                "Run again later.",
                status=429,
            )
        return [taken.first + index * spacing for index in range(count)], taken.now


def _block(per_second: float) -> int:
    """How many slots are reserved at a time, where so many requests wait."""
    return max(1, int(BLOCK_SECONDS * per_second * SHARE))


async def _patiently(
    work: Callable[Arguments, Result], *args: Arguments.args, **kwargs: Arguments.kwargs
) -> Result:
    """Do in a thread what may have to wait for another program's lock. Whoever is cancelled meanwhile
    leaves no thread behind that the process would have to wait for."""
    give_up_at = time.monotonic() + BUSY_SECONDS
    while True:
        try:
            return await asyncio.to_thread(work, *args, **kwargs)
        except InUse:
            if time.monotonic() >= give_up_at:
                raise
