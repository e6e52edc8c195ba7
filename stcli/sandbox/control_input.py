"""Reads the bodies of control calls: known names only, each of its type."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from stcli.sandbox.calls import Call, Refusal, read_json_object


@dataclass(frozen=True, slots=True)
class Fields:
    """What a control call said; null counts as not said."""

    values: Mapping[str, Any]

    def __contains__(self, name: str) -> bool:
        return self.values.get(name) is not None

    def get(self, name: str) -> Any:
        return self.values.get(name)

    def text(self, name: str, default: str) -> str:
        found = self.values.get(name)
        return default if found is None else str(found)

    def optional_text(self, name: str) -> str | None:
        found = self.values.get(name)
        return None if found is None else str(found)

    def number(self, name: str) -> float | None:
        found = self.values.get(name)
        return None if found is None else float(found)


def read_fields(call: Call, known: Mapping[str, type] | None) -> Fields:
    """`known` maps names to types; None lets everything through."""
    values = read_json_object(call) if call.body.strip() else {}
    if known is not None:
        for name, value in values.items():
            kind = known.get(name)
            if kind is None:
                names = ", ".join(sorted(known)) or "nothing"
                raise Refusal(400, f"{name} is not known here; known: {names}")
            if value is not None and not _fits(value, kind):
                raise Refusal(400, f"{name} must be of type {kind.__name__}")
    return Fields(values)


def _fits(value: Any, kind: type) -> bool:
    if isinstance(value, bool):
        return kind is bool
    return isinstance(value, (int, float)) if kind is float else isinstance(value, kind)
