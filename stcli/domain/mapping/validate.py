"""Rules against the catalogue: what is missing, what is wrong, all at once and without network."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import assert_never

from stcli.domain import catalog
from stcli.domain.mapping import template
from stcli.domain.mapping.instants import FIXED_INSTANT, read_instant
from stcli.domain.mapping.rules import (
    Dynamic,
    ManualInput,
    ManualSelect,
    Rule,
    Template,
    sources_of,
)
from stcli.domain.mapping.transforms import KEEPS_DIFFERENT_APART, TRANSFORMS

Path = tuple[str | int, ...]


@dataclass(frozen=True, slots=True)
class Fault:
    """Something wrong with a rule: the wrong word, and what could stand there."""

    path: Path
    message: str
    found: str = ""
    allowed: tuple[str, ...] = ()
    is_warning: bool = False
    is_incomplete: bool = False
    """Nothing is wrong with the rule; something else has to be mapped beside it."""

    @property
    def is_wrong(self) -> bool:
        """Whether the rule itself cannot stay as it is."""
        return not (self.is_warning or self.is_incomplete)


@dataclass(frozen=True, slots=True)
class TabVerdict:
    """Whether a tab can run: nothing required is missing and nothing is wrong."""

    missing: tuple[str, ...]
    faults: tuple[Fault, ...]

    @property
    def ready(self) -> bool:
        return not self.missing and all(fault.is_warning for fault in self.faults)


def check_tab(tab: str, fields: Mapping[str, Rule]) -> TabVerdict:
    """The verdict on the mappings of a tab of the campaign file."""
    return {"sync": check_sync, "return": check_return}.get(tab, check_bookings)(fields)


def check_bookings(fields: Mapping[str, Rule]) -> TabVerdict:
    """The verdict on a tab whose mappings make bookings. Paths start below ``fields``."""
    missing = tuple(
        target.name
        for target in catalog.BOOKING_TARGETS
        if target.required and target.name not in fields
    )
    faults = list(_targets(catalog.BOOKINGS, fields))
    if "external_id" in fields:
        faults += _external_id(fields["external_id"])
    return TabVerdict(missing, (*faults, *_address(fields), *_contacts(fields)))


def check_sync(fields: Mapping[str, Rule]) -> TabVerdict:
    """The verdict on the mappings that make referrers of customers. Which further fields the
    campaign requires only Referral Factory knows."""
    missing = tuple(
        target.name
        for target in catalog.SYNC_TARGETS
        if target.required and target.name not in fields
    )
    return TabVerdict(missing, (*_targets(catalog.SYNC, fields), *_shared_email(fields)))


def check_return(fields: Mapping[str, Rule]) -> TabVerdict:
    """The verdict on the mappings that write to customers. Whether a custom field exists and takes
    the value only ServiceTitan knows."""
    return TabVerdict((), tuple(_targets(catalog.RETURN, fields)))


def _targets(catalogue: catalog.Catalogue, fields: Mapping[str, Rule]) -> Iterator[Fault]:
    for name, rule in fields.items():
        target = catalogue.target(name)
        if target is None:
            yield Fault(
                (name,),
                f"{catalogue.owner} have no field {name!r}",
                found=name,
                allowed=catalogue.target_names,
            )
        yield from _sources(catalogue, name, rule)
        if target is not None:
            yield from _value(name, target, rule)


def _shared_email(fields: Mapping[str, Rule]) -> Iterator[Fault]:
    rule = fields.get("email")
    # A template that is none is a fault of its own.
    is_broken = isinstance(rule, Template) and not template.is_template(rule.template)
    if rule is not None and not is_broken and not sources_of(rule):
        yield Fault(
            ("email",), "every referrer would have the same email address; use type: dynamic"
        )


def _sources(catalogue: catalog.Catalogue, name: str, rule: Rule) -> Iterator[Fault]:
    match rule:
        case Dynamic():
            if not catalogue.has_source(rule.source):
                yield _unknown_source(catalogue, (name, "from"), rule.source)
            yield from _transforms(name, rule.transform)
        case Template():
            try:
                named = template.sources(rule.template)
            except template.TemplateFault as fault:
                yield Fault((name, "template"), str(fault))
                return
            for source in dict.fromkeys(named):
                if not catalogue.has_source(source):
                    yield _unknown_source(catalogue, (name, "template"), source)
            yield from _transforms(name, rule.transform)
        case ManualInput() | ManualSelect():
            return
        case _:
            assert_never(rule)


def _unknown_source(catalogue: catalog.Catalogue, path: Path, source: str) -> Fault:
    verb = "have" if catalogue.origin.endswith("s") else "has"
    return Fault(
        path,
        f"{catalogue.origin} {verb} no field {source!r}",
        found=source,
        allowed=catalogue.source_names,
    )


def _transforms(name: str, transforms: tuple[str, ...]) -> Iterator[Fault]:
    for index, transform in enumerate(transforms):
        if transform not in TRANSFORMS:
            yield Fault(
                (name, "transform", index),
                f"there is no transform {transform!r}",
                found=transform,
                allowed=tuple(TRANSFORMS),
            )


def _value(name: str, target: catalog.Target, rule: Rule) -> Iterator[Fault]:
    if isinstance(rule, ManualSelect):
        if target.type is catalog.TargetType.NAME_OR_ID:
            if not rule.value.strip():
                yield Fault((name, "value"), "the value is blank")
        elif not target.options and not name.startswith("custom_field:"):
            yield Fault(
                (name, "type"),
                f"{name} has no options to select from; use manual_input for a fixed text",
            )
        elif target.options and rule.value not in target.options:
            yield Fault(
                (name, "value"),
                f"{rule.value!r} is not an option of {name}",
                found=rule.value,
                allowed=target.options,
            )
    if isinstance(rule, ManualInput):
        if target.options and rule.value not in target.options:
            yield Fault(
                (name, "value"),
                f"{rule.value!r} is not an option of {name}",
                found=rule.value,
                allowed=target.options,
            )
        elif (
            target.type is catalog.TargetType.INSTANT
            and rule.value.strip()
            and not _is_instant(rule.value)
        ):
            yield Fault(
                (name, "value"),
                f"{rule.value!r} is no date and time; write one such as {target.example}",
            )
        elif not rule.value.strip() and (target.required or name.startswith("address.")):
            yield Fault((name, "value"), f"{name} would always be blank")


def _is_instant(text: str) -> bool:
    return bool(re.fullmatch(FIXED_INSTANT, text)) and read_instant(text.strip()) is not None


def _external_id(rule: Rule) -> Iterator[Fault]:
    """It tells whose booking it is: it must differ for every person, whatever is done to it."""
    path: Path = ("external_id",)
    match rule:
        case ManualInput() | ManualSelect():
            named: tuple[str, ...] = ()
            transforms: tuple[str, ...] = ()
        case Dynamic():
            named, transforms = (rule.source,), rule.transform
        case Template():
            try:
                named = template.sources(rule.template)
            except template.TemplateFault:
                return
            transforms = rule.transform
        case _:
            assert_never(rule)
    if not catalog.UNIQUE_SOURCES.intersection(named):
        yield Fault(
            path,
            "external_id would be the same for several people, so their bookings could not be "
            "told apart; it must contain code or id",
        )
    for index, name in enumerate(transforms):
        if name in TRANSFORMS and name not in KEEPS_DIFFERENT_APART:
            yield Fault(
                (*path, "transform", index),
                f"{name} can make the external ids of two people equal; leave it out",
            )


def _address(fields: Mapping[str, Rule]) -> Iterator[Fault]:
    mapped = [name for name in fields if name.startswith("address.")]
    if not mapped:
        return
    missing = [name for name in catalog.ADDRESS_TOGETHER if name not in fields]
    if missing:
        yield Fault(
            (mapped[0],),
            "an address is taken only whole: also map " + ", ".join(missing),
            is_incomplete=True,
        )


def _contacts(fields: Mapping[str, Rule]) -> Iterator[Fault]:
    if fields and "phone" not in fields and "mobile_phone" not in fields:
        yield Fault(
            (),
            "neither phone nor mobile_phone is mapped: the office will have no number to call",
            is_warning=True,
        )
