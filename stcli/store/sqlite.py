"""The state in an SQLite file of the home."""

from __future__ import annotations

import errno
import os
import sqlite3
from collections.abc import Callable, Iterator
from pathlib import Path

from stcli.errors import StateError
from stcli.paths import private_file, private_folder
from stcli.store.engine import TRY_SECONDS, Busy, Database, Table, locked, refused
from stcli.store.transaction import Row, Transaction


def open_sqlite(path: Path, check_stop: Callable[[], None] = lambda: None) -> SqliteDatabase:
    """The database at ``path``; the file is made, private to the user, if it is absent."""
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
    return SqliteDatabase(path, check_stop)


class _Connection(sqlite3.Connection):
    """A connection that knows which file it was opened on."""

    file: tuple[int, int]


class SqliteDatabase(Database):
    """An SQLite file; its write lock is the database's own (``BEGIN IMMEDIATE``)."""

    errors = (sqlite3.Error,)

    def __init__(self, path: Path, check_stop: Callable[[], None]) -> None:
        super().__init__(check_stop)
        self._path = path

    def connect(self) -> _Connection:
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
            factory=_Connection,
        )
        raw.file = file
        try:
            _execute(
                raw,
                "PRAGMA journal_mode=WAL",
                # An intent that is lost in a power cut is a booking that may be made twice: FULL,
                # not NORMAL.
                "PRAGMA synchronous=FULL",
                "PRAGMA foreign_keys=ON",
            )
        except BaseException:
            raw.close()
            raise
        return raw

    def is_current(self, raw: _Connection) -> bool:
        """Where another file was put in the place of its own, what a connection has open is what was
        moved away."""
        return raw.file == _file_at(self._path)

    def begin_read(self, raw: sqlite3.Connection) -> None:
        # A view begins with the first look, which is the one that may have to wait.
        _execute(raw, "BEGIN", "SELECT 1 FROM sqlite_master LIMIT 1")

    def begin_write(self, raw: sqlite3.Connection) -> None:
        _execute(raw, "BEGIN IMMEDIATE")

    def transaction(self, raw: sqlite3.Connection) -> Transaction:
        return Transaction(raw)

    def has_table(self, sql: Transaction, name: str) -> bool:
        found = sql.execute(
            "SELECT 1 FROM sqlite_master WHERE type = 'table' AND name = ?", (name,)
        )
        return found.first() is not None

    def tables(self, sql: Transaction) -> list[Table]:
        names = sql.execute(
            "SELECT name FROM sqlite_master WHERE type = 'table' AND name NOT LIKE 'sqlite%' "
            "ORDER BY name"
        ).scalars()
        return [self._table(sql, name) for name in list(names)]

    def _table(self, sql: Transaction, name: str) -> Table:
        columns = sql.execute(
            "SELECT name, type, pk FROM pragma_table_info(?) ORDER BY cid", (name,)
        ).all()
        key = sorted((place, column) for column, _, place in columns if place)
        return Table(
            name,
            tuple(column for column, _, _ in columns),
            tuple(column for _, column in key),
            frozenset(column for column, kind, _ in columns if kind == "TEXT"),
        )

    def in_key_order(self, sql: Transaction, table: Table) -> Iterator[Row]:
        return iter(
            sql.execute(
                f"SELECT {', '.join(table.columns)} FROM {table.name} "
                f"ORDER BY {', '.join(table.key)}"
            )
        )

    def state_error(self, error: Exception) -> StateError:
        text = str(error).lower()
        if "locked" in text or "busy" in text:
            return locked()
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
                "Look with: stcli state check. Put a copy back with: stcli state restore FILE; "
                "bookings already made are found again.",
            )
        return refused(error)


def _file_at(path: Path) -> tuple[int, int] | None:
    """Which file is there now: its device and number."""
    try:
        found = path.stat()
    except OSError:
        return None
    return found.st_dev, found.st_ino


def _execute(raw: sqlite3.Connection, *statements: str) -> None:
    """Statements of which one may have to wait for another program's lock."""
    try:
        for statement in statements:
            raw.execute(statement)
    except sqlite3.OperationalError as error:
        raw.rollback()
        if getattr(error, "sqlite_errorcode", 0) & 0xFF != sqlite3.SQLITE_BUSY:
            raise
        raise Busy from error
