"""What is remembered of passes, and for how long: on both engines."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta

import pytest

from stcli.domain.ids import CampaignName, RunId
from stcli.store.runs import KEPT, QUIET_KEPT
from stcli.store.state import State
from tests.contract.conftest import Place

NOW = datetime(2026, 11, 23, 12, 0, tzinfo=UTC)
SPRING = CampaignName("spring")
DAY = timedelta(days=1)


@pytest.fixture
def state(place: Place) -> Iterator[State]:
    """A fresh state of its own."""
    opened = State(place.opened())
    yield opened
    opened.close()


def ran(
    state: State,
    ago: timedelta,
    *,
    campaign: str = SPRING,
    kind: str = "leads",
    status: str = "succeeded",
    **counts: int,
) -> RunId:
    """A pass so long ago that counted this; its id."""
    at = NOW - ago
    run_id = RunId(f"{campaign} {kind} {at:%Y-%m-%d %H:%M}")
    state.runs.start(run_id, campaign, kind, at, "here", 1)
    state.runs.finish(run_id, status, 0, at, {"counts": counts}, eventful=any(counts.values()))
    return run_id


def known(state: State) -> set[RunId]:
    return {run.run_id for run in state.runs.newest(100)}


def test_a_pass_with_nothing_to_do_is_forgotten_sooner(state: State) -> None:
    """After a month; one that did something after a year, the first and the newest of all not at all."""
    first = ran(state, QUIET_KEPT + 9 * DAY)
    old_news = ran(state, QUIET_KEPT + 8 * DAY, created=1)
    old_quiet = ran(state, QUIET_KEPT + 7 * DAY)
    other_kind = ran(state, QUIET_KEPT + 7 * DAY, kind="sync")
    other_campaign = ran(state, QUIET_KEPT + 7 * DAY, campaign="autumn")
    recent = ran(state, QUIET_KEPT - DAY)
    assert known(state) == {first, old_news, old_quiet, other_kind, other_campaign, recent}
    now = ran(state, timedelta())
    assert known(state) == {first, old_news, other_kind, other_campaign, recent, now}
    assert [run.run_id for run in state.runs.newest(1, campaign="autumn")] == [other_campaign]


def test_every_pass_is_forgotten_in_the_end(state: State) -> None:
    """Whatever it did; but for the first of all and the newest that did something and that did not."""
    first = ran(state, KEPT + 5 * DAY, created=1)
    for days in (4, 3):
        ran(state, KEPT + days * DAY, created=1)
        ran(state, KEPT + days * DAY + timedelta(hours=1))
    newest = ran(state, KEPT + DAY, created=1)
    quiet = ran(state, KEPT + DAY - timedelta(hours=1))
    now = ran(state, timedelta())
    assert known(state) == {first, newest, quiet, now}
    last = ran(state, -DAY, created=1)
    assert known(state) == {first, newest, now, last}
    after = ran(state, -2 * DAY, created=1)
    assert known(state) == {first, now, last, after}


def test_how_long_there_has_been_nothing_is_known_for_years(state: State) -> None:
    """The newest pass with news stays, however old it is."""
    ran(state, 3 * KEPT)
    ran(state, 2 * KEPT, created=1)
    for days in range(799, 0, -7):
        ran(state, days * DAY)
    assert state.runs.newest_with(SPRING, ["created"]) == NOW - 2 * KEPT


def test_a_pass_that_did_not_end_counts_as_eventful(state: State) -> None:
    """Until it says otherwise: one that was killed is no pass with nothing to do."""
    ran(state, QUIET_KEPT + 3 * DAY)
    killed = RunId("killed")
    state.runs.start(killed, SPRING, "leads", NOW - QUIET_KEPT - 2 * DAY, "here", 1)
    ran(state, timedelta())
    assert killed in known(state)


@pytest.mark.parametrize(
    ("counts", "found"),
    [
        ({"created": 2}, NOW - 20 * DAY),
        ({"qualified": 1}, NOW - 20 * DAY),
        ({"updated": 5}, NOW - 90 * DAY),  # none of those that are asked for: the first pass
        ({"created": 0}, NOW - 90 * DAY),
    ],
)
def test_the_newest_pass_with_news(state: State, counts: dict[str, int], found: datetime) -> None:
    """Without any it is the first pass, however many had nothing to do since."""
    ran(state, 90 * DAY)
    ran(state, 20 * DAY, **counts)
    ran(state, DAY)
    assert state.runs.newest_with(SPRING, ["created", "qualified"]) == found
    assert state.runs.newest_with(CampaignName("autumn"), ["created"]) is None


def test_the_newest_pass_of_each_kind(state: State) -> None:
    """Of one campaign."""
    for kind in ("leads", "sync"):
        ran(state, 2 * DAY, kind=kind)
    newest = {
        "leads": ran(state, DAY),
        "sync": ran(state, 2 * DAY - timedelta(hours=1), kind="sync"),
    }
    ran(state, timedelta(), campaign="autumn")
    assert {kind: run.run_id for kind, run in state.runs.last(SPRING).items()} == newest


def test_what_ended_well_within_a_time(state: State) -> None:
    """A part that failed is no hindrance, a failure is."""
    ran(state, DAY, kind="leads")
    ran(state, DAY, kind="sync", status="partial", failed=1)
    ran(state, DAY, kind="qualify", status="failed")
    ran(state, 3 * DAY, kind="return")
    assert state.runs.done_since(SPRING, NOW - 2 * DAY, NOW) == {"leads", "sync"}
    assert state.runs.done_since(SPRING, NOW - 4 * DAY, NOW) == {"leads", "sync", "return"}
    assert state.runs.done_since(CampaignName("autumn"), NOW - 4 * DAY, NOW) == set()
