"""The life of a connection: every legal and every illegal step, and its age."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta, timezone
from itertools import product

import pytest

from stcli.domain.connection import (
    ESCALATE_AFTER_BUSINESS_DAYS,
    Connection,
    State,
    Step,
    after,
    business_days,
    describe,
    next_step,
)
from stcli.domain.ids import CampaignName
from stcli.errors import ExitCode, IllegalTransition

LEGAL = {
    ("not_connected", "connect"): "pending",
    ("rejected", "connect"): "pending",
    ("disconnected", "connect"): "pending",
    ("pending", "approve"): "finalize",
    ("pending", "reject"): "rejected",
    ("finalize", "reject"): "rejected",
    ("finalize", "finalize"): "connected",
    ("connected", "finalize"): "connected",
    ("pending", "disconnect"): "disconnected",
    ("finalize", "disconnect"): "disconnected",
    ("rejected", "disconnect"): "disconnected",
    ("connected", "disconnect"): "disconnected",
    ("disconnected", "disconnect"): "disconnected",
}
STORED = [state for state in State if state is not State.ATTENTION]
ILLEGAL = [
    (state, step) for state, step in product(STORED, Step) if (state.value, step.value) not in LEGAL
]


def connection(state: State, attention: str = "") -> Connection:
    return Connection(CampaignName("spring"), state, attention=attention)


@pytest.mark.parametrize(("state", "step", "target"), [(*k, v) for k, v in LEGAL.items()])
def test_legal_step_leads_to_its_state(state: str, step: str, target: str) -> None:
    """Every step of the product's life line leads where the product says."""
    assert after(connection(State(state)), Step(step)) is State(target)


@pytest.mark.parametrize(("state", "step"), ILLEGAL)
def test_illegal_step_is_refused_with_the_next_one(state: State, step: Step) -> None:
    """Every other step is refused with exit 3, naming the campaign, its state and the way on."""
    with pytest.raises(IllegalTransition) as caught:
        after(connection(state), step)
    assert caught.value.exit_code is ExitCode.CONFIGURATION
    assert "spring" in caught.value.message
    assert describe(state) in caught.value.message
    assert caught.value.hint == next_step(connection(state))


def test_all_pairs_are_covered() -> None:
    """Legal and illegal pairs together are all there are."""
    assert len(LEGAL) + len(ILLEGAL) == len(STORED) * len(Step)


def test_a_connected_one_with_attention_may_be_finalized_and_disconnected() -> None:
    """Attention blocks nothing: it is connected with a reason."""
    troubled = connection(State.CONNECTED, "the token was refused")
    assert after(troubled, Step.FINALIZE) is State.CONNECTED
    assert after(troubled, Step.DISCONNECT) is State.DISCONNECTED


@pytest.mark.parametrize("state", STORED)
@pytest.mark.parametrize("reason", ["", "refused"])
def test_shown_state_is_attention_only_while_connected(state: State, reason: str) -> None:
    """Attention is shown for a connected campaign whose last call was refused, and for no other."""
    expected = State.ATTENTION if state is State.CONNECTED and reason else state
    assert connection(state, reason).shown_state is expected


@pytest.mark.parametrize(
    ("state", "command"),
    [
        (State.NOT_CONNECTED, "stcli connect spring"),
        (State.DISCONNECTED, "stcli connect spring"),
        (State.REJECTED, "stcli connect spring"),
        (State.PENDING, "stcli requests approve spring"),
        (State.FINALIZE, "stcli finalize spring"),
        (State.CONNECTED, "stcli status spring"),
    ],
)
def test_next_step_names_a_command(state: State, command: str) -> None:
    """Each state tells the command that leads on."""
    assert command in next_step(connection(state))


def test_next_step_of_attention_is_finalize() -> None:
    """What is refused is proven again."""
    assert "stcli finalize spring" in next_step(connection(State.CONNECTED, "refused"))


@pytest.mark.parametrize(
    ("since", "now", "days"),
    [
        ("2026-11-23T09:00", "2026-11-23T23:59", 0),  # Monday
        ("2026-11-23T09:00", "2026-11-24T09:00", 1),
        ("2026-11-23T09:00", "2026-11-25T09:00", 2),
        ("2026-11-27T09:00", "2026-11-28T09:00", 0),  # Friday to Saturday
        ("2026-11-27T09:00", "2026-11-29T09:00", 0),
        ("2026-11-27T09:00", "2026-11-30T09:00", 1),  # Friday to Monday
        ("2026-11-28T09:00", "2026-11-30T09:00", 1),
        ("2026-11-23T09:00", "2026-11-30T09:00", 5),
        ("2026-12-31T09:00", "2027-01-04T09:00", 2),
        ("2026-11-25T09:00", "2026-11-23T09:00", 0),  # a clock set back
    ],
)
def test_business_days_leave_out_the_weekend(since: str, now: str, days: int) -> None:
    """Saturdays and Sundays do not age a request."""
    first, last = (datetime.fromisoformat(text).replace(tzinfo=UTC) for text in (since, now))
    assert business_days(first, last) == days


def test_business_days_are_counted_in_utc() -> None:
    """The same two instants give the same age whatever zone they are written in."""
    zone = timezone(timedelta(hours=-10))
    since = datetime(2026, 11, 22, 20, 0, tzinfo=zone)  # Monday 06:00 UTC
    now = datetime(2026, 11, 23, 20, 0, tzinfo=zone)
    assert business_days(since, now) == 1
    assert business_days(since, now) == business_days(since.astimezone(UTC), now.astimezone(UTC))


def test_escalation_starts_after_two_business_days() -> None:
    """The vendor says one to two business days."""
    assert ESCALATE_AFTER_BUSINESS_DAYS == 2
