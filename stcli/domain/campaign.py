"""The settings of one campaign: what ``campaigns/NAME.yaml`` says, as one immutable value."""

from __future__ import annotations

from collections.abc import Mapping
from enum import StrEnum
from typing import Annotated, Literal, Self

from pydantic import Field, model_validator

from stcli.domain.connection import Environment, Proof
from stcli.domain.ids import CampaignName, ProviderId, TenantId
from stcli.domain.mapping.rules import Rule
from stcli.domain.settings_types import (
    DURATION,
    Amount,
    Day,
    FilledText,
    PositiveNumber,
    ReadKeys,
    ReadWholeNumber,
    Switch,
    Text,
    Version,
    WholeNumber,
    Written,
    left_out,
)
from stcli.errors import ConfigurationError

FILE_VERSION = 1

Mappings = Annotated[dict[str, Rule], ReadKeys]


class Action(StrEnum):
    """What happens in ServiceTitan when someone joins."""

    NOTHING = "nothing"
    CREATE_BOOKING = "create_booking"


class Tab(StrEnum):
    """The sets of mappings."""

    LEADS = "leads"
    REFERRERS = "referrers"
    SYNC = "sync"
    RETURN = "return"


class ExistingCustomers(StrEnum):
    """What to do with a lead who already is a customer."""

    SEND = "send"
    FLAG = "flag"
    SKIP = "skip"


class Method(StrEnum):
    """When a lead counts as qualified."""

    DO_NOT_QUALIFY = "do_not_qualify"
    BOOKING_BECOMES_JOB = "booking_becomes_job"
    REACHES = "booking_becomes_job_and_reaches"


class OnCancel(StrEnum):
    KEEP = "keep"
    UNQUALIFY = "unqualify"


class ServiceTitanSettings(Written):
    tenant_id: PositiveNumber
    environment: Environment = Environment.PRODUCTION
    client_id: Text | None = None
    booking_provider: PositiveNumber | None = None


class BookingLimits(Written):
    max_creates: WholeNumber | None = None


class BookingTab(Written):
    """The ``leads`` tab."""

    action: Action = Action.NOTHING
    since: Day | None = None
    existing_customers: ExistingCustomers = ExistingCustomers.SEND
    limits: BookingLimits = left_out(BookingLimits)
    fields: Mappings = Field(default_factory=dict)


class ReferrersTab(BookingTab):
    """The ``referrers`` tab; some sources are left out unless they are named here."""

    include_sources: tuple[FilledText, ...] = ()


class Excluded(StrEnum):
    """Kinds of job that need not count."""

    RECALL = "recall"
    WARRANTY = "warranty"
    NO_CHARGE = "no_charge"


class Conditions(Written):
    """Further conditions of a qualification; all must hold. Names or ids, as in a mapping."""

    job_type: tuple[FilledText, ...] = ()
    business_unit: tuple[FilledText, ...] = ()
    tag: tuple[FilledText, ...] = ()
    minimum_total: Amount | None = None
    exclude: tuple[Excluded, ...] = ()


class QualificationLimits(Written):
    max_qualifies: WholeNumber | None = None


LONGEST_HOLD_DAYS = 3650
"""Nobody waits ten years for a reward."""


class Qualification(Written):
    method: Method = Method.DO_NOT_QUALIFY
    property: Literal["job_status"] | None = None
    value: (
        Literal["Scheduled", "Dispatched", "InProgress", "Hold", "Completed", "Canceled"] | None
    ) = None
    hold_days: Annotated[int, Field(ge=0, le=LONGEST_HOLD_DAYS), ReadWholeNumber] = 0
    on_cancel: OnCancel = OnCancel.KEEP
    conditions: Conditions = left_out(Conditions)
    limits: QualificationLimits = left_out(QualificationLimits)

    @model_validator(mode="after")
    def _value_belongs_to_the_method(self) -> Self:
        if self.method is Method.REACHES and self.value is None:
            raise ValueError(
                f"{Method.REACHES} needs a value: the job status that has to be reached"
            )
        return self


class SyncType(StrEnum):
    ONE_TIME = "one_time"
    ONGOING = "ongoing"


Duration = Annotated[str, Field(pattern=DURATION)]


class SyncFilter(Written):
    customer_type: Literal["Residential", "Commercial"] | None = None
    tags: tuple[FilledText, ...] = ()
    created_since: Day | None = None
    has_job_since: Day | None = None


class SyncLimits(Written):
    max_creates: WholeNumber | None = None


class SyncTab(Written):
    """Customers become referrers; return fields go the other way."""

    type: SyncType
    fields: Mappings = Field(default_factory=dict)
    return_fields: Mappings = Field(default_factory=dict)
    filter: SyncFilter = left_out(SyncFilter)
    welcome_mail: Switch = False
    refresh: Duration = "1d"
    limits: SyncLimits = left_out(SyncLimits)


class Consent(Written):
    suppressions: Literal["obey", "ignore"] = "obey"


class WorkerSettings(Written):
    """How often workers run the campaign's passes; cron and systemd have times of their own."""

    every: Duration = "15m"


class CampaignConfig(Written):
    """One campaign file, valid in itself; names in other systems are checked elsewhere."""

    version: Version
    referral_campaign: FilledText
    servicetitan: ServiceTitanSettings
    leads: BookingTab = left_out(BookingTab)
    referrers: ReferrersTab = left_out(ReferrersTab)
    qualification: Qualification = left_out(Qualification)
    sync: SyncTab | None = None
    consent: Consent = left_out(Consent)
    worker: WorkerSettings = left_out(WorkerSettings)

    def booking_tab(self, tab: Tab) -> BookingTab:
        """The settings of ``leads`` or ``referrers``."""
        return self.referrers if tab is Tab.REFERRERS else self.leads

    def rules_of(self, tab: Tab) -> Mapping[str, Rule]:
        """The mappings of a tab, by target; none where the file has no such tab."""
        if tab in (Tab.LEADS, Tab.REFERRERS):
            return self.booking_tab(tab).fields
        if self.sync is None:
            return {}
        return self.sync.fields if tab is Tab.SYNC else self.sync.return_fields

    def require(self, tab: Tab) -> None:
        """``ConfigurationError`` where the file has no place for the mappings of a tab."""
        if tab in (Tab.SYNC, Tab.RETURN) and self.sync is None:
            raise ConfigurationError(
                "the campaign has no sync tab yet", "Begin with: stcli sync setup"
            )

    @property
    def proof(self) -> Proof | None:
        """The values that ``finalize`` proves, or None while they are not complete."""
        settings = self.servicetitan
        if settings.client_id is None or settings.booking_provider is None:
            return None
        return Proof(
            environment=settings.environment,
            tenant_id=TenantId(settings.tenant_id),
            client_id=settings.client_id,
            booking_provider=ProviderId(settings.booking_provider),
        )


class Alarms(Written):
    """Whom a run tells how it ended, and what of it needs a person."""

    ping: FilledText | None = None
    webhook: FilledText | None = None
    command: tuple[FilledText, ...] = ()
    textfile: FilledText | None = None
    failures: PositiveNumber = 10
    quiet: Duration = "14d"
    repeat: Duration = "1d"


class SecretCommand(Written):
    """A program whose output is the secret, as a list of words; no shell is involved."""

    command: tuple[FilledText, ...] = Field(min_length=1)


class AccountSettings(Written):
    """``settings.yaml``: what holds for all campaigns of this home."""

    version: Version = 1
    default_campaign: FilledText | None = None
    secrets: dict[Literal["rf_token", "st_app_key", "st_client_secret"], SecretCommand] = Field(
        default_factory=dict
    )
    alarms: Alarms = left_out(Alarms)


def in_use(config: CampaignConfig) -> tuple[Tab, ...]:
    """The tabs that have something to do."""
    tabs = [
        tab for tab in (Tab.LEADS, Tab.REFERRERS) if config.booking_tab(tab).action != "nothing"
    ]
    if config.sync is not None:
        tabs.append(Tab.SYNC)
        if config.sync.return_fields:
            tabs.append(Tab.RETURN)
    return tuple(tabs)


__all__ = [
    "FILE_VERSION",
    "AccountSettings",
    "Action",
    "BookingTab",
    "CampaignConfig",
    "CampaignName",
    "Conditions",
    "Excluded",
    "ExistingCustomers",
    "Method",
    "OnCancel",
    "Qualification",
    "ReferrersTab",
    "SecretCommand",
    "Tab",
    "in_use",
]
