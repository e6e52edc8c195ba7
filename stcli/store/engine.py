"""Opening the database and its transactions.

SQLite in the home by default. Every transaction is short and none is held over a network call. A
write begins with the write lock taken (``BEGIN IMMEDIATE``), so that what it read stays true until
it commits; a write under a lease first checks the lease's fencing number, so that a process which
lost its lock can change nothing any more.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

from sqlalchemy import Connection, Engine, create_engine, event
from sqlalchemy.exc import DatabaseError, DBAPIError
from sqlalchemy.pool import ConnectionPoolEntry

from stcli.errors import LeaseLost, StateError
from stcli.paths import private_folder

Transaction = Connection
"""What several parts of the store are handed so that they act in one transaction; whoever holds it
passes it on and does nothing else with it."""

BUSY_SECONDS = 30
"""How long a transaction waits for another one's write lock before it gives up."""


@dataclass(frozen=True, slots=True)
class Lease:
    """The right to write for a campaign; ``fence`` rises with every take-over."""

    name: str
    fence: int


class Database:
    """One database, shared by the threads of a process."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine

    @contextmanager
    def read(self) -> Iterator[Connection]:
        """A consistent view; nothing written in it is kept."""
        with _mapped_errors(), self._engine.connect() as connection:
            yield connection

    @contextmanager
    def write(self, lease: Lease | None = None) -> Iterator[Connection]:
        """A transaction that commits at its end, or has no effect where it raises."""
        with _mapped_errors(), self._engine.connect() as plain:
            connection = plain.execution_options(stcli_begin="BEGIN IMMEDIATE")
            with connection.begin():
                if lease is not None:
                    _check(connection, lease)
                yield connection

    def close(self) -> None:
        self._engine.dispose()


def open_sqlite(path: Path) -> Database:
    """The database at ``path``; the file is made, private to the user, if it is absent."""
    private_folder(path.parent)
    try:
        os.close(os.open(path, os.O_RDWR | os.O_CREAT, 0o600))
    except OSError as error:
        raise StateError(
            f"the state database {path} cannot be opened for writing: {error.strerror}",
            "Check the owner and the permissions of the folder and the file.",
        ) from error
    engine = create_engine(
        f"sqlite:///{path}",
        connect_args={"timeout": BUSY_SECONDS, "check_same_thread": False, "isolation_level": None},
    )
    event.listen(engine, "connect", _prepare_sqlite)
    event.listen(engine, "begin", _begin)
    return Database(engine)


def _prepare_sqlite(connection: object, _record: ConnectionPoolEntry) -> None:
    cursor = connection.cursor()  # type: ignore[attr-defined] # the DBAPI's connection
    cursor.execute("PRAGMA journal_mode=WAL")
    # An intent that is lost in a power cut is a booking that may be made twice: FULL, not NORMAL.
    cursor.execute("PRAGMA synchronous=FULL")
    cursor.execute("PRAGMA foreign_keys=ON")
    cursor.close()


def _begin(connection: Connection) -> None:
    # The driver's own transaction control begins too late; see SQLAlchemy's notes on pysqlite.
    connection.exec_driver_sql(connection.get_execution_options().get("stcli_begin", "BEGIN"))


def _check(connection: Connection, lease: Lease) -> None:
    row = connection.exec_driver_sql(
        "SELECT fence FROM locks WHERE name = ?", (lease.name,)
    ).one_or_none()
    if row is None or row[0] != lease.fence:
        raise LeaseLost(
            f"another process took over the work on {lease.name}",
            "Nothing was written after that; run the pass again.",
        )


@contextmanager
def _mapped_errors() -> Iterator[None]:
    try:
        yield
    except DBAPIError as error:
        raise _as_state_error(error) from error


def _as_state_error(error: DBAPIError) -> StateError:
    text = str(error.orig).lower()
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
            f"the disk is full or fails ({error.orig}), so nothing more can be remembered",
            "Free some space, then run again: the pass goes on where it stopped.",
        )
    if isinstance(error, DatabaseError) and ("malformed" in text or "not a database" in text):
        return StateError(
            "the state database is damaged",
            "Look with: stcli state check. Put a copy back with: stcli state restore FILE; bookings "
            "already made are found again.",
        )
    return StateError(f"the state database refused: {error.orig}", "See the log file.")


def utc_text(instant: datetime) -> str:
    """An instant as it is stored: fixed width, so that text order is time order."""
    return instant.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%S.%fZ")


def utc_instant(text: str) -> datetime:
    """The instant that ``utc_text`` stored."""
    return datetime.strptime(text, "%Y-%m-%dT%H:%M:%S.%fZ").replace(tzinfo=UTC)


def optional_instant(text: str | None) -> datetime | None:
    return None if text is None else utc_instant(text)
