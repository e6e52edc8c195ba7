"""Choices with the arrow keys, on a terminal; everything that is asked goes to stderr."""

from __future__ import annotations

import os
import sys
from collections.abc import Sequence
from typing import Any

LONG_LIST = 12
"""A list with more entries than this can be searched."""


def is_possible() -> bool:
    """Whether somebody can choose here."""
    return sys.stdin.isatty() and sys.stderr.isatty()


def choose(question: str, options: Sequence[tuple[str, str]], current: str) -> str:
    """One of the options, each a value and a line about it; ``current`` is marked at first. In a
    long list typing narrows it down."""
    import questionary

    choices = [questionary.Choice(label, value=value) for value, label in options]
    default = next((choice for choice in choices if choice.value == current), None)
    answer: str = questionary.select(
        question,
        choices=choices,
        default=default,
        use_jk_keys=False,
        use_search_filter=len(choices) > LONG_LIST,
        instruction="(arrow keys or type to search, Enter)"
        if len(choices) > LONG_LIST
        else "(arrow keys, Enter)",
        **_terminal(),
    ).unsafe_ask()
    return answer


def type_in(question: str, current: str = "") -> str:
    """A line of text; may be left blank."""
    import questionary

    answer: str = questionary.text(question, default=current, **_terminal()).unsafe_ask()
    return answer.strip()


def agree(question: str) -> bool:
    import questionary

    answer: bool = questionary.confirm(question, default=True, **_terminal()).unsafe_ask()
    return answer


def _terminal() -> dict[str, Any]:
    from prompt_toolkit.output import create_output
    from prompt_toolkit.output.color_depth import ColorDepth

    wanted: dict[str, Any] = {"output": create_output(stdout=sys.stderr)}
    if os.environ.get("NO_COLOR"):
        wanted["color_depth"] = ColorDepth.DEPTH_1_BIT
    return wanted
