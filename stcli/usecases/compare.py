"""What differs between the settings of two campaigns."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from stcli.domain.campaign import CampaignConfig


@dataclass(frozen=True, slots=True)
class Difference:
    """A setting that two campaigns have in different ways; None where one does not have it."""

    path: str
    first: str | None
    second: str | None


def differences(first: CampaignConfig, second: CampaignConfig) -> list[Difference]:
    """Every setting that is not the same, defaults filled in, in the order of a file."""
    one, other = dict(_settings(first)), dict(_settings(second))
    parts = list(CampaignConfig.model_fields)
    names = sorted(
        dict.fromkeys([*one, *other]), key=lambda name: parts.index(name.partition(".")[0])
    )
    return [
        Difference(name, one.get(name), other.get(name))
        for name in names
        if one.get(name) != other.get(name)
    ]


def _settings(config: CampaignConfig) -> Iterator[tuple[str, str]]:
    return _leaves("", config.model_dump(mode="json", by_alias=True, exclude_none=True))


def _leaves(path: str, value: Any) -> Iterator[tuple[str, str]]:
    """A mapping of a target is one setting, whatever its parts."""
    if isinstance(value, dict) and "type" in value and path.count(".") > 1:
        parts = (f"{name}: {_text(part)}" for name, part in value.items() if part not in ("", []))
        yield path, ", ".join(parts)
    elif isinstance(value, dict):
        for name, inner in value.items():
            yield from _leaves(f"{path}.{name}" if path else name, inner)
    elif value != []:
        yield path, _text(value)


def _text(value: Any) -> str:
    """A value as a file would have it."""
    if isinstance(value, list):
        return "[" + ", ".join(_text(item) for item in value) + "]"
    return str(value).lower() if isinstance(value, bool) else str(value)
