"""Checks what a ServiceTitan request carries, against rules written down as data.

Bodies: every fault is found before the refusal, unknown properties are faults, types are taken as
the documents give them (a number in quotes is no number). Query strings: unknown parameters are
ignored, as the real server does.
"""

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from datetime import datetime
from itertools import islice
from operator import attrgetter
from typing import Any, Literal, TypeVar

from stcli.sandbox.calls import Refusal
from stcli.sandbox.clock import parse_instant

MAX_IDS = 50
MAX_PAGE_SIZE = 5000
DEFAULT_PAGE_SIZE = 50
INVALID = "One or more fields were not accepted."

Kind = Literal["string", "integer", "number", "boolean", "instant", "object", "list"]
T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Rule:
    """What one property may be. `filled` refuses blank text."""

    kind: Kind
    required: bool = False
    nullable: bool = False
    filled: bool = False
    choices: tuple[str, ...] = ()
    fields: "Mapping[str, Rule] | None" = None
    items: "Rule | None" = None


def check_body(body: Mapping[str, Any], rules: Mapping[str, Rule]) -> dict[str, Any]:
    """The body with its instants read; 400 naming every property that breaks its rule."""
    errors: dict[str, list[str]] = {}
    checked = _check_fields(body, rules, "", errors)
    if errors:
        raise Refusal(400, INVALID, errors)
    return checked


def _check_fields(
    body: Mapping[str, Any], rules: Mapping[str, Rule], path: str, errors: dict[str, list[str]]
) -> dict[str, Any]:
    for name in body.keys() - rules.keys():
        errors[path + name] = ["This property is not known."]
    checked: dict[str, Any] = {}
    for name, rule in rules.items():
        if name in body:
            checked[name] = _check_value(body[name], rule, path + name, errors)
        elif rule.required:
            errors[path + name] = ["This property is required."]
    return checked


def _check_value(value: Any, rule: Rule, path: str, errors: dict[str, list[str]]) -> Any:
    if value is None:
        if not rule.nullable:
            errors[path] = ["This property may not be null."]
        return None
    if not _is_of(value, rule.kind):
        errors[path] = [f"This property must be of type {rule.kind}."]
        return None
    if rule.choices and value not in rule.choices:
        errors[path] = [f"This property must be one of: {', '.join(rule.choices)}."]
    elif rule.filled and not value.strip():
        errors[path] = ["This property may not be blank."]
    elif rule.kind == "instant":
        return parse_instant(value)
    elif rule.fields is not None:
        return _check_fields(value, rule.fields, f"{path}.", errors)
    elif rule.items is not None:
        items = rule.items
        return [_check_value(v, items, f"{path}[{i}]", errors) for i, v in enumerate(value)]
    return value


def _is_of(value: Any, kind: Kind) -> bool:
    match kind:
        case "string":
            return isinstance(value, str)
        case "integer":
            return isinstance(value, int) and not isinstance(value, bool)
        case "number":
            return isinstance(value, (int, float)) and not isinstance(value, bool)
        case "boolean":
            return isinstance(value, bool)
        case "object":
            return isinstance(value, dict)
        case "list":
            return isinstance(value, list)
        case "instant":
            return isinstance(value, str) and _is_instant(value)


def _is_instant(text: str) -> bool:
    # A date alone is no date-time.
    try:
        parse_instant(text)
    except ValueError:
        return False
    return len(text) > len("2026-01-01") and text[10] in "Tt "


class Query:
    """The query string of one list request; an unreadable value is a 400 naming its parameter."""

    def __init__(self, values: Mapping[str, str]) -> None:
        self._values = values

    def text(self, name: str) -> str | None:
        return self._values.get(name) or None

    def integer(self, name: str) -> int | None:
        return self._read(name, int, "must be an integer")

    def boolean(self, name: str) -> bool | None:
        return self._read(name, _boolean, "must be true or false")

    def instant(self, name: str) -> datetime | None:
        return self._read(name, parse_instant, "must be a date and time")

    def ids(self, name: str = "ids", most: int = MAX_IDS) -> list[int] | None:
        found = self._read(name, _integers, "must be integers with commas between them")
        if found is not None and len(found) > most:
            raise _invalid(name, f"may name {most} ids at most")
        return found

    def choice(self, name: str, choices: Iterable[str]) -> str | None:
        """One of the choices, in whatever case."""
        text = self.text(name)
        if text is None:
            return None
        for choice in choices:
            if choice.lower() == text.lower():
                return choice
        raise _invalid(name, f"must be one of {', '.join(choices)}")

    def active(self) -> bool | None:
        """None is any; without the parameter only active records are shown."""
        found = self.choice("active", ("True", "Any", "False")) or "True"
        return None if found == "Any" else found == "True"

    def _read(self, name: str, read: Callable[[str], T], complaint: str) -> T | None:
        text = self.text(name)
        if text is None:
            return None
        try:
            return read(text)
        except ValueError as error:
            raise _invalid(name, complaint) from error

    def dated(self, records: Iterable[T]) -> Iterable[T]:
        """Those within the four bounds that every list takes."""
        for name, field, later in (
            ("createdOnOrAfter", "created_on", True),
            ("createdBefore", "created_on", False),
            ("modifiedOnOrAfter", "modified_on", True),
            ("modifiedBefore", "modified_on", False),
        ):
            bound = self.instant(name)
            if bound is not None:
                records = _bounded(records, field, bound, later=later)
        return records

    def sorted(self, records: Iterable[T], fields: Mapping[str, str]) -> Iterable[T]:
        text = self.text("sort")
        if text is None:
            return records
        # A plus sign that was not escaped arrives as a space.
        name = text.lstrip("+- ").lower()
        field = {wire.lower(): attribute for wire, attribute in fields.items()}.get(name)
        if field is None:
            raise _invalid("sort", f"must name one of {', '.join(fields)}")
        return sorted(records, key=attrgetter(field), reverse=text.startswith("-"))

    def page(self, records: Iterable[T], show: Callable[[T], dict[str, Any]]) -> dict[str, Any]:
        """The body of a list answer."""
        number = self.integer("page")
        size = self.integer("pageSize")
        number = 1 if number is None else number
        size = DEFAULT_PAGE_SIZE if size is None else size
        if number < 1:
            raise _invalid("page", "starts from 1")
        if not 1 <= size <= MAX_PAGE_SIZE:
            raise _invalid("pageSize", f"must lie between 1 and {MAX_PAGE_SIZE}")
        total: int | None = None
        if self.boolean("includeTotal"):
            records = list(records)
            total = len(records)
        start = (number - 1) * size
        found = list(islice(records, start, start + size + 1))
        return {
            "page": number,
            "pageSize": size,
            "hasMore": len(found) > size,
            "totalCount": total,
            "data": [show(record) for record in found[:size]],
        }


def _bounded(records: Iterable[T], field: str, bound: datetime, *, later: bool) -> Iterable[T]:
    read = attrgetter(field)
    if later:
        return (record for record in records if read(record) >= bound)
    return (record for record in records if read(record) < bound)


def _boolean(text: str) -> bool:
    if text.lower() not in ("true", "false"):
        raise ValueError(text)
    return text.lower() == "true"


def _integers(text: str) -> list[int]:
    return [int(part) for part in text.split(",") if part.strip()]


def _invalid(name: str, complaint: str) -> Refusal:
    return Refusal(400, INVALID, {name: [f"The parameter {name} {complaint}."]})
