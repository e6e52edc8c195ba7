"""Which custom field takes what, and which values are to be written."""

from __future__ import annotations

from typing import Any

import pytest
from pydantic import TypeAdapter

from stcli.domain import catalog
from stcli.domain.mapping.rules import Rule
from stcli.domain.records import CustomFieldType
from stcli.domain.return_fields import (
    ReturnField,
    ReturnSubject,
    is_same,
    misfit,
    to_write,
    wanted_values,
)
from tests.unit.domain.customers import person

RULE: TypeAdapter[Rule] = TypeAdapter(Rule)
LINK = {"type": "dynamic", "from": "referral_link"}
CODE = {"type": "dynamic", "from": "referral_code"}
COUNT = {"type": "dynamic", "from": "referrals_count"}
CONVERTED = {"type": "dynamic", "from": "converted_referrals_count"}
FIELDS = {
    "Text": CustomFieldType(1, "Note", "Text"),
    "Numeric": CustomFieldType(2, "Number", "Numeric"),
    "Dropdown": CustomFieldType(3, "Choice", "Dropdown", ("Yes", "No")),
    "Other": CustomFieldType(4, "Day", "Date"),
}
PERSON = person(5, "ada@example.com", referrals=3, qualified_referrals=0)


def rule(written: dict[str, Any]) -> Rule:
    return RULE.validate_python(written)


def entry(number: int, written: dict[str, Any], data_type: str = "Text") -> ReturnField:
    target = f"custom_field:F{number}"
    return ReturnField(target, CustomFieldType(number, f"F{number}", data_type), rule(written))


TEXTS: list[dict[str, Any]] = [
    LINK,
    CODE,
    LINK | {"transform": ["trim"]},
    COUNT | {"transform": ["digits"]},
    {"type": "template", "template": "{referral_code}"},
    {"type": "template", "template": "{referrals_count}"},
    {"type": "manual_input", "value": "enrolled"},
]


@pytest.mark.parametrize("written", TEXTS, ids=str)
def test_text_fits_text_only(written: dict[str, Any]) -> None:
    """A link, a code, a text of one's own and whatever is made of several sources."""
    found = {kind: misfit(rule(written), field) for kind, field in FIELDS.items()}
    assert found["Text"] == ""
    assert found["Dropdown"] == "is Dropdown, not Text"
    assert found["Other"] == "is Date, not Text"
    assert found["Numeric"]


@pytest.mark.parametrize("written", [COUNT, CONVERTED], ids=str)
def test_a_count_fits_text_and_numbers(written: dict[str, Any]) -> None:
    """The two types that the product names, and no other."""
    found = {kind: misfit(rule(written), field) for kind, field in FIELDS.items()}
    assert found == {
        "Text": "",
        "Numeric": "",
        "Dropdown": "is Dropdown, not Text or Numeric",
        "Other": "is Date, not Text or Numeric",
    }


@pytest.mark.parametrize(
    ("value", "fits"),
    [
        ("3", True),
        (" 3 ", True),
        ("-1.5", True),
        ("three", False),
        ("", False),
        ("NaN", False),
        ("Infinity", False),
        ("1,000", False),
    ],
)
def test_a_text_of_ones_own_fits_a_number_if_it_is_one(value: str, fits: bool) -> None:
    """What ServiceTitan would refuse is found before anything is sent."""
    problem = misfit(rule({"type": "manual_input", "value": value}), FIELDS["Numeric"])
    assert problem == ("" if fits else f"is Numeric, and {value!r} is not")


@pytest.mark.parametrize("value", ["1_000", "٣", "1e1", "1.", ".5"])
def test_a_number_in_a_form_of_python_alone_does_not_fit(value: str) -> None:
    """ServiceTitan takes plain digits."""
    assert misfit(rule({"type": "manual_input", "value": value}), FIELDS["Numeric"])


def test_a_count_whose_default_is_no_number_does_not_fit_a_number() -> None:
    """A count that is not known would write the default, which ServiceTitan refuses every time."""
    assert misfit(rule(COUNT | {"default": "none yet"}), FIELDS["Numeric"])


def test_a_count_with_a_default_fits() -> None:
    """A number stands in for a number, and any text where there is room for text."""
    assert misfit(rule(COUNT | {"default": "0"}), FIELDS["Numeric"]) == ""
    assert misfit(rule(COUNT | {"default": "none yet"}), FIELDS["Text"]) == ""


@pytest.mark.parametrize(
    ("kind", "value", "problem"),
    [
        ("Dropdown", "Yes", ""),
        ("Dropdown", "yes", "has no option 'yes'"),
        ("Dropdown", "Maybe", "has no option 'Maybe'"),
        ("Text", "Maybe", ""),
        ("Numeric", "Yes", "is Numeric, not Dropdown"),
        ("Other", "Yes", "is Date, not Dropdown"),
    ],
)
def test_a_choice_is_one_of_the_options(kind: str, value: str, problem: str) -> None:
    """Exactly as ServiceTitan writes it."""
    assert misfit(rule({"type": "manual_select", "value": value}), FIELDS[kind]) == problem


@pytest.mark.parametrize(
    ("source", "value"),
    [
        ("referral_link", "https://example.com/code5"),
        ("referral_code", "code5"),
        ("referrals_count", "3"),
        ("converted_referrals_count", "0"),
    ],
)
def test_what_a_mapping_reads_of_a_referrer(source: str, value: str) -> None:
    """None referred is a number to tell; not known is none."""
    assert ReturnSubject(PERSON).value(source) == value
    assert source in catalog.RETURN.source_names
    unknown = person(5, "ada@example.com", url="", code="")
    assert ReturnSubject(unknown).value(source) == ""


def test_wanted_values_are_by_field_and_never_blank() -> None:
    """What is not known yet leaves the field as it is."""
    fields = [
        entry(1, LINK),
        entry(2, COUNT, "Numeric"),
        entry(3, {"type": "template", "template": "{referral_code}: {referrals_count}"}),
        entry(4, {"type": "manual_input", "value": "yes"}),
        entry(5, {"type": "manual_input", "value": " "}),
    ]
    assert wanted_values(PERSON, fields) == {
        1: "https://example.com/code5",
        2: "3",
        3: "code5: 3",
        4: "yes",
    }
    assert wanted_values(person(5, "ada@example.com", url=""), fields) == {3: "code5:", 4: "yes"}


TYPES = [entry(1, LINK), entry(2, COUNT, "Numeric")]


@pytest.mark.parametrize(
    ("wanted", "returned", "current", "written"),
    [
        ({1: "a", 2: "3"}, {}, {}, {1: "a", 2: "3"}),
        ({1: "a", 2: "3"}, {1: "a"}, {}, {2: "3"}),
        ({1: "a", 2: "3"}, {1: "a", 2: "3"}, {1: "edited", 2: "9"}, {}),
        ({1: "b", 2: "4"}, {1: "a", 2: "3"}, {1: "edited", 2: "3"}, {1: "b", 2: "4"}),
        ({1: "a", 2: "3"}, {}, {1: "a", 2: "3.00"}, {}),
        ({1: "3"}, {}, {1: "3.00"}, {1: "3"}),
        ({1: "a"}, {}, {1: "A"}, {1: "a"}),
        ({}, {1: "a"}, {1: "a"}, {}),
    ],
)
def test_only_what_changed_is_written(
    wanted: dict[int, str], returned: dict[int, str], current: dict[int, str], written: object
) -> None:
    """Somebody's own edit stays until the value changes; what stands there anyway is not sent."""
    assert to_write(wanted, returned, current, TYPES) == written


@pytest.mark.parametrize(
    ("one", "other", "data_type", "same"),
    [
        ("3", "3", "Text", True),
        ("3", "3.0", "Text", False),
        ("a", "A", "Dropdown", False),
        ("3", "3.0", "Numeric", True),
        ("3.00", "03", "Numeric", True),
        (" 3 ", "3", "Numeric", True),
        ("0", "-0", "Numeric", True),
        ("+3", "3", "Numeric", True),
        ("1e1", "10", "Numeric", False),
        ("3", "3.01", "Numeric", False),
        ("", "0", "Numeric", False),
        ("", "", "Numeric", True),
        ("x", "3", "Numeric", False),
        ("NaN", "nan", "Numeric", False),
        ("Infinity", "inf", "Numeric", False),
        ("9007199254740993", "9007199254740992", "Numeric", False),
    ],
)
def test_numbers_are_compared_as_numbers(one: str, other: str, data_type: str, same: bool) -> None:
    """Only in a field of numbers, exactly, and either way round."""
    assert is_same(one, other, data_type) is is_same(other, one, data_type) is same
