"""All data behind the routes, under one lock and one virtual clock.

`World` also is what may happen in the two companies without a call of ours: a friend signs up, the
office turns a booking into a job, a technician finishes it, someone edits a record by hand. Tests
call these methods from their own thread; each takes the lock.
"""

import itertools
import threading
from collections import deque
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from datetime import date, datetime
from functools import cache
from typing import Any, Literal

from stcli.sandbox.account import Account
from stcli.sandbox.clock import VirtualClock
from stcli.sandbox.faults import FaultPlan
from stcli.sandbox.grants import Grant, GrantBook
from stcli.sandbox.limits import AbuseWatch
from stcli.sandbox.records import (
    Booking,
    Customer,
    CustomerContact,
    HistoryEvent,
    Job,
    User,
)
from stcli.sandbox.settings import Credentials, SandboxSettings
from stcli.sandbox.tenant import JOB_STATUSES, Tenant
from stcli.sandbox.traffic import Traffic

HOUSES = 1000
LinkedBy = Literal["both", "booking_only", "job_only"]


class Unknown(LookupError):
    """A record that does not exist was named."""


class World:
    """Everything that one sandbox knows. Records it hands out are live: read them, or lock."""

    def __init__(self, settings: SandboxSettings) -> None:
        self.settings = settings
        self.lock = threading.RLock()
        self.clock = VirtualClock()
        self.ids = itertools.count(100_001)
        self.credentials = Credentials.from_seed(settings.seed)
        self.account = Account(settings.seed, self.clock, self.ids)
        self.rf_token = self.credentials.rf_token
        self.grants = GrantBook(settings.seed, self.clock, settings.token_lifetime_seconds)
        self.tenants: dict[int, Tenant] = {}
        self.faults = FaultPlan(settings.seed)
        self.traffic = Traffic(settings)
        self.rf_watch = AbuseWatch(settings.rf_abuses_before_block, settings.rf_block_seconds)
        self.qualifications: deque[dict[str, Any]] = deque(maxlen=100_000)

    # Finding

    @property
    def tenant(self) -> Tenant:
        """The sample tenant."""
        return self.tenants[self.credentials.tenant_id]

    def booking(self, booking_id: int) -> tuple[Tenant, Booking]:
        for tenant in self.tenants.values():
            if booking_id in tenant.bookings:
                return tenant, tenant.bookings[booking_id]
        raise Unknown(f"no booking {booking_id}")

    def job(self, job_id: int) -> tuple[Tenant, Job]:
        for tenant in self.tenants.values():
            if job_id in tenant.jobs:
                return tenant, tenant.jobs[job_id]
        raise Unknown(f"no job {job_id}")

    def customer(self, customer_id: int) -> tuple[Tenant, Customer]:
        for tenant in self.tenants.values():
            if customer_id in tenant.customers:
                return tenant, tenant.customers[customer_id]
        raise Unknown(f"no customer {customer_id}")

    def bookings(self, external_id: str | None = None) -> list[Booking]:
        """The bookings of all tenants and providers, oldest first."""
        with self.lock:
            return [
                booking
                for tenant in self.tenants.values()
                for booking in tenant.bookings.values()
                if external_id is None or booking.external_id == external_id
            ]

    # Referral Factory

    def add_lead(
        self,
        first_name: str,
        email: str,
        *,
        campaign: str = "spring-hvac",
        referrer: str | None = None,
        source: str = "Referred",
        signed_up_at: date | None = None,
        meta: dict[str, str | None] | None = None,
    ) -> User:
        """A friend signs up; without `referrer`, the oldest referrer of the campaign sent them."""
        with self.lock:
            found = self.account.campaign(campaign)
            if found is None:
                raise Unknown(f"no campaign {campaign}")
            sender = self._referrer(found.id, referrer)
            return self.account.add_user(
                found,
                first_name,
                email,
                source=source,
                referrer=sender,
                signed_up_at=signed_up_at,
                meta=_meta(meta),
            )

    def add_referrer(
        self,
        first_name: str,
        email: str,
        *,
        campaign: str = "spring-hvac",
        source: str = "Direct",
        signed_up_at: date | None = None,
        meta: dict[str, str | None] | None = None,
    ) -> User:
        with self.lock:
            found = self.account.campaign(campaign)
            if found is None:
                raise Unknown(f"no campaign {campaign}")
            return self.account.add_user(
                found,
                first_name,
                email,
                source=source,
                signed_up_at=signed_up_at,
                meta=_meta(meta),
            )

    def _referrer(self, campaign_id: int, identifier: str | None) -> User:
        if identifier is None:
            for user in self.account.in_order():
                if user.campaign_id == campaign_id and user.referrer_id is None:
                    return user
            raise Unknown(f"campaign {campaign_id} has no referrer")
        user_or_none = self.account.user(identifier)
        if user_or_none is None:
            user_or_none = self.account.user_by_email(campaign_id, identifier)
        if user_or_none is None:
            raise Unknown(f"no user {identifier}")
        return user_or_none

    def rotate_rf_token(self) -> str:
        """Makes a new access token, which ends the old one."""
        with self.lock:
            base, _, number = self.rf_token.partition(".")
            self.rf_token = f"{base}.{int(number or 1) + 1}"
            return self.rf_token

    # ServiceTitan: what the office does

    def add_booking(
        self, wanted: dict[str, Any], *, provider: int, tenant_id: int | None = None
    ) -> Booking:
        """A booking made by another integration; `wanted` is in the words of a booking request."""
        with self.lock:
            tenant = self.tenants[tenant_id or self.credentials.tenant_id]
            complete = {
                "source": "Website",
                "name": "Someone Else",
                "summary": "Made by another integration",
                "isFirstTimeClient": True,
                "externalId": f"other-{tenant.next_id()}",
                **wanted,
            }
            return tenant.add_booking(provider, complete)

    def convert_booking(
        self,
        booking_id: int,
        *,
        link: LinkedBy = "both",
        job_type_id: int | None = None,
        business_unit_id: int | None = None,
        customer_id: int | None = None,
        total: float | None = None,
        recall_for_id: int | None = None,
        warranty_id: int | None = None,
        no_charge: bool = False,
        tag_type_ids: list[int] | None = None,
        event: str | None = None,
    ) -> Job:
        """The office makes a job of a booking, for a new customer unless one is named."""
        with self.lock:
            tenant, booking = self.booking(booking_id)
            if customer_id is None:
                customer_id = self._customer_of(tenant, booking).id
            elif customer_id not in tenant.customers:
                raise Unknown(f"no customer {customer_id}")
            job = tenant.new_job(
                customer_id,
                tenant.clock.tick(),
                "Scheduled",
                business_unit_id=business_unit_id or booking.business_unit_id,
                job_type_id=job_type_id or booking.job_type_id,
                campaign_id=booking.campaign_id,
            )
            job.priority = booking.priority or "Normal"
            job.summary = booking.summary
            job.recall_for_id = recall_for_id
            job.warranty_id = warranty_id
            job.no_charge = no_charge
            job.tag_type_ids = list(tag_type_ids or ())
            job.booking_id = booking.id if link in ("both", "job_only") else None
            job.total = total
            tenant.add_job(job)
            tenant.add_event(job, event or "Scheduled")
            booking.status = "Converted"
            if link in ("both", "booking_only"):
                booking.job_id = job.id
            tenant.touch_booking(booking)
            return job

    def dismiss_booking(self, booking_id: int, reason_id: int | None = None) -> Booking:
        with self.lock:
            tenant, booking = self.booking(booking_id)
            booking.status = "Dismissed"
            booking.dismissing_reason_id = reason_id
            tenant.touch_booking(booking)
            return booking

    def set_job_status(self, job_id: int, status: str, event: str | None = None) -> Job:
        """`event` is the name that the history gives it, where that is not the status itself."""
        _check_status(status)
        with self.lock:
            tenant, job = self.job(job_id)
            job.status = status
            tenant.add_event(job, event or status)
            tenant.touch_job(job)
            job.completed_on = job.modified_on if status == "Completed" else None
            return job

    def add_job(
        self,
        customer_id: int,
        *,
        status: str = "Completed",
        date: datetime | None = None,
        total: float | None = None,
        job_type_id: int | None = None,
        business_unit_id: int | None = None,
        tag_type_ids: Sequence[int] = (),
        no_charge: bool = False,
    ) -> Job:
        """A job that came of no booking, entered now; `date` is when it was made and done."""
        _check_status(status)
        with self.lock:
            tenant, customer = self.customer(customer_id)
            now = tenant.clock.tick()
            job = tenant.new_job(
                customer.id, now, status, business_unit_id=business_unit_id, job_type_id=job_type_id
            )
            job.created_on = date or now
            job.completed_on = job.created_on if status == "Completed" else None
            job.total = total
            job.tag_type_ids = list(tag_type_ids)
            job.no_charge = no_charge
            tenant.add_job(job)
            tenant.add_event(job, "Scheduled")
            if status != "Scheduled":
                tenant.add_event(job, status)
            return job

    def add_history_event(self, job_id: int, event_type: str, memo: str = "") -> HistoryEvent:
        with self.lock:
            tenant, job = self.job(job_id)
            return tenant.add_event(job, event_type, memo)

    def _customer_of(self, tenant: Tenant, booking: Booking) -> Customer:
        return self.add_customer(
            booking.name,
            contacts=[(contact.type, contact.value) for contact in booking.contacts],
            type=booking.customer_type or "Residential",
            address=booking.address,
            tenant_id=tenant.id,
        )

    def add_customer(
        self,
        name: str,
        *,
        contacts: list[tuple[str, str]],
        type: str = "Residential",  # noqa: A002 - the property's name
        address: Mapping[str, Any] | None = None,
        tenant_id: int | None = None,
        at: datetime | None = None,
    ) -> Customer:
        """`at` may lie in the past only while nothing newer is in the feed (sample data)."""
        with self.lock:
            tenant = self.tenants[tenant_id or self.credentials.tenant_id]
            when = at or self.clock.tick()
            customer = tenant.add_customer(
                Customer(
                    id=tenant.next_id(),
                    name=name,
                    type=type,
                    address=address or example_address(0),
                    created_on=when,
                    modified_on=when,
                )
            )
            for kind, value in contacts:
                self.add_contact(customer.id, kind, value, at=when)
            return customer

    def merge_customers(self, customer_id: int, into: int) -> tuple[Tenant, Customer]:
        """The tenant and the customer that is no more; ValueError where it cannot be merged."""
        with self.lock:
            tenant, customer = self.customer(customer_id)
            survivor = tenant.customers.get(into)
            if survivor is None:
                raise Unknown(f"no customer {into} in the same tenant")
            if customer.merged_to_id is not None or survivor.merged_to_id is not None:
                raise ValueError("a customer that was merged cannot be merged again or into")
            if customer is survivor:
                raise ValueError("a customer cannot be merged into itself")
            tenant.merge_customer(customer, survivor)
            return tenant, customer

    def add_contact(
        self,
        customer_id: int,
        kind: str,
        value: str,
        *,
        marketing_enabled: bool | None = None,
        at: datetime | None = None,
    ) -> CustomerContact:
        with self.lock:
            tenant, customer = self.customer(customer_id)
            when = at or self.clock.tick()
            return tenant.add_contact(
                CustomerContact(
                    id=tenant.next_id(),
                    customer_id=customer.id,
                    type=kind,
                    value=value,
                    created_on=when,
                    modified_on=when,
                    marketing_enabled=marketing_enabled,
                )
            )

    # Time and state

    def advance(self, seconds: float) -> datetime:
        with self.lock:
            return self.clock.advance(seconds)

    def state(self) -> dict[str, Any]:
        with self.lock:
            return {
                "now": self.clock.now().isoformat(),
                "referral_factory": {**self.account.counts(), "abuses": self.rf_watch.abuses},
                "tenants": {str(key): tenant.counts() for key, tenant in self.tenants.items()},
                "grants": [_public(grant) for grant in self.grants.grants.values()],
                "tokens_issued": self.grants.issued,
                "qualification_writes": len(self.qualifications),
                "defects": self.traffic.defects,
            }


def _check_status(status: str) -> None:
    if status not in JOB_STATUSES:
        raise ValueError(f"status must be one of {', '.join(JOB_STATUSES)}")


@cache
def _house(number: int) -> Mapping[str, Any]:
    return {
        "street": f"{100 + number} Example Street",
        "unit": None,
        "city": "Springfield",
        "state": "IL",
        "zip": "62701",
        "country": "USA",
    }


def example_address(number: int) -> Mapping[str, Any]:
    """One of the houses of the example street; who lives in the same one shares the record."""
    return _house(number % HOUSES)


@cache
def _telephone(line: int) -> str:
    return f"217-555-01{line:02d}"


def example_phone(number: int) -> str:
    """One of the hundred numbers that are kept free for examples."""
    return _telephone(number % 100)


def _meta(labels: dict[str, str | None] | None) -> list[dict[str, str | None]]:
    return [{"field": label, "value": value} for label, value in (labels or {}).items()]


def _public(grant: Grant) -> dict[str, Any]:
    shown = asdict(grant)
    shown.pop("client_secret")
    return {**shown, "scopes": sorted(grant.scopes)}
