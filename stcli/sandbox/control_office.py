"""Control routes for the ServiceTitan side: what the office and the technicians do."""

from itertools import islice
from typing import Any

from stcli.sandbox.calls import Answer, Call, Operation, Refusal
from stcli.sandbox.clock import parse_instant
from stcli.sandbox.control_input import Fields, read_fields
from stcli.sandbox.records import Booking
from stcli.sandbox.servicetitan_bodies import (
    booking_body,
    booking_contact_body,
    booking_export_body,
    contact_export_body,
    customer_body,
    history_event_body,
    job_export_body,
    suppression_body,
)
from stcli.sandbox.settings import OTHER_BOOKING_PROVIDER_ID
from stcli.sandbox.world import Unknown, World

LINKS = ("both", "booking_only", "job_only")
REASONS = ("Unsubscribe", "Bounce", "SpamReport", "ManualUnsubscribe", "NeverEmail")
BOOKING_STATUSES = ("New", "Accepted", "Converted", "Dismissed")
JOB_FIELDS = {
    "total": float,
    "tag_type_ids": list,
    "no_charge": bool,
    "recall_for_id": int,
    "warranty_id": int,
    "job_type_id": int,
    "business_unit_id": int,
    "active": bool,
    "booking_id": int,
}
CUSTOMER_FIELDS = {
    "name": str,
    "type": str,
    "active": bool,
    "merged_to_id": int,
    "do_not_mail": bool,
    "do_not_service": bool,
    "tag_type_ids": list,
    "address": dict,
    "custom_fields": dict,
}
CONTACT_FIELDS = {
    "type": str,
    "value": str,
    "memo": str,
    "active": bool,
    "marketing_enabled": bool,
    "do_not_text": bool,
}
BOOKING_FIELDS = {
    "source": str,
    "name": str,
    "summary": str,
    "isFirstTimeClient": bool,
    "externalId": str,
    "contacts": list,
    "address": dict,
    "customerType": str,
    "start": str,
    "campaignId": int,
    "businessUnitId": int,
    "jobTypeId": int,
    "priority": str,
}


class OfficeRoutes:
    def __init__(self, world: World) -> None:
        self._world = world

    def operations(self) -> tuple[Operation, ...]:
        return (
            Operation("GET", "/bookings", self._bookings),
            Operation("POST", "/bookings", self._add_booking),
            Operation("POST", "/bookings/{id}", self._change_booking),
            Operation("POST", "/bookings/{id}/convert", self._convert),
            Operation("POST", "/bookings/{id}/dismiss", self._dismiss),
            Operation("GET", "/jobs", self._jobs),
            Operation("POST", "/jobs/{id}", self._change_job),
            Operation("POST", "/jobs/{id}/status", self._set_status),
            Operation("POST", "/jobs/{id}/history", self._add_event),
            Operation("POST", "/customers", self._add_customer),
            Operation("POST", "/customers/rename", self._rename_customers),
            Operation("POST", "/customers/{id}", self._change_customer),
            Operation("POST", "/customers/{id}/merge", self._merge),
            Operation("POST", "/customers/{id}/contacts", self._add_contact),
            Operation("POST", "/customers/{id}/jobs", self._add_job),
            Operation("POST", "/contacts/{id}", self._change_contact),
            Operation("POST", "/suppressions", self._suppress),
            Operation("POST", "/suppressions/{id}", self._change_suppression),
        )

    # Bookings

    def _bookings(self, call: Call) -> Answer:
        found = self._world.bookings(call.query.get("external_id"))
        return Answer(200, [_whole_booking(booking) for booking in found])

    def _add_booking(self, call: Call) -> Answer:
        known = {**BOOKING_FIELDS, "provider": int, "tenant_id": int}
        wanted = dict(read_fields(call, known).values)
        provider = wanted.pop("provider", None) or OTHER_BOOKING_PROVIDER_ID
        tenant_id = wanted.pop("tenant_id", None) or self._world.credentials.tenant_id
        if tenant_id not in self._world.tenants:
            raise Unknown(f"no tenant {tenant_id}")
        if "start" in wanted:
            wanted["start"] = parse_instant(wanted["start"])
        booking = self._world.add_booking(wanted, provider=provider, tenant_id=tenant_id)
        return Answer(201, _whole_booking(booking))

    def _change_booking(self, call: Call) -> Answer:
        fields = read_fields(
            call, {"status": str, "external_id": str, "active": bool, "job_id": int}
        )
        tenant, booking = self._world.booking(_id(call))
        status = fields.text("status", booking.status)
        if status not in BOOKING_STATUSES:
            raise Refusal(400, f"status must be one of {', '.join(BOOKING_STATUSES)}")
        booking.status = status
        if "external_id" in fields:
            tenant.rename_booking(booking, fields.text("external_id", ""))
        if "active" in fields:
            booking.active = fields.get("active")
        if "job_id" in fields.values:
            booking.job_id = fields.get("job_id")
        tenant.touch_booking(booking)
        return Answer(200, _whole_booking(booking))

    def _convert(self, call: Call) -> Answer:
        fields = read_fields(
            call,
            {
                "link": str,
                "job_type_id": int,
                "business_unit_id": int,
                "customer_id": int,
                "total": float,
                "recall_for_id": int,
                "warranty_id": int,
                "no_charge": bool,
                "tag_type_ids": list,
                "event": str,
            },
        )
        options = {name: value for name, value in fields.values.items() if value is not None}
        if options.get("link", "both") not in LINKS:
            raise Refusal(400, f"link must be one of {', '.join(LINKS)}")
        return Answer(201, job_export_body(self._world.convert_booking(_id(call), **options)))

    def _dismiss(self, call: Call) -> Answer:
        reason = read_fields(call, {"reason_id": int}).get("reason_id")
        return Answer(200, booking_body(self._world.dismiss_booking(_id(call), reason)))

    # Jobs

    def _jobs(self, call: Call) -> Answer:
        del call
        tenants = self._world.tenants.values()
        return Answer(200, [job_export_body(j) for t in tenants for j in t.jobs.values()])

    def _change_job(self, call: Call) -> Answer:
        """A property given as null is emptied."""
        fields = read_fields(call, JOB_FIELDS)
        tenant, job = self._world.job(_id(call))
        for name, value in fields.values.items():
            if name == "booking_id":
                tenant.bind_job(job, value)
            else:
                setattr(job, name, value)
        tenant.touch_job(job)
        return Answer(200, job_export_body(job))

    def _set_status(self, call: Call) -> Answer:
        fields = read_fields(call, {"status": str, "event": str})
        job = self._world.set_job_status(
            _id(call), fields.text("status", ""), fields.optional_text("event")
        )
        return Answer(200, job_export_body(job))

    def _add_event(self, call: Call) -> Answer:
        fields = read_fields(call, {"event_type": str, "memo": str})
        event_type = fields.text("event_type", "")
        if not event_type:
            raise Refusal(400, "event_type is needed")
        event = self._world.add_history_event(_id(call), event_type, fields.text("memo", ""))
        return Answer(201, history_event_body(event))

    # Customers

    def _add_customer(self, call: Call) -> Answer:
        fields = read_fields(call, {"name": str, "type": str, "address": dict, "contacts": list})
        contacts = [(c["type"], c["value"]) for c in fields.get("contacts") or ()]
        customer = self._world.add_customer(
            fields.text("name", "Someone New"),
            contacts=contacts,
            type=fields.text("type", "Residential"),
            address=fields.get("address"),
        )
        return Answer(201, customer_body(customer, self._world.tenant))

    def _change_customer(self, call: Call) -> Answer:
        """A property given as null is emptied; custom fields are given by type id."""
        fields = read_fields(call, CUSTOMER_FIELDS)
        tenant, customer = self._world.customer(_id(call))
        values = dict(fields.values)
        for type_id, value in (values.pop("custom_fields", None) or {}).items():
            if int(type_id) not in tenant.custom_fields:
                raise Unknown(f"no custom field type {type_id}")
            customer.custom_fields = {**customer.custom_fields, int(type_id): value}
        for name, value in values.items():
            setattr(customer, name, value)
        tenant.touch_customer(customer)
        return Answer(200, customer_body(customer, tenant))

    def _rename_customers(self, call: Call) -> Answer:
        """The first ``number`` customers get a letter more each, as a busy day at the office does."""
        number = read_fields(call, {"number": int}).get("number") or 0
        tenant = self._world.tenant
        chosen = list(islice(tenant.customers.values(), number))
        for customer in chosen:
            customer.name += "x"
            tenant.touch_customer(customer)
        return Answer(200, {"renamed": len(chosen)})

    def _merge(self, call: Call) -> Answer:
        into = read_fields(call, {"into": int}).get("into")
        if into is None:
            raise Refusal(400, "into is needed: the id of the survivor")
        tenant, customer = self._world.merge_customers(_id(call), into)
        return Answer(200, customer_body(customer, tenant))

    def _add_job(self, call: Call) -> Answer:
        """`date` is the day it was made and, where the status says so, completed."""
        fields = read_fields(
            call,
            {
                "date": str,
                "status": str,
                "total": float,
                "job_type_id": int,
                "business_unit_id": int,
                "tag_type_ids": list,
                "no_charge": bool,
            },
        )
        job = self._world.add_job(
            _id(call),
            status=fields.text("status", "Completed"),
            date=None if "date" not in fields else parse_instant(fields.text("date", "")),
            total=fields.number("total"),
            job_type_id=fields.get("job_type_id"),
            business_unit_id=fields.get("business_unit_id"),
            tag_type_ids=fields.get("tag_type_ids") or (),
            no_charge=bool(fields.get("no_charge")),
        )
        return Answer(201, job_export_body(job))

    def _add_contact(self, call: Call) -> Answer:
        fields = read_fields(call, {"type": str, "value": str, "marketing_enabled": bool})
        contact = self._world.add_contact(
            _id(call),
            fields.text("type", "Email"),
            fields.text("value", ""),
            marketing_enabled=fields.get("marketing_enabled"),
        )
        return Answer(201, contact_export_body(contact))

    def _change_contact(self, call: Call) -> Answer:
        fields = read_fields(call, CONTACT_FIELDS)
        number = _id(call)
        for tenant in self._world.tenants.values():
            contact = tenant.contacts.get(number)
            if contact is not None:
                for name, value in fields.values.items():
                    setattr(contact, name, value)
                tenant.touch_contact(contact)
                return Answer(200, contact_export_body(contact))
        raise Unknown(f"no contact {number}")

    def _suppress(self, call: Call) -> Answer:
        """An address has one suppression: it is lifted by `active` false and put back by true."""
        fields = read_fields(call, {"email": str, "reason": str, "active": bool})
        email = fields.text("email", "")
        tenant = self._world.tenant
        found = tenant.suppression_of(email)
        if found is None:
            found = tenant.suppress(email, _reason(fields, "Unsubscribe"))
            found.active = fields.get("active") is not False
            return Answer(201, suppression_body(found))
        found.active = fields.get("active") is not False
        found.reason = _reason(fields, found.reason)
        tenant.touch_suppression(found)
        return Answer(200, suppression_body(found))

    def _change_suppression(self, call: Call) -> Answer:
        fields = read_fields(call, {"reason": str, "active": bool})
        number = _id(call)
        for tenant in self._world.tenants.values():
            found = tenant.suppressions.get(number)
            if found is not None:
                if "active" in fields:
                    found.active = fields.get("active")
                found.reason = _reason(fields, found.reason)
                tenant.touch_suppression(found)
                return Answer(200, suppression_body(found))
        raise Unknown(f"no suppression {number}")


def _reason(fields: Fields, default: str) -> str:
    reason = fields.text("reason", default)
    if reason not in REASONS:
        raise Refusal(400, f"reason must be one of {', '.join(REASONS)}")
    return reason


def _id(call: Call) -> int:
    return int(call.params["id"])


def _whole_booking(booking: Booking) -> dict[str, Any]:
    contacts = [booking_contact_body(contact) for contact in booking.contacts]
    return {**booking_export_body(booking), "contacts": contacts}
