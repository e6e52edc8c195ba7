"""Opening the database and its transactions.

SQLite in the home by default. Every transaction is short and none is held over a network call. A
write begins with the write lock taken (``BEGIN IMMEDIATE``), so that what it read stays true until
it commits; a write under a lease first checks the lease's fencing number, so that a process which
lost its lock can change nothing any more.
"""

from __future__ import annotations

import errno
import os
import sqlite3
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import NamedTuple

from stcli.errors import LeaseLost, StateError, UsageError
from stcli.paths import private_file, private_folder
from stcli.store.transaction import Transaction

BUSY_SECONDS = 30
"""How long a transaction waits for another one's write lock before it gives up."""
TRY_SECONDS = 0.25
"""How much of that SQLite waits by itself. Nothing can interrupt it there, so between two tries a
stop is looked for."""


@dataclass(frozen=True, slots=True)
class Lease:
    """The right to write for a campaign; ``fence`` rises with every take-over."""

    name: str
    fence: int


class _Opened(NamedTuple):
    """A connection, and the file that it was opened on."""

    raw: sqlite3.Connection
    file: tuple[int, int]


class Database:
    """One database, shared by the threads of a process: each transaction has a connection for
    itself, which the next one uses again."""

    def __init__(self, path: Path, check_stop: Callable[[], None]) -> None:
        self._path = path
        self._patience = _Patience(check_stop)
        self._idle: list[_Opened] = []

    @contextmanager
    def read(self) -> Iterator[Transaction]:
        """A consistent view; nothing written in it is kept."""
        with _mapped_errors(), self._begun(_BEGIN_READ) as raw:
            yield Transaction(raw)

    @contextmanager
    def write(self, lease: Lease | None = None) -> Iterator[Transaction]:
        """A transaction that commits at its end, or has no effect where it raises."""
        with _mapped_errors(), self._begun(_BEGIN_WRITE) as raw:
            transaction = Transaction(raw)
            if lease is not None:
                _check(transaction, lease)
            yield transaction
            raw.commit()

    def close(self) -> None:
        """Let go of the file; for when no transaction is open."""
        while self._idle:
            self._idle.pop().raw.close()

    @contextmanager
    def _begun(self, statements: tuple[str, ...]) -> Iterator[sqlite3.Connection]:
        """A connection in a transaction; what is not committed at the end is undone."""
        opened = self._idle_one() or self._connected()
        raw = opened.raw
        try:
            self._patience.execute(raw, statements)
            yield raw
        finally:
            try:
                raw.rollback()
            except sqlite3.Error:
                # Closing undoes what was begun as well, and the next transaction has a fresh one.
                raw.close()
            else:
                self._idle.append(opened)

    def _idle_one(self) -> _Opened | None:
        """A connection that nobody uses. Where another file was put in the place of its own, it is
        closed: what it has open is what was moved away."""
        file = _file_at(self._path)
        while True:
            try:
                opened = self._idle.pop()
            except IndexError:
                return None
            if opened.file == file:
                return opened
            opened.raw.close()

    def _connected(self) -> _Opened:
        file = _file_at(self._path)
        if file is None:
            # Not begun anew in the middle of a pass: it would be taken for all that is known.
            raise StateError(
                f"the state database {self._path} was moved or removed meanwhile",
                "Put it back, or run again: then the state begins anew, and bookings already made "
                "are found again.",
            )
        # Transactions are begun and ended here: the driver's own control begins them too late.
        raw = sqlite3.connect(
            f"{self._path.absolute().as_uri()}?mode=rw",
            uri=True,
            timeout=TRY_SECONDS,
            isolation_level=None,
            check_same_thread=False,
        )
        try:
            self._patience.execute(raw, _PREPARE)
        except BaseException:
            raw.close()
            raise
        return _Opened(raw, file)


def _file_at(path: Path) -> tuple[int, int] | None:
    """Which file is there now: its device and number."""
    try:
        found = path.stat()
    except OSError:
        return None
    return found.st_dev, found.st_ino


def open_sqlite(path: Path, check_stop: Callable[[], None] = lambda: None) -> Database:
    """The database at ``path``; the file is made, private to the user, if it is absent.

    Whoever waits for another program's lock calls ``check_stop``, which raises where a stop was asked
    for."""
    private_folder(path.parent)
    try:
        private_file(path)
        if path.is_dir():
            raise IsADirectoryError(errno.EISDIR, os.strerror(errno.EISDIR))
        if not os.access(path, os.R_OK | os.W_OK):
            raise PermissionError(errno.EACCES, os.strerror(errno.EACCES))
    except OSError as error:
        raise StateError(
            f"the state database {path} cannot be opened for writing: {error.strerror}",
            "Check the owner and the permissions of the folder and the file.",
        ) from error
    return Database(path, check_stop)


_PREPARE = (
    "PRAGMA journal_mode=WAL",
    # An intent that is lost in a power cut is a booking that may be made twice: FULL, not NORMAL.
    "PRAGMA synchronous=FULL",
    "PRAGMA foreign_keys=ON",
)
_BEGIN_WRITE = ("BEGIN IMMEDIATE",)
_BEGIN_READ = ("BEGIN", "SELECT 1 FROM sqlite_master LIMIT 1")
"""A view begins with the first look, which is the one that may have to wait."""


class _Patience:
    """Waits for another program's lock. After a wait in vain the next ones have one try each until
    one succeeds: a pass that ends for it has more to write, and would wait in full for each."""

    def __init__(self, check_stop: Callable[[], None]) -> None:
        self._check_stop = check_stop
        self._was_in_vain = False

    def execute(self, raw: sqlite3.Connection, statements: tuple[str, ...]) -> None:
        """Execute what may have to wait; each try begins anew."""
        give_up_at = time.monotonic() + (0 if self._was_in_vain else BUSY_SECONDS)
        while True:
            try:
                for statement in statements:
                    raw.execute(statement)
            except sqlite3.OperationalError as error:
                raw.rollback()
                if getattr(error, "sqlite_errorcode", 0) & 0xFF != sqlite3.SQLITE_BUSY:
                    raise
                self._check_stop()
                if time.monotonic() >= give_up_at:
                    self._was_in_vain = True
                    raise
            else:
                self._was_in_vain = False
                return


def _check(sql: Transaction, lease: Lease) -> None:
    row = sql.execute("SELECT fence FROM locks WHERE name = ?", (lease.name,)).one_or_none()
    if row is None or row[0] != lease.fence:
        raise LeaseLost(
            f"another process took over the work on {lease.name}",
            "Nothing was written after that; run the pass again.",
        )


@contextmanager
def _mapped_errors() -> Iterator[None]:
    try:
        yield
    except UnicodeEncodeError as error:
        # What the systems send is text; bytes that are none come from a command line.
        raise UsageError(
            "an argument holds bytes that are no text in UTF-8", "Type it anew."
        ) from error
    except sqlite3.Error as error:
        raise _as_state_error(error) from error


def _as_state_error(error: sqlite3.Error) -> StateError:
    text = str(error).lower()
    if "locked" in text or "busy" in text:
        return StateError(
            f"the state database stayed locked for {BUSY_SECONDS} s",
            "Another program holds it, such as a backup or an open SQL shell; end that first.",
        )
    if "readonly" in text or "read-only" in text:
        return StateError(
            "the state database is read-only",
            "Check the owner and the permissions of the state folder.",
        )
    if "full" in text or "disk i/o" in text:
        return StateError(
            f"the disk is full or fails ({error}), so nothing more can be remembered",
            "Free some space, then run again: the pass goes on where it stopped.",
        )
    if isinstance(error, sqlite3.DatabaseError) and (
        "malformed" in text or "not a database" in text
    ):
        return StateError(
            "the state database is damaged",
            "Look with: stcli state check. Put a copy back with: stcli state restore FILE; bookings "
            "already made are found again.",
        )
    return StateError(f"the state database refused: {error}", "See the log file.")


def utc_text(instant: datetime) -> str:
    """An instant as it is stored: fixed width, so that text order is time order."""
    return instant.astimezone(UTC).isoformat(timespec="microseconds").removesuffix("+00:00") + "Z"


def utc_instant(text: str) -> datetime:
    """The instant that ``utc_text`` stored."""
    return datetime.fromisoformat(text)


def optional_instant(text: str | None) -> datetime | None:
    return None if text is None else utc_instant(text)
