"""What goes back to a customer's custom fields: which field takes what, and which value. Pure."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from decimal import Decimal

from stcli.domain.catalog import COUNT_SOURCES
from stcli.domain.mapping.apply import map_fields
from stcli.domain.mapping.rules import Dynamic, ManualInput, ManualSelect, Rule
from stcli.domain.records import CustomFieldType, Person

TEXT = "Text"
NUMERIC = "Numeric"
DROPDOWN = "Dropdown"


@dataclass(frozen=True, slots=True)
class ReturnField:
    """One mapped custom field of the tenant. ``target``: as the file names it."""

    target: str
    field: CustomFieldType
    rule: Rule


@dataclass(frozen=True, slots=True)
class ReturnSubject:
    """All that a mapping of the ``return`` tab can read from; a count that is not known is blank."""

    person: Person

    def value(self, source: str) -> str:
        person = self.person
        found: object = {
            "referral_link": person.url,
            "referral_code": person.code,
            "referrals_count": person.referrals,
            "converted_referrals_count": person.qualified_referrals,
        }.get(source)
        return "" if found is None else str(found)


def misfit(rule: Rule, field: CustomFieldType) -> str:
    """Why a field cannot take what a rule gives; blank where it can."""
    if isinstance(rule, ManualSelect):
        if field.data_type == DROPDOWN and rule.value not in field.options:
            return f"has no option {rule.value!r}"
        return "" if field.data_type in (DROPDOWN, TEXT) else f"is {field.data_type}, not Dropdown"
    if isinstance(rule, Dynamic) and rule.source in COUNT_SOURCES and not rule.transform:
        if field.data_type == NUMERIC and rule.default and _number(rule.default) is None:
            return f"is Numeric, and the default {rule.default!r} is not"
        return (
            ""
            if field.data_type in (TEXT, NUMERIC)
            else f"is {field.data_type}, not Text or Numeric"
        )
    if isinstance(rule, ManualInput) and field.data_type == NUMERIC:
        return "" if _number(rule.value) is not None else f"is Numeric, and {rule.value!r} is not"
    return "" if field.data_type == TEXT else f"is {field.data_type}, not Text"


def wanted_values(person: Person, fields: Sequence[ReturnField]) -> dict[int, str]:
    """What each field is to say, by id; what would be blank is left out."""
    by_target = {entry.target: entry.field.id for entry in fields}
    mapped = map_fields(ReturnSubject(person), {entry.target: entry.rule for entry in fields})
    return {by_target[one.target]: one.value for one in mapped if one.value}


def to_write(
    wanted: Mapping[int, str],
    returned: Mapping[int, str],
    current: Mapping[int, str],
    fields: Sequence[ReturnField],
) -> dict[int, str]:
    """The values to write: neither what was written last, so that somebody's own edit stays until
    the value changes, nor what stands there anyway."""
    types = {entry.field.id: entry.field.data_type for entry in fields}
    return {
        number: value
        for number, value in wanted.items()
        if returned.get(number) != value
        and not is_same(current.get(number, ""), value, types[number])
    }


def is_same(one: str, other: str, data_type: str) -> bool:
    """Whether a field that says the one says the other: numbers are compared as numbers."""
    if one == other:
        return True
    if data_type != NUMERIC:
        return False
    first, second = _number(one), _number(other)
    return first is not None and first == second


_NUMBER = re.compile(r"[+-]?[0-9]+(?:\.[0-9]+)?")


def _number(text: str) -> Decimal | None:
    found = text.strip()
    return Decimal(found) if _NUMBER.fullmatch(found) else None
