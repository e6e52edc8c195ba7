"""Copies of the SQLite database: made while others use it, checked, and put back.

What a copy does not know any more is found again by the next pass, in the tenant's bookings and in
the campaign's people; so putting an old one back costs requests and never a second booking.
"""

from __future__ import annotations

import os
import sqlite3
import time
from collections.abc import Callable
from contextlib import closing
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

from stcli.errors import StateError, UsageError
from stcli.paths import private_file, private_folder

COPIES_KEPT = 3
BUSY_SECONDS = 30
"""How long another program's lock on the state is waited for before it is replaced."""
FENCES_LOST = 2**42
"""More take-overs than can have happened since a copy was made: processes from before it may not
write any more."""


@dataclass(frozen=True, slots=True)
class Examined:
    """What a database file holds. ``problems``: why it cannot be used, empty where it can.
    ``rows``: how many rows each table has."""

    problems: tuple[str, ...]
    rows: dict[str, int]


def back_up(file: Path, target: Path) -> None:
    """A whole and consistent copy of a database that may be in use, private to the user; a file
    that is there already is not touched."""
    try:
        private_folder(target.parent)
        os.close(os.open(target, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600))
    except FileExistsError:
        raise UsageError(f"{target} exists already", "Give another name.") from None
    except OSError as error:
        raise _not_saved(target, error) from error
    try:
        with closing(_reading(file)) as source, closing(sqlite3.connect(target)) as copy:
            source.backup(copy, progress=_patience())
    except (OSError, sqlite3.Error) as error:
        target.unlink(missing_ok=True)
        raise _not_saved(target, error) from error


def _not_saved(target: Path, error: Exception) -> StateError:
    return StateError(
        f"the state cannot be saved to {target}: {getattr(error, 'strerror', None) or error}",
        f"Check the free space and the permissions of {target.parent}; nothing was changed.",
    )


def examine(file: Path) -> Examined:
    """Look at every page of a database without changing it."""
    if not file.is_file():
        return Examined((f"{file} is no file",), {})
    try:
        with closing(_reading(file)) as sql:
            found = [row[0] for row in sql.execute("PRAGMA integrity_check(20)")]
            problems = [] if found == ["ok"] else [str(text) for text in found]
            if sql.execute("PRAGMA foreign_key_check").fetchone() is not None:
                problems.append("rows refer to others that are missing")
            tables = [
                row[0]
                for row in sql.execute("SELECT name FROM sqlite_master WHERE type = 'table'")
                if not row[0].startswith("sqlite_")
            ]
            if "schema_migrations" not in tables:
                problems.append("it is no state of stcli")
            rows = {
                name: sql.execute(f'SELECT count(*) FROM "{name}"').fetchone()[0]
                for name in sorted(tables)
            }
            return Examined(tuple(problems), rows)
    except sqlite3.Error as error:
        return Examined((f"it cannot be read: {error}",), {})


def put_back(copy: Path, file: Path, set_aside: Path) -> Path | None:
    """Make ``copy``, which is sound, the state; where the present one went, if there was one. A
    present database that is damaged is set aside as it is."""
    kept: Path | None = None
    if file.exists():
        if examine(file).problems:
            _move_aside(file, set_aside)
        else:
            back_up(file, set_aside)
        kept = set_aside
    private_folder(file.parent)
    try:
        private_file(file)
        with closing(_reading(copy)) as source, closing(sqlite3.connect(file, timeout=1)) as target:
            # Over the live database rather than in its place: whoever has it open sees the old one
            # or the new one, and never half of each.
            source.backup(target, progress=_patience())
            target.execute(f"UPDATE locks SET held = 0, fence = fence + {FENCES_LOST}")
            target.commit()
    except (OSError, sqlite3.Error) as error:
        raise StateError(
            f"{file} cannot be replaced: {error}",
            "Check the free space and the permissions"
            + (f"; what was there is in {kept}." if kept else "."),
        ) from error
    return kept


def _move_aside(file: Path, target: Path) -> None:
    try:
        private_folder(target.parent)
        for ending in ("", "-wal", "-shm"):
            part = file.with_name(file.name + ending)
            if part.exists():
                os.replace(part, target.with_name(target.name + ending))
    except OSError as error:
        raise _not_saved(target, error) from error


def _patience() -> Callable[[int, int, int], None]:
    """SQLite copies as soon as no other program holds the lock, and would try for ever, deaf to
    signals: it calls this after each try."""
    give_up_at = time.monotonic() + BUSY_SECONDS

    def tried(status: int, _left: int, _pages: int) -> None:
        is_busy = status in (sqlite3.SQLITE_BUSY, sqlite3.SQLITE_LOCKED)
        if is_busy and time.monotonic() >= give_up_at:
            raise sqlite3.OperationalError(f"another program locked it for {BUSY_SECONDS} s")

    return tried


def _reading(file: Path) -> sqlite3.Connection:
    """Opened for reading: a file that is missing is not made."""
    return sqlite3.connect(f"{file.absolute().as_uri()}?mode=ro", uri=True, timeout=30)


def saving(file: Path, backups: Path) -> Callable[..., None]:
    """What keeps a copy of a file before its tables are changed (see ``migrations.migrate``)."""

    def save(*_: object) -> None:
        back_up(file, stamped(backups, "before-migration", datetime.now(UTC)))
        keep_newest(backups, "before-migration")

    return save


def keep_newest(folder: Path, what: str) -> None:
    """Of the copies that were made by themselves the newest three are kept."""
    for old in sorted(folder.glob(f"{what}-*.db"))[:-COPIES_KEPT]:
        old.unlink(missing_ok=True)


def stamped(folder: Path, what: str, now: datetime) -> Path:
    """A name for a copy, by what it was made for and when."""
    return folder / f"{what}-{now:%Y%m%dT%H%M%S%f}.db"
