"""The data behind both APIs, in memory, with a clock of its own that can be moved on."""

from __future__ import annotations

import itertools
import time
from collections import defaultdict
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any

from stcli.sandbox_own.feeds import Feed
from stcli.sandbox_own.settings import SandboxSettings

Record = dict[str, Any]


@dataclass(slots=True)
class GrantRecord:
    """A tenant's grant of the app."""

    client_id: str
    client_secret: str
    tenant_id: int
    booking_provider: int
    scopes: set[str] = field(default_factory=lambda: {"crm", "jpm", "settings", "marketing"})
    is_granted: bool = True


class World:
    """Everything that exists in the sandbox. Not for several threads at once: the server's own
    thread reads and changes it; others go through the control routes."""

    def __init__(self, settings: SandboxSettings) -> None:
        self.settings = settings
        self.advanced = 0.0
        self._ids = itertools.count(70_000_001)
        credentials = settings.credentials
        self.rf_token = credentials.rf_token
        self.app_key = credentials.app_key
        self.grants = {
            credentials.client_id: GrantRecord(
                credentials.client_id,
                credentials.client_secret,
                credentials.tenant_id,
                credentials.booking_provider,
            )
        }
        self.tokens: dict[str, tuple[str, float]] = {}
        # ServiceTitan
        self.bookings: dict[int, Record] = {}
        self.booking_contacts: dict[int, list[Record]] = {}
        self.bookings_by_external_id: dict[str, list[int]] = defaultdict(list)
        self.jobs: dict[int, Record] = {}
        self.jobs_by_booking: dict[int, list[int]] = defaultdict(list)
        self.history: dict[int, list[Record]] = defaultdict(list)
        self.booking_provider_tags: list[Record] = []
        self.business_units: list[Record] = []
        self.job_types: list[Record] = []
        self.marketing_campaigns: list[Record] = []
        self.tag_types: list[Record] = []
        self.feeds = {name: Feed(name) for name in ("bookings", "jobs", "job-history")}
        # Referral Factory
        self.campaigns: dict[int, Record] = {}
        self.users: dict[int, Record] = {}
        self.users_by_code: dict[str, int] = {}
        self._next_user = itertools.count(1001)
        self.qualifications: list[Record] = []

    def now(self) -> float:
        return time.time() + self.advanced

    def now_text(self) -> str:
        return text_of(self.now())

    def today(self) -> str:
        return datetime.fromtimestamp(self.now(), UTC).date().isoformat()

    def new_id(self) -> int:
        return next(self._ids)

    # ServiceTitan

    def add_booking(self, body: Record, provider: int, at: float | None = None) -> Record:
        moment = self.now() if at is None else at
        stamp = text_of(moment)
        booking: Record = {
            "id": self.new_id(),
            "source": body["source"],
            "createdOn": stamp,
            "name": body["name"],
            "address": body.get("address"),
            "customerType": body.get("customerType"),
            "start": body.get("start") or stamp,
            "campaignId": body.get("campaignId"),
            "businessUnitId": body.get("businessUnitId"),
            "isFirstTimeClient": body.get("isFirstTimeClient"),
            "uploadedImages": body.get("uploadedImages"),
            "isSendConfirmationEmail": body.get("isSendConfirmationEmail"),
            "status": "New",
            "dismissingReasonId": None,
            "jobId": None,
            "externalId": body["externalId"],
            "priority": body.get("priority"),
            "jobTypeId": body.get("jobTypeId"),
            "bookingProviderId": provider,
            "modifiedOn": stamp,
            "summary": body.get("summary"),
        }
        self.bookings[booking["id"]] = booking
        self.booking_contacts[booking["id"]] = list(body.get("contacts") or ())
        self.bookings_by_external_id[booking["externalId"]].append(booking["id"])
        self.feeds["bookings"].touch(booking["id"], moment)
        return booking

    def change_booking(self, booking_id: int, **values: Any) -> Record:
        booking = self.bookings[booking_id]
        booking.update(values, modifiedOn=self.now_text())
        self.feeds["bookings"].touch(booking_id, self.now())
        return booking

    def convert(self, booking_id: int, options: Record) -> Record:
        """A booking becomes a job. ``link``: which of the two knows the other (both, booking_only,
        job_only)."""
        stamp, link = self.now_text(), options.get("link", "both")
        job: Record = {
            "id": self.new_id(),
            "jobNumber": str(len(self.jobs) + 1000),
            "projectId": None,
            "customerId": options.get("customer_id", 501),
            "locationId": 601,
            "jobStatus": "Scheduled",
            "completedOn": None,
            "businessUnitId": options.get("business_unit_id", self.business_units[0]["id"]),
            "jobTypeId": options.get("job_type_id", self.job_types[0]["id"]),
            "priority": "Normal",
            "campaignId": self.marketing_campaigns[0]["id"],
            "appointmentCount": 1,
            "firstAppointmentId": 801,
            "lastAppointmentId": 801,
            "recallForId": options.get("recall_for_id"),
            "warrantyId": options.get("warranty_id"),
            "jobGeneratedLeadSource": None,
            "noCharge": bool(options.get("no_charge", False)),
            "notificationsEnabled": True,
            "createdOn": stamp,
            "createdById": 901,
            "modifiedOn": stamp,
            "tagTypeIds": list(options.get("tag_type_ids", [])),
            "leadCallId": None,
            "partnerLeadCallId": None,
            "bookingId": booking_id if link in ("both", "job_only") else None,
            "soldById": None,
            "customerPo": "",
            "invoiceId": 1001,
            "membershipId": None,
            "total": options.get("total", 0),
            "createdFromEstimateId": None,
            "estimateIds": [],
            "summary": "",
            "customFields": [],
            "externalData": [],
        }
        self.jobs[job["id"]] = job
        if job["bookingId"] is not None:
            self.jobs_by_booking[booking_id].append(job["id"])
        self.feeds["jobs"].touch(job["id"], self.now())
        self.add_event(job["id"], "Job Booked")
        self.add_event(job["id"], "Scheduled")
        self.change_booking(
            booking_id,
            status="Converted",
            jobId=job["id"] if link in ("both", "booking_only") else None,
        )
        return job

    def change_job(self, job_id: int, **values: Any) -> Record:
        job = self.jobs[job_id]
        job.update(values, modifiedOn=self.now_text())
        self.feeds["jobs"].touch(job_id, self.now())
        return job

    def set_job_status(self, job_id: int, status: str) -> Record:
        completed = self.now_text() if status == "Completed" else self.jobs[job_id]["completedOn"]
        self.add_event(job_id, status)
        return self.change_job(job_id, jobStatus=status, completedOn=completed)

    def add_event(self, job_id: int, event_type: str) -> None:
        self.history[job_id].append(
            {
                "id": self.new_id(),
                "employeeId": 901,
                "eventType": event_type,
                "date": self.now_text(),
                "usedSchedulingTool": "None",
            }
        )
        self.feeds["job-history"].touch(job_id, self.now())

    # Referral Factory

    def campaign(self, identifier: str) -> Record | None:
        for campaign in self.campaigns.values():
            if identifier in (campaign["code"], str(campaign["id"])):
                return campaign
        return None

    def user(self, identifier: str) -> Record | None:
        number = self.users_by_code.get(identifier)
        if number is None and identifier.isascii() and identifier.isdigit():
            number = int(identifier)
        return None if number is None else self.users.get(number)

    def add_user(self, values: Record) -> Record:
        number = next(self._next_user)
        code = values.get("code") or f"c{number:x}{number % 97:02d}"
        campaign = self.campaigns[values["campaign_id"]]
        referrer = values.get("referrer_id")
        user: Record = {
            "id": number,
            "campaign_id": campaign["id"],
            "referrer_id": referrer,
            "first_name": values["first_name"],
            "email": values["email"],
            "code": code,
            "reach": 0,
            "source": values.get("source") or ("Referred" if referrer else "Direct"),
            "type": "person_invited" if referrer else "person_referring",
            "ip": None,
            "url": f"{campaign['url']}/{code}",
            "promotion": values.get("promotion"),
            "qr": None,
            "signed_up_at": values.get("signed_up_at", self.today()),
            "qualified_at": None,
            "unsubscribed_at": None,
            "meta": values.get("meta", []),
            "sharing": None,
        }
        self.users[number] = user
        self.users_by_code[code] = number
        return user

    def remove_user(self, user: Record) -> None:
        del self.users[user["id"]]
        del self.users_by_code[user["code"]]

    def qualify(self, user: Record, *, qualified: bool) -> None:
        user["qualified_at"] = self.today() if qualified else None


def text_of(moment: float) -> str:
    """As ServiceTitan writes instants: seven digits of a second."""
    stamp = datetime.fromtimestamp(moment, UTC)
    return stamp.strftime("%Y-%m-%dT%H:%M:%S.%f") + "0Z"
