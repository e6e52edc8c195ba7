"""The records that the emulated servers keep, in the words of their owners' APIs.

A customer's collections are never changed in place, only replaced: most are empty, and a hundred
thousand customers share the empty ones and their addresses.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import date, datetime
from types import MappingProxyType
from typing import Any

NOTHING: Mapping[Any, Any] = MappingProxyType({})


def _nothing() -> Mapping[Any, Any]:
    return NOTHING


@dataclass(slots=True)
class BookingContact:
    id: int
    type: str
    value: str
    memo: str
    modified_on: datetime


@dataclass(slots=True)
class Booking:
    id: int
    provider_id: int
    source: str
    name: str
    summary: str
    external_id: str
    is_first_time_client: bool
    start: datetime
    created_on: datetime
    modified_on: datetime
    status: str = "New"
    address: dict[str, Any] | None = None
    contacts: list[BookingContact] = field(default_factory=list)
    customer_type: str | None = None
    campaign_id: int | None = None
    business_unit_id: int | None = None
    job_type_id: int | None = None
    priority: str | None = None
    uploaded_images: list[str] | None = None
    send_confirmation_email: bool | None = None
    dismissing_reason_id: int | None = None
    job_id: int | None = None
    active: bool = True


@dataclass(slots=True)
class HistoryEvent:
    id: int
    job_id: int
    event_type: str
    date: datetime
    memo: str = ""
    employee_id: int | None = None


@dataclass(slots=True)
class Job:
    id: int
    number: str
    customer_id: int
    location_id: int
    status: str
    business_unit_id: int
    job_type_id: int
    campaign_id: int
    created_on: datetime
    modified_on: datetime
    priority: str = "Normal"
    summary: str | None = None
    completed_on: datetime | None = None
    recall_for_id: int | None = None
    warranty_id: int | None = None
    no_charge: bool = False
    tag_type_ids: Sequence[int] = ()
    booking_id: int | None = None
    total: float | None = None
    active: bool = True
    history: list[HistoryEvent] = field(default_factory=list)


@dataclass(slots=True)
class CustomerContact:
    id: int
    customer_id: int
    type: str
    value: str
    created_on: datetime
    modified_on: datetime
    memo: str | None = None
    active: bool = True
    do_not_text: bool = False
    marketing_enabled: bool | None = None


@dataclass(slots=True)
class Customer:
    id: int
    name: str
    type: str
    address: Mapping[str, Any]
    created_on: datetime
    modified_on: datetime
    active: bool = True
    merged_to_id: int | None = None
    do_not_mail: bool = False
    do_not_service: bool = False
    national_account: bool = False
    tax_exempt: bool = False
    balance: float = 0.0
    payment_term_id: int | None = None
    credit_limit: float | None = None
    credit_limit_balance: float | None = None
    tag_type_ids: Sequence[int] = ()
    custom_fields: Mapping[int, str] = field(default_factory=_nothing)
    external_data: Mapping[str, Mapping[str, str]] = field(default_factory=_nothing)
    contacts: tuple[int, ...] = ()


@dataclass(slots=True)
class CustomFieldType:
    id: int
    name: str
    data_type: str
    options: list[str]
    created_on: datetime
    modified_on: datetime


@dataclass(slots=True)
class NamedSetting:
    """A business unit, job type, marketing campaign or tag type: a name that can be switched off."""

    id: int
    name: str
    created_on: datetime
    modified_on: datetime
    active: bool = True


@dataclass(slots=True)
class ProviderTag:
    id: int
    tag_name: str
    description: str
    created_on: datetime
    modified_on: datetime
    active: bool = True


@dataclass(slots=True)
class Suppression:
    id: int
    email: str
    reason: str
    created_on: datetime
    modified_on: datetime
    active: bool = True


@dataclass(slots=True)
class ReferralCampaign:
    id: int
    code: str
    name: str
    url: str
    created_at: datetime
    status: str = "launched"
    ends_at: date | None = None
    fields: dict[str, list[dict[str, Any]]] = field(default_factory=dict)


@dataclass(slots=True)
class User:
    id: int
    campaign_id: int
    first_name: str
    email: str
    code: str
    source: str
    type: str
    url: str
    referrer_id: int | None = None
    reach: int = 0
    signed_up_at: date | None = None
    qualified_at: date | None = None
    unsubscribed_at: date | None = None
    promotion_code: str | None = None
    meta: list[dict[str, str | None]] = field(default_factory=list)


@dataclass(slots=True)
class DueReward:
    id: int
    reward_id: int
    recipient_id: int
    lead_id: int
    total: float
