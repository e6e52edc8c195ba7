"""What every pass is handed."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import date, datetime

from stcli.domain.campaign import CampaignConfig, SyncType
from stcli.domain.ids import CampaignName, RunId
from stcli.domain.outcome import Tally
from stcli.store.locks import HeldLease, Locks
from stcli.store.sent_marks import SentMarks
from stcli.store.state import State
from stcli.usecases.passes.concurrency import StateThread, StopSignal
from stcli.usecases.passes.people import PeopleReader
from stcli.usecases.passes.progress import Progress, Unwatched
from stcli.usecases.ports import CrmGateway, ReferralGateway


@dataclass(frozen=True, slots=True)
class PassOptions:
    """How one pass was asked for. ``limit``: at most so many writes to the other systems."""

    limit: int | None = None
    dry_run: bool = False
    allow_mass_change: bool = False
    since: date | None = None
    """``sync``: leave out customers who were created before that day."""
    again: bool = False
    """``sync``: import once more what was imported already."""
    sync_type: SyncType | None = None
    """``sync``: instead of the campaign file's type."""


@dataclass(frozen=True, slots=True)
class Rates:
    """How many calls a second each system allows."""

    servicetitan: float
    referral_factory: float


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
    sent: SentMarks
    in_state: StateThread
    locks: Locks
    held: HeldLease
    run_id: RunId
    stop: StopSignal
    options: PassOptions
    now: Callable[[], datetime]
    doubt_seconds: float
    rates: Rates
    progress: Progress = field(default_factory=Unwatched)
    tally: Tally = field(default_factory=Tally)
