"""One rate for all processes that share a home, or a database.

Evenly spaced slots (the generic cell rate algorithm with a burst of one): a bucket with a capacity
would let that much through on top of a full window. Slots are reserved up to an eighth of a second at
a time, from whoever keeps them for all (see ``slots.py``), so that it is asked about eight times a
second where much is to be sent, and the next ones while half of the last are left, so that no slot
passes meanwhile. No more are reserved than requests wait, because what a process does not use is lost
to all.

A slot whose moment passed more than ``LATE_SECONDS`` ago is thrown away: after a stall nothing is sent
in a bunch. A request that got its slot in time and was held up on its way to the first byte may leave
``LATE_PART`` of the limit's window late; else it takes another slot, before all who have no connection
yet. So in no window do more requests leave than slots are in it and in ``LATE_PART`` of another one,
however many processes there are. The slots are made for less than the allowed rate (``Slots.share``), so
that this is not more than is allowed.

Not to lose a slot with each slow connection, a request may begin with it before its moment, by as much
as the last ones were held up, and waits for it right before the first byte. And slots are reserved so
far ahead as reserving takes: whoever is far from the database would only get moments that have passed.

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

BLOCK_SECONDS = 0.125
LATE_SECONDS = 0.015
LATE_PART = 0.015
"""15 ms of a second, 0.9 s of a minute."""
LONGEST_LEAD_SECONDS = 1.0
"""How far ahead of its moment at most a request begins, and a slot is reserved."""
AT_ONCE_SECONDS = 1e-4
"""Less than a sleep can be told to take."""
LOOK_EVERY_SECONDS = 1.0
"""A longer wait looks again, so that a clock that is set back does not prolong it."""

BUSY_SECONDS = 30.0
"""How long another program's lock on the file is waited for."""


@dataclass(frozen=True, slots=True)
class Limit:
    """So many requests in any ``window_seconds``, by all who have this key."""

    key: str
    requests: float
    window_seconds: float

    @property
    def per_second(self) -> float:
        return self.requests / self.window_seconds


@dataclass(slots=True)
class Turn:
    """A slot that a request was given at ``given_at``: its moment, and how many pauses its process knew
    of then."""

    limit: Limit
    moment: float
    given_at: float
    pauses: int = 0
    is_used: bool = False


class Limiter(Protocol):
    """Hands out the moments at which a request may be sent; each key has its own."""

    async def acquire(self, limit: Limit) -> Turn:
        """Return when the caller may begin with one request, in the order of the calls; it may come to
        its first byte before the turn's moment, and waits for it there."""
        ...

    async def confirm(self, turn: Turn) -> None:
        """Called right before its first byte: return at the turn's moment, or, where that passed too
        long ago or was used, at the next one that is free."""
        ...

    async def pause(self, key: str, seconds: float) -> None:
        """Hold back every request of this key, in all processes, for so long."""
        ...


@dataclass(slots=True)
class _Lane:
    """The slots that this process holds of one key, for one event loop.

    ``waiting``: how many requests wait for a slot. ``held_up``: how long lately they took from their
    turn to the first byte; ``reserving``: how long it took to reserve. ``calm``: no request with a
    connection waits for a slot; they go before the others.
    """

    loop: asyncio.AbstractEventLoop
    turn: asyncio.Lock = field(default_factory=asyncio.Lock)
    first: asyncio.Lock = field(default_factory=asyncio.Lock)
    hurried: int = 0
    waiting: int = 0
    calm: asyncio.Event = field(default_factory=asyncio.Event)
    slots: deque[float] = field(default_factory=deque)
    held_up: float = 0.0
    reserving: float = 0.0
    reserved_at: float = 0.0
    pauses: int = 0
    ahead: asyncio.Task[None] | None = None
    """The reservation that is under way."""

    def __post_init__(self) -> None:
        self.calm.set()

    def drop(self) -> None:
        """A pause began: what was meant to leave before it has to ask again."""
        self.slots.clear()
        self.pauses += 1


def _lately(before: float, now: float) -> float:
    """The longest of late, with some room for a longer one."""
    return min(max(1.25 * now, 0.9 * before), LONGEST_LEAD_SECONDS)


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

    async def acquire(self, limit: Limit) -> Turn:
        lane = self._lane(limit.key)
        lane.waiting += 1
        try:
            async with lane.turn:  # asyncio's lock is fair: first come, first served
                while True:
                    await lane.calm.wait()
                    if (turn := await self._try(lane, limit, lane.held_up)) is not None:
                        return turn
        finally:
            lane.waiting -= 1

    async def confirm(self, turn: Turn) -> None:
        lane = self._lane(turn.limit.key)
        lane.held_up = _lately(lane.held_up, self._clock() - turn.given_at)
        while (wait := self._seconds_until(lane, turn)) != 0:
            if wait is None:
                turn = await self._take_first(lane, turn.limit)
            else:
                await self._sleep(wait)
        turn.is_used = True

    def _seconds_until(self, lane: _Lane, turn: Turn) -> float | None:
        """How long until its moment; None: the slot does not count any more. One that is further ahead
        than any was given before the clock was set back."""
        if turn.is_used or turn.pauses != lane.pauses:
            return None
        wait = turn.moment - self._clock()
        late = LATE_PART * turn.limit.window_seconds
        if not -late <= wait <= LONGEST_LEAD_SECONDS + AT_ONCE_SECONDS:
            return None
        return wait if wait > AT_ONCE_SECONDS else 0.0

    async def _take_first(self, lane: _Lane, limit: Limit) -> Turn:
        """The next slot, before all who have no connection yet."""
        lane.hurried += 1
        lane.waiting += 1
        lane.calm.clear()
        try:
            async with lane.first:
                while (turn := await self._try(lane, limit, 0.0)) is None:
                    pass
                return turn
        finally:
            lane.hurried -= 1
            lane.waiting -= 1
            if not lane.hurried:
                lane.calm.set()

    async def _try(self, lane: _Lane, limit: Limit, early: float) -> Turn | None:
        """One look at the next slot, which may be used ``early`` seconds before its moment; None: it
        was not taken. Nothing is held over an await, so a pause or a clock that is set back meanwhile
        is seen at the next look."""
        few = min(_block(limit) // 2, lane.waiting - 1)
        if lane.ahead is None and len(lane.slots) <= few:
            lane.ahead = asyncio.create_task(self._fill(lane, limit))
            # What went wrong is for who waits for it just then; later another one is made.
            lane.ahead.add_done_callback(lambda task: task.cancelled() or task.exception())
        if not lane.slots and (ahead := lane.ahead) is not None:
            await asyncio.wait({ahead})
            if not ahead.cancelled() and (error := ahead.exception()) is not None:
                raise error
            return None
        now = self._clock()
        if now < lane.reserved_at - SET_BACK_SECONDS:
            lane.slots.clear()
            return None
        wait = lane.slots[0] - now
        if wait - early > AT_ONCE_SECONDS:
            await self._sleep(min(wait - early, LOOK_EVERY_SECONDS))
            return None
        moment = lane.slots.popleft()
        if wait < -LATE_SECONDS:
            return None
        return Turn(limit, moment, now, lane.pauses)

    async def _fill(self, lane: _Lane, limit: Limit) -> None:
        """Reserve the next slots."""
        pauses = lane.pauses
        try:
            count = min(_block(limit), max(lane.waiting - len(lane.slots), 1))
            began = self._clock()
            lead = min(lane.reserving + lane.held_up, LONGEST_LEAD_SECONDS)
            slots, reserved_at = await _patiently(self._reserve, limit, count, lead)
            lane.reserving = _lately(lane.reserving, self._clock() - began)
        finally:
            lane.ahead = None
        if lane.pauses != pauses:
            return
        if reserved_at < lane.reserved_at - SET_BACK_SECONDS:
            lane.slots.clear()
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

    def _reserve(self, limit: Limit, count: int, lead: float) -> tuple[list[float], float]:
        spacing = 1.0 / (limit.per_second * self._slots.share)
        taken = self._slots.take(
            limit.key, count, spacing, self._patience_seconds, self._clock, lead
        )
        if taken.first is None:
            raise Unavailable(
                "the remote system asked to be left alone for another "
                f"{taken.pause:.0f} seconds (too many requests)",
                "Run again later.",
                status=429,
            )
        return [taken.first + index * spacing for index in range(count)], taken.now


def _block(limit: Limit) -> int:
    """How many slots are reserved at a time, where so many requests wait."""
    return max(1, int(BLOCK_SECONDS * limit.per_second))


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
