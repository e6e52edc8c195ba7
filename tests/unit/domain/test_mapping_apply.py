"""One person and the rules of a tab to one booking draft."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, date, datetime
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import TypeAdapter

from stcli.domain.ids import RfCampaignId, UserId
from stcli.domain.mapping.apply import (
    Subject,
    Unmappable,
    draft_booking,
    external_id_of,
    fingerprint,
    map_fields,
    matching_options,
    referrer_values,
)
from stcli.domain.mapping.rules import Rule
from stcli.domain.records import (
    Address,
    BookingContact,
    BookingDraft,
    Campaign,
    ContactType,
    NamedOption,
    Person,
    PersonType,
)

RULES: TypeAdapter[dict[str, Rule]] = TypeAdapter(dict[str, Rule])
FIELDS: dict[str, Any] = {
    "source": {"type": "dynamic", "from": "campaign.name"},
    "name": {"type": "dynamic", "from": "first_name"},
    "email": {"type": "dynamic", "from": "email"},
    "summary": {"type": "template", "template": "Referred by {referrer.first_name}"},
    "is_first_time_client": {"type": "manual_select", "value": "Yes"},
    "external_id": {"type": "dynamic", "from": "code"},
}
CAMPAIGN = Campaign(RfCampaignId(7), "spring-hvac", "Spring HVAC", "https://x.test/s", "launched")
LEAD = Person(
    id=UserId(1001),
    campaign_id=RfCampaignId(7),
    type=PersonType.LEAD,
    code="aB3x9",
    first_name="Ada Lovelace",
    email="ada@example.com",
    url="https://x.test/aB3x9",
    source="Referred",
    referrer_id=UserId(900),
    signed_up_at=date(2026, 11, 23),
    promotion_code="SAVE20",
    meta={"Phone": "555-0100", "Blank": "  "},
)
REFERRER = replace(
    LEAD,
    id=UserId(900),
    type=PersonType.REFERRER,
    code="gH7k2",
    first_name="Grace",
    email="grace@example.com",
    url="https://x.test/gH7k2",
    meta={"Level": "Gold"},
)
OPTIONS = {
    "job_type": (
        NamedOption(11, "Estimate"),
        NamedOption(12, "Repair"),
        NamedOption(13, "repair "),
        NamedOption(14, "Old", active=False),
        NamedOption(15, "11"),
        NamedOption(16, "404"),
    )
}


def rules(**changes: Any) -> dict[str, Rule]:
    fields = FIELDS | {name.replace("__", "."): rule for name, rule in changes.items()}
    return RULES.validate_python({name: rule for name, rule in fields.items() if rule})


def draft(
    person: Person = LEAD, referrer: Person | None = REFERRER, **changes: Any
) -> BookingDraft:
    made = draft_booking(Subject(person, CAMPAIGN, referrer), rules(**changes), OPTIONS)
    assert isinstance(made, BookingDraft), made
    return made


def reason(person: Person = LEAD, **changes: Any) -> str:
    made = draft_booking(Subject(person, CAMPAIGN, REFERRER), rules(**changes), OPTIONS)
    assert isinstance(made, Unmappable), made
    return made.reason


def value(rule: dict[str, Any], person: Person = LEAD) -> str:
    """What a rule makes of the lead, as the summary of the preview shows it."""
    fields = RULES.validate_python({"summary": rule})
    return map_fields(Subject(person, CAMPAIGN, REFERRER), fields)[0].value


def text(fixed: str) -> dict[str, Any]:
    return {"type": "manual_input", "value": fixed}


def dynamic(source: str, **more: Any) -> dict[str, Any]:
    return {"type": "dynamic", "from": source, **more}


def test_the_example_of_the_product() -> None:
    """A lead becomes the booking that the campaign file describes."""
    assert draft() == BookingDraft(
        source="Spring HVAC",
        name="Ada Lovelace",
        summary="Referred by Grace",
        is_first_time_client=True,
        external_id="aB3x9",
        contacts=(BookingContact(ContactType.EMAIL, "ada@example.com"),),
    )


@pytest.mark.parametrize(
    ("source", "expected"),
    [
        ("id", "1001"),
        ("code", "aB3x9"),
        ("first_name", "Ada Lovelace"),
        ("email", "ada@example.com"),
        ("url", "https://x.test/aB3x9"),
        ("source", "Referred"),
        ("signed_up_at", "2026-11-23"),
        ("meta.Phone", "555-0100"),
        ("meta.Absent", ""),
        ("campaign.name", "Spring HVAC"),
        ("campaign.code", "spring-hvac"),
        ("campaign.url", "https://x.test/s"),
        ("campaign.id", "7"),
        ("referrer.first_name", "Grace"),
        ("referrer.email", "grace@example.com"),
        ("referrer.code", "gH7k2"),
        ("referrer.url", "https://x.test/gH7k2"),
        ("referrer.meta.Level", "Gold"),
        ("promotion.code", "SAVE20"),
    ],
)
def test_every_source_is_read(source: str, expected: str) -> None:
    """Each booking source of the product gives its value."""
    assert value(dynamic(source)) == expected


@pytest.mark.parametrize(
    ("person", "changes", "named"),
    [
        (replace(LEAD, first_name=" "), {}, ["name"]),
        (replace(LEAD, email=""), {}, ["email"]),
        (replace(LEAD, email="", first_name=""), {}, ["name", "email"]),
        (LEAD, {"source": None}, ["source"]),
        (LEAD, {"summary": dynamic("meta.Blank")}, ["summary"]),
        (LEAD, {"summary": {"type": "template", "template": " {meta.Blank}\n"}}, ["summary"]),
        (LEAD, {"name": dynamic("first_name", transform=["digits"])}, ["name"]),
        (LEAD, {"name": text("\t\x00")}, ["name"]),
    ],
)
def test_a_blank_required_target_is_a_failure(
    person: Person, changes: dict[str, Any], named: list[str]
) -> None:
    """It is found before any request; the reason names the fields and no value."""
    assert reason(person, **changes) == f"required but blank: {', '.join(named)}"


def test_a_default_stands_in_for_an_empty_source() -> None:
    """Also for one of blanks only, and it is transformed like the source."""
    assert value(dynamic("meta.Absent", default="Friend")) == "Friend"
    assert value(dynamic("meta.Blank", default="Friend")) == "Friend"
    assert value(dynamic("meta.Phone", default="Friend")) == "555-0100"
    assert value(dynamic("meta.Absent", default="friend", transform=["upper"])) == "FRIEND"


def test_an_empty_source_in_a_template_is_empty_text() -> None:
    """A lead without a referrer still gets a booking."""
    assert draft(referrer=None).summary == "Referred by"
    template = {"type": "template", "template": "{meta.Absent}[{meta.Phone}] {{x}}"}
    assert value(template) == "[555-0100] {x}"


def test_a_template_is_transformed_as_a_whole() -> None:
    """Transforms see the rendered text."""
    rule = {"type": "template", "template": "by {referrer.first_name}", "transform": ["upper"]}
    assert value(rule) == "BY GRACE"


@pytest.mark.parametrize("written", ["Yes", "yes", "YES", "true", "True", "1", "y"])
def test_yes(written: str) -> None:
    """Whatever the form calls it, yes is yes."""
    person = replace(LEAD, meta={"New": written})
    assert draft(person, is_first_time_client=dynamic("meta.New")).is_first_time_client is True


@pytest.mark.parametrize("written", ["No", "no", "NO", "false", "0", "N"])
def test_no(written: str) -> None:
    """Whatever the form calls it, no is no; also for an optional target."""
    person = replace(LEAD, meta={"New": written})
    made = draft(
        person,
        is_first_time_client=dynamic("meta.New"),
        send_confirmation_email=dynamic("meta.New"),
    )
    assert made.is_first_time_client is False
    assert made.send_confirmation_email is False


def test_neither_yes_nor_no_is_a_failure_without_the_value() -> None:
    """The reason names the field, never what the lead typed."""
    person = replace(LEAD, meta={"New": "secret maybe"})
    told = reason(person, is_first_time_client=dynamic("meta.New"))
    assert "is_first_time_client" in told
    assert "maybe" not in told


def test_an_optional_yes_or_no_that_is_blank_is_not_sent() -> None:
    """Not asked for is not No."""
    assert draft(send_confirmation_email=dynamic("meta.Blank")).send_confirmation_email is None


@pytest.mark.parametrize(
    ("written", "expected"),
    [
        ("2026-12-01T15:00:00Z", datetime(2026, 12, 1, 15, tzinfo=UTC)),
        ("2026-12-01T15:00:00+02:00", datetime(2026, 12, 1, 13, tzinfo=UTC)),
        ("2026-12-01T15:00", datetime(2026, 12, 1, 15, tzinfo=UTC)),
        ("2026-12-01 15:00", datetime(2026, 12, 1, 15, tzinfo=UTC)),
        ("2026-12-01", datetime(2026, 12, 1, tzinfo=UTC)),
    ],
)
def test_start_is_read_as_utc(written: str, expected: datetime) -> None:
    """Without a zone it is UTC, as ServiceTitan has it."""
    made = draft(start=text(written)).start
    assert made == expected
    assert made is not None
    assert made.utcoffset() == expected.utcoffset()


@pytest.mark.parametrize("written", ["tomorrow", "2026-13-01", "12/01/2026", "2026-12-01T25:00"])
def test_a_start_that_is_none_is_a_failure(written: str) -> None:
    """The reason shows how it is written, and not what was."""
    told = reason(start=text(written))
    assert told.startswith("start ")
    assert written not in told


@pytest.mark.parametrize("written", ["0001-01-01T00:00:00+14:00", "9999-12-31T23:59:59-12:00"])
def test_a_start_beyond_the_calendar_is_a_failure_of_the_record(written: str) -> None:
    """One bad record never stops the rest."""
    assert "start" in reason(start=text(written))


def test_a_blank_start_is_not_sent() -> None:
    """An optional target without a value is left out."""
    assert draft(start=dynamic("meta.Blank")).start is None


@pytest.mark.parametrize(
    ("written", "number"),
    [
        ("Estimate", 11),
        ("estimate", 11),
        ("11", 11),  # an id wins over a name made of digits
        ("12", 12),
        ("404", 16),
        (" ESTIMATE  ", 11),
    ],
)
def test_a_name_or_an_id_is_resolved(written: str, number: int) -> None:
    """Case is ignored; an id is taken before a name."""
    assert draft(job_type=text(written)).job_type_id == number


@pytest.mark.parametrize(
    ("written", "how_many"),
    [("Nothing", "no active one"), ("Old", "no active one"), ("14", "no active one")],
)
def test_none_or_inactive_is_a_failure(written: str, how_many: str) -> None:
    """What the tenant does not have, or no more, is not guessed."""
    assert how_many in reason(job_type=text(written))


def test_several_of_a_name_are_a_failure() -> None:
    """Two job types of one name: neither is taken."""
    assert "2 active ones" in reason(job_type=text("repair"))


def test_a_target_whose_list_is_absent_is_a_failure() -> None:
    """Without the tenant's list no name is resolved."""
    assert reason(business_unit=text("HVAC")).startswith("business_unit")


def test_the_ids_go_to_their_own_targets() -> None:
    """Campaign, business unit and job type are not mixed up."""
    options = {
        "campaign": (NamedOption(1, "A"),),
        "business_unit": (NamedOption(2, "A"),),
        "job_type": (NamedOption(3, "A"),),
    }
    fields = rules(campaign=text("a"), business_unit=text("a"), job_type=text("a"))
    made = draft_booking(Subject(LEAD, CAMPAIGN, REFERRER), fields, options)
    assert isinstance(made, BookingDraft)
    assert (made.campaign_id, made.business_unit_id, made.job_type_id) == (1, 2, 3)


def test_matching_options_lists_what_fits() -> None:
    """All active ones of a name, ignoring case and spaces around."""
    assert [o.id for o in matching_options("Repair", OPTIONS["job_type"])] == [12, 13]


@pytest.mark.parametrize(
    ("target", "attribute", "written", "expected"),
    [
        ("priority", "priority", "urgent", "Urgent"),
        ("customer_type", "customer_type", "RESIDENTIAL", "Residential"),
    ],
)
def test_options_from_a_form_are_sent_as_servicetitan_calls_them(
    target: str, attribute: str, written: str, expected: str
) -> None:
    """Case does not matter in what a lead typed; other words are a failure."""
    assert getattr(draft(**{target: text(written)}), attribute) == expected
    assert reason(**{target: text("Other")}).startswith(target)


def test_contacts_in_order_without_blank_ones() -> None:
    """Email, phone and mobile phone are contacts; a blank one is left out."""
    made = draft(phone=dynamic("meta.Phone"), mobile_phone=dynamic("meta.Blank"))
    assert made.contacts == (
        BookingContact(ContactType.EMAIL, "ada@example.com"),
        BookingContact(ContactType.PHONE, "555-0100"),
    )
    assert draft(mobile_phone=text("1")).contacts[1].type is ContactType.MOBILE_PHONE


ADDRESS = {
    f"address__{part}": dynamic(f"meta.{part}")
    for part in ("street", "unit", "city", "state", "zip", "country")
}
HOUSE = {"street": "1 Main St", "city": "Rome", "state": "NY", "zip": "01234", "country": "USA"}


def test_a_whole_address_is_sent() -> None:
    """The zip keeps its zero and the unit may be blank."""
    assert draft(replace(LEAD, meta=HOUSE), **ADDRESS).address == Address(**HOUSE)
    made = draft(replace(LEAD, meta=HOUSE | {"unit": "4"}), **ADDRESS).address
    assert made == Address(**HOUSE, unit="4")


def test_no_address_at_all_is_no_failure() -> None:
    """A lead who left all of it blank has a booking without one."""
    assert draft(replace(LEAD, meta={}), **ADDRESS).address is None


@pytest.mark.parametrize("part", sorted(HOUSE))
def test_a_part_of_an_address_is_a_failure(part: str) -> None:
    """ServiceTitan would refuse it; the reason names what lacks."""
    assert f"address.{part}" in reason(replace(LEAD, meta=HOUSE | {part: ""}), **ADDRESS)


def test_control_characters_do_not_get_into_names_and_codes() -> None:
    """Line breaks, tabs and NULs become single spaces."""
    person = replace(LEAD, first_name="Ada\r\n\x00 Love\x1blace\t", email=" a@example.com\n")
    made = draft(person)
    assert made.name == "Ada Love lace"
    assert made.contacts[0].value == "a@example.com"


def test_a_summary_keeps_its_lines() -> None:
    """What the office reads may have several lines; blanks around go."""
    assert draft(summary=text(" one\ntwo\n")).summary == "one\ntwo"


@given(st.text(max_size=40))
def test_no_name_puts_a_control_character_into_a_booking(name: str) -> None:
    """Whatever a lead types, the name is one printable line or a failure."""
    made = draft_booking(
        Subject(replace(LEAD, first_name=name), CAMPAIGN, REFERRER), rules(), OPTIONS
    )
    if isinstance(made, BookingDraft):
        assert made.name.isprintable()
        assert made.name == made.name.strip() != ""
    else:
        assert made == Unmappable("required but blank: name")


def test_external_id_alone_is_the_one_of_the_draft() -> None:
    """A booking is looked for by exactly what would be sent."""
    rule = {"type": "template", "template": "RF-{id}\n"}
    fields = rules(external_id=rule)
    assert external_id_of(Subject(LEAD, CAMPAIGN), fields) == "RF-1001"
    assert draft(external_id=rule).external_id == "RF-1001"


@pytest.mark.parametrize(
    "changed",
    [
        {"first_name": "Ada L."},
        {"email": "other@example.com"},
        {"code": "ab3x9"},
    ],
)
def test_fingerprint_changes_with_what_is_sent(changed: dict[str, str]) -> None:
    """A refused record is tried again once it changed."""
    assert fingerprint(draft(replace(LEAD, **changed))) != fingerprint(draft())


@pytest.mark.parametrize("changed", [{"url": "x"}, {"source": "Api"}, {"meta": {"Other": "1"}}])
def test_fingerprint_stays_while_the_draft_does(changed: dict[str, Any]) -> None:
    """A change that no mapping reads does not bring a parked record back."""
    assert fingerprint(draft(replace(LEAD, **changed))) == fingerprint(draft())


def test_fingerprint_changes_with_the_mapping() -> None:
    """So it does when the mapping gives another value, also for an id behind the same name."""
    assert fingerprint(draft(summary=text("x"))) != fingerprint(draft())
    subject, fields = Subject(LEAD, CAMPAIGN, REFERRER), rules(job_type=text("Estimate"))
    one = draft_booking(subject, fields, {"job_type": (NamedOption(1, "Estimate"),)})
    two = draft_booking(subject, fields, {"job_type": (NamedOption(2, "Estimate"),)})
    assert fingerprint(one) != fingerprint(two)


def test_fingerprint_of_what_cannot_be_mapped_tells_why() -> None:
    """Another reason is another fingerprint, and a draft is never taken for a reason."""
    prints = {fingerprint(Unmappable("a")), fingerprint(Unmappable("b")), fingerprint(draft())}
    assert len(prints) == 3


@given(
    st.tuples(st.text("ab '\",()", max_size=6), st.text("ab '\",()", max_size=6)),
    st.tuples(st.text("ab '\",()", max_size=6), st.text("ab '\",()", max_size=6)),
)
def test_fingerprints_are_equal_only_for_equal_drafts(
    one: tuple[str, str], two: tuple[str, str]
) -> None:
    """No shift of text between two fields goes unseen."""
    first, second = (
        BookingDraft(source, name, "s", is_first_time_client=True, external_id="e")
        for source, name in (one, two)
    )
    assert (fingerprint(first) == fingerprint(second)) == (first == second)


# Referrers


class Texts(dict[str, str]):
    """A source of mappings that is its own text."""

    def value(self, source: str) -> str:
        return self.get(source, "")


def referrer_of(
    fields: dict[str, Any], *required: str, **sources: str
) -> dict[str, str] | Unmappable:
    return referrer_values(Texts(sources), RULES.validate_python(fields), required)


def test_a_referrer_has_every_mapped_value() -> None:
    """All data types, in the order of the file; blank ones that nobody requires stay blank."""
    fields = {
        "first_name": {"type": "dynamic", "from": "name", "transform": ["first_name"]},
        "email": {"type": "dynamic", "from": "email"},
        "meta.Kind": {"type": "manual_input", "value": "Customer"},
        "meta.Note": {"type": "template", "template": "{type} in {city}"},
        "meta.Phone": {"type": "dynamic", "from": "phone", "default": "none"},
        "meta.Blank": {"type": "dynamic", "from": "nothing"},
    }
    values = referrer_of(
        fields, "first_name", "email", name="Lovelace, Ada", email="ada@example.com", city="Bath"
    )
    assert isinstance(values, dict)
    assert list(values.items()) == [
        ("first_name", "Ada"),
        ("email", "ada@example.com"),
        ("meta.Kind", "Customer"),
        ("meta.Note", "in Bath"),
        ("meta.Phone", "none"),
        ("meta.Blank", ""),
    ]


def test_a_referrer_without_what_is_required_names_all_of_it() -> None:
    """Blank and not mapped at all are the same; the reason tells fields and no values."""
    fields = {
        "first_name": {"type": "dynamic", "from": "name"},
        "email": {"type": "dynamic", "from": "email"},
        "meta.Phone": {"type": "dynamic", "from": "phone"},
    }
    found = referrer_of(
        fields, "first_name", "email", "meta.Phone", "meta.City", name=" \n", email="a@example.com"
    )
    assert found == Unmappable("required but blank: first_name, meta.Phone, meta.City")


def test_values_of_a_referrer_are_single_lines() -> None:
    """Line breaks and control characters of a customer's record do not get into a form field."""
    fields = {"meta.Note": {"type": "dynamic", "from": "note"}}
    assert referrer_of(fields, note="a\r\nb\x00c\td") == {"meta.Note": "a b c d"}
