"""One person and the rules of a tab to one booking draft, or the reason why not.

Deterministic: the same person, campaign, referrer and rules give the same draft, so its fingerprint
tells whether a record that was refused has changed since.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import astuple, dataclass
from datetime import datetime
from typing import Protocol, assert_never

from stcli.domain import catalog
from stcli.domain.mapping import template
from stcli.domain.mapping.instants import read_instant
from stcli.domain.mapping.rules import Dynamic, ManualInput, ManualSelect, Rule, Template
from stcli.domain.mapping.transforms import apply_transforms
from stcli.domain.records import (
    Address,
    BookingContact,
    BookingDraft,
    Campaign,
    ContactType,
    NamedOption,
    Person,
)

Options = Mapping[str, Sequence[NamedOption]]
"""For each target that takes a name or an id: what the tenant has."""


class Readable(Protocol):
    """What a mapping reads from: text by the name of a source, empty where there is none."""

    def value(self, source: str) -> str: ...


@dataclass(frozen=True, slots=True)
class Subject:
    """All that a mapping of a booking can read from."""

    person: Person
    campaign: Campaign
    referrer: Person | None = None

    def value(self, source: str) -> str:
        """The text behind a source name; empty where there is none."""
        if source.startswith("referrer."):
            return _person_value(self.referrer, source.removeprefix("referrer."))
        if source.startswith("campaign."):
            return str(getattr(self.campaign, source.removeprefix("campaign.")))
        if source == "promotion.code":
            return self.person.promotion_code
        return _person_value(self.person, source)


def _person_value(person: Person | None, source: str) -> str:
    if person is None:
        return ""
    if source.startswith("meta."):
        return person.meta.get(source.removeprefix("meta."), "")
    value = getattr(person, source)
    return "" if value is None else str(value)


@dataclass(frozen=True, slots=True)
class MappedField:
    """One row of a preview: where a target's value comes from and what it is."""

    target: str
    rule: Rule
    source_value: str
    value: str


@dataclass(frozen=True, slots=True)
class Unmappable:
    """The record cannot become what it is to be; ``reason`` names the field, never its value."""

    reason: str


def map_fields(subject: Readable, fields: Mapping[str, Rule]) -> list[MappedField]:
    """Every mapped target with its value, in the order of the file."""
    return [_map_one(subject, target, rule) for target, rule in fields.items()]


def _map_one(subject: Readable, target: str, rule: Rule) -> MappedField:
    match rule:
        case Dynamic():
            source_value = subject.value(rule.source)
            value = apply_transforms(source_value.strip() or rule.default, rule.transform)
        case Template():
            source_value = template.render(rule.template, subject.value)
            value = apply_transforms(source_value, rule.transform)
        case ManualInput() | ManualSelect():
            source_value = value = rule.value
        case _:
            assert_never(rule)
    tidy = _lines(value) if target == "summary" else _one_line(value)
    return MappedField(target, rule, source_value, tidy)


def _one_line(text: str) -> str:
    """Control characters and line breaks have no place in a name or a code."""
    return " ".join("".join(c if c.isprintable() else " " for c in text).split())


def _lines(text: str) -> str:
    """The same for a text of several lines, which keeps its lines."""
    return "\n".join(
        "".join(c if c.isprintable() else " " for c in row).rstrip() for row in text.splitlines()
    ).strip()


def external_id_of(subject: Subject, fields: Mapping[str, Rule]) -> str:
    """Only the external id: what a booking of this person is known by, blank if it has none."""
    return _map_one(subject, "external_id", fields["external_id"]).value


def draft_booking(
    subject: Subject, fields: Mapping[str, Rule], options: Options
) -> BookingDraft | Unmappable:
    """The booking that the rules make of the subject."""
    values = {mapped.target: mapped.value for mapped in map_fields(subject, fields)}
    blank = [
        target.name
        for target in catalog.BOOKING_TARGETS
        if target.required and not values.get(target.name)
    ]
    if blank:
        return Unmappable(f"required but blank: {', '.join(blank)}")
    try:
        return BookingDraft(
            source=values["source"],
            name=values["name"],
            summary=values["summary"],
            is_first_time_client=_yes_no("is_first_time_client", values["is_first_time_client"]),
            external_id=values["external_id"],
            contacts=_contacts(values),
            address=_address(values),
            customer_type=_option("customer_type", values),
            start=_instant(values.get("start", "")),
            campaign_id=_id_of("campaign", values, options),
            business_unit_id=_id_of("business_unit", values, options),
            job_type_id=_id_of("job_type", values, options),
            priority=_option("priority", values),
            send_confirmation_email=(
                _yes_no("send_confirmation_email", values["send_confirmation_email"])
                if values.get("send_confirmation_email")
                else None
            ),
        )
    except _Unfit as unfit:
        return Unmappable(str(unfit))


def fingerprint(draft: BookingDraft | Unmappable) -> str:
    """A short hash of everything that would be sent (or of why nothing can be)."""
    return hashlib.sha256(repr(astuple(draft)).encode()).hexdigest()[:32]


def referrer_values(
    subject: Readable, fields: Mapping[str, Rule], required: Sequence[str]
) -> dict[str, str] | Unmappable:
    """What a customer's referrer is to have, by target: ``first_name``, ``email``, ``meta.LABEL``.
    ``required``: targets that may not be blank."""
    values = {mapped.target: mapped.value for mapped in map_fields(subject, fields)}
    blank = [name for name in required if not values.get(name)]
    if blank:
        return Unmappable(f"required but blank: {', '.join(blank)}")
    return values


class _Unfit(ValueError):
    """A value does not fit its target."""


def _contacts(values: Mapping[str, str]) -> tuple[BookingContact, ...]:
    kinds = (
        ("email", ContactType.EMAIL),
        ("phone", ContactType.PHONE),
        ("mobile_phone", ContactType.MOBILE_PHONE),
    )
    return tuple(BookingContact(kind, values[name]) for name, kind in kinds if values.get(name))


def _address(values: Mapping[str, str]) -> Address | None:
    parts = {name: values.get(name, "") for name in catalog.ADDRESS_TOGETHER}
    if not any(parts.values()):
        return None
    blank = [name for name, value in parts.items() if not value]
    if blank:
        raise _Unfit(f"the address lacks {', '.join(blank)}")
    return Address(
        **{name.removeprefix("address."): value for name, value in parts.items()},
        unit=values.get("address.unit", ""),
    )


def _yes_no(target: str, value: str) -> bool:
    match value.casefold():
        case "yes" | "true" | "1" | "y":
            return True
        case "no" | "false" | "0" | "n":
            return False
        case _:
            raise _Unfit(f"{target} is neither Yes nor No")


def _option(target: str, values: Mapping[str, str]) -> str:
    value = values.get(target, "")
    if not value:
        return ""
    known = catalog.BOOKINGS.target(target)
    for option in known.options if known else ():
        if option.casefold() == value.casefold():
            return option
    raise _Unfit(f"{target} is none of its options")


def _instant(value: str) -> datetime | None:
    if not value:
        return None
    instant = read_instant(value)
    if instant is None:
        raise _Unfit("start is not a date and time such as 2026-12-01T15:00:00Z")
    return instant


def _id_of(target: str, values: Mapping[str, str], options: Options) -> int | None:
    value = values.get(target, "")
    if not value:
        return None
    found = matching_options(value, options.get(target, ()))
    if len(found) != 1:
        how_many = "no active one" if not found else f"{len(found)} active ones"
        raise _Unfit(f"{target}: ServiceTitan has {how_many} of this name or id")
    return found[0].id


def matching_options(value: str, options: Sequence[NamedOption]) -> list[NamedOption]:
    """Active options whose id is ``value`` or whose name is, ignoring case. An id wins: a name that
    consists of digits is found only where no id matches."""
    active = [option for option in options if option.active]
    by_id = [option for option in active if str(option.id) == value]
    return by_id or [o for o in active if o.name.strip().casefold() == value.strip().casefold()]
