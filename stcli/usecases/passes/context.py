"""What every pass is handed."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import datetime

from stcli.domain.campaign import CampaignConfig
from stcli.domain.ids import CampaignName, RunId
from stcli.domain.outcome import Tally
from stcli.store.locks import HeldLease, Locks
from stcli.store.state import State
from stcli.usecases.passes.concurrency import StateThread, StopSignal
from stcli.usecases.passes.people import PeopleReader
from stcli.usecases.ports import CrmGateway, ReferralGateway


@dataclass(frozen=True, slots=True)
class PassOptions:
    """How one pass was asked for. ``limit``: at most so many writes to the other systems."""

    limit: int | None = None
    dry_run: bool = False
    allow_mass_change: bool = False


@dataclass(slots=True)
class PassContext:
    """One pass over one campaign: its settings, both systems, the state, the clock, the tally."""

    campaign: CampaignName
    config: CampaignConfig
    tenant: str
    crm: CrmGateway
    referral: ReferralGateway
    people: PeopleReader
    state: State
    in_state: StateThread
    locks: Locks
    held: HeldLease
    run_id: RunId
    stop: StopSignal
    options: PassOptions
    now: Callable[[], datetime]
    doubt_seconds: float
    tally: Tally = field(default_factory=Tally)
