"""Rules against the catalogue: every fault, and what could stand there instead."""

from __future__ import annotations

from typing import Any

import pytest
from pydantic import TypeAdapter

from stcli.domain import catalog
from stcli.domain.mapping.rules import Rule
from stcli.domain.mapping.transforms import TRANSFORMS
from stcli.domain.mapping.validate import Fault, TabVerdict, check_bookings
from stcli.domain.nearest import nearest

RULES: TypeAdapter[dict[str, Rule]] = TypeAdapter(dict[str, Rule])
COMPLETE: dict[str, Any] = {
    "source": {"type": "dynamic", "from": "campaign.name"},
    "name": {"type": "dynamic", "from": "first_name"},
    "email": {"type": "dynamic", "from": "email"},
    "summary": {"type": "template", "template": "By {referrer.first_name}"},
    "is_first_time_client": {"type": "manual_select", "value": "Yes"},
    "external_id": {"type": "dynamic", "from": "code"},
    "phone": {"type": "dynamic", "from": "meta.Phone"},
}
REQUIRED = ("source", "name", "email", "summary", "is_first_time_client", "external_id")


def verdict(**changes: Any) -> TabVerdict:
    """The verdict on the complete tab with changes; None takes a field away, ``__`` is a dot."""
    fields = COMPLETE | {name.replace("__", "."): rule for name, rule in changes.items()}
    return check_bookings(RULES.validate_python({n: r for n, r in fields.items() if r}))


def only_fault(**changes: Any) -> Fault:
    judged = verdict(**changes)
    assert not judged.ready
    (fault,) = judged.faults
    assert not fault.is_warning
    return fault


def dynamic(source: str, **more: Any) -> dict[str, Any]:
    return {"type": "dynamic", "from": source, **more}


def test_the_example_of_the_product_is_ready() -> None:
    """Nothing is missing and nothing is wrong."""
    judged = verdict()
    assert judged.ready
    assert judged.missing == ()
    assert judged.faults == ()


@pytest.mark.parametrize("name", REQUIRED)
def test_each_required_target_is_missed(name: str) -> None:
    """Until every required target is mapped the tab is not ready and says which one lacks."""
    judged = verdict(**{name: None})
    assert judged.missing == (name,)
    assert not judged.ready


def test_an_empty_tab_misses_exactly_the_required_ones() -> None:
    """A new campaign file is Setup Required and not called wrong."""
    judged = check_bookings({})
    assert judged.missing == REQUIRED
    assert judged.faults == ()


@pytest.mark.parametrize(
    ("typo", "meant"),
    [
        ("sumary", "summary"),
        ("mobile", "mobile_phone"),
        ("busines_unit", "business_unit"),
        ("Job Type", "job_type"),
        ("address.stret", "address.street"),
    ],
)
def test_an_unknown_target_knows_the_nearest_name(typo: str, meant: str) -> None:
    """The fault carries the word and all that could stand there."""
    judged = verdict(**{typo: dynamic("meta.x")})
    fault = next(fault for fault in judged.faults if fault.found)
    assert (fault.path, fault.found) == ((typo,), typo)
    assert fault.allowed == catalog.BOOKINGS.target_names
    assert nearest(fault.found, fault.allowed) == meant
    assert not judged.ready


@pytest.mark.parametrize("name", ["fax", "memo", "uploaded_images", "custom_field:Referrer"])
def test_targets_left_out_on_purpose_are_unknown(name: str) -> None:
    """Fax, memo, images and custom fields of bookings are no targets."""
    assert verdict(**{name: dynamic("meta.x")}).faults[0].found == name


@pytest.mark.parametrize(
    ("rule", "key", "found", "meant"),
    [
        (dynamic("frist_name"), "from", "frist_name", "first_name"),
        (dynamic("refferer.email"), "from", "refferer.email", "referrer.email"),
        (dynamic("meta."), "from", "meta.", "meta.LABEL"),
        (
            {"type": "template", "template": "{first_name} {campain.name}"},
            "template",
            "campain.name",
            "campaign.name",
        ),
    ],
)
def test_an_unknown_source_knows_the_nearest_name(
    rule: dict[str, Any], key: str, found: str, meant: str
) -> None:
    """A typo in a source is found in plain mappings and in templates."""
    fault = only_fault(summary=rule)
    assert (fault.path, fault.found) == (("summary", key), found)
    assert nearest(fault.found, fault.allowed) == meant


def test_a_source_named_twice_in_a_template_is_one_fault() -> None:
    """Repeats do not repeat the message."""
    assert only_fault(summary={"type": "template", "template": "{x} {x}"}).found == "x"


@pytest.mark.parametrize("source", ["meta.Phone number?", "referrer.meta.Level", "promotion.code"])
def test_labelled_sources_take_any_label(source: str) -> None:
    """Form fields are named by whatever label they have."""
    assert verdict(summary=dynamic(source)).ready


def test_a_broken_template_is_one_fault_with_its_place() -> None:
    """Braces that do not pair are told once, also in external_id."""
    fault = only_fault(external_id={"type": "template", "template": "{code"})
    assert fault.path == ("external_id", "template")
    assert "character 1" in fault.message


def test_an_unknown_transform_names_its_index() -> None:
    """The wrong one of several is pointed at."""
    fault = only_fault(name=dynamic("first_name", transform=["trim", "titel"]))
    assert (fault.path, fault.found) == (("name", "transform", 1), "titel")
    assert fault.allowed == tuple(TRANSFORMS)


def test_an_unknown_transform_of_a_template_is_found() -> None:
    """Templates may be transformed too."""
    rule = {"type": "template", "template": "x", "transform": ["shout"]}
    assert only_fault(summary=rule).path == ("summary", "transform", 0)


@pytest.mark.parametrize(
    "rule",
    [
        {"type": "manual_input", "value": "ABC"},
        {"type": "template", "template": "fixed"},
        {"type": "template", "template": "{campaign.code}-{first_name}"},
        {"type": "template", "template": "{{code}}"},
        dynamic("campaign.id"),
        dynamic("email"),
        dynamic("referrer.code"),
        dynamic("meta.code"),
    ],
)
def test_external_id_without_code_or_id_is_refused(rule: dict[str, Any]) -> None:
    """What may be the same for two people cannot tell their bookings apart."""
    fault = only_fault(external_id=rule)
    assert fault.path == ("external_id",)
    assert "code or id" in fault.message


@pytest.mark.parametrize(
    "rule",
    [
        dynamic("code"),
        dynamic("id"),
        dynamic("code", transform=["trim"]),
        {"type": "template", "template": "RF-{campaign.code}-{id}"},
    ],
)
def test_external_id_with_code_or_id_is_fine(rule: dict[str, Any]) -> None:
    """The code or the id may stand alone or among other text."""
    assert verdict(external_id=rule).ready


@pytest.mark.parametrize("name", sorted(set(TRANSFORMS) - {"trim"}))
def test_external_id_takes_no_lossy_transform(name: str) -> None:
    """Codes differ by case and by every character."""
    fault = only_fault(external_id=dynamic("code", transform=["trim", name]))
    assert fault.path == ("external_id", "transform", 1)
    template = {"type": "template", "template": "{code}", "transform": [name]}
    assert only_fault(external_id=template).path == ("external_id", "transform", 0)


def test_an_address_is_taken_only_whole() -> None:
    """One of the five asks for the other four; the unit alone asks for all."""
    message = only_fault(address__zip=dynamic("meta.Zip")).message
    assert all(name in message for name in ("street", "city", "state", "country"))
    assert "address.zip" not in message.partition("map")[2]
    assert "address.zip" in only_fault(address__unit=dynamic("meta.Unit")).message


def test_a_whole_address_is_fine_with_and_without_unit() -> None:
    """The unit is optional."""
    five = {
        f"address__{part}": dynamic(f"meta.{part}")
        for part in ("street", "city", "state", "zip", "country")
    }
    assert verdict(**five).ready
    assert verdict(**five, address__unit=dynamic("meta.unit")).ready


@pytest.mark.parametrize("kind", ["manual_select", "manual_input"])
@pytest.mark.parametrize(
    ("target", "value", "meant"),
    [
        ("is_first_time_client", "yes", "Yes"),
        ("priority", "urgent", "Urgent"),
        ("customer_type", "residential", "Residential"),
        ("customer_type", "Comercial", "Commercial"),
        ("send_confirmation_email", "NO", "No"),
    ],
)
def test_an_option_is_written_as_it_is_called(
    kind: str, target: str, value: str, meant: str
) -> None:
    """Another case is a fault that carries the options."""
    fault = only_fault(**{target: {"type": kind, "value": value}})
    assert (fault.path, fault.found) == ((target, "value"), value)
    assert nearest(value, fault.allowed) == meant


@pytest.mark.parametrize(
    ("target", "option"),
    [(t.name, option) for t in catalog.BOOKING_TARGETS for option in t.options],
)
def test_every_option_is_accepted(target: str, option: str) -> None:
    """Each option of each target can be selected."""
    assert verdict(**{target: {"type": "manual_select", "value": option}}).ready


def test_a_target_without_options_cannot_be_selected() -> None:
    """A fixed text is manual_input, and the message says so."""
    fault = only_fault(name={"type": "manual_select", "value": "Ada"})
    assert fault.path == ("name", "type")
    assert "manual_input" in fault.message


@pytest.mark.parametrize("target", ["campaign", "business_unit", "job_type"])
def test_names_of_the_tenant_are_selected_unless_blank(target: str) -> None:
    """Whether the name exists is found out online; a blank one never does."""
    assert verdict(**{target: {"type": "manual_select", "value": "HVAC"}}).ready
    assert only_fault(**{target: {"type": "manual_select", "value": " "}}).path == (target, "value")


def test_a_required_fixed_text_is_not_blank() -> None:
    """It would make every record fail."""
    assert only_fault(source={"type": "manual_input", "value": "  "}).path == ("source", "value")


@pytest.mark.parametrize("fields", [{"phone": None}, {"phone": None, "email": dynamic("email")}])
def test_no_phone_is_a_warning_only(fields: dict[str, Any]) -> None:
    """The office cannot call, but the tab may run."""
    judged = verdict(**fields)
    (warning,) = judged.faults
    assert warning.is_warning
    assert judged.ready


def test_a_mobile_phone_is_a_phone() -> None:
    """Either of the two is enough."""
    assert verdict(phone=None, mobile_phone=dynamic("meta.Phone")).faults == ()


def test_all_faults_are_told_at_once() -> None:
    """One run of validate shows everything that is wrong."""
    judged = verdict(
        name=None,
        sumary=dynamic("code"),
        source=dynamic("campain.name"),
        external_id={"type": "manual_input", "value": "1"},
        address__zip=dynamic("meta.Zip"),
        phone=None,
    )
    assert judged.missing == ("name",)
    assert [fault.path for fault in judged.faults] == [
        ("source", "from"),
        ("sumary",),
        ("external_id",),
        ("address.zip",),
        (),
    ]
