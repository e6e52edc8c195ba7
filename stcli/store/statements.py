"""Writing statements over many values: in parts, each within what one statement may hold."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import TypeVar

Value = TypeVar("Value", bound=str | int)

VARIABLES = 500
"""How many values one statement lists; well below every engine's limit."""


def parts(values: Sequence[Value]) -> Iterator[tuple[Value, ...]]:
    """The values, so many at a time as one statement takes."""
    for start in range(0, len(values), VARIABLES):
        yield tuple(values[start : start + VARIABLES])


def marks(values: Sequence[object]) -> str:
    """As many placeholders as there are values."""
    return ",".join("?" * len(values))
