"""``stcli config edit``: the campaign file in an editor, written only once it is valid."""

from __future__ import annotations

import os
import shlex
import shutil
import signal
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import count
from pathlib import Path
from typing import TYPE_CHECKING

import typer

from stcli.cli.arguments import AsJson, OptionalCampaign
from stcli.cli.output import emit, line, note, plain
from stcli.cli.session import application, chosen_campaign
from stcli.cli.signals import stop_reason
from stcli.errors import ConfigurationError, ExitCode, Problem, StcliError, UsageError
from stcli.paths import private_folder, write_private

if TYPE_CHECKING:
    from stcli.config.edit import EditResult
    from stcli.config.files import CampaignFiles
    from stcli.domain.ids import CampaignName

MARK = "#!stcli"
"""Begins the lines that tell an editor's user what is wrong; they never reach the file."""
MOST_ROUNDS_ALONE = 10
"""So often an editor is opened where nobody sits who could give up."""
_BYTE_ORDER_MARK = "\ufeff"


def edit(context: typer.Context, campaign: OptionalCampaign = None, as_json: AsJson = False) -> int:
    """Open the campaign file in $VISUAL or $EDITOR, on a copy. What is not valid comes back with the
    problems on top, until it is valid or you give up: leave it as it is, or empty."""
    with application(context) as app:
        name = chosen_campaign(app, campaign)
        editor, before = _editor(), app.files.text(name)
        folder = Path(tempfile.mkdtemp(prefix="edit-", dir=private_folder(app.home.state)))
        done = _Editing(app.files, name, before, editor, folder / f"{name}.yaml", as_json).result()
    is_changed = done.before != done.after
    if is_changed:
        note(done.diff.rstrip() or "Only line endings were changed.")
    emit(
        {"schema_version": 1, "campaign": name, "changed": is_changed, "difference": done.diff},
        lambda: line(f"{name}: saved." if is_changed else f"{name}: nothing was changed."),
        as_json=as_json,
    )
    return ExitCode.DONE


def _editor() -> list[str]:
    """The program that the person wants, as words."""
    for variable in ("VISUAL", "EDITOR"):
        text = os.environ.get(variable, "").strip()
        if not text:
            continue
        try:
            words = shlex.split(text)
        except ValueError:
            words = []
        if not words or shutil.which(words[0]) is None:
            raise UsageError(
                f"{variable} is {text!r}, and there is no such program", "Set it anew."
            )
        return words
    for program in ("sensible-editor", "nano", "vi"):
        found = shutil.which(program)
        if found is not None and os.isatty(0):
            return [found]
    raise UsageError("no editor is known", "Set EDITOR, such as: export EDITOR=nano")


@dataclass(frozen=True, slots=True)
class _Editing:
    """One file in an editor, on a copy of its own."""

    files: CampaignFiles
    name: CampaignName
    before: str
    editor: Sequence[str]
    copy: Path
    as_json: bool

    def result(self) -> EditResult:
        """Edit until the text is valid and saved. Whatever ends it otherwise says where the text is
        kept."""
        try:
            after, problems = self._until_valid()
            if problems:
                number = f"{len(problems)} problem{'s' if len(problems) > 1 else ''}"
                raise ConfigurationError(
                    f"given up with {number} left; {self.name} is as it was", "", problems
                )
            done = self.files.replace(self.name, self.before, after or self.before)
        except KeyboardInterrupt as stopped:
            error = stop_reason(stopped)
            error.hint = self._kept()
            raise error from None
        except StcliError as error:
            error.hint = " ".join(filter(None, (error.hint, self._kept())))
            raise
        self._forget_copy()
        return done

    def _kept(self) -> str:
        """Where the text is. A copy with nothing in it that is not in the file goes."""
        if self.copy.exists() and not self.copy.is_file():
            return f"What the editor left is in {self.copy.parent}."
        try:
            content = self.copy.read_bytes()
        except OSError:
            content = b""
        if content.strip() and content != self.before.encode():
            return f"Your text is kept in {self.copy}."
        self._forget_copy()
        return ""

    def _forget_copy(self) -> None:
        shutil.rmtree(self.copy.parent, ignore_errors=True)

    def _until_valid(self) -> tuple[str, list[Problem]]:
        """Open the copy again and again; the text, empty where nothing is to be changed, and what is
        wrong with it where somebody gave up."""
        shown = last = self.before
        mark = ""
        for number in count(1):
            write_private(self.copy, shown)
            self._open()
            after = _without_marks(self._read(), mark)
            if not after.strip() or after == self.before:
                return "", []
            problems = self.files.judged(self.name, after)
            # What the person typed is compared, not what was shown: editors change line endings and
            # the like when they save.
            is_given_up = _typed(after) == _typed(last)
            is_alone = number >= MOST_ROUNDS_ALONE and not sys.stdin.isatty()
            if not problems or is_given_up or is_alone:
                break
            last, mark = after, _mark_for(after)
            shown = _with_marks(after, problems, mark)
        return after, problems

    def _open(self) -> None:
        """Run the editor to its end. Ctrl-C is the editor's own affair meanwhile."""
        try:
            with (
                _deaf_to_ctrl_c(),
                subprocess.Popen(  # noqa: S603 - the person's own editor
                    [*self.editor, str(self.copy)], stdout=2 if self.as_json else None
                ) as running,
            ):
                try:
                    code = running.wait()
                except KeyboardInterrupt:
                    running.terminate()
                    raise
        except OSError as error:
            raise UsageError(
                f"the editor {self.editor[0]!r} cannot be run: {error.strerror or error}",
                "Set VISUAL or EDITOR anew.",
            ) from None
        if code == -signal.SIGINT:
            raise KeyboardInterrupt
        if code != 0:
            ended = f"was stopped by signal {-code}" if code < 0 else f"ended with {code}"
            raise UsageError(
                f"the editor {ended}, so nothing was changed", "Check VISUAL and EDITOR."
            )

    def _read(self) -> str:
        if self.copy.exists() and not self.copy.is_file():
            # A pipe would be waited for until somebody writes to it.
            raise ConfigurationError(
                "what the editor saved cannot be read, so nothing was changed: it is no regular file"
            )
        try:
            return self.copy.read_bytes().decode()
        except FileNotFoundError:
            return ""
        except OSError as error:
            raise ConfigurationError(
                "what the editor saved cannot be read, so nothing was changed: "
                f"{error.strerror or error}"
            ) from None
        except UnicodeDecodeError:
            raise ConfigurationError(
                "what the editor saved is not text in UTF-8, so nothing was changed",
                "Save it as UTF-8.",
            ) from None


@contextmanager
def _deaf_to_ctrl_c() -> Iterator[None]:
    """A handler rather than SIG_IGN, which the editor would inherit."""
    before = signal.signal(signal.SIGINT, lambda _number, _frame: None)
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, before)


def _typed(text: str) -> str:
    """A text without what editors change by themselves: line endings, the mark for an encoding."""
    return "\n".join(text.removeprefix(_BYTE_ORDER_MARK).splitlines())


def _mark_for(text: str) -> str:
    """What begins no line of this text."""
    mark = MARK
    while mark in text:
        mark += "!"
    return mark


def _with_marks(text: str, problems: Sequence[Problem], mark: str) -> str:
    """The text with its problems on top; their lines count those on top, as an editor does."""
    notes = ["Not saved yet. Mend what follows; to give up, leave the file as it is, or empty."]
    for one in problems:
        hint = f" ({one.hint})" if one.hint else ""
        place = f"line {one.line + len(problems) + 1}, column {one.column}"
        notes.append(plain(f"{place}: {one.path}: {one.message}{hint}"))
    start = _BYTE_ORDER_MARK if text.startswith(_BYTE_ORDER_MARK) else ""
    return start + "".join(f"{mark} {row}\n" for row in notes) + text.removeprefix(start)


def _without_marks(text: str, mark: str) -> str:
    """The text as it is meant, also after an editor that indents, or that begins a file with a mark
    for its encoding. Where nothing was marked, nothing is taken out."""
    if not mark:
        return text
    start = _BYTE_ORDER_MARK if text.startswith(_BYTE_ORDER_MARK) else ""
    rows = text.removeprefix(start).splitlines(keepends=True)
    return start + "".join(row for row in rows if not row.lstrip().startswith(mark))
