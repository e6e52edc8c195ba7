"""What an operator asks about the sync: who is enrolled and who is not, and to begin again."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime

from stcli.domain.campaign import CampaignConfig, SyncTab
from stcli.domain.enrolment import EnrolmentState
from stcli.domain.ids import CampaignName
from stcli.errors import SafetyStop
from stcli.store.canaries import CanaryState
from stcli.store.feeds import Feed
from stcli.store.locks import Locks
from stcli.store.state import State
from stcli.usecases.passes.subject import tenant_key
from stcli.usecases.report import SCHEMA_VERSION, instant


@dataclass(frozen=True, slots=True)
class SyncOverview:
    """Where the sync of a campaign stands. ``customers``: known of the tenant; ``left_out``: not
    enrolled, or left alone since, by reason."""

    campaign: CampaignName
    settings: SyncTab | None
    customers: int
    enrolled: int
    linked: int
    waiting: int
    in_doubt: int
    refused: int
    left_out: dict[str, int]
    imported_at: datetime | None
    has_read: bool

    def document(self) -> dict[str, object]:
        settings = self.settings
        return {
            "schema_version": SCHEMA_VERSION,
            "campaign": self.campaign,
            "type": None if settings is None else settings.type.value,
            "customers": self.customers,
            "enrolled": self.enrolled,
            "linked": self.linked,
            "waiting": self.waiting,
            "in_doubt": self.in_doubt,
            "refused": self.refused,
            "left_out": self.left_out,
            "imported_at": instant(self.imported_at),
        }


def overview(name: CampaignName, config: CampaignConfig, state: State) -> SyncOverview:
    """Count from the state alone; nothing is asked of the two systems."""
    counts = state.enrolments.counts(name)
    left_out: dict[str, int] = {}
    for (_, reason), number in counts.items():
        if reason:
            left_out[reason] = left_out.get(reason, 0) + number

    def count(*states: EnrolmentState) -> int:
        return sum(n for (one, reason), n in counts.items() if one in states and not reason)

    tenant = tenant_key(config)
    return SyncOverview(
        campaign=name,
        settings=config.sync,
        customers=state.customers.count(tenant),
        enrolled=count(EnrolmentState.ENROLLED),
        linked=count(EnrolmentState.LINKED),
        waiting=count(EnrolmentState.PLANNED),
        in_doubt=count(EnrolmentState.INTENT),
        refused=count(EnrolmentState.REFUSED),
        left_out=left_out,
        imported_at=state.enrolments.progress(name).imported_at,
        has_read=state.feeds.cursor(tenant, Feed.CUSTOMERS) is not None,
    )


def reset(
    name: CampaignName,
    config: CampaignConfig,
    state: State,
    locks: Locks,
    *,
    discard_lost_fields: bool = False,
) -> None:
    """Read the customers from the beginning next time, import again, write every return field
    again. Who is enrolled stays known: nobody is enrolled twice.

    ``SafetyStop``: a customer's custom fields that a write-back emptied are not put back yet, and the
    state has the only copy of them; ``discard_lost_fields`` gives them up.
    """
    tenant = tenant_key(config)
    with locks.hold(name, "sync") as held:
        canary = state.canaries.of(tenant)
        if canary is not None and canary.state is CanaryState.FAILED and canary.before:
            fields = ", ".join(f"#{key}" for key in sorted(canary.before))
            if not discard_lost_fields:
                raise SafetyStop(
                    f"custom fields {fields} of customer {canary.customer_id} were emptied and are "
                    "not put back yet",
                    f"Put them back with: stcli run {name}. If ServiceTitan refuses them for good, "
                    "give them up with --discard-lost-fields.",
                )
        state.customers.forget_feeds(tenant)
        state.canaries.forget(tenant)
        state.enrolments.reset(held.lease, name)
