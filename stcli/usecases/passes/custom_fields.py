"""Custom fields of a tenant's customers, by the name that a file gives them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from stcli.domain.mapping.rules import Rule, sources_of
from stcli.domain.nearest import suggestion
from stcli.domain.records import CustomFieldType
from stcli.domain.return_fields import ReturnField, misfit
from stcli.errors import ConfigurationError


def field_named(name: str, known: Sequence[CustomFieldType], where: str = "") -> CustomFieldType:
    """The custom field of a name (case ignored) or of ``#ID``; ``ConfigurationError`` with the
    nearest name where there is none, or several. ``where``: the place in the file."""
    place = f"{where}: " if where else ""
    found = [one for one in known if f"#{one.id}" == name]
    found = found or [one for one in known if one.name == name]
    found = found or [
        one for one in known if one.name.strip().casefold() == name.strip().casefold()
    ]
    if len(found) == 1:
        return found[0]
    if found:
        ids = ", ".join(f"#{one.id}" for one in found)
        raise ConfigurationError(
            f"{place}ServiceTitan has {len(found)} custom fields named {name!r}: {ids}",
            "Write custom_field:#ID for the one you mean.",
        )
    names = [one.name for one in known]
    raise ConfigurationError(
        f"{place}ServiceTitan's customers have no custom field {name!r}",
        suggestion(name, names)
        or ("They have: " + ", ".join(names) if names else "Make it in ServiceTitan first."),
    )


def return_fields(
    rules: Mapping[str, Rule], known: Sequence[CustomFieldType], where: str = ""
) -> list[ReturnField]:
    """The custom fields behind the targets of a ``return`` tab; ``ConfigurationError`` for one that
    there is none of, that does not take the value, or that is mapped twice."""
    found: list[ReturnField] = []
    for target, rule in rules.items():
        at = f'{where}."{target}"' if where else ""
        place = f"{at}: " if at else ""
        field = field_named(target.removeprefix("custom_field:"), known, at)
        problem = misfit(rule, field)
        if problem:
            raise ConfigurationError(
                f"{place}the custom field {field.name!r} {problem}",
                "Links and codes need a Text field, counts a Text or a Numeric one.",
            )
        if any(other.field.id == field.id for other in found):
            raise ConfigurationError(
                f"{place}the custom field {field.name!r} is mapped twice", "Leave one out."
            )
        found.append(ReturnField(target, field, rule))
    return found


def custom_field_sources(rules: Mapping[str, Rule]) -> dict[str, str]:
    """The names of the custom fields that mappings read, each with a target that reads it."""
    return {
        source.removeprefix("custom_field:"): target
        for target, rule in rules.items()
        for source in sources_of(rule)
        if source.startswith("custom_field:")
    }
