"""The customer routes of ServiceTitan's CRM module: lists, contacts, feeds, custom fields, PATCH.

A contact that changes leaves its customer's `modifiedOn` alone: there are two feeds for a reason.
"""

from collections.abc import Iterable
from typing import Any

from stcli.sandbox.calls import Answer, Call, Operation, Refusal, read_json_object
from stcli.sandbox.records import Customer, CustomerContact, CustomFieldType
from stcli.sandbox.servicetitan_bodies import (
    contact_export_body,
    custom_field_type_body,
    customer_body,
    customer_contact_body,
    listed_contact_body,
)
from stcli.sandbox.servicetitan_bookings import CUSTOMER_TYPES
from stcli.sandbox.servicetitan_shared import DATED_FIELDS, Routes, not_found, path_id
from stcli.sandbox.tenant import Tenant
from stcli.sandbox.validation import INVALID, Query, Rule, check_body

BASE = "/crm/v2/tenant/{tenant}"
READ = "tn.crm.customers:r"
WRITE = "tn.crm.customers:w"

ADDRESS_RULES = {
    **{
        name: Rule("string", required=True)
        for name in ("street", "unit", "city", "state", "zip", "country")
    },
    "latitude": Rule("number", required=True),
    "longitude": Rule("number", required=True),
}
FIELD_RULES = {
    "typeId": Rule("integer", required=True),
    "value": Rule("string", required=True),
}
EXTERNAL_RULES = {
    "patchMode": Rule("string", nullable=True, choices=("Replace", "Merge")),
    "applicationGuid": Rule("string", required=True, filled=True),
    "externalData": Rule(
        "list",
        required=True,
        items=Rule(
            "object",
            fields={
                "key": Rule("string", required=True),
                "value": Rule("string", nullable=True),
            },
        ),
    ),
}
UPDATE_RULES = {
    "name": Rule("string"),
    "type": Rule("string", choices=CUSTOMER_TYPES),
    "address": Rule("object", fields=ADDRESS_RULES),
    "customFields": Rule("list", items=Rule("object", fields=FIELD_RULES)),
    "externalData": Rule("object", fields=EXTERNAL_RULES),
    "doNotMail": Rule("boolean"),
    "doNotService": Rule("boolean"),
    "nationalAccount": Rule("boolean"),
    "active": Rule("boolean"),
    "tagTypeIds": Rule("list", items=Rule("integer")),
    "taxExempt": Rule("boolean"),
    "paymentTermId": Rule("integer"),
    "creditLimit": Rule("number"),
    "creditLimitBalance": Rule("number"),
}
ATTRIBUTES = {
    "name": "name",
    "type": "type",
    "address": "address",
    "doNotMail": "do_not_mail",
    "doNotService": "do_not_service",
    "nationalAccount": "national_account",
    "active": "active",
    "tagTypeIds": "tag_type_ids",
    "taxExempt": "tax_exempt",
    "paymentTermId": "payment_term_id",
    "creditLimit": "credit_limit",
    "creditLimitBalance": "credit_limit_balance",
}


class CustomerRoutes(Routes):
    def operations(self) -> tuple[Operation, ...]:
        return (
            Operation("GET", BASE + "/customers", self._list, READ),
            Operation("GET", BASE + "/customers/custom-fields", self._custom_fields, READ),
            Operation("GET", BASE + "/customers/contacts", self._modified_contacts, READ),
            Operation("GET", BASE + "/customers/{id}", self._get, READ),
            Operation("PATCH", BASE + "/customers/{id}", self._update, WRITE),
            Operation("GET", BASE + "/customers/{id}/contacts", self._contacts, READ),
            Operation("GET", BASE + "/export/customers", self._export, READ),
            Operation("GET", BASE + "/export/customers/contacts", self._export_contacts, READ),
        )

    # Reading

    def _list(self, call: Call) -> Answer:
        tenant = self.tenant(call)
        query = Query(call.query)
        application = query.text("externalDataApplicationGuid")
        found = query.sorted(query.dated(_filtered(tenant, query)), DATED_FIELDS)
        return Answer(200, query.page(found, lambda c: customer_body(c, tenant, application)))

    def _get(self, call: Call) -> Answer:
        return Answer(200, customer_body(self._customer(call), self.tenant(call)))

    def _contacts(self, call: Call) -> Answer:
        tenant = self.tenant(call)
        contacts = (tenant.contacts[key] for key in self._customer(call).contacts)
        active = (contact for contact in contacts if contact.active)
        return Answer(200, Query(call.query).page(active, customer_contact_body))

    def _modified_contacts(self, call: Call) -> Answer:
        tenant = self.tenant(call)
        query = Query(call.query)
        customer_ids = query.ids("customerIds")
        if not any(query.text(n) for n in ("customerIds", "modifiedBefore", "modifiedOnOrAfter")):
            raise Refusal(
                400, INVALID, {"modifiedOnOrAfter": ["A range or customerIds is needed."]}
            )
        contacts: Iterable[CustomerContact]
        if customer_ids is None:
            contacts = tenant.contacts.values()
        else:
            keys = (k for i in customer_ids if i in tenant.customers for k in _keys(tenant, i))
            contacts = (tenant.contacts[key] for key in keys)
        active = (contact for contact in contacts if contact.active)
        return Answer(200, query.page(query.dated(active), listed_contact_body))

    def _custom_fields(self, call: Call) -> Answer:
        query = Query(call.query)
        records: Iterable[CustomFieldType] = self.tenant(call).custom_fields.values()
        found = query.sorted(query.dated(records), {**DATED_FIELDS, "Name": "name"})
        return Answer(200, query.page(found, custom_field_type_body))

    def _export(self, call: Call) -> Answer:
        tenant = self.tenant(call)
        return self.feed_page(
            call, tenant.customer_feed, lambda key: customer_body(tenant.customers[key], tenant)
        )

    def _export_contacts(self, call: Call) -> Answer:
        tenant = self.tenant(call)
        return self.feed_page(
            call, tenant.contact_feed, lambda key: contact_export_body(tenant.contacts[key])
        )

    # Writing

    def _update(self, call: Call) -> Answer:
        customer = self._customer(call)
        tenant = self.tenant(call)
        wanted = check_body(read_json_object(call), UPDATE_RULES)
        fields = wanted.pop("customFields", None)
        external = wanted.pop("externalData", None)
        if fields is not None:
            _check_fields(tenant, fields)
            listed = {field["typeId"]: field["value"] for field in fields}
            replaces = self.world.settings.custom_fields_patch == "replace"
            customer.custom_fields = listed if replaces else {**customer.custom_fields, **listed}
        application = None
        if external is not None:
            application = external["applicationGuid"]
            _store_external_data(customer, external)
        for name, value in wanted.items():
            setattr(customer, ATTRIBUTES[name], value)
        tenant.touch_customer(customer)
        return Answer(200, customer_body(customer, tenant, application))

    def _customer(self, call: Call) -> Customer:
        number = path_id(call)
        customer = self.tenant(call).customers.get(number)
        if customer is None:
            raise not_found("customer", number)
        return customer


def _keys(tenant: Tenant, customer_id: int) -> tuple[int, ...]:
    return tenant.customers[customer_id].contacts


def _filtered(tenant: Tenant, query: Query) -> Iterable[Customer]:
    active = query.active()
    ids = query.ids()
    name = query.text("name")
    phone = query.text("phone")
    places = {
        part: wanted.lower()
        for part in ("street", "unit", "city", "state", "zip", "country")
        if (wanted := query.text(part)) is not None
    }
    customers: Iterable[Customer] = tenant.customers.values()
    if ids is not None:
        customers = [tenant.customers[key] for key in sorted(set(ids) & tenant.customers.keys())]
    return (
        customer
        for customer in customers
        if active in (None, customer.active)
        and (name is None or name.lower() in customer.name.lower())
        and all(wanted in _place(customer, part) for part, wanted in places.items())
        and (phone is None or _has_phone(tenant, customer, phone))
    )


def _place(customer: Customer, part: str) -> str:
    return str(customer.address.get(part) or "").lower()


def _has_phone(tenant: Tenant, customer: Customer, phone: str) -> bool:
    wanted = _digits(phone)
    return any(
        tenant.contacts[key].type in ("Phone", "MobilePhone")
        and wanted in _digits(tenant.contacts[key].value)
        for key in customer.contacts
    )


def _digits(text: str) -> str:
    return "".join(character for character in text if character.isdigit())


def _check_fields(tenant: Tenant, fields: list[dict[str, Any]]) -> None:
    errors: dict[str, list[str]] = {}
    for position, field in enumerate(fields):
        kind = tenant.custom_fields.get(field["typeId"])
        path = f"customFields[{position}]"
        if kind is None:
            errors[f"{path}.typeId"] = [f"There is no custom field type {field['typeId']}."]
        elif not _fits(kind, field["value"]):
            errors[f"{path}.value"] = [f"This does not fit a {kind.data_type} field."]
    if errors:
        raise Refusal(400, INVALID, errors)


def _fits(kind: CustomFieldType, value: str) -> bool:
    if kind.data_type == "Dropdown":
        return value in kind.options
    if kind.data_type == "Numeric" and value:
        try:
            float(value)
        except ValueError:
            return False
    return True


def _store_external_data(customer: Customer, external: dict[str, Any]) -> None:
    application = external["applicationGuid"]
    kept: dict[str, str] = {}
    if external.get("patchMode") == "Merge":
        kept.update(customer.external_data.get(application, {}))
    for item in external["externalData"]:
        if item.get("value") is None:
            kept.pop(item["key"], None)
        else:
            kept[item["key"]] = item["value"]
    customer.external_data = {**customer.external_data, application: kept}
