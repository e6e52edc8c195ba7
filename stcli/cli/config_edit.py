"""``stcli config edit``: the campaign file in an editor, written only once it is valid."""

from __future__ import annotations

import os
import shlex
import shutil
import subprocess
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import typer

from stcli.cli.arguments import AsJson, OptionalCampaign
from stcli.cli.output import emit, line, note, plain
from stcli.cli.session import application, chosen_campaign
from stcli.errors import ConfigurationError, ExitCode, Locked, Problem, UsageError
from stcli.paths import private_folder

if TYPE_CHECKING:
    from stcli.config.files import CampaignFiles
    from stcli.domain.ids import CampaignName

MARK = "#!stcli"
"""Begins the lines that tell an editor's user what is wrong; they never reach the file."""


def edit(context: typer.Context, campaign: OptionalCampaign = None, as_json: AsJson = False) -> int:
    """Open the campaign file in $VISUAL or $EDITOR, on a copy. What is not valid comes back with the
    problems on top, until it is valid or you give up: leave it as it is, or empty."""
    with application(context) as app:
        name = chosen_campaign(app, campaign)
        diff = _edited(app.files, name, _editor(), private_folder(app.home.state))
    if diff:
        note(diff.rstrip())
    emit(
        {"schema_version": 1, "campaign": name, "changed": bool(diff), "difference": diff},
        lambda: line(f"{name}: saved." if diff else f"{name}: nothing was changed."),
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


def _edited(files: CampaignFiles, name: CampaignName, editor: Sequence[str], place: Path) -> str:
    """Edit until the text is valid; the difference, empty where nothing was changed."""
    before = files.text(name)
    folder = Path(tempfile.mkdtemp(prefix="edit-", dir=place))
    copy = folder / f"{name}.yaml"
    after, problems = _until_valid(files, name, before, copy, editor)
    if after == before or not after.strip():
        shutil.rmtree(folder, ignore_errors=True)
        return ""
    kept = f"Your text is kept in {copy}."
    if problems:
        number = f"{len(problems)} problem{'s' if len(problems) > 1 else ''}"
        raise ConfigurationError(
            f"given up with {number} left; {name} is as it was", kept, problems
        )
    try:
        diff = files.replace(name, before, after)
    except ConfigurationError as error:
        raise ConfigurationError(error.message, kept, error.problems) from error
    except Locked as error:
        raise Locked(error.message, kept) from error
    shutil.rmtree(folder, ignore_errors=True)
    return diff


def _until_valid(
    files: CampaignFiles, name: CampaignName, before: str, copy: Path, editor: Sequence[str]
) -> tuple[str, list[Problem]]:
    """Open the copy again and again; the text, and what is wrong with it where somebody gave up."""
    shown = before
    while True:
        _write(copy, shown)
        _open(editor, copy)
        seen = _read(copy)
        after = _without_marks(seen)
        problems = files.judged(name, after) if after.strip() and after != before else []
        if not problems or seen == shown:
            return after, problems
        shown = _with_marks(after, problems)


def _open(editor: Sequence[str], copy: Path) -> None:
    ended = subprocess.run([*editor, str(copy)], check=False)  # noqa: S603 - the person's own editor
    if ended.returncode != 0:
        raise UsageError(
            f"the editor ended with {ended.returncode}, so nothing was changed",
            "Check VISUAL and EDITOR.",
        )


def _write(copy: Path, text: str) -> None:
    copy.write_bytes(text.encode())
    copy.chmod(0o600)


def _read(copy: Path) -> str:
    try:
        return copy.read_bytes().decode()
    except FileNotFoundError:
        return ""
    except UnicodeDecodeError:
        raise ConfigurationError(
            "what the editor saved is not text in UTF-8, so nothing was changed",
            "Save it as UTF-8.",
        ) from None


def _with_marks(text: str, problems: Sequence[Problem]) -> str:
    """The text with its problems on top; their lines count those on top, as an editor does."""
    notes = ["Not saved yet. Mend what follows; to give up, leave the file as it is, or empty."]
    for one in problems:
        hint = f" ({plain(one.hint)})" if one.hint else ""
        place = f"line {one.line + len(problems) + 1}, column {one.column}"
        notes.append(f"{place}: {one.path}: {plain(one.message)}{hint}")
    return "".join(f"{MARK} {row}\n" for row in notes) + text


def _without_marks(text: str) -> str:
    return "".join(row for row in text.splitlines(keepends=True) if not row.startswith(MARK))
