"""Slots are handed out once, in a file for one home or in a table for many hosts."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator
from itertools import pairwise
from pathlib import Path

import pytest

from stcli.clients.slot_table import SlotTable
from stcli.clients.slots import SlotFile, Slots
from stcli.store.postgres import PostgresDatabase, open_postgres

COUNT, SPACING, PATIENCE = 5, 0.01, 30.0
Another = Callable[[], Slots]
"""The same slots, as another process opens them."""


@pytest.fixture(params=["file", "table"])
def another(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Another]:
    if request.param == "file":
        yield lambda: SlotFile(tmp_path / "limits.db")
        return
    where = request.getfixturevalue("postgres")
    opened: list[PostgresDatabase] = []

    def table() -> Slots:
        opened.append(open_postgres(where))
        return SlotTable(opened[-1].beside)

    yield table
    for database in opened:
        database.close()


def take(slots: Slots, key: str = "key", clock: Callable[[], float] = time.time) -> float:
    taken = slots.take(key, COUNT, SPACING, PATIENCE, clock)
    assert taken.first is not None
    return taken.first


def test_two_of_many_reserve_one_after_the_other(another: Another) -> None:
    one, two = another(), another()
    first = take(one)
    assert first == pytest.approx(time.time(), abs=1)
    assert take(two) == pytest.approx(first + COUNT * SPACING, abs=0.005)
    assert take(one) == pytest.approx(first + 2 * COUNT * SPACING, abs=0.005)


def test_keys_do_not_wait_for_each_other(another: Another) -> None:
    slots = another()
    first = [take(slots) for _ in range(20)][-1]
    assert take(slots, "other") < first


def test_many_at_once_never_share_a_slot(another: Another) -> None:
    found: list[float] = []

    def work() -> None:
        slots = another()
        found.extend(take(slots) for _ in range(10))

    threads = [threading.Thread(target=work) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    found.sort()
    assert len(found) == 40
    apart = [after - before for before, after in pairwise(found)]
    assert min(apart) > 0.9 * COUNT * SPACING


def test_a_pause_holds_everybody_back_until_it_is_over(another: Another) -> None:
    one, two = another(), another()
    assert two.longest_pause(time.time) == 0
    one.pause("key", 20, time.time)
    assert two.longest_pause(time.time) == pytest.approx(20, abs=2)
    assert take(two) == pytest.approx(time.time() + 20, abs=2)
    one.pause("key", 1, time.time)
    assert two.longest_pause(time.time) > 10, "a shorter one ends no longer one"


def test_a_pause_longer_than_the_caller_waits_reserves_nothing(another: Another) -> None:
    slots = another()
    slots.pause("key", 100, time.time)
    taken = slots.take("key", COUNT, SPACING, PATIENCE, time.time)
    assert taken.first is None
    assert taken.pause == pytest.approx(100, abs=2)


def test_slots_are_told_in_the_time_of_who_asks(tmp_path: Path, postgres: str) -> None:
    """Two hosts whose clocks differ by an hour keep one rate together."""
    database = open_postgres(postgres)
    slots = SlotTable(database.beside)
    first = take(slots)
    ahead = take(slots, clock=lambda: time.time() + 3600)
    assert ahead - 3600 == pytest.approx(first + COUNT * SPACING, abs=0.01)
    database.close()
