"""The booking routes of ServiceTitan's CRM module.

`externalId` is not unique here: two requests with the same one make two bookings, without a word.
A grant may act as its own booking provider only.
"""

from typing import Any

from stcli.sandbox.calls import Answer, Call, Operation, Refusal, read_json_object
from stcli.sandbox.records import Booking, BookingContact
from stcli.sandbox.servicetitan_bodies import (
    booking_body,
    booking_contact_body,
    booking_export_body,
    provider_tag_body,
)
from stcli.sandbox.servicetitan_shared import DATED_FIELDS, Routes, not_found, path_id
from stcli.sandbox.tenant import Tenant
from stcli.sandbox.validation import INVALID, Query, Rule, check_body

BASE = "/crm/v2/tenant/{tenant}"
PROVIDER = BASE + "/booking-provider/{booking_provider}/bookings"
READ = "tn.crm.bookings:r"
WRITE = "tn.crm.bookings:w"
TAGS = "tn.crm.bookingprovidertags:r"

CUSTOMER_TYPES = ("Residential", "Commercial")
PRIORITIES = ("Low", "Normal", "High", "Urgent")
CONTACT_TYPES = ("Phone", "Email", "Fax", "MobilePhone")

ADDRESS_RULES = {
    "street": Rule("string", required=True),
    "unit": Rule("string", nullable=True),
    "city": Rule("string", required=True),
    "state": Rule("string", required=True),
    "zip": Rule("string", required=True),
    "country": Rule("string", required=True),
}
CONTACT_RULES = {
    "type": Rule("string", required=True, choices=CONTACT_TYPES),
    "value": Rule("string", required=True, filled=True),
    "memo": Rule("string", nullable=True),
}
CREATE_RULES = {
    "source": Rule("string", required=True, filled=True),
    "name": Rule("string", required=True, filled=True),
    "address": Rule("object", nullable=True, fields=ADDRESS_RULES),
    "contacts": Rule("list", nullable=True, items=Rule("object", fields=CONTACT_RULES)),
    "customerType": Rule("string", nullable=True, choices=CUSTOMER_TYPES),
    "start": Rule("instant", nullable=True),
    "summary": Rule("string", required=True, filled=True),
    "campaignId": Rule("integer", nullable=True),
    "businessUnitId": Rule("integer", nullable=True),
    "jobTypeId": Rule("integer", nullable=True),
    "priority": Rule("string", nullable=True, choices=PRIORITIES),
    "isFirstTimeClient": Rule("boolean", required=True),
    "uploadedImages": Rule("list", nullable=True, items=Rule("string")),
    "isSendConfirmationEmail": Rule("boolean", nullable=True),
    "externalId": Rule("string", required=True, filled=True),
}
ADDRESS_PATCH_RULES = {name: Rule("string", required=True) for name in ADDRESS_RULES}
UPDATE_RULES = {
    "source": Rule("string"),
    "name": Rule("string"),
    "address": Rule("object", fields=ADDRESS_PATCH_RULES),
    "customerType": Rule("string", choices=CUSTOMER_TYPES),
    "start": Rule("instant"),
    "summary": Rule("string"),
    "campaignId": Rule("integer"),
    "businessUnitId": Rule("integer"),
    "jobTypeId": Rule("integer"),
    "priority": Rule("string", choices=PRIORITIES),
    "isFirstTimeClient": Rule("boolean"),
    "uploadedImages": Rule("list", items=Rule("string")),
    "externalId": Rule("string"),
}
DISMISS_RULES = {
    "callReasonId": Rule("integer", nullable=True),
    "dismissingMemo": Rule("string", nullable=True),
}
ATTRIBUTES = {
    "source": "source",
    "name": "name",
    "address": "address",
    "customerType": "customer_type",
    "start": "start",
    "summary": "summary",
    "campaignId": "campaign_id",
    "businessUnitId": "business_unit_id",
    "jobTypeId": "job_type_id",
    "priority": "priority",
    "isFirstTimeClient": "is_first_time_client",
    "uploadedImages": "uploaded_images",
}


class BookingRoutes(Routes):
    def operations(self) -> tuple[Operation, ...]:
        return (
            Operation("GET", BASE + "/bookings", self._list, READ),
            Operation("GET", BASE + "/bookings/{id}", self._get, READ),
            Operation("GET", BASE + "/bookings/{id}/contacts", self._contacts, READ),
            Operation("GET", BASE + "/export/bookings", self._export, READ),
            Operation("GET", PROVIDER, self._list_of_provider, READ),
            Operation("POST", PROVIDER, self._create, WRITE),
            Operation("GET", PROVIDER + "/{id}", self._get_of_provider, READ),
            Operation("PATCH", PROVIDER + "/{id}", self._update, WRITE),
            Operation("POST", PROVIDER + "/{id}/dismiss", self._dismiss, WRITE),
            Operation("GET", PROVIDER + "/{id}/contacts", self._contacts_of_provider, READ),
            Operation("POST", PROVIDER + "/{id}/contacts", self._add_contact, WRITE),
            Operation("GET", BASE + "/booking-provider-tags", self._tags, TAGS),
            Operation("GET", BASE + "/booking-provider-tags/{id}", self._tag, TAGS),
        )

    # Reading

    def _list(self, call: Call) -> Answer:
        return self._page(call, None)

    def _list_of_provider(self, call: Call) -> Answer:
        return self._page(call, self._provider(call))

    def _page(self, call: Call, provider: int | None) -> Answer:
        tenant = self.tenant(call)
        query = Query(call.query)
        external_id = query.text("externalId")
        ids = query.ids()
        if external_id is not None:
            keys = list(tenant.bookings_by_external_id.get(external_id, ()))
        elif ids is not None:
            keys = sorted(set(ids) & tenant.bookings.keys())
        elif provider is not None:
            keys = tenant.bookings_by_provider.get(provider, [])
        else:
            keys = list(tenant.bookings)
        wanted = None if ids is None else set(ids)
        records = (
            tenant.bookings[key]
            for key in keys
            if (wanted is None or key in wanted)
            and (provider is None or tenant.bookings[key].provider_id == provider)
        )
        found = query.sorted(query.dated(records), DATED_FIELDS)
        return Answer(200, query.page(found, booking_body))

    def _get(self, call: Call) -> Answer:
        return Answer(200, booking_body(self._booking(call, None)))

    def _get_of_provider(self, call: Call) -> Answer:
        return Answer(200, booking_body(self._booking(call, self._provider(call))))

    def _contacts(self, call: Call) -> Answer:
        return _contact_page(call, self._booking(call, None))

    def _contacts_of_provider(self, call: Call) -> Answer:
        return _contact_page(call, self._booking(call, self._provider(call)))

    def _export(self, call: Call) -> Answer:
        tenant = self.tenant(call)
        return self.feed_page(
            call, tenant.booking_feed, lambda key: booking_export_body(tenant.bookings[key])
        )

    def _tags(self, call: Call) -> Answer:
        tenant = self.tenant(call)
        query = Query(call.query)
        ids = query.ids()
        name = query.text("name")
        records = (
            tag
            for tag in tenant.provider_tags.values()
            if (ids is None or tag.id in ids)
            and (name is None or name.lower() in tag.tag_name.lower())
        )
        found = query.sorted(query.dated(records), DATED_FIELDS)
        return Answer(200, query.page(found, provider_tag_body))

    def _tag(self, call: Call) -> Answer:
        number = path_id(call)
        tag = self.tenant(call).provider_tags.get(number)
        if tag is None:
            raise not_found("booking provider tag", number)
        return Answer(200, provider_tag_body(tag))

    # Writing

    def _create(self, call: Call) -> Answer:
        provider = self._provider(call)
        tenant = self.tenant(call)
        wanted = check_body(read_json_object(call), CREATE_RULES)
        _check_references(tenant, wanted)
        return Answer(200, booking_body(tenant.add_booking(provider, wanted)))

    def _update(self, call: Call) -> Answer:
        booking = self._booking(call, self._provider(call))
        tenant = self.tenant(call)
        wanted = check_body(read_json_object(call), UPDATE_RULES)
        _check_references(tenant, wanted)
        _check_open(booking)
        external_id = wanted.pop("externalId", None)
        if external_id is not None:
            tenant.rename_booking(booking, external_id)
        for name, value in wanted.items():
            setattr(booking, ATTRIBUTES[name], value)
        tenant.touch_booking(booking)
        return Answer(200, booking_body(booking))

    def _dismiss(self, call: Call) -> Answer:
        booking = self._booking(call, self._provider(call), missing=400)
        wanted = check_body(read_json_object(call), DISMISS_RULES)
        if booking.status not in ("New", "Accepted"):
            raise Refusal(400, f"The booking is {booking.status} already.")
        self.world.dismiss_booking(booking.id, wanted.get("callReasonId"))
        return Answer(200)

    def _add_contact(self, call: Call) -> Answer:
        booking = self._booking(call, self._provider(call))
        wanted = check_body(read_json_object(call), CONTACT_RULES)
        contact = self.tenant(call).add_booking_contact(booking, wanted)
        return Answer(200, booking_contact_body(contact))

    # Finding

    def _provider(self, call: Call) -> int:
        """The provider in the path, which must be the one that the grant may act as."""
        provider = path_id(call, "booking_provider")
        grant = self.world.grants.grant_of(call.bearer())
        if grant is None or grant.booking_provider != provider:
            raise Refusal(
                self.world.settings.foreign_provider_status,
                "This app may not act as this booking provider.",
                {"booking_provider": [f"{provider} is not allowed."]},
            )
        return provider

    def _booking(self, call: Call, provider: int | None, missing: int = 404) -> Booking:
        number = path_id(call)
        booking = self.tenant(call).bookings.get(number)
        if booking is None or (provider is not None and booking.provider_id != provider):
            raise Refusal(missing, f"There is no booking {number}.")
        return booking


def _contact_page(call: Call, booking: Booking) -> Answer:
    contacts: list[BookingContact] = booking.contacts
    return Answer(200, Query(call.query).page(contacts, booking_contact_body))


def _check_references(tenant: Tenant, wanted: dict[str, Any]) -> None:
    """What a booking points to must exist."""
    errors = {
        name: [f"There is no {name[:-2]} {wanted[name]}."]
        for name, known in (
            ("campaignId", tenant.campaigns),
            ("businessUnitId", tenant.business_units),
            ("jobTypeId", tenant.job_types),
        )
        if wanted.get(name) is not None and wanted[name] not in known
    }
    if errors:
        raise Refusal(400, INVALID, errors)


def _check_open(booking: Booking) -> None:
    if booking.status not in ("New", "Accepted"):
        raise Refusal(409, f"The booking is {booking.status} and cannot be changed.")
