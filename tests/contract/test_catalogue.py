"""The catalogue against the vendors' own documents, where these are at hand."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any, get_args

import pytest
import yaml

from stcli.domain import catalog, enrolment, return_fields
from stcli.domain.campaign import Qualification, SyncFilter
from stcli.domain.catalog import BOOKING_SOURCES, BOOKING_TARGETS, JOB_STATUSES, Target, TargetType

REFERENCE = Path(__file__).resolve().parents[2].parent / "shared" / "reference"
PRODUCT = REFERENCE.parent / "design" / "product.md"
LEFT_OUT = {"uploadedImages"}
"""Properties of a booking that the product leaves out on purpose."""


def document(name: str) -> Any:
    """A vendor's document as data."""
    path = REFERENCE / name
    if not path.is_file():
        pytest.skip(f"the vendor's document {path} is not on this machine")
    # The base loader leaves dates and switches as text, which is all these tests need.
    text = path.read_text(encoding="utf-8")
    return json.loads(text) if path.suffix == ".json" else yaml.load(text, yaml.BaseLoader)


def schema(name: str, kind: str) -> dict[str, Any]:
    found: dict[str, Any] = document(name)["components"]["schemas"][kind]
    return found


@pytest.fixture(scope="module")
def booking() -> dict[str, Any]:
    """``CreateBookingRequest`` of ServiceTitan's CRM v2."""
    return schema("servicetitan/crm-v2.json", "Crm.V2.CreateBookingRequest")


@pytest.mark.parametrize("target", BOOKING_TARGETS, ids=lambda target: target.name)
def test_a_target_is_a_property_of_a_booking(target: Target, booking: dict[str, Any]) -> None:
    """What a mapping writes to exists on the other side."""
    first, _, second = target.api_name.partition(".")
    assert first in booking["properties"]
    if second:
        address = schema("servicetitan/crm-v2.json", "Crm.V2.AddressModel")
        assert second in address["properties"]


def test_no_property_is_forgotten(booking: dict[str, Any]) -> None:
    """Every property is a target, but those that are left out on purpose."""
    used = {target.api_name.partition(".")[0] for target in BOOKING_TARGETS}
    assert set(booking["properties"]) - used == LEFT_OUT


def test_what_servicetitan_requires_is_required(booking: dict[str, Any]) -> None:
    """And beside it only the email, which the product wants."""
    required = {target.api_name for target in BOOKING_TARGETS if target.required}
    assert required - set(booking["required"]) == {"contacts"}
    assert set(booking["required"]) <= required
    (contact,) = [t.name for t in BOOKING_TARGETS if t.required and t.api_name == "contacts"]
    assert contact == "email"


@pytest.mark.parametrize("target", BOOKING_TARGETS, ids=lambda target: target.name)
def test_a_target_has_the_type_of_its_property(target: Target, booking: dict[str, Any]) -> None:
    """Yes or no is a boolean, an id an integer, an instant a date-time."""
    given = booking["properties"].get(target.api_name, {})
    expected: dict[str, Any] = {
        TargetType.YES_NO: {"type": "boolean"},
        TargetType.NAME_OR_ID: {"type": "integer", "format": "int64"},
        TargetType.INSTANT: {"type": "string", "format": "date-time"},
    }.get(target.type, {})
    assert expected.items() <= given.items()
    if given.get("type") in ("boolean", "integer"):
        assert expected


def test_an_address_needs_what_servicetitan_needs() -> None:
    """The five that go together, and the unit that may be there."""
    address = schema("servicetitan/crm-v2.json", "Crm.V2.AddressModel")
    assert [f"address.{name}" for name in address["required"]] == list(catalog.ADDRESS_TOGETHER)
    targets = {t.name for t in BOOKING_TARGETS if t.name.startswith("address.")}
    assert targets == {f"address.{name}" for name in address["properties"]}


@pytest.mark.parametrize(
    ("target", "kind"), [("priority", "Priority"), ("customer_type", "CustomerType")]
)
def test_options_are_those_of_servicetitan(target: str, kind: str) -> None:
    """In its words and its order."""
    known = catalog.BOOKINGS.target(target)
    assert known is not None
    assert list(known.options) == schema("servicetitan/crm-v2.json", f"Crm.V2.{kind}")["enum"]


def test_job_statuses_are_those_of_servicetitan() -> None:
    """The value of a qualification is one of them."""
    assert list(JOB_STATUSES) == schema("servicetitan/jpm-v2.json", "Jpm.V2.JobStatus")["enum"]


def literals(annotation: Any) -> set[str]:
    """Every word that an annotation allows."""
    found = set()
    for part in get_args(annotation):
        found |= {part} if isinstance(part, str) else literals(part)
    return found


def test_a_qualification_takes_every_job_status() -> None:
    """What the file may say is what the catalogue knows."""
    assert literals(Qualification.model_fields["value"].annotation) == set(JOB_STATUSES)


def test_a_filter_takes_every_customer_type() -> None:
    """What a sync may be narrowed to is what a booking may say."""
    options = catalog.BOOKINGS.target("customer_type")
    assert options is not None
    assert literals(SyncFilter.model_fields["customer_type"].annotation) == set(options.options)


@pytest.mark.parametrize("source", BOOKING_SOURCES, ids=lambda source: source.name)
def test_a_source_is_a_property_of_referral_factory(source: catalog.Source) -> None:
    """What a mapping reads from exists on the other side."""
    name = "referral-factory/openapi.yaml"
    kind, _, rest = source.api_path.partition(".")
    if kind == "campaign":
        assert rest in schema(name, "Campaign")["properties"]
        return
    user = schema(name, "User")["properties"]
    assert kind in user
    if rest:
        assert rest in user[kind]["properties"]


CONTACTS = {"email": "Email", "phone": "Phone", "mobile_phone": "MobilePhone"}
"""Sources of a customer that come from its contacts, by their type."""


def properties(schema_name: str) -> dict[str, Any]:
    found: dict[str, Any] = schema("servicetitan/crm-v2.json", schema_name)["properties"]
    return found


@pytest.mark.parametrize("source", catalog.SYNC_SOURCES, ids=lambda source: source.name)
def test_a_source_of_a_sync_is_a_property_of_servicetitan(source: catalog.Source) -> None:
    """Of a customer as the feed shows it, or of a contact of that type."""
    if source.name in CONTACTS:
        assert source.api_path in properties("Crm.V2.ExportCustomerContactResponse")
        kinds = schema("servicetitan/crm-v2.json", "Crm.V2.ContactType")["enum"]
        assert CONTACTS[source.name] in kinds
        return
    first, _, second = source.api_path.partition(".")
    for kind in ("Crm.V2.ExportCustomerResponse", "Crm.V2.Customers.CustomerResponse"):
        assert first in properties(kind)
    if second:
        assert second in properties("Crm.V2.Customers.CustomerAddress")


def test_no_part_of_a_customers_address_is_forgotten() -> None:
    """All but where it is on the globe."""
    parts = set(properties("Crm.V2.Customers.CustomerAddress")) - {"latitude", "longitude"}
    mapped = {name for name in catalog.SYNC.source_names if name.startswith("address.")}
    assert mapped == {f"address.{part}" for part in parts}


@pytest.mark.parametrize("target", catalog.SYNC_TARGETS, ids=lambda target: target.name)
def test_a_target_of_a_sync_can_be_sent(target: Target) -> None:
    """When a referrer is made and when one is changed."""
    name = "referral-factory/openapi.yaml"
    put = document(name)["paths"]["/users/{identifier}"]["put"]
    changed = put["requestBody"]["content"]["application/json"]["schema"]["properties"]
    assert target.api_name in schema(name, "NewUser")["properties"]
    assert target.api_name in changed


def test_what_referral_factory_requires_of_a_referrer_is_required() -> None:
    """All but the campaign, which every file names."""
    required = {target.api_name for target in catalog.SYNC_TARGETS if target.required}
    new_user = schema("referral-factory/openapi.yaml", "NewUser")
    assert required == set(new_user["required"]) - {"campaign_id"}


@pytest.mark.parametrize("source", catalog.RETURN_SOURCES, ids=lambda source: source.name)
def test_a_return_source_is_a_property_of_referral_factory(source: catalog.Source) -> None:
    """Links and codes are texts, counts whole numbers."""
    node = schema("referral-factory/openapi.yaml", "User")
    for part in source.api_path.split("."):
        node = node["properties"][part]
    is_count = source.name in catalog.COUNT_SOURCES
    assert node["type"] == ("integer" if is_count else "string")


@pytest.mark.parametrize("target", catalog.RETURN_TARGETS, ids=lambda target: target.name)
def test_a_return_target_can_be_written(target: Target) -> None:
    """By number and value, as text, whatever the field's type."""
    assert target.api_name in properties("Crm.V2.Customers.UpdateCustomerRequest")
    assert schema("servicetitan/crm-v2.json", "Crm.V2.Customers.CustomFieldUpdateModel")[
        "required"
    ] == ["typeId", "value"]


def test_types_of_custom_fields_are_those_of_servicetitan() -> None:
    """The document names them only in words."""
    told = properties("Crm.V2.Customers.CustomFieldTypeResponse")["dataType"]["description"]
    for name in (return_fields.TEXT, return_fields.NUMERIC, return_fields.DROPDOWN):
        assert name in told


def test_kinds_of_contacts_are_those_of_servicetitan() -> None:
    """What an enrolment looks for is what the feed calls it."""
    kinds = set(schema("servicetitan/crm-v2.json", "Crm.V2.ContactType")["enum"])
    assert {enrolment.EMAIL, enrolment.PHONE, enrolment.MOBILE_PHONE} <= kinds


def test_unique_sources_are_booking_sources() -> None:
    """What external_id needs can be named in a mapping."""
    assert all(catalog.BOOKINGS.has_source(name) for name in catalog.UNIQUE_SOURCES)


def test_names_differ() -> None:
    """No target and no source is listed twice, and an example fits its options."""
    for catalogue in (catalog.BOOKINGS, catalog.SYNC, catalog.RETURN):
        for names in (catalogue.target_names, catalogue.source_names):
            assert len(set(names)) == len(names) > 0
        for target in catalogue.targets:
            assert not target.options or target.example in target.options


@pytest.mark.parametrize(
    ("name", "known"),
    [
        ("code", True),
        ("meta.Phone", True),
        ("referrer.meta.x", True),
        ("meta.", False),
        ("referrer.meta.", False),
        ("Code", False),
        ("referrer.id", False),
        ("campaign.status", False),
        ("", False),
    ],
)
def test_what_a_source_is(name: str, known: bool) -> None:
    """Labels want something behind the dot; everything else is exactly as it is called."""
    assert catalog.BOOKINGS.has_source(name) is known


def test_the_catalogue_is_that_of_the_product() -> None:
    """Targets and sources in the words of the product page."""
    assert set(catalog.BOOKINGS.target_names) == set(
        "source name email summary is_first_time_client external_id phone mobile_phone "
        "address.street address.unit address.city address.state address.zip address.country "
        "customer_type start campaign business_unit job_type priority "
        "send_confirmation_email".split()
    )
    assert set(catalog.BOOKINGS.source_names) == set(
        "id code first_name email url source signed_up_at meta.LABEL campaign.name campaign.code "
        "campaign.url campaign.id referrer.first_name referrer.email referrer.code referrer.url "
        "referrer.meta.LABEL promotion.code".split()
    )
    assert set(catalog.SYNC.target_names) == {"first_name", "email", "meta.LABEL"}
    assert {target.name for target in catalog.SYNC_TARGETS if target.required} == {
        "first_name",
        "email",
    }
    assert set(catalog.SYNC.source_names) == set(
        "name email phone mobile_phone type address.street address.unit address.city "
        "address.state address.zip address.country created_on custom_field:NAME".split()
    )
    assert catalog.RETURN.target_names == ("custom_field:NAME",)
    assert set(catalog.RETURN.source_names) == set(
        "referral_link referral_code referrals_count converted_referrals_count".split()
    )


def test_the_product_page_names_the_catalogue() -> None:
    """Sources and targets of a sync and of what goes back, word for word."""
    if not PRODUCT.is_file():
        pytest.skip(f"the product page {PRODUCT} is not on this machine")
    rows = PRODUCT.read_text(encoding="utf-8").splitlines()
    (sync,) = [row for row in rows if row.startswith("- Sync targets: ")]
    (back,) = [row for row in rows if row.startswith("- Return sources: ")]
    targets, sources = sync.split("Sync sources:")
    assert named(targets) == {
        target.name + "*" * target.required for target in catalog.SYNC_TARGETS
    }
    shortened = {name.partition(".")[0] for name in catalog.SYNC.source_names}
    assert {name.partition(".")[0] for name in named(sources)} == shortened
    sources, targets = back.split("Return targets:")
    assert named(sources) == set(catalog.RETURN.source_names)
    assert named(targets) == {*catalog.RETURN.target_names, "custom_field:#ID"}
    assert catalog.RETURN.target("custom_field:#12") is not None


def named(text: str) -> set[str]:
    """What stands in code marks."""
    return set(re.findall(r"`([^`]+)`", text))


@pytest.mark.parametrize(
    ("name", "known"),
    [
        ("name", True),
        ("address.zip", True),
        ("address.", False),
        ("address.latitude", False),
        ("custom_field:Account rep", True),
        ("custom_field:#12", True),
        ("custom_field:", False),
        ("custom_field: ", False),
        ("first_name", False),
        ("Email", False),
    ],
)
def test_what_a_source_of_a_sync_is(name: str, known: bool) -> None:
    """A custom field wants a name behind the colon; everything else is exactly as it is called."""
    assert catalog.SYNC.has_source(name) is known


def test_a_target_with_a_name_of_its_own_is_found() -> None:
    """Labels may have dots and colons; a prefix alone is no target."""
    assert catalog.SYNC.target("meta.a.b: c") is catalog.SYNC_TARGETS[2]
    assert catalog.SYNC.target("meta.") is catalog.SYNC.target("meta") is None
    assert catalog.RETURN.target("custom_field:a: b") is catalog.RETURN_TARGETS[0]
    assert catalog.RETURN.target("custom_field:") is catalog.RETURN.target("Link") is None
