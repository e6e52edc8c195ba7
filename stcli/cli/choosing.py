"""Choices with the arrow keys, on a terminal; everything that is asked goes to stderr."""

from __future__ import annotations

import os
import sys
import textwrap
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from stcli.cli.output import columns_of
from stcli.cli.signals import end_if_stopped, stop_reason
from stcli.errors import Interrupted

if TYPE_CHECKING:
    from prompt_toolkit.key_binding import KeyBindingsBase, KeyPressEvent
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
    long list typing narrows it down; where nothing is left, nothing can be chosen. ``header`` stands
    above the lines; ``erase`` takes the question away once it is answered."""
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
    _leave_with_ctrl_d(asked)
    if is_long:
        _mend_search(asked)
    return str(_answer(asked))


def _mend_search(asked: Question) -> None:
    """What the library's search leaves open: it takes ASCII only, and where nothing fits it shows the
    whole list, of which Enter would take the first."""
    from prompt_toolkit.filters import Condition
    from prompt_toolkit.formatted_text import AnyFormattedText, to_formatted_text
    from prompt_toolkit.key_binding import KeyBindings
    from prompt_toolkit.keys import Keys
    from questionary.prompts.common import InquirerControl

    windows = asked.application.layout.find_all_windows()
    rows = next(w.content for w in windows if isinstance(w.content, InquirerControl))
    all_rows, keys = rows.text, KeyBindings()

    def is_nothing_left() -> bool:
        wanted = (rows.search_filter or "").lower()
        return not any(wanted in str(choice.title).lower() for choice in rows.choices)

    def shown_rows() -> AnyFormattedText:
        if is_nothing_left():
            return "   nothing fits; Backspace takes a letter back"
        return to_formatted_text(all_rows)

    for key in (Keys.ControlM, Keys.Up, Keys.Down, Keys.ControlN, Keys.ControlP):
        keys.add(key, eager=True, filter=Condition(is_nothing_left))(_ring)

    @keys.add(Keys.Any)
    def search(event: KeyPressEvent) -> None:
        if event.data.isprintable():
            rows.search_filter = (rows.search_filter or "") + event.data
            rows.pointed_at = 0

    rows.text = shown_rows
    _add_keys(asked, keys)


def _leave_with_ctrl_d(asked: Question) -> None:
    """Where no text is typed in, the library takes no notice of it."""
    from prompt_toolkit.key_binding import KeyBindings
    from prompt_toolkit.keys import Keys

    keys = KeyBindings()

    @keys.add(Keys.ControlD, eager=True)
    def leave(event: KeyPressEvent) -> None:
        event.app.exit(exception=EOFError)

    _add_keys(asked, keys)


def _ring(event: KeyPressEvent) -> None:
    """A key that does nothing here."""
    event.app.output.bell()


def _add_keys(asked: Question, keys: KeyBindingsBase) -> None:
    """Keys that win against the library's own."""
    from prompt_toolkit.key_binding import merge_key_bindings

    own = asked.application.key_bindings
    asked.application.key_bindings = merge_key_bindings([own, keys] if own else [keys])


def _columns() -> int:
    """The width of the terminal that is asked on."""
    try:
        return max(os.get_terminal_size(sys.stderr.fileno()).columns, 20)
    except (OSError, ValueError):
        return 80


def _cut(text: str, width: int) -> str:
    """One row of a list stays one row, however narrow the window."""
    if columns_of(text) <= width:
        return text
    while columns_of(text) > width - 1:
        text = text[:-1]
    return text + "…"


def type_in(question: str, current: str = "") -> str:
    """A line of text; may be left blank. What is left as it is stays as it is."""
    import questionary

    shown = textwrap.fill(question, _columns() - 4)
    answer = str(_answer(questionary.text(shown, default=current, **_terminal())))
    return current if answer == current else answer.strip()


def agree(question: str) -> bool:
    import questionary

    asked = questionary.confirm(question, default=True, **_terminal())
    _leave_with_ctrl_d(asked)
    return bool(_answer(asked))


def _answer(asked: Question) -> object:
    """The answer; Ctrl-C and Ctrl-D leave, and nothing is written before the last question."""
    from prompt_toolkit.key_binding import KeyBindings
    from prompt_toolkit.keys import Keys

    keys = KeyBindings()
    # It would be typed in as a character that nobody sees.
    keys.add(Keys.ControlZ, eager=True)(_ring)
    _add_keys(asked, keys)
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
