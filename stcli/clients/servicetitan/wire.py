"""ServiceTitan's documents as far as they are used, and the way to and from our records.

Shapes follow the vendor's OpenAPI documents CRM v2, JPM v2, Settings v2 and Marketing v2. Unknown
fields are ignored and everything nullable is tolerated.
"""

from __future__ import annotations

import re
from datetime import UTC, datetime
from typing import Generic, TypeVar

import msgspec

from stcli.domain.ids import BookingId, JobId, ProviderId
from stcli.domain.records import Booking, BookingDraft, Job, JobEvent, NamedOption

Item = TypeVar("Item")

_TOO_PRECISE = re.compile(r"(\.\d{6})\d+")
_ZONE = re.compile(r"(Z|[+-]\d\d:?\d\d)$")


class Page(msgspec.Struct, Generic[Item], rename="camel"):
    data: list[Item]
    has_more: bool = False


class Export(msgspec.Struct, Generic[Item], rename="camel"):
    data: list[Item]
    has_more: bool
    continue_from: str


class BookingWire(msgspec.Struct, rename="camel"):
    id: int
    status: str
    created_on: str
    modified_on: str
    booking_provider_id: int = 0
    external_id: str | None = None
    job_id: int | None = None


class JobWire(msgspec.Struct, rename="camel"):
    id: int
    job_status: str
    created_on: str
    modified_on: str
    booking_id: int | None = None
    completed_on: str | None = None
    job_type_id: int | None = None
    business_unit_id: int | None = None
    tag_type_ids: list[int] | None = None
    total: float | None = None
    recall_for_id: int | None = None
    warranty_id: int | None = None
    no_charge: bool | None = None


class EventWire(msgspec.Struct, rename="camel"):
    id: int
    event_type: str
    date: str


class HistoryWire(msgspec.Struct):
    history: list[EventWire] | None = None


class ExportedHistoryWire(msgspec.Struct, rename="camel"):
    job_id: int
    history: list[EventWire]


class NamedWire(msgspec.Struct):
    id: int
    name: str
    active: bool = True


class TagWire(msgspec.Struct, rename="camel"):
    """A booking provider's tag, which calls its name otherwise than everything else."""

    id: int
    tag_name: str = ""
    active: bool = True


class ProblemWire(msgspec.Struct, rename="camel"):
    """An error body (RFC 7807 with ServiceTitan's additions)."""

    title: str | None = None
    trace_id: str | None = None
    errors: dict[str, list[str]] | None = None


class ContactWire(msgspec.Struct, omit_defaults=True):
    type: str
    value: str


class AddressWire(msgspec.Struct, omit_defaults=True):
    street: str
    city: str
    state: str
    zip: str
    country: str
    unit: str | None = None


class CreateBookingWire(msgspec.Struct, rename="camel", omit_defaults=True):
    """CRM v2, CreateBookingRequest; what is not set is not sent."""

    source: str
    name: str
    summary: str
    is_first_time_client: bool
    external_id: str
    contacts: list[ContactWire] | None = None
    address: AddressWire | None = None
    customer_type: str | None = None
    start: str | None = None
    campaign_id: int | None = None
    business_unit_id: int | None = None
    job_type_id: int | None = None
    priority: str | None = None
    is_send_confirmation_email: bool | None = None


BOOKING = msgspec.json.Decoder(BookingWire)
BOOKINGS = msgspec.json.Decoder(Page[BookingWire])
BOOKINGS_FEED = msgspec.json.Decoder(Export[BookingWire])
JOBS = msgspec.json.Decoder(Page[JobWire])
JOBS_FEED = msgspec.json.Decoder(Export[JobWire])
HISTORY = msgspec.json.Decoder(HistoryWire)
HISTORY_FEED = msgspec.json.Decoder(Export[ExportedHistoryWire])
NAMED = msgspec.json.Decoder(Page[NamedWire])
TAGS = msgspec.json.Decoder(Page[TagWire])
PROBLEM = msgspec.json.Decoder(ProblemWire)


def instant(text: str) -> datetime:
    """An instant in UTC. ServiceTitan may send seven digits of a second, and no zone for UTC."""
    cleaned = _TOO_PRECISE.sub(r"\1", text)
    if not _ZONE.search(cleaned):
        cleaned += "Z"
    return datetime.fromisoformat(cleaned).astimezone(UTC)


def booking(wire: BookingWire) -> Booking:
    return Booking(
        id=BookingId(wire.id),
        external_id=wire.external_id or "",
        provider_id=ProviderId(wire.booking_provider_id),
        status=wire.status,
        created_on=instant(wire.created_on),
        modified_on=instant(wire.modified_on),
        job_id=None if wire.job_id is None else JobId(wire.job_id),
    )


def job(wire: JobWire) -> Job:
    return Job(
        id=JobId(wire.id),
        status=wire.job_status,
        created_on=instant(wire.created_on),
        modified_on=instant(wire.modified_on),
        booking_id=None if wire.booking_id is None else BookingId(wire.booking_id),
        completed_on=None if wire.completed_on is None else instant(wire.completed_on),
        job_type_id=wire.job_type_id,
        business_unit_id=wire.business_unit_id,
        tag_type_ids=tuple(wire.tag_type_ids or ()),
        total=wire.total,
        recall_for_id=wire.recall_for_id,
        warranty_id=wire.warranty_id,
        no_charge=bool(wire.no_charge),
    )


def event(job_id: int, wire: EventWire) -> JobEvent:
    return JobEvent(wire.id, JobId(job_id), wire.event_type, instant(wire.date))


def named(wire: NamedWire) -> NamedOption:
    return NamedOption(wire.id, wire.name, wire.active)


def tag(wire: TagWire) -> NamedOption:
    return NamedOption(wire.id, wire.tag_name, wire.active)


def booking_request(draft: BookingDraft) -> CreateBookingWire:
    """The body that asks for a booking."""
    place = draft.address
    return CreateBookingWire(
        source=draft.source,
        name=draft.name,
        summary=draft.summary,
        is_first_time_client=draft.is_first_time_client,
        external_id=draft.external_id,
        contacts=[ContactWire(c.type.value, c.value) for c in draft.contacts] or None,
        address=(
            None
            if place is None
            else AddressWire(
                place.street, place.city, place.state, place.zip, place.country, place.unit or None
            )
        ),
        customer_type=draft.customer_type or None,
        start=None if draft.start is None else draft.start.strftime("%Y-%m-%dT%H:%M:%SZ"),
        campaign_id=draft.campaign_id,
        business_unit_id=draft.business_unit_id,
        job_type_id=draft.job_type_id,
        priority=draft.priority or None,
        is_send_confirmation_email=draft.send_confirmation_email,
    )


def booking_request_text(draft: BookingDraft) -> str:
    """The same body as indented text, for a preview."""
    return msgspec.json.format(msgspec.json.encode(booking_request(draft)), indent=2).decode()
