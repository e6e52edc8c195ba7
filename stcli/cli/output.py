"""Results and errors as text for people, or as one JSON document for programs.

Data goes to stdout, all else to stderr. On a terminal tables are drawn by Rich; through a pipe they
are plain aligned columns, one record a line, nothing cut off.
"""

from __future__ import annotations

import json
import os
import sys
import unicodedata
from collections.abc import Callable, Mapping, Sequence
from typing import TextIO

from stcli.cli.masking import masked_error, with_masked_errors
from stcli.errors import (
    ConfigurationError,
    Interrupted,
    StateError,
    StcliError,
    Terminated,
)


def plain(text: object) -> str:
    """Text of other people made safe to print: no control characters, escape sequences or marks
    that turn the writing direction; these could rewrite what a terminal shows."""
    return "".join(
        character if unicodedata.category(character) not in ("Cc", "Cf", "Co", "Cs") else " "
        for character in str(text)
    )


def _write(text: str) -> None:
    """Data, to stdout. A reader that went away, as ``head`` does, is no failure of ours: the rest is
    written to nobody, and the command's own exit code stands."""
    try:
        sys.stdout.write(text)
    except BrokenPipeError:
        nobody_reads(sys.stdout)
    except OSError as error:
        raise _unwritten(error) from error


def flush() -> None:
    """Hand the data over to whoever reads it."""
    try:
        sys.stdout.flush()
    except BrokenPipeError:
        nobody_reads(sys.stdout)
    except OSError as error:
        nobody_reads(sys.stdout)
        raise _unwritten(error) from error


def nobody_reads(stream: TextIO) -> None:
    """What is left in the stream would be tried again at the end of the process: it goes nowhere."""
    os.dup2(os.open(os.devnull, os.O_WRONLY), stream.fileno())


def _unwritten(error: OSError) -> StateError:
    return StateError(
        f"the result cannot be written: {error.strerror or error}",
        "What the command did is done; look at it with: stcli status",
    )


given: list[bool] = []
"""One entry for each JSON document of this command. It is made before the document is written: a signal
that comes after the write must not add a second one."""


def emit(document: Mapping[str, object], render: Callable[[], None], *, as_json: bool) -> None:
    """The result: as JSON, or as ``render`` prints it."""
    if as_json:
        given.append(True)
        _write(json_text(document, indent=2))
    else:
        render()


def json_text(document: Mapping[str, object], indent: int | None = None) -> str:
    """A document as text, its errors masked."""
    return json.dumps(with_masked_errors(document), indent=indent, ensure_ascii=False) + "\n"


def line(text: str = "") -> None:
    """One line of a result."""
    _write(text + "\n")


def note(text: str) -> None:
    """A remark beside the result: what to do next, a warning. Where nobody can be told, the result
    and the exit code still are."""
    try:
        sys.stderr.write(text + "\n")
    except OSError:
        nobody_reads(sys.stderr)


def pairs(values: Mapping[str, object]) -> None:
    """Names with values, a line each."""
    for name, value in values.items():
        line(f"{name}: {plain(value)}")


def table(headers: Sequence[str], rows: Sequence[Sequence[object]]) -> None:
    """Rows under headers."""
    cells = [[plain(cell) for cell in row] for row in rows]
    if sys.stdout.isatty():
        _drawn(headers, cells)
        return
    widths = [
        max(columns_of(text) for text in column) for column in zip(headers, *cells, strict=True)
    ]
    for row in [list(headers), *cells]:
        line("  ".join(map(padded, row, widths)).rstrip())


def padded(text: str, width: int) -> str:
    """The text with blanks behind it, up to so many columns."""
    return text + " " * (width - columns_of(text))


def columns_of(text: str) -> int:
    """How many columns a terminal needs for it: two for a wide character, none for an accent."""
    return sum(
        0 if unicodedata.combining(c) else 2 if unicodedata.east_asian_width(c) in "WF" else 1
        for c in text
    )


def _drawn(headers: Sequence[str], cells: Sequence[Sequence[str]]) -> None:
    from rich import box
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    drawn = Table(box=box.SIMPLE_HEAD, pad_edge=False)
    for header in headers:
        drawn.add_column(Text(header), overflow="fold")
    for row in cells:
        drawn.add_row(*(Text(cell) for cell in row))
    console = Console()
    with console.capture() as captured:
        console.print(drawn)
    _write(captured.get())


def show_error(error: StcliError, *, as_json: bool) -> None:
    """An error with its problems and its next step; under ``--json`` as the only document. A
    signal that comes when the result is out already is told beside it."""
    if as_json and not (given and isinstance(error, Interrupted | Terminated)):
        from stcli.usecases.report import error_document

        _write(json_text(error_document(error), indent=2))
        flush()
        return
    note_error(error)
    problems = error.problems if isinstance(error, ConfigurationError) else ()
    for problem in problems:
        if str(problem) != error.message:
            note(f"  {masked_error(plain(problem))}")
        if problem.hint:
            note(f"      {masked_error(plain(problem.hint))}")
    if error.hint and error.hint not in [problem.hint for problem in problems]:
        note(f"  {masked_error(plain(error.hint))}")


def note_error(error: StcliError, about: str = "") -> None:
    """Only what went wrong, in one line; ``about`` says where."""
    note(masked_error(plain(f"Error: {about}{error.message}")))
