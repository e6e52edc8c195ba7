"""The life of a connection: its states, who may move it from one to the next, and its age.

One table holds every legal step. ``attention`` is not stored as a state: it is ``connected`` with a
reason why the last call was refused.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from enum import StrEnum

from stcli.domain.ids import CampaignName, ProviderId, RfCampaignId, TenantId
from stcli.errors import IllegalTransition


class Environment(StrEnum):
    """Which of ServiceTitan's two installations a tenant lives in."""

    PRODUCTION = "production"
    INTEGRATION = "integration"


class State(StrEnum):
    """Where a connection stands, in the words of ``status``."""

    NOT_CONNECTED = "not_connected"
    PENDING = "pending"
    FINALIZE = "finalize"
    REJECTED = "rejected"
    CONNECTED = "connected"
    ATTENTION = "attention"
    DISCONNECTED = "disconnected"


class Step(StrEnum):
    """What a person does to a connection."""

    CONNECT = "connect"
    APPROVE = "approve"
    REJECT = "reject"
    FINALIZE = "finalize"
    DISCONNECT = "disconnect"


_TRANSITIONS: dict[tuple[State, Step], State] = {
    (State.NOT_CONNECTED, Step.CONNECT): State.PENDING,
    (State.REJECTED, Step.CONNECT): State.PENDING,
    (State.DISCONNECTED, Step.CONNECT): State.PENDING,
    (State.PENDING, Step.APPROVE): State.FINALIZE,
    (State.PENDING, Step.REJECT): State.REJECTED,
    (State.FINALIZE, Step.REJECT): State.REJECTED,
    (State.FINALIZE, Step.FINALIZE): State.CONNECTED,
    (State.CONNECTED, Step.FINALIZE): State.CONNECTED,
    (State.PENDING, Step.DISCONNECT): State.DISCONNECTED,
    (State.FINALIZE, Step.DISCONNECT): State.DISCONNECTED,
    (State.REJECTED, Step.DISCONNECT): State.DISCONNECTED,
    (State.CONNECTED, Step.DISCONNECT): State.DISCONNECTED,
    (State.DISCONNECTED, Step.DISCONNECT): State.DISCONNECTED,
}


@dataclass(frozen=True, slots=True)
class Proof:
    """What ``finalize`` proved; the campaign file must still say the same when a pass runs."""

    environment: Environment
    tenant_id: TenantId
    client_id: str
    booking_provider: ProviderId


@dataclass(frozen=True, slots=True)
class Connection:
    """A campaign's connection as the state remembers it."""

    campaign: CampaignName
    state: State
    tenant_id: TenantId | None = None
    environment: Environment = Environment.PRODUCTION
    requested_at: datetime | None = None
    decided_at: datetime | None = None
    decided_by: str = ""
    reason: str = ""
    connected_at: datetime | None = None
    proof: Proof | None = None
    attention: str = ""
    rf_campaign_id: RfCampaignId | None = None

    @property
    def shown_state(self) -> State:
        """The stored state, or ``attention`` where the last call was refused."""
        if self.state is State.CONNECTED and self.attention:
            return State.ATTENTION
        return self.state


def after(connection: Connection, step: Step) -> State:
    """The state that ``step`` leads to, or ``IllegalTransition`` saying what has to come first."""
    state = connection.state
    target = _TRANSITIONS.get((state, step))
    if target is None:
        raise IllegalTransition(
            f"{connection.campaign} is {describe(state)}, so it cannot be {_PARTICIPLES[step]}",
            next_step(connection),
        )
    return target


_PARTICIPLES = {
    Step.CONNECT: "connected again",
    Step.APPROVE: "approved",
    Step.REJECT: "rejected",
    Step.FINALIZE: "finalized",
    Step.DISCONNECT: "disconnected",
}


def describe(state: State) -> str:
    """The state in plain words."""
    return {State.NOT_CONNECTED: "not connected", State.FINALIZE: "waiting for finalize"}.get(
        state, state.value
    )


def next_step(connection: Connection) -> str:
    """What the person does next, as a command."""
    campaign = connection.campaign
    match connection.shown_state:
        case State.NOT_CONNECTED | State.DISCONNECTED:
            return f"Run: stcli connect {campaign} --tenant-id ID"
        case State.PENDING:
            return f"The app's owner approves it with: stcli requests approve {campaign}"
        case State.FINALIZE:
            return f"Run: stcli finalize {campaign}"
        case State.REJECTED:
            return f"Clear up the reason, then run: stcli connect {campaign} --tenant-id ID"
        case State.ATTENTION:
            return f"Prove the values again: stcli finalize {campaign}"
        case State.CONNECTED:
            return f"See where it stands: stcli status {campaign}"


ESCALATE_AFTER_BUSINESS_DAYS = 2
"""Approval typically takes one to two business days (the vendor's article, step 1)."""


def business_days(since: datetime, now: datetime) -> int:
    """Full business days (Monday to Friday, UTC) between two instants; never negative."""
    day: date = since.astimezone(UTC).date()
    end = now.astimezone(UTC).date()
    count = 0
    while day < end:
        day += timedelta(days=1)
        if day.weekday() < 5:
            count += 1
    return count
