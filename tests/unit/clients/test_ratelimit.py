"""The limiter under a virtual clock: spacing, stalls, pauses, clocks that jump."""

from __future__ import annotations

import asyncio
import random
import sqlite3
import stat
import threading
import time
from contextlib import suppress
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest

from stcli.clients.ratelimit import AT_ONCE_SECONDS, LATE_PART, Limit, RateLimiter, Turn
from stcli.clients.slots import SlotFile
from stcli.errors import StateError, Unavailable

START = 1_800_000_000.0


def per_second(rate: float, key: str = "key") -> Limit:
    return Limit(key, rate, 1.0)


class VirtualClock:
    """Moves when slept on, and oversleeps when told to: a stalled event loop."""

    def __init__(self) -> None:
        self.now = START
        self.stalls: list[float] = []

    def clock(self) -> float:
        return self.now

    async def sleep(self, seconds: float) -> None:
        assert seconds > 0
        self.now += seconds
        if self.stalls:
            self.now += self.stalls.pop(0)
        await asyncio.sleep(0)


def limiter(folder: Path, time: VirtualClock, **options: Any) -> RateLimiter:
    return RateLimiter(
        SlotFile(folder / "state" / "limits.db"), clock=time.clock, sleep=time.sleep, **options
    )


def moments(rate_limiter: RateLimiter, time: VirtualClock, count: int, rate: float) -> list[float]:
    """When ``count`` calls, one after the other, were let through."""

    async def scenario() -> list[float]:
        result = []
        for _ in range(count):
            await rate_limiter.confirm(await rate_limiter.acquire(per_second(rate)))
            result.append(time.now)
        return result

    return asyncio.run(scenario())


def most_in_window(times: list[float], seconds: float) -> int:
    ordered = sorted(times)
    return max(
        sum(1 for later in ordered[index:] if later < first + seconds)
        for index, first in enumerate(ordered)
    )


@pytest.mark.parametrize("rate", [1, 10, 60])
def test_slots_are_evenly_spaced(tmp_path: Path, rate: int) -> None:
    """Calls are let through at 98 % of the rate, evenly, with no burst at the start."""
    time = VirtualClock()
    times = moments(limiter(tmp_path, time), time, 5 * rate, rate)
    gaps = [later - earlier for earlier, later in pairwise(times)]
    assert min(gaps) == pytest.approx(1 / (rate * 0.98), abs=1e-5)
    assert max(gaps) == pytest.approx(1 / (rate * 0.98), abs=1e-5)


def test_stalled_loop_makes_no_burst(tmp_path: Path) -> None:
    """Slots that passed during a stall are thrown away, never used together."""
    time = VirtualClock()
    time.stalls = [0.0, 0.0, 2.0, 0.0, 0.05, 0.008, 0.0, 0.3]
    times = moments(limiter(tmp_path, time), time, 200, 60)
    # One slot that has hardly passed may be used beside the next; it counts for its own second.
    assert most_in_window(times, 0.001) <= 2
    assert most_in_window(times, 1.0) <= 59
    assert time.stalls == []


def test_two_limiters_on_one_file_share_the_rate(tmp_path: Path) -> None:
    """Two processes (here: two limiters) together do not exceed the rate."""
    time = VirtualClock()
    one, two = limiter(tmp_path, time), limiter(tmp_path, time)

    async def scenario() -> list[float]:
        result = []
        for index in range(120):
            await (one if index % 3 else two).acquire(per_second(60))
            result.append(time.now)
        return result

    assert most_in_window(asyncio.run(scenario()), 1.0) <= 60


def test_keys_do_not_hinder_each_other(tmp_path: Path) -> None:
    """Another key has slots of its own."""
    time = VirtualClock()
    shared = limiter(tmp_path, time)

    async def scenario() -> None:
        await shared.acquire(per_second(0.1, "a"))
        await shared.acquire(per_second(0.1, "b"))

    asyncio.run(scenario())
    assert time.now == START


def test_waiting_calls_are_served_in_order(tmp_path: Path) -> None:
    """First come, first served among the calls of one process."""
    time = VirtualClock()
    shared = limiter(tmp_path, time)

    async def scenario() -> list[int]:
        order: list[int] = []

        async def call(number: int) -> None:
            await shared.acquire(per_second(60))
            order.append(number)

        await asyncio.gather(*(call(number) for number in range(50)))
        return order

    assert asyncio.run(scenario()) == list(range(50))


def test_cancelled_waiter_lets_the_next_one_through(tmp_path: Path) -> None:
    """A cancelled call gives its turn back."""

    async def scenario() -> None:
        shared = RateLimiter(SlotFile(tmp_path / "limits.db"))
        await shared.acquire(per_second(5))
        waiting = asyncio.create_task(shared.acquire(per_second(5)))
        await asyncio.sleep(0.02)
        waiting.cancel()
        await asyncio.wait_for(shared.acquire(per_second(5)), 2)

    asyncio.run(scenario())


@pytest.mark.parametrize(("window", "late", "slots"), [(1, 0.014, 1), (1, 0.016, 2), (60, 0.8, 1)])
def test_a_request_that_is_held_up_for_long_takes_another_slot(
    tmp_path: Path, window: float, late: float, slots: int
) -> None:
    """Two hundredths of the limit's window count as in time: a second's allows less than a minute's."""
    time = VirtualClock()
    shared = limiter(tmp_path, time)
    limit = Limit("key", 20 * window, window)

    async def scenario() -> float:
        turn = await shared.acquire(limit)
        time.now += late
        await shared.confirm(turn)
        return (await shared.acquire(limit)).moment

    assert asyncio.run(scenario()) >= START + slots / (20 * 0.98)
    assert time.now < START + late + (slots + 0.5) / (20 * 0.98)


def test_a_turn_is_good_for_one_request(tmp_path: Path) -> None:
    """Whoever sends twice on it waits for the next slot."""
    time = VirtualClock()
    shared = limiter(tmp_path, time)

    async def scenario() -> None:
        turn = await shared.acquire(per_second(10))
        await shared.confirm(turn)
        assert time.now == START
        await shared.confirm(turn)

    asyncio.run(scenario())
    assert time.now == pytest.approx(START + 1 / 9.8, abs=1e-3)


def test_a_turn_of_before_a_pause_waits_for_its_end(tmp_path: Path) -> None:
    """Its request has not left yet."""
    time = VirtualClock()
    shared = limiter(tmp_path, time)

    async def scenario() -> None:
        turn = await shared.acquire(per_second(10))
        await shared.pause("key", 60)
        await shared.confirm(turn)

    asyncio.run(scenario())
    assert time.now >= START + 60


def test_no_second_has_more_than_is_allowed(tmp_path: Path) -> None:
    """However long each is held up before its first byte, in two processes, and whatever else the
    machine does."""
    chance = random.Random(5)
    rate, left, read = 200, list[float](), [0.0]

    def clock() -> float:
        read[0] = time.time()
        return read[0]

    async def request(shared: RateLimiter) -> None:
        turn = await shared.acquire(per_second(rate))
        if chance.random() < 0.5:
            await asyncio.sleep(chance.choice([0.01, 0.1, 0.4]))
        await shared.confirm(turn)
        left.append(read[0])  # the moment at which it was judged

    async def scenario() -> None:
        both = [RateLimiter(SlotFile(tmp_path / "limits.db"), clock=clock) for _ in range(2)]
        await asyncio.gather(*(request(both[number % 2]) for number in range(500)))

    asyncio.run(scenario())
    assert len(left) == 500
    assert most_in_window(left, 1.0) <= rate * 0.98 * (1 + LATE_PART) + 1


def test_who_has_a_connection_goes_before_those_who_have_none(tmp_path: Path) -> None:
    """A connection that waits behind all others would be closed under it."""
    order: list[str] = []

    async def waits(shared: RateLimiter) -> None:
        await shared.acquire(per_second(20))
        order.append("waits")

    async def scenario() -> None:
        shared = RateLimiter(SlotFile(tmp_path / "limits.db"))
        async with asyncio.TaskGroup() as group:
            for _ in range(30):
                group.create_task(waits(shared))
            await asyncio.sleep(0.01)
            await shared.confirm(Turn(per_second(20), time.time() - 10, time.time()))
            order.append("has a connection")

    asyncio.run(scenario())
    assert len(order) == 31
    assert order.index("has a connection") < 5


@pytest.mark.parametrize("rate", [1, 0.4])
def test_after_a_slow_connection_the_next_one_begins_before_its_moment(
    tmp_path: Path, rate: float
) -> None:
    """So it is in time, and none leaves before its moment; only the first one takes another slot."""
    time = VirtualClock()
    shared = limiter(tmp_path, time)

    async def scenario() -> list[float]:
        waited = []
        for _ in range(4):
            turn = await shared.acquire(per_second(rate))
            time.now += 0.1
            before = time.now
            await shared.confirm(turn)
            assert time.now >= turn.moment - AT_ONCE_SECONDS
            waited.append(time.now - before)
        return waited

    first, *others = asyncio.run(scenario())
    assert first > 0.5
    assert max(others) <= 0.03


def test_many_processes_whose_connections_are_slow_all_come_through(tmp_path: Path) -> None:
    """However long it is until a process has its next slots."""
    left, given_up = 0, 0

    async def process(shared: RateLimiter) -> None:
        nonlocal left, given_up
        for _ in range(4):
            turn = await shared.acquire(per_second(60))
            await asyncio.sleep(0.1)
            try:
                async with asyncio.timeout(2):
                    await shared.confirm(turn)
            except TimeoutError:
                given_up += 1
            else:
                left += 1

    async def scenario() -> None:
        limiters = [RateLimiter(SlotFile(tmp_path / "limits.db")) for _ in range(24)]
        await asyncio.gather(*(process(one) for one in limiters for _ in range(4)))

    asyncio.run(scenario())
    # Only the first ones, before it is known how slow connections are.
    assert given_up <= 24 * 4
    assert left >= 24 * 4 * 3


@pytest.mark.parametrize("seconds", [0.02, 0.2])
def test_slots_that_come_late_are_made_further_ahead(tmp_path: Path, seconds: float) -> None:
    """As from a database far away: a lone request gets one that has not passed."""

    class Far(SlotFile):
        def take(self, *args: Any) -> Any:
            taken = super().take(*args)
            time.sleep(seconds)
            return taken

    async def scenario() -> int:
        shared = RateLimiter(Far(tmp_path / "limits.db"))
        done = 0
        with suppress(TimeoutError):
            async with asyncio.timeout(3):
                while True:
                    await shared.confirm(await shared.acquire(per_second(60)))
                    done += 1
        return done

    assert asyncio.run(scenario()) >= 3


def seconds_after_a_look_ahead(
    shared: RateLimiter, clock: VirtualClock, reserve: Any, later: float = 0.0
) -> float:
    """How long 20 calls take behind a reservation that this did, and that nobody waited for."""

    async def scenario() -> float:
        # Seven are reserved, because seven wait; the fourth looks ahead for who waits behind them.
        lane = shared._lane("key")
        lane.waiting += 6
        for _ in range(3):
            await shared.acquire(per_second(60))
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(shared, "_reserve", reserve)
            await shared.acquire(per_second(60))
            await asyncio.sleep(0.1)
        lane.waiting -= 6
        clock.now += later
        before = clock.now
        for _ in range(20):
            await shared.acquire(per_second(60))
        return clock.now - before

    return asyncio.run(scenario())


@pytest.mark.parametrize("later", [0.0, 3600.0])
def test_a_reservation_that_failed_unseen_is_made_again(tmp_path: Path, later: float) -> None:
    """Whoever comes later is not told what went wrong for nobody."""
    clock = VirtualClock()

    def full(*_: Any) -> Any:
        raise StateError("the disk is full", "Free some space.")

    assert seconds_after_a_look_ahead(limiter(tmp_path, clock), clock, full, later) < 2


def test_a_clock_set_back_while_slots_are_reserved_blocks_nobody(tmp_path: Path) -> None:
    """The slots before and behind it are not of one time."""
    clock = VirtualClock()
    shared = limiter(tmp_path, clock)
    reserve = shared._reserve

    def set_back(limit: Limit, count: int, lead: float) -> tuple[list[float], float]:
        clock.now -= 3600
        return reserve(limit, count, lead)

    assert seconds_after_a_look_ahead(shared, clock, set_back) < 2


@pytest.mark.parametrize(("per_minute", "processes"), [(1, 1), (2, 5), (10, 14)])
def test_a_low_rate_is_kept(tmp_path: Path, per_minute: int, processes: int) -> None:
    """Slots a minute apart are no clock that was set back."""
    clock = VirtualClock()
    shared = [limiter(tmp_path, clock) for _ in range(processes)]

    async def scenario() -> list[float]:
        times = []
        for _ in range(3):
            for one in shared:
                await one.acquire(Limit("key", per_minute, 60.0))
                times.append(clock.now)
        return times

    gaps = [b - a for a, b in pairwise(asyncio.run(scenario()))]
    assert min(gaps) >= 60 / per_minute


def test_pause_holds_back_every_process(tmp_path: Path) -> None:
    """After a pause no slot is given before its end, to the other process neither."""
    time = VirtualClock()
    one, two = limiter(tmp_path, time), limiter(tmp_path, time)

    async def scenario() -> tuple[float, float, float]:
        await one.acquire(per_second(10))
        await one.pause("key", 60)
        paused_at = time.now
        await two.acquire(per_second(10))
        first = time.now
        await one.acquire(per_second(10))
        return paused_at, first, time.now

    paused_at, first, second = asyncio.run(scenario())
    assert first >= paused_at + 60
    assert second > first


def test_pause_reaches_a_call_that_already_waits(tmp_path: Path) -> None:
    """Somebody who waits for a reserved slot waits for the pause too."""

    async def scenario() -> float:
        loop = asyncio.get_running_loop()
        shared = RateLimiter(SlotFile(tmp_path / "limits.db"))
        await shared.acquire(per_second(10))
        waiting = asyncio.create_task(shared.acquire(per_second(10)))
        await asyncio.sleep(0.02)
        began = loop.time()
        await shared.pause("key", 0.6)
        await waiting
        return loop.time() - began

    assert asyncio.run(scenario()) >= 0.59


def test_shorter_pause_does_not_end_a_longer_one(tmp_path: Path) -> None:
    """The end of a pause only moves away."""
    time = VirtualClock()
    shared = limiter(tmp_path, time)

    async def scenario() -> None:
        await shared.pause("key", 100)
        await shared.pause("key", 1)
        await shared.acquire(per_second(10))

    asyncio.run(scenario())
    assert time.now >= START + 100


def test_very_long_pause_is_not_waited_for(tmp_path: Path) -> None:
    """A pause beyond the patience is an outage, so that no pass hangs for an hour."""
    time = VirtualClock()
    shared = limiter(tmp_path, time, patience_seconds=600)

    async def scenario() -> None:
        await shared.pause("key", 3000)
        with pytest.raises(Unavailable, match="3000 seconds"):
            await shared.acquire(per_second(10))
        time.now += 2500
        await shared.acquire(per_second(10))

    asyncio.run(scenario())
    assert time.now >= START + 3000


@pytest.mark.parametrize("back", [2.0, 600.0, 86_400.0])
def test_clock_set_back_blocks_nobody(tmp_path: Path, back: float) -> None:
    """A clock that is set back does not make reserved moments hours away, held ones neither."""
    time = VirtualClock()
    shared = limiter(tmp_path, time)
    moments(shared, time, 3, 10)
    time.now -= back
    began = time.now
    moments(shared, time, 3, 10)
    moments(limiter(tmp_path, time), time, 3, 10)
    assert time.now - began < 2


def test_clock_set_back_keeps_the_rest_of_a_pause(tmp_path: Path) -> None:
    """What was left of a pause is still left."""
    time = VirtualClock()
    shared = limiter(tmp_path, time)
    asyncio.run(shared.pause("key", 60))
    time.now -= 1000
    began = time.now
    moments(shared, time, 1, 10)
    assert 59 <= time.now - began <= 62


def test_clock_set_forward_makes_no_burst(tmp_path: Path) -> None:
    """After a jump forward the slots of before are thrown away."""
    time = VirtualClock()
    shared = limiter(tmp_path, time)
    moments(shared, time, 3, 60)
    time.now += 3600
    times = moments(shared, time, 100, 60)
    assert most_in_window(times, 1.0) <= 60


def test_file_and_folder_are_private(tmp_path: Path) -> None:
    """Nobody else can read or write the limits."""
    time = VirtualClock()
    moments(limiter(tmp_path, time), time, 1, 10)
    file = tmp_path / "state" / "limits.db"
    assert stat.S_IMODE(file.stat().st_mode) == 0o600
    assert stat.S_IMODE(file.parent.stat().st_mode) == 0o700


def test_the_slots_are_asked_for_seldom(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A second of 60 requests that wait reserves about eight times."""
    time = VirtualClock()
    shared = limiter(tmp_path, time)
    opened = []
    connect = sqlite3.connect
    monkeypatch.setattr(sqlite3, "connect", lambda *a, **k: opened.append(1) or connect(*a, **k))

    async def scenario() -> None:
        await asyncio.gather(*(shared.acquire(per_second(60)) for _ in range(56)))

    asyncio.run(scenario())
    # Whether another block was begun in time is up to the threads.
    assert 8 <= len(opened) <= 12


def test_what_nobody_waits_for_is_left_to_others(tmp_path: Path) -> None:
    """Requests of one process that come one by one take no slot that another one could have used."""
    time = VirtualClock()
    one, two = limiter(tmp_path, time), limiter(tmp_path, time)

    async def scenario() -> float:
        for _ in range(20):
            await one.acquire(per_second(60))
            await two.acquire(per_second(60))
        return time.now - START

    assert asyncio.run(scenario()) < 40 / (60 * 0.98)


def test_damaged_file_is_replaced(tmp_path: Path) -> None:
    """A file that is no database does not stop every pass for ever."""
    time = VirtualClock()
    file = tmp_path / "state" / "limits.db"
    file.parent.mkdir()
    file.write_bytes(b"no database at all, only text" * 100)
    assert len(moments(limiter(tmp_path, time), time, 3, 10)) == 3


def test_unusable_place_is_said(tmp_path: Path) -> None:
    """A path that cannot be a file is an error of the state, with its name."""
    (tmp_path / "state" / "limits.db").mkdir(parents=True)
    time = VirtualClock()
    with pytest.raises(StateError, match=r"limits\.db"):
        moments(limiter(tmp_path, time), time, 1, 10)


def test_clock_set_back_drops_the_slots_already_held(tmp_path: Path) -> None:
    """A process that holds slots when the clock is set back does not wait for the old time."""
    time = VirtualClock()
    shared = limiter(tmp_path, time)

    async def scenario() -> float:
        await shared.acquire(per_second(60))
        time.now -= 600
        began = time.now
        await shared.acquire(per_second(60))
        return time.now - began

    assert asyncio.run(scenario()) < 2


def test_slots_reserved_while_a_pause_is_written_are_not_used(tmp_path: Path) -> None:
    """A reservation that was read before the pause and arrives after it is thrown away."""
    time = VirtualClock()
    has_reserved, may_return = threading.Event(), threading.Event()

    class Slow(RateLimiter):
        def _reserve(self, limit: Limit, count: int, lead: float) -> tuple[list[float], float]:
            slots = super()._reserve(limit, count, lead)
            has_reserved.set()
            may_return.wait(5)
            return slots

    shared = Slow(SlotFile(tmp_path / "limits.db"), clock=time.clock, sleep=time.sleep)

    async def scenario() -> None:
        waiting = asyncio.create_task(shared.acquire(per_second(10)))
        await asyncio.to_thread(has_reserved.wait, 5)
        await shared.pause("key", 60)
        may_return.set()
        await waiting

    asyncio.run(scenario())
    assert time.now >= START + 60
