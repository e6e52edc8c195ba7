"""Leases: who holds, who may take over, and the number that rises."""

from __future__ import annotations

import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, closing
from datetime import UTC, datetime, timedelta

import pytest

from stcli.errors import ExitCode, LeaseLost, Locked, Terminated
from stcli.processes import is_alive, process_start, this_process
from stcli.store import locks as locks_module
from stcli.store.engine import Database
from stcli.store.locks import LEASE_SECONDS, HeldLease, Locks, Process
from tests.contract.conftest import Place, opened

NOW = datetime(2026, 11, 23, 12, tzinfo=UTC)
ME = this_process({"STCLI_HOST_ID": "here"})


@pytest.fixture
def database(place: Place) -> Iterator[Database]:
    """A fresh state, on each engine."""
    opened = place.opened()
    yield opened
    opened.close()


@pytest.fixture
def other_process() -> Iterator[subprocess.Popen[bytes]]:
    """A process that lives until the test ends it."""
    child = subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE)
    yield child
    child.kill()
    child.wait()
    assert child.stdin is not None
    child.stdin.close()


def locks(database: Database, me: Process = ME, now: Callable[[], datetime] = lambda: NOW) -> Locks:
    return Locks(database, me, is_alive, now)


@pytest.fixture
def left_behind(database: Database) -> Iterator[Callable[[Process], None]]:
    """Makes locks whose holder does not release them before the test is over."""
    with ExitStack() as kept:
        yield lambda by: kept.enter_context(locks(database, by).hold("spring", "leads")) and None


def test_a_free_lock_is_held_and_released(database: Database) -> None:
    """Inside the block it has a holder, after it none."""
    mine = locks(database)
    assert mine.holder("spring") is None
    with mine.hold("spring", "leads") as held:
        holder = mine.holder("spring")
        assert holder is not None
        assert (holder.process, holder.kind, holder.since) == (ME, "leads", NOW)
        assert holder.expires == NOW + timedelta(seconds=LEASE_SECONDS)
        held.check()
    assert mine.holder("spring") is None


def test_it_is_released_when_the_pass_fails(database: Database) -> None:
    """An error does not leave the campaign locked."""
    mine = locks(database)
    with pytest.raises(ZeroDivisionError), mine.hold("spring", "leads"):
        raise ZeroDivisionError
    assert mine.holder("spring") is None


def test_a_living_process_keeps_the_lock(
    database: Database,
    other_process: subprocess.Popen[bytes],
    left_behind: Callable[[Process], None],
) -> None:
    """The second one ends with 7, naming kind, campaign, process, host and since when."""
    holder = Process("here", other_process.pid, process_start(other_process.pid))
    left_behind(holder)
    much_later = locks(database, now=lambda: NOW + timedelta(days=3))
    with pytest.raises(Locked) as caught, much_later.hold("spring", "qualify"):
        pass
    assert caught.value.exit_code is ExitCode.LOCKED
    for part in ("leads", "spring", str(holder.pid), "here", "2026-11-23 12:00:00"):
        assert part in caught.value.message


def test_another_campaign_is_not_locked(database: Database) -> None:
    """The lock is the campaign's."""
    mine = locks(database)
    with mine.hold("spring", "leads"), mine.hold("autumn", "leads"):
        assert mine.holder("spring") is not None
        assert mine.holder("autumn") is not None


def test_a_dead_process_is_taken_over_at_once(
    database: Database,
    other_process: subprocess.Popen[bytes],
    left_behind: Callable[[Process], None],
) -> None:
    """No expiry is waited for, and the fence rises so that the dead one stays shut out."""
    holder = Process("here", other_process.pid, process_start(other_process.pid))
    left_behind(holder)
    other_process.kill()
    other_process.wait()
    with locks(database).hold("spring", "qualify") as held:
        assert held.lease.fence > 1
        assert locks(database).holder("spring").process == ME  # type: ignore[union-attr]


def test_a_number_that_was_given_to_another_process_is_dead(
    database: Database,
    other_process: subprocess.Popen[bytes],
    left_behind: Callable[[Process], None],
) -> None:
    """The start tells two processes of one number apart."""
    left_behind(Process("here", other_process.pid, "long ago"))
    with locks(database).hold("spring", "leads") as held:
        assert held.lease.fence > 1


def test_our_own_number_of_before_a_restart_is_dead(
    database: Database, left_behind: Callable[[Process], None]
) -> None:
    """A container that was killed and started again has the same host and the same number."""
    left_behind(Process("here", ME.pid, "before the restart"))
    with locks(database).hold("spring", "leads") as held:
        assert held.lease.fence > 1


def test_this_process_cannot_hold_a_lock_twice(database: Database) -> None:
    """Two threads of one process are two passes."""
    first, second = locks(database), locks(database)
    with first.hold("spring", "leads"), pytest.raises(Locked), second.hold("spring", "leads"):
        pass


@pytest.mark.parametrize(
    ("after", "free"),
    [
        (timedelta(0), False),
        (timedelta(seconds=LEASE_SECONDS - 1), False),
        (timedelta(seconds=LEASE_SECONDS), True),
        (timedelta(days=1), True),
    ],
)
def test_another_host_is_taken_over_only_after_expiry(
    database: Database, after: timedelta, free: bool, left_behind: Callable[[Process], None]
) -> None:
    """Nobody here can tell whether a process there lives; its number here says nothing."""
    left_behind(Process("there", 2**22 + 1, "dead"))
    later = locks(database, now=lambda: NOW + after)
    if free:
        with later.hold("spring", "leads") as held:
            assert held.lease.fence > 1
    else:
        with pytest.raises(Locked, match="there"), later.hold("spring", "leads"):
            pass


@pytest.mark.parametrize(
    ("ahead", "taken"), [(timedelta(minutes=50), False), (timedelta(days=900), True)]
)
def test_a_lease_of_a_wrong_clock_keeps_nobody_out_for_years(
    database: Database, ahead: timedelta, taken: bool
) -> None:
    """Two clocks may differ a little; an end that no lease has comes from one that was wrong."""
    late = Locks(database, Process("there", 1, "s"), lambda process: True, lambda: NOW + ahead)
    mine = Locks(database, Process("here", 2, "s"), lambda process: True, lambda: NOW)
    with late.hold("spring", "leads"):
        if taken:
            with mine.hold("spring", "leads") as held:
                assert held.lease.fence > 1
        else:
            with pytest.raises(Locked), mine.hold("spring", "leads"):
                raise AssertionError("held by two")


def test_the_fence_rises_with_every_holder(database: Database) -> None:
    """Also after a clean release."""
    fences = []
    for _ in range(3):
        with locks(database).hold("spring", "leads") as held:
            fences.append(held.lease.fence)
    assert sorted(set(fences)) == fences


def test_who_lost_the_lock_does_not_release_the_new_one(database: Database) -> None:
    """The block of the slow process ends without harm to the one that took over."""
    slow = locks(database, Process("there", 5, "s"))
    fast = locks(database, now=lambda: NOW + timedelta(minutes=5))
    with slow.hold("spring", "leads"):
        taken = fast.hold("spring", "leads")
        taken.__enter__()  # it has to outlive the other block
    assert fast.holder("spring").process == ME  # type: ignore[union-attr]
    taken.__exit__(None, None, None)
    assert fast.holder("spring") is None


def test_the_lease_is_renewed(database: Database, monkeypatch: pytest.MonkeyPatch) -> None:
    """A long pass keeps its lock for as long as it runs."""
    monkeypatch.setattr(locks_module, "RENEW_EVERY_SECONDS", 0.05)
    clock = [NOW]
    mine = locks(database, now=lambda: clock[0])
    with mine.hold("spring", "leads") as held:
        clock[0] = NOW + timedelta(seconds=40)
        wanted = clock[0] + timedelta(seconds=LEASE_SECONDS)
        deadline = time.monotonic() + 5
        while mine.holder("spring").expires < wanted:  # type: ignore[union-attr]
            assert time.monotonic() < deadline
            time.sleep(0.02)
        held.check()


def keep_checking(held: HeldLease, seconds: float) -> None:
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        held.check()
        time.sleep(0.02)


def test_who_lost_the_lock_hears_of_it(database: Database, monkeypatch: pytest.MonkeyPatch) -> None:
    """``check`` stops a pass before its next remote write."""
    monkeypatch.setattr(locks_module, "RENEW_EVERY_SECONDS", 0.05)
    slow = locks(database, Process("there", 5, "s"))
    fast = locks(database, now=lambda: NOW + timedelta(days=1))
    with (
        slow.hold("spring", "leads") as held,
        fast.hold("spring", "leads"),
        pytest.raises(LeaseLost, match="spring"),
    ):
        keep_checking(held, seconds=5)


def test_a_process_that_slept_too_long_stops(
    database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Without a renewal the lease is over for its holder when it is over for others."""
    monkeypatch.setattr(locks_module, "LEASE_SECONDS", 0.2)
    with locks(database).hold("spring", "leads") as held:
        held.check()
        time.sleep(0.3)
        with pytest.raises(LeaseLost):
            held.check()


def test_waiting_for_the_database_does_not_stretch_the_lease(
    database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Once others may take the lock its holder must not write any more."""
    monkeypatch.setattr(locks_module, "LEASE_SECONDS", 1)
    busy = threading.Event()

    def block() -> None:
        with database.write():
            busy.set()
            time.sleep(0.6)

    blocker = threading.Thread(target=block)
    blocker.start()
    busy.wait()
    mine = locks(database, now=lambda: datetime.now(UTC))
    with mine.hold("spring", "leads") as held:
        blocker.join()
        expires = mine.holder("spring").expires  # type: ignore[union-attr]
        time.sleep(max(0.0, (expires - datetime.now(UTC)).total_seconds()) + 0.05)
        with pytest.raises(LeaseLost):
            held.check()


def test_a_stop_does_not_wait_to_release(database: Database, place: Place) -> None:
    """Another program holds the database: the process ends, and its lock with it."""
    asked = threading.Event()

    def check_stop() -> None:
        if asked.is_set():
            raise Terminated("stopped by SIGTERM")

    stoppable = place.opened(check_stop)
    with ExitStack() as held:
        with locks(stoppable).hold("spring", "leads"):
            held.enter_context(database.write())
            asked.set()
            began = time.monotonic()
        assert time.monotonic() - began < 2
    stoppable.close()
    assert locks(database).holder("spring") is not None


def test_of_many_at_once_one_gets_the_lock(
    database: Database, left_behind: Callable[[Process], None]
) -> None:
    """Two hosts that find an expired lock do not both take it."""
    left_behind(Process("there", 5, "s"))
    later = NOW + timedelta(days=1)
    won: list[int] = []
    done = threading.Event()
    start = threading.Barrier(6)

    def try_it(number: int) -> None:
        mine = locks(database, Process(f"host{number}", 1, "s"), lambda: later)
        start.wait()
        try:
            with mine.hold("spring", "leads") as held:
                won.append(held.lease.fence)
                done.wait(10)
        except Locked:
            lost.release()

    lost = threading.Semaphore(0)
    threads = [threading.Thread(target=try_it, args=(number,)) for number in range(6)]
    for thread in threads:
        thread.start()
    for _ in range(5):
        assert lost.acquire(timeout=10)
    done.set()
    for thread in threads:
        thread.join()
    assert len(won) == 1
    assert won[0] > 1


def test_a_lock_that_could_not_be_released_is_free_for_its_own_process(
    database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As where the database was away just then: a process that goes on for days is not its own rival."""
    mine = locks(database)
    with monkeypatch.context() as away:
        away.setattr(Locks, "_release", lambda *_: None)
        with mine.hold("spring", "leads"):
            pass
    assert mine.holder("spring") is not None
    with mine.hold("spring", "leads") as held:
        held.check()


def test_who_is_unknown_to_a_standby_may_not_write(
    postgres: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The new primary lacks the lease of the last holder; the next one gets another number."""
    monkeypatch.setattr(locks_module, "FENCE_STEP", 2**20)
    with closing(opened(postgres)) as database:
        one = locks(database, Process("one", 1, "s"))
        two = locks(database, Process("two", 2, "s"))
        with one.hold("spring", "leads") as before:
            with database.write() as sql:
                sql.execute("DELETE FROM locks")
            with two.hold("spring", "leads") as after, database.write(after.lease):
                pass
            with pytest.raises(LeaseLost), database.write(before.lease):
                pass
