"""The data of one ServiceTitan tenant, with the indexes and feeds that its routes read.

Whoever changes a record says so through `touch_...`: that dates the change and moves the record to
the end of its feed. Callers hold the world's lock.
"""

from collections import defaultdict
from collections.abc import Iterator
from datetime import datetime
from typing import Any

from stcli.sandbox.clock import VirtualClock
from stcli.sandbox.feed import ChangeFeed
from stcli.sandbox.records import (
    Booking,
    BookingContact,
    Customer,
    CustomerContact,
    CustomFieldType,
    HistoryEvent,
    Job,
    NamedSetting,
    ProviderTag,
    Suppression,
)

JOB_STATUSES = ("Scheduled", "Dispatched", "InProgress", "Hold", "Completed", "Canceled")
OFFICE_USER_ID = 311


class Tenant:
    def __init__(self, tenant_id: int, clock: VirtualClock, ids: Iterator[int]) -> None:
        self.id = tenant_id
        self.clock = clock
        self._ids = ids
        self.bookings: dict[int, Booking] = {}
        self.jobs: dict[int, Job] = {}
        self.events: dict[int, HistoryEvent] = {}
        self.customers: dict[int, Customer] = {}
        self.contacts: dict[int, CustomerContact] = {}
        self.custom_fields: dict[int, CustomFieldType] = {}
        self.provider_tags: dict[int, ProviderTag] = {}
        self.business_units: dict[int, NamedSetting] = {}
        self.job_types: dict[int, NamedSetting] = {}
        self.campaigns: dict[int, NamedSetting] = {}
        self.tag_types: dict[int, NamedSetting] = {}
        self.suppressions: dict[int, Suppression] = {}
        self.bookings_by_external_id: defaultdict[str, list[int]] = defaultdict(list)
        self.bookings_by_provider: defaultdict[int, list[int]] = defaultdict(list)
        self.jobs_by_booking: defaultdict[int, list[int]] = defaultdict(list)
        self.jobs_by_customer: defaultdict[int, list[int]] = defaultdict(list)
        self.booking_feed = ChangeFeed(f"{tenant_id}/bookings")
        self.job_feed = ChangeFeed(f"{tenant_id}/jobs")
        self.job_history_feed = ChangeFeed(f"{tenant_id}/job-history")
        self.event_feed = ChangeFeed(f"{tenant_id}/job-history-events")
        self.customer_feed = ChangeFeed(f"{tenant_id}/customers")
        self.contact_feed = ChangeFeed(f"{tenant_id}/customers/contacts")

    def next_id(self) -> int:
        return next(self._ids)

    # Bookings

    def add_booking(self, provider_id: int, wanted: dict[str, Any]) -> Booking:
        """`wanted` has the property names of a booking request and has been checked."""
        now = self.clock.tick()
        booking = Booking(
            id=self.next_id(),
            provider_id=provider_id,
            source=wanted["source"],
            name=wanted["name"],
            summary=wanted["summary"],
            external_id=wanted["externalId"],
            is_first_time_client=wanted["isFirstTimeClient"],
            start=wanted.get("start") or now,
            created_on=now,
            modified_on=now,
            address=wanted.get("address"),
            customer_type=wanted.get("customerType"),
            campaign_id=wanted.get("campaignId"),
            business_unit_id=wanted.get("businessUnitId"),
            job_type_id=wanted.get("jobTypeId"),
            priority=wanted.get("priority"),
            uploaded_images=wanted.get("uploadedImages"),
            send_confirmation_email=wanted.get("isSendConfirmationEmail"),
        )
        for contact in wanted.get("contacts") or ():
            self.add_booking_contact(booking, contact)
        self.bookings[booking.id] = booking
        self.bookings_by_external_id[booking.external_id].append(booking.id)
        self.bookings_by_provider[provider_id].append(booking.id)
        self.booking_feed.changed(booking.id, now)
        return booking

    def add_booking_contact(self, booking: Booking, wanted: dict[str, Any]) -> BookingContact:
        contact = BookingContact(
            id=self.next_id(),
            type=wanted["type"],
            value=wanted["value"],
            memo=wanted.get("memo") or "",
            modified_on=self.clock.now(),
        )
        booking.contacts.append(contact)
        return contact

    def touch_booking(self, booking: Booking) -> None:
        booking.modified_on = self.clock.tick()
        self.booking_feed.changed(booking.id, booking.modified_on)

    def rename_booking(self, booking: Booking, external_id: str) -> None:
        self.bookings_by_external_id[booking.external_id].remove(booking.id)
        booking.external_id = external_id
        self.bookings_by_external_id[external_id].append(booking.id)

    # Jobs

    def new_job(
        self,
        customer_id: int,
        when: datetime,
        status: str,
        *,
        business_unit_id: int | None = None,
        job_type_id: int | None = None,
        campaign_id: int | None = None,
    ) -> Job:
        """A job that is not in the lists yet; what is not said is the first of its list."""
        number = self.next_id()
        return Job(
            id=number,
            number=str(number),
            customer_id=customer_id,
            location_id=self.next_id(),
            status=status,
            business_unit_id=business_unit_id or next(iter(self.business_units)),
            job_type_id=job_type_id or next(iter(self.job_types)),
            campaign_id=campaign_id or next(iter(self.campaigns)),
            created_on=when,
            modified_on=when,
        )

    def add_job(self, job: Job) -> Job:
        self.jobs[job.id] = job
        if job.booking_id is not None:
            self.jobs_by_booking[job.booking_id].append(job.id)
        self.jobs_by_customer[job.customer_id].append(job.id)
        self.job_feed.changed(job.id, job.modified_on)
        return job

    def touch_job(self, job: Job) -> None:
        job.modified_on = self.clock.tick()
        self.job_feed.changed(job.id, job.modified_on)

    def bind_job(self, job: Job, booking_id: int | None) -> None:
        if job.booking_id is not None:
            self.jobs_by_booking[job.booking_id].remove(job.id)
        job.booking_id = booking_id
        if booking_id is not None:
            self.jobs_by_booking[booking_id].append(job.id)

    def add_event(
        self, job: Job, event_type: str, memo: str = "", at: datetime | None = None
    ) -> HistoryEvent:
        """`at` may lie in the past only while nothing newer is in the feeds (sample data)."""
        event = HistoryEvent(
            id=self.next_id(),
            job_id=job.id,
            event_type=event_type,
            date=at or self.clock.tick(),
            memo=memo,
            employee_id=OFFICE_USER_ID,
        )
        job.history.append(event)
        self.events[event.id] = event
        self.job_history_feed.changed(job.id, event.date)
        self.event_feed.changed(event.id, event.date)
        return event

    # Customers

    def add_customer(self, customer: Customer) -> Customer:
        self.customers[customer.id] = customer
        self.customer_feed.changed(customer.id, customer.modified_on)
        return customer

    def touch_customer(self, customer: Customer) -> None:
        customer.modified_on = self.clock.tick()
        self.customer_feed.changed(customer.id, customer.modified_on)

    def add_contact(self, contact: CustomerContact) -> CustomerContact:
        self.contacts[contact.id] = contact
        self.customers[contact.customer_id].contacts += (contact.id,)
        self.contact_feed.changed(contact.id, contact.modified_on)
        return contact

    def touch_contact(self, contact: CustomerContact) -> None:
        contact.modified_on = self.clock.tick()
        self.contact_feed.changed(contact.id, contact.modified_on)

    def merge_customer(self, customer: Customer, survivor: Customer) -> None:
        """Contacts and jobs go over to the survivor and are dated; the survivor itself is not.

        Whoever follows the customers alone does not hear what the survivor gained.
        """
        for key in customer.contacts:
            contact = self.contacts[key]
            contact.customer_id = survivor.id
            self.touch_contact(contact)
        for job_id in self.jobs_by_customer.pop(customer.id, ()):
            job = self.jobs[job_id]
            job.customer_id = survivor.id
            self.jobs_by_customer[survivor.id].append(job_id)
            self.touch_job(job)
        survivor.contacts += customer.contacts
        customer.contacts = ()
        customer.active = False
        customer.merged_to_id = survivor.id
        self.touch_customer(customer)

    # Suppressed emails

    def suppress(self, email: str, reason: str, at: datetime | None = None) -> Suppression:
        when = at or self.clock.tick()
        suppression = Suppression(self.next_id(), email, reason, when, when)
        self.suppressions[suppression.id] = suppression
        return suppression

    def touch_suppression(self, suppression: Suppression) -> None:
        suppression.modified_on = self.clock.tick()

    def suppression_of(self, email: str) -> Suppression | None:
        wanted = email.casefold()
        found = (s for s in self.suppressions.values() if s.email.casefold() == wanted)
        return next(found, None)

    def counts(self) -> dict[str, int]:
        by_status = {
            f"bookings_{status.lower()}": sum(b.status == status for b in self.bookings.values())
            for status in ("New", "Accepted", "Converted", "Dismissed")
        }
        return {
            "bookings": len(self.bookings),
            **by_status,
            "jobs": len(self.jobs),
            "job_history_events": len(self.events),
            "customers": len(self.customers),
            "customer_contacts": len(self.contacts),
        }
