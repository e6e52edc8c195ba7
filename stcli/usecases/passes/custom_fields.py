"""Custom fields of a tenant's customers, by the name that a file gives them."""

from __future__ import annotations

from collections.abc import Sequence

from stcli.domain.nearest import suggestion
from stcli.domain.records import CustomFieldType
from stcli.errors import ConfigurationError


def field_named(name: str, known: Sequence[CustomFieldType], where: str) -> CustomFieldType:
    """The custom field of a name (case ignored) or of ``#ID``; ``ConfigurationError`` with the
    nearest name where there is none, or several."""
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
            f"{where}: ServiceTitan has {len(found)} custom fields named {name!r}: {ids}",
            "Write custom_field:#ID for the one you mean.",
        )
    names = [one.name for one in known]
    raise ConfigurationError(
        f"{where}: ServiceTitan's customers have no custom field {name!r}",
        suggestion(name, names)
        or ("They have: " + ", ".join(names) if names else "Make it in ServiceTitan first."),
    )
