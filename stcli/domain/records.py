"""What both systems know, as immutable values; only the fields that stcli uses.

Dates are plain ``date`` where the server sends a day (Referral Factory) and aware UTC ``datetime``
where it sends an instant (ServiceTitan).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import date, datetime
from enum import StrEnum
from types import MappingProxyType
from typing import Any, Generic, NamedTuple, TypeVar

from stcli.domain.ids import (
    BookingId,
    ContactId,
    CustomerId,
    JobId,
    ProviderId,
    RfCampaignId,
    UserId,
)


class PersonType(StrEnum):
    """Referral Factory's own words for the two roles."""

    REFERRER = "person_referring"
    LEAD = "person_invited"


@dataclass(frozen=True, slots=True)
class Person:
    """A user of a Referral Factory campaign: a lead or a referrer."""

    id: UserId
    campaign_id: RfCampaignId
    type: PersonType
    code: str
    first_name: str
    email: str
    url: str
    source: str
    referrer_id: UserId | None = None
    signed_up_at: date | None = None
    qualified_at: date | None = None
    unsubscribed_at: date | None = None
    promotion_code: str = ""
    meta: Mapping[str, str] = field(default_factory=dict)
    referrals: int | None = None
    """How many people this one referred, and how many of them count as qualified, in Referral
    Factory's own counting; None where the read did not ask for it."""
    qualified_referrals: int | None = None


@dataclass(frozen=True, slots=True)
class CampaignField:
    """A field that the campaign's form asks for, by its label."""

    label: str
    type: str
    required: bool


_OWN_LABELS = frozenset({"first name", "email"})


@dataclass(frozen=True, slots=True)
class Campaign:
    """A Referral Factory campaign. ``status`` is launched, draft or paused."""

    id: RfCampaignId
    code: str
    name: str
    url: str
    status: str
    ends_at: str = ""
    referrer_fields: tuple[CampaignField, ...] = ()
    lead_fields: tuple[CampaignField, ...] = ()

    @property
    def referrer_targets(self) -> list[tuple[str, bool]]:
        """The fields of the referrers' form as targets of a mapping, each with whether the campaign
        requires it."""
        return [(f"meta.{one.label}", one.required) for one in form_fields(self.referrer_fields)]


def form_fields(fields: Sequence[CampaignField]) -> list[CampaignField]:
    """The fields of a form that come as ``meta``: those without a label, and those that are
    properties of a user of their own, are left out."""
    return [one for one in fields if one.label and one.label.casefold() not in _OWN_LABELS]


class ContactType(StrEnum):
    """Kinds of a booking's contacts that stcli sends."""

    EMAIL = "Email"
    PHONE = "Phone"
    MOBILE_PHONE = "MobilePhone"


@dataclass(frozen=True, slots=True)
class BookingContact:
    type: ContactType
    value: str


@dataclass(frozen=True, slots=True)
class Address:
    """Where the work is to be done; all but ``unit`` are required together."""

    street: str
    city: str
    state: str
    zip: str
    country: str
    unit: str = ""


@dataclass(frozen=True, slots=True)
class BookingDraft:
    """A booking as it will be asked for; ``external_id`` tells whose it is."""

    source: str
    name: str
    summary: str
    is_first_time_client: bool
    external_id: str
    contacts: tuple[BookingContact, ...] = ()
    address: Address | None = None
    customer_type: str = ""
    start: datetime | None = None
    campaign_id: int | None = None
    business_unit_id: int | None = None
    job_type_id: int | None = None
    priority: str = ""
    send_confirmation_email: bool | None = None


@dataclass(frozen=True, slots=True)
class Booking:
    """A booking as ServiceTitan has it. ``status``: New, Accepted, Converted or Dismissed."""

    id: BookingId
    external_id: str
    provider_id: ProviderId
    status: str
    created_on: datetime
    modified_on: datetime
    job_id: JobId | None = None


@dataclass(frozen=True, slots=True)
class Job:
    """A job as ServiceTitan has it; ``total`` in the tenant's currency, None when not known."""

    id: JobId
    status: str
    created_on: datetime
    modified_on: datetime
    booking_id: BookingId | None = None
    completed_on: datetime | None = None
    job_type_id: int | None = None
    business_unit_id: int | None = None
    tag_type_ids: tuple[int, ...] = ()
    total: float | None = None
    recall_for_id: int | None = None
    warranty_id: int | None = None
    no_charge: bool = False


@dataclass(frozen=True, slots=True)
class JobEvent:
    """One entry of a job's history; ``event_type`` as the server names it."""

    id: int
    job_id: JobId
    event_type: str
    date: datetime


_NOTHING: Mapping[Any, str] = MappingProxyType({})


class Customer(NamedTuple):
    """A customer as ServiceTitan has it. ``type``: Residential or Commercial. ``address`` has the
    parts of ``AddressPart`` that are known; ``custom_fields`` holds values by the field's id.

    A named tuple, as its contacts are, because a first sync makes a million of them: that takes
    less than half of a frozen dataclass's time."""

    id: CustomerId
    name: str
    type: str
    active: bool
    created_on: datetime
    modified_on: datetime
    merged_to_id: CustomerId | None = None
    do_not_mail: bool = False
    do_not_service: bool = False
    tag_type_ids: tuple[int, ...] = ()
    address: Mapping[str, str] = _NOTHING
    custom_fields: Mapping[int, str] = _NOTHING


class CustomerContact(NamedTuple):
    """One way to reach a customer. ``type``: Email, Phone, MobilePhone or Fax; ``marketing`` is
    False where the customer switched marketing off for this contact."""

    id: ContactId
    customer_id: CustomerId
    type: str
    value: str
    active: bool
    modified_on: datetime
    marketing: bool = True


@dataclass(frozen=True, slots=True)
class Suppression:
    """An email address that asked for no marketing; no longer where it is not active."""

    email: str
    active: bool
    modified_on: datetime


@dataclass(frozen=True, slots=True)
class CustomerJob:
    """That a customer had a job, and when: done, or else made."""

    customer_id: CustomerId
    at: datetime


@dataclass(frozen=True, slots=True)
class CustomFieldType:
    """A field that a tenant added to its customers. ``data_type``: Text, Dropdown or Numeric."""

    id: int
    name: str
    data_type: str
    options: tuple[str, ...] = ()


REWARD_METRICS = ("amount", "commission", "coupon", "custom")
"""The kinds of rewards, as Referral Factory's list of due rewards is asked for them."""


@dataclass(frozen=True, slots=True)
class DueReward:
    """A reward that is owed and not yet issued. ``total`` is in the unit of its metric."""

    id: int
    metric: str
    reward_id: int | None
    recipient_id: UserId
    can_be_issued: bool
    coupon: str
    count: int
    total: float


@dataclass(frozen=True, slots=True)
class NamedOption:
    """A choice that a tenant defines: a business unit, a job type, a marketing campaign, a tag."""

    id: int
    name: str
    active: bool = True


Record = TypeVar("Record")


@dataclass(frozen=True, slots=True)
class FeedPage(Generic[Record]):
    """One answer of an export feed; ``token`` goes on where it ended."""

    records: tuple[Record, ...]
    token: str
    has_more: bool


@dataclass(frozen=True, slots=True)
class UserPage:
    """One page of Referral Factory's user list, over all campaigns of the account.

    ``unreadable``: the numbers of users whose entry is none, ``?`` where even that is unknown."""

    people: tuple[Person, ...]
    page: int
    last_page: int
    total: int
    has_next: bool
    unreadable: tuple[str, ...] = ()
