"""Brings campaign files and ``settings.yaml`` to the version that this stcli reads.

Each step edits the text of one version into the next, so comments, order and spacing stay. Steps are
only ever appended: a file of any age goes through all that it lacks, and what comes out has to read.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from stcli.config.document import Document, parse_document, read_document
from stcli.config.edit import difference, edit_file, set_value
from stcli.config.load import check_version, interpret, interpret_settings

Step = Callable[[str], str]
"""The text of a file of one version as the next has it; ``version:`` itself is seen to."""

CAMPAIGN_STEPS: tuple[Step, ...] = ()
"""The first makes version 2 of version 1, and so on."""
SETTINGS_STEPS: tuple[Step, ...] = ()


@dataclass(frozen=True, slots=True)
class Upgrade:
    """A file's version before and after, and what changed as text; equal where nothing did."""

    before: int
    after: int
    diff: str


def upgrade_campaign(path: Path, *, dry_run: bool) -> Upgrade:
    """Bring a campaign file to this version; ``ConfigurationError`` for a newer one."""
    return upgrade_file(path, CAMPAIGN_STEPS, interpret, dry_run=dry_run)


def upgrade_settings(path: Path, *, dry_run: bool) -> Upgrade:
    """The same for ``settings.yaml``."""
    return upgrade_file(path, SETTINGS_STEPS, interpret_settings, dry_run=dry_run)


def upgrade_file(
    path: Path, steps: Sequence[Step], check: Callable[[Document], object], *, dry_run: bool
) -> Upgrade:
    """Put a file through the steps that it lacks and write what ``check`` accepts. A file that lacks
    none is only checked."""
    document, newest = read_document(path), len(steps) + 1
    before = _version(document, newest)

    def change(text: str) -> str:
        return upgraded(text, steps, file=str(path))

    if before == newest or dry_run:
        text = document.text
        after = text if before == newest else change(text)
        check(parse_document(after, file=str(path)))
        return Upgrade(before, newest, difference(text, after, path.name))
    return Upgrade(before, newest, edit_file(path, change, check).diff)


def upgraded(text: str, steps: Sequence[Step], *, file: str = "") -> str:
    """A text with the steps that it lacks."""
    before = _version(parse_document(text, file=file), len(steps) + 1)
    for version, step in enumerate(steps[before - 1 :], start=before + 1):
        text = set_value(step(text), ("version",), version)
    return text


def _version(document: Document, newest: int) -> int:
    """The version that a file names; ``check`` sees to one that names none or no number."""
    check_version(document, "file", newest)
    raw = (document.raw(("version",)) or "")[:9]
    return max(int(raw), 1) if raw.isdecimal() else 1
