"""The catalogue against the vendors' own documents, where these are at hand."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any, get_args

import pytest
import yaml

from stcli.domain import catalog
from stcli.domain.campaign import Qualification, SyncFilter
from stcli.domain.catalog import BOOKING_SOURCES, BOOKING_TARGETS, JOB_STATUSES, Target, TargetType

REFERENCE = Path(__file__).resolve().parents[2].parent / "shared" / "reference"
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


def test_unique_sources_are_booking_sources() -> None:
    """What external_id needs can be named in a mapping."""
    assert all(catalog.BOOKINGS.has_source(name) for name in catalog.UNIQUE_SOURCES)


def test_names_differ() -> None:
    """No target and no source is listed twice, and an example fits its options."""
    for names in (catalog.BOOKINGS.target_names, catalog.BOOKINGS.source_names):
        assert len(set(names)) == len(names)
    assert len(catalog.BOOKINGS.target_names) == len(BOOKING_TARGETS)
    for target in BOOKING_TARGETS:
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
