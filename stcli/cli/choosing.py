"""Choices with the arrow keys, on a terminal; everything that is asked goes to stderr."""

from __future__ import annotations

import os
import sys
import textwrap
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from stcli.cli.signals import end_if_stopped, stop_reason
from stcli.errors import Interrupted

if TYPE_CHECKING:
    from questionary import Question

LONG_LIST = 12
"""A list with more entries than this can be searched."""


def is_possible() -> bool:
    """Whether somebody can choose here."""
    return sys.stdin.isatty() and sys.stderr.isatty()


def choose(
    question: str,
    options: Sequence[tuple[str, str]],
    current: str,
    *,
    header: str = "",
    erase: bool = False,
) -> str:
    """One of the options, each a value and a line about it; ``current`` is marked at first. In a
    long list typing narrows it down. ``header`` stands above the lines; ``erase`` takes the question
    away once it is answered."""
    import questionary

    width = _columns() - 4
    choices = [questionary.Choice(_cut(label, width), value=value) for value, label in options]
    default = next((choice for choice in choices if choice.value == current), None)
    is_long = len(options) > LONG_LIST
    keys = "arrow keys or type to search, Enter" if is_long else "arrow keys, Enter"
    # The header is part of the question: a row that nobody can choose would hold the cursor for
    # ever where a search leaves one row beside it.
    asked = questionary.select(
        textwrap.fill(f"{question} ({keys})", width)
        + (f"\n   {_cut(header, width)}" if header else ""),
        choices=choices,
        default=default,
        use_jk_keys=False,
        use_search_filter=is_long,
        instruction=" ",
        erase_when_done=erase,
        **_terminal(),
    )
    return str(_answer(asked))


def _columns() -> int:
    """The width of the terminal that is asked on."""
    try:
        return max(os.get_terminal_size(sys.stderr.fileno()).columns, 20)
    except (OSError, ValueError):
        return 80


def _cut(text: str, width: int) -> str:
    """One row of a list stays one row, however narrow the window."""
    return text if len(text) <= width else text[: width - 1] + "…"


def type_in(question: str, current: str = "") -> str:
    """A line of text; may be left blank. What is left as it is stays as it is."""
    import questionary

    shown = textwrap.fill(question, _columns() - 4)
    answer = str(_answer(questionary.text(shown, default=current, **_terminal())))
    return current if answer == current else answer.strip()


def agree(question: str) -> bool:
    import questionary

    return bool(_answer(questionary.confirm(question, default=True, **_terminal())))


def _answer(asked: Question) -> object:
    """The answer; Ctrl-C and Ctrl-D leave, and nothing is written before the last question."""
    try:
        end_if_stopped()
        # Signals stay with the handler of the session: those of prompt_toolkit and asyncio forget
        # one that comes while a question ends.
        answer = asked.application.run(handle_sigint=False)
        end_if_stopped()
        return answer
    except KeyboardInterrupt as stopped:
        raise stop_reason(stopped, "Nothing was changed.") from None
    except EOFError:
        raise Interrupted("stopped by Ctrl-D", "Nothing was changed.") from None


def _terminal() -> dict[str, Any]:
    from prompt_toolkit.output import create_output
    from prompt_toolkit.output.color_depth import ColorDepth

    wanted: dict[str, Any] = {"output": create_output(stdout=sys.stderr)}
    if os.environ.get("NO_COLOR"):
        wanted["color_depth"] = ColorDepth.DEPTH_1_BIT
    return wanted
