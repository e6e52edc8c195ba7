"""Rules against the catalogue: every fault, and what could stand there instead."""

from __future__ import annotations

from typing import Any

import pytest
from pydantic import TypeAdapter

from stcli.domain import catalog
from stcli.domain.mapping.rules import Rule
from stcli.domain.mapping.transforms import TRANSFORMS
from stcli.domain.mapping.validate import (
    Fault,
    TabVerdict,
    check_bookings,
    check_return,
    check_sync,
)
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


# The tabs of a sync


SYNC: dict[str, Any] = {
    "first_name": dynamic("name", transform=["first_name"]),
    "email": dynamic("email"),
}


def sync_verdict(**changes: Any) -> TabVerdict:
    """The verdict on a complete ``sync`` tab with changes; None takes a field away."""
    fields = SYNC | {name.replace("__", "."): rule for name, rule in changes.items()}
    return check_sync(RULES.validate_python({n: r for n, r in fields.items() if r}))


def return_verdict(target: str, rule: dict[str, Any]) -> TabVerdict:
    return check_return(RULES.validate_python({target: rule}))


def test_the_example_of_a_sync_is_ready() -> None:
    """Name and email are enough; labels of forms are whatever the campaign calls them."""
    assert sync_verdict() == TabVerdict((), ())
    assert sync_verdict(**{"meta.Last Name": dynamic("name", transform=["last_name"])}).ready


@pytest.mark.parametrize("name", ["first_name", "email"])
def test_each_required_target_of_a_sync_is_missed(name: str) -> None:
    """Without a name or an email nobody becomes a referrer."""
    judged = sync_verdict(**{name: None})
    assert (judged.missing, judged.faults, judged.ready) == ((name,), (), False)
    assert check_sync({}).missing == ("first_name", "email")


@pytest.mark.parametrize("source", catalog.SYNC.source_names)
def test_every_source_of_a_customer_may_be_mapped(source: str) -> None:
    """By itself and within a template."""
    name = source.replace("NAME", "Account rep")
    assert sync_verdict(meta__Note=dynamic(name)).ready
    assert sync_verdict(meta__Note={"type": "template", "template": f"x {{{name}}}"}).ready


@pytest.mark.parametrize(
    ("target", "meant"),
    [("firstname", "first_name"), ("e-mail", "email"), ("meta.", "meta.LABEL")],
)
def test_an_unknown_target_of_a_sync(target: str, meant: str) -> None:
    """The fault names whose field it is not, and what could stand there."""
    (fault,) = sync_verdict(**{target: dynamic("name")}).faults
    assert (fault.path, fault.found) == ((target,), target)
    assert fault.message == f"Referral Factory's referrers have no field {target!r}"
    assert nearest(fault.found, fault.allowed) == meant


@pytest.mark.parametrize(
    ("source", "meant"),
    [
        ("nmae", "name"),
        ("adress.street", "address.street"),
        ("mobil_phone", "mobile_phone"),
        ("custom_field:", "custom_field:NAME"),
        ("custom_field: ", "custom_field:NAME"),
        ("first_name", None),
        ("campaign.name", None),
        ("referral_link", None),
        ("meta.Phone", None),
    ],
)
def test_an_unknown_source_of_a_sync(source: str, meant: str | None) -> None:
    """Sources of a booking are none of a customer."""
    (fault,) = sync_verdict(meta__Note=dynamic(source)).faults
    assert (fault.path, fault.found) == (("meta.Note", "from"), source)
    assert fault.message == f"ServiceTitan's customers have no field {source!r}"
    assert fault.allowed == catalog.SYNC.source_names
    if meant is not None:
        assert nearest(fault.found, fault.allowed) == meant


@pytest.mark.parametrize("type_", ["manual_input", "manual_select"])
def test_one_address_for_all_is_wrong(type_: str) -> None:
    """Every referrer would have the same email."""
    judged = sync_verdict(email={"type": type_, "value": "office@example.com"})
    assert not judged.ready
    assert any("same email address" in fault.message for fault in judged.faults)


def test_one_address_for_all_is_wrong_in_a_template_too() -> None:
    """Text without a source is the same for every customer."""
    assert not sync_verdict(email={"type": "template", "template": "office@example.com"}).ready


def test_a_broken_template_of_the_address_is_one_fault() -> None:
    """A missing brace is not called a shared address as well."""
    judged = sync_verdict(email={"type": "template", "template": "{email"})
    assert [fault.path for fault in judged.faults] == [("email", "template")]


def test_a_name_for_all_is_allowed_unless_blank() -> None:
    """Somebody may greet all alike, but not nobody."""
    assert sync_verdict(first_name={"type": "manual_input", "value": "Customer"}).ready
    (fault,) = sync_verdict(first_name={"type": "manual_input", "value": " "}).faults
    assert fault.message == "first_name would always be blank"


def test_nothing_of_a_referrer_has_options() -> None:
    """manual_select is for fields with options; the message says what to use."""
    (fault,) = sync_verdict(meta__City={"type": "manual_select", "value": "Bath"}).faults
    assert fault.path == ("meta.City", "type")
    assert "manual_input" in fault.message


def test_transforms_and_templates_of_a_sync_are_checked() -> None:
    """A typo in a transform, and a template that is none."""
    (fault,) = sync_verdict(first_name=dynamic("name", transform=["fist_name"])).faults
    assert fault.path == ("first_name", "transform", 0)
    assert nearest(fault.found, fault.allowed) == "first_name"
    (fault,) = sync_verdict(meta__Note={"type": "template", "template": "{name"}).faults
    assert fault.path == ("meta.Note", "template")


@pytest.mark.parametrize(
    ("target", "rule"),
    [
        ("custom_field:Referral Link", dynamic("referral_link")),
        ("custom_field:#1234", dynamic("referral_code")),
        ("custom_field:Referrals", dynamic("referrals_count")),
        ("custom_field:Converted", dynamic("converted_referrals_count")),
        ("custom_field:Status", {"type": "manual_select", "value": "Referrer"}),
        ("custom_field:Status", {"type": "manual_input", "value": "Referrer"}),
        ("custom_field:Note", {"type": "template", "template": "{referral_code}"}),
    ],
)
def test_what_may_be_written_back(target: str, rule: dict[str, Any]) -> None:
    """Custom fields by name or number take every data type; nothing is required."""
    assert return_verdict(target, rule) == TabVerdict((), ())
    assert check_return({}) == TabVerdict((), ())


@pytest.mark.parametrize("target", ["custom_field:", "custom_field: ", "name", "Referral Link"])
def test_nothing_but_custom_fields_is_written_back(target: str) -> None:
    """A customer's own fields are not touched."""
    judged = return_verdict(target, dynamic("referral_link"))
    (fault,) = judged.faults
    assert (fault.path, fault.found, judged.ready) == ((target,), target, False)
    assert fault.message == f"ServiceTitan's customers have no field {target!r}"
    assert fault.allowed == ("custom_field:NAME",)


@pytest.mark.parametrize(
    ("rule", "key"),
    [
        (dynamic("url"), "from"),
        (dynamic("referal_link"), "from"),
        (dynamic("name"), "from"),
        ({"type": "template", "template": "{code}"}, "template"),
    ],
)
def test_an_unknown_source_of_a_return_field(rule: dict[str, Any], key: str) -> None:
    """Only links, codes and counts go back."""
    (fault,) = return_verdict("custom_field:Link", rule).faults
    assert fault.path == ("custom_field:Link", key)
    assert fault.message.startswith("Referral Factory's referrers have no field")
    assert fault.allowed == catalog.RETURN.source_names
