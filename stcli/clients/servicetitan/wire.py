"""ServiceTitan's documents, only the fields that stcli uses, and what they become.

Field names from the vendor's documents (CRM, JPM, Settings, Marketing v2). Unknown fields are
ignored; a field that may be absent or null there, or was seen so, has a default here.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from operator import attrgetter
from typing import Annotated, Generic, TypeVar

import msgspec

from stcli.domain.ids import BookingId, ContactId, CustomerId, JobId, ProviderId
from stcli.domain.records import (
    Address,
    Booking,
    BookingDraft,
    Customer,
    CustomerContact,
    CustomerJob,
    CustomFieldType,
    Job,
    JobEvent,
    NamedOption,
    Suppression,
)

Item = TypeVar("Item")

Id = Annotated[int, msgspec.Meta(ge=0, le=2**63 - 1)]
"""An identifier (int64); what a database has no room for is none."""


class Page(msgspec.Struct, Generic[Item], rename="camel"):
    """``PaginatedResponse``: ``hasMore`` tells whether another page follows.

    Both are required, as in the vendor's documents: an answer without records, such as an error that
    came with 200, must never look like an empty list.
    """

    data: list[Item]
    has_more: bool


class Feed(msgspec.Struct, Generic[Item], rename="camel"):
    """``ExportResponse``: ``continueFrom`` goes into the next request's ``from``."""

    has_more: bool
    data: list[Item]
    continue_from: str | None = None


class BookingDocument(msgspec.Struct, rename="camel"):
    """``Crm.V2.BookingResponse`` and ``ExportBookingResponse``."""

    id: Id
    created_on: datetime
    modified_on: datetime | None = None
    external_id: str | None = None
    booking_provider_id: Id | None = None
    status: str | None = None
    job_id: Id | None = None

    def record(self) -> Booking:
        return Booking(
            id=BookingId(self.id),
            external_id=self.external_id or "",
            provider_id=ProviderId(self.booking_provider_id or 0),
            status=self.status or "",
            created_on=instant(self.created_on),
            modified_on=instant(self.modified_on or self.created_on),
            job_id=JobId(self.job_id) if self.job_id else None,
        )


class JobDocument(msgspec.Struct, rename="camel"):
    """``Jpm.V2.JobResponse`` and ``ExportJobsResponse``."""

    id: Id
    created_on: datetime
    modified_on: datetime | None = None
    job_status: str | None = None
    booking_id: Id | None = None
    completed_on: datetime | None = None
    job_type_id: Id | None = None
    business_unit_id: Id | None = None
    tag_type_ids: list[int] | None = None
    total: float | None = None
    recall_for_id: Id | None = None
    warranty_id: Id | None = None
    no_charge: bool | None = None

    def record(self) -> Job:
        return Job(
            id=JobId(self.id),
            status=self.job_status or "",
            created_on=instant(self.created_on),
            modified_on=instant(self.modified_on or self.created_on),
            booking_id=BookingId(self.booking_id) if self.booking_id else None,
            completed_on=None if self.completed_on is None else instant(self.completed_on),
            job_type_id=self.job_type_id,
            business_unit_id=self.business_unit_id,
            tag_type_ids=tuple(self.tag_type_ids or ()),
            total=self.total,
            recall_for_id=self.recall_for_id,
            warranty_id=self.warranty_id,
            no_charge=bool(self.no_charge),
        )


class HistoryEntry(msgspec.Struct, rename="camel"):
    """``Jpm.Jobs.JobHistoryItemModel`` and ``ExportJobHistoryEntry``."""

    id: Id
    date: datetime
    event_type: str | None = None


class HistoryDocument(msgspec.Struct, rename="camel"):
    """``Jpm.V2.JobHistoryResponse``: the history of the job that was asked for."""

    history: list[HistoryEntry] | None = None

    def records(self, job_id: JobId) -> list[JobEvent]:
        return _events(job_id, self.history)


class JobHistoryDocument(msgspec.Struct, rename="camel"):
    """``Jpm.V2.ExportJobHistoryResponse``: the entries of one job, grouped."""

    job_id: Id
    history: list[HistoryEntry] | None = None

    def records(self) -> list[JobEvent]:
        return _events(JobId(self.job_id), self.history)


class OptionDocument(msgspec.Struct, rename="camel"):
    """A campaign, business unit, job type or tag type."""

    id: Id
    name: str | None = None
    active: bool | None = None

    def record(self) -> NamedOption:
        return NamedOption(self.id, self.name or "", self.active is not False)


class ProviderTagDocument(msgspec.Struct, rename="camel"):
    """``Crm.V2.GetBookingProviderTagResponse``."""

    id: Id
    tag_name: str | None = None
    active: bool | None = None

    def record(self) -> NamedOption:
        return NamedOption(self.id, self.tag_name or "", self.active is not False)


class CustomerAddressDocument(msgspec.Struct):
    """``Crm.V2.Customers.CustomerAddress``."""

    street: str | None = None
    unit: str | None = None
    city: str | None = None
    state: str | None = None
    zip: str | None = None
    country: str | None = None

    def record(self) -> dict[str, str]:
        """The parts that say something."""
        return {name: value for name, value in zip(_PARTS, _parts_of(self), strict=True) if value}


_PARTS = CustomerAddressDocument.__struct_fields__
_parts_of = attrgetter(*_PARTS)


class CustomFieldDocument(msgspec.Struct, rename="camel"):
    """``Crm.V2.Customers.CustomFieldModel``."""

    type_id: Id
    value: str | None = None


class CustomerDocument(msgspec.Struct, rename="camel"):
    """``Crm.V2.Customers.CustomerResponse`` and ``ExportCustomerResponse``."""

    id: Id
    active: bool
    created_on: datetime
    modified_on: datetime | None = None
    name: str | None = None
    type: str | None = None
    address: CustomerAddressDocument | None = None
    custom_fields: list[CustomFieldDocument] | None = None
    tag_type_ids: list[int] | None = None
    do_not_mail: bool | None = None
    do_not_service: bool | None = None
    merged_to_id: Id | None = None

    def record(self) -> Customer:
        return Customer(
            id=CustomerId(self.id),
            name=self.name or "",
            type=self.type or "",
            active=self.active,
            created_on=instant(self.created_on),
            modified_on=instant(self.modified_on or self.created_on),
            merged_to_id=CustomerId(self.merged_to_id) if self.merged_to_id else None,
            do_not_mail=bool(self.do_not_mail),
            do_not_service=bool(self.do_not_service),
            tag_type_ids=tuple(sorted(self.tag_type_ids or ())),
            address=self.address.record() if self.address else {},
            custom_fields=_values(self.custom_fields) if self.custom_fields else {},
        )


def _values(fields: Sequence[CustomFieldDocument]) -> dict[int, str]:
    """Those that say something, in the order of their ids: the feed's order means nothing."""
    return {
        one.type_id: one.value for one in sorted(fields, key=lambda one: one.type_id) if one.value
    }


class PreferencesDocument(msgspec.Struct, rename="camel"):
    """``Crm.V2.Customers.ContactPreferencesResponse``."""

    marketing_updates_enabled: bool | None = None


class ContactDocument(msgspec.Struct, rename="camel"):
    """``Crm.V2.ExportCustomerContactResponse``. No preferences: nothing was switched off."""

    id: Id
    customer_id: Id
    active: bool
    modified_on: datetime
    type: str | None = None
    value: str | None = None
    preferences: PreferencesDocument | None = None

    def record(self) -> CustomerContact:
        chosen = self.preferences
        return CustomerContact(
            id=ContactId(self.id),
            customer_id=CustomerId(self.customer_id),
            type=self.type or "",
            value=self.value or "",
            active=self.active,
            modified_on=instant(self.modified_on),
            marketing=chosen is None or chosen.marketing_updates_enabled is not False,
        )


class SuppressionDocument(msgspec.Struct, rename="camel"):
    """``Marketing.V2.SuppressionResponse``."""

    email: str
    active: bool
    modified_on: datetime

    def record(self) -> Suppression:
        return Suppression(self.email, self.active, instant(self.modified_on))


class CustomerJobDocument(msgspec.Struct, rename="camel"):
    """What ``Jpm.V2.ExportJobsResponse`` tells of a job's customer. A canceled job is none."""

    created_on: datetime
    customer_id: Id | None = None
    job_status: str | None = None
    completed_on: datetime | None = None

    def records(self) -> Sequence[CustomerJob]:
        if not self.customer_id or self.job_status == "Canceled":
            return ()
        at = instant(self.completed_on or self.created_on)
        return (CustomerJob(CustomerId(self.customer_id), at),)


class CustomFieldTypeDocument(msgspec.Struct, rename="camel"):
    """``Crm.V2.Customers.CustomFieldTypeResponse``."""

    id: Id
    name: str | None = None
    data_type: str | None = None
    data_type_options: list[str] | None = None

    def record(self) -> CustomFieldType:
        return CustomFieldType(
            self.id, self.name or "", self.data_type or "", tuple(self.data_type_options or ())
        )


class _FieldValue(msgspec.Struct, rename="camel"):
    type_id: Id
    value: str


class _UpdateCustomFields(msgspec.Struct, rename="camel"):
    """``Crm.V2.Customers.UpdateCustomerRequest``, nothing but the custom fields of it."""

    custom_fields: list[_FieldValue]


class _Contact(msgspec.Struct):
    type: str
    value: str


class _Address(msgspec.Struct, omit_defaults=True):
    street: str
    city: str
    state: str
    zip: str
    country: str
    unit: str = ""


class _CreateBooking(msgspec.Struct, rename="camel", omit_defaults=True):
    """``Crm.V2.CreateBookingRequest``; unknown properties are refused, and what is not set is not
    sent."""

    source: str
    name: str
    summary: str
    is_first_time_client: bool
    external_id: str
    contacts: list[_Contact] | None = None
    address: _Address | None = None
    customer_type: str | None = None
    start: str | None = None
    campaign_id: Id | None = None
    business_unit_id: Id | None = None
    job_type_id: Id | None = None
    priority: str | None = None
    is_send_confirmation_email: bool | None = None


_ENCODER = msgspec.json.Encoder()

BOOKING = msgspec.json.Decoder(BookingDocument)
BOOKINGS = msgspec.json.Decoder(Page[BookingDocument])
BOOKINGS_FEED = msgspec.json.Decoder(Feed[BookingDocument])
JOBS = msgspec.json.Decoder(Page[JobDocument])
JOBS_FEED = msgspec.json.Decoder(Feed[JobDocument])
HISTORY = msgspec.json.Decoder(HistoryDocument)
HISTORY_FEED = msgspec.json.Decoder(Feed[JobHistoryDocument])
OPTIONS = msgspec.json.Decoder(Page[OptionDocument])
PROVIDER_TAGS = msgspec.json.Decoder(Page[ProviderTagDocument])
CUSTOMER = msgspec.json.Decoder(CustomerDocument)
CUSTOMERS_FEED = msgspec.json.Decoder(Feed[CustomerDocument])
CONTACTS_FEED = msgspec.json.Decoder(Feed[ContactDocument])
CUSTOMER_JOBS_FEED = msgspec.json.Decoder(Feed[CustomerJobDocument])
SUPPRESSIONS = msgspec.json.Decoder(Page[SuppressionDocument])
CUSTOM_FIELD_TYPES = msgspec.json.Decoder(Page[CustomFieldTypeDocument])


def instant(at: datetime) -> datetime:
    """``at`` in UTC; ServiceTitan's times are UTC even where they do not say so."""
    if at.tzinfo is UTC:
        return at
    if at.tzinfo is None:
        return at.replace(tzinfo=UTC)
    try:
        return at.astimezone(UTC)
    except OverflowError:
        # Hours from the first or the last moment there is: one odd record must not end a feed.
        return at.replace(tzinfo=UTC)


def booking_request(draft: BookingDraft) -> bytes:
    """The body of ``POST …/booking-provider/{booking_provider}/bookings``."""
    return _ENCODER.encode(
        _CreateBooking(
            source=draft.source,
            name=draft.name,
            summary=draft.summary,
            is_first_time_client=draft.is_first_time_client,
            external_id=draft.external_id,
            contacts=[_Contact(c.type.value, c.value) for c in draft.contacts] or None,
            address=None if draft.address is None else _address(draft.address),
            customer_type=draft.customer_type or None,
            start=None if draft.start is None else _utc_text(draft.start),
            campaign_id=draft.campaign_id,
            business_unit_id=draft.business_unit_id,
            job_type_id=draft.job_type_id,
            priority=draft.priority or None,
            is_send_confirmation_email=draft.send_confirmation_email,
        )
    )


def custom_fields_request(values: Mapping[int, str]) -> bytes:
    """The body of ``PATCH …/customers/{id}`` that writes these custom fields and nothing else."""
    return _ENCODER.encode(
        _UpdateCustomFields([_FieldValue(number, value) for number, value in values.items()])
    )


def _address(address: Address) -> _Address:
    return _Address(
        street=address.street,
        city=address.city,
        state=address.state,
        zip=address.zip,
        country=address.country,
        unit=address.unit,
    )


def _utc_text(at: datetime) -> str:
    return instant(at).replace(tzinfo=None).isoformat() + "Z"


def _events(job_id: JobId, entries: Sequence[HistoryEntry] | None) -> list[JobEvent]:
    return [
        JobEvent(entry.id, job_id, entry.event_type or "", instant(entry.date))
        for entry in entries or ()
    ]
