"""The state in a PostgreSQL database that many hosts share."""

from __future__ import annotations

import re
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from datetime import UTC, datetime
from functools import cache
from typing import TYPE_CHECKING, Any

from stcli.database_address import VARIABLE, driver_address
from stcli.errors import ConfigurationError, StateError, StateUnreachable, StcliError, UsageError
from stcli.store.engine import (
    BUSY_SECONDS,
    TRY_SECONDS,
    Broken,
    Busy,
    Database,
    Table,
    locked,
    refused,
)
from stcli.store.transaction import Row, Rows, Transaction

if TYPE_CHECKING:
    import psycopg

CONNECT_SECONDS = 15
WRITE_LOCK = 0x7374636C69
"""The advisory lock of whoever writes ("stcli" in ASCII)."""
CLOCKS_MAY_DIFFER_SECONDS = 5.0
"""How far a host's clock may be from the database's. Times of the state are the hosts' own, and one
host judges by them how long ago another one sent a request."""
ROWS_AT_A_TIME = 2000
_FOR_A_MOMENT = ("starting up", "shutting down", "recovery", "too many", "remaining connection")
"""Words of a refusal that the same question may not meet a little later."""

_SESSION = (
    # A host that died in the middle of a transaction, or was suspended there, holds the write lock
    # of all others: the server notices within half a minute instead of hours,
    # sooner than the others give up.
    "SET tcp_keepalives_idle = 10",
    "SET tcp_keepalives_interval = 5",
    "SET tcp_keepalives_count = 3",
    "SET idle_in_transaction_session_timeout = '25s'",
    # An intent that is lost with the server is a booking that may be made twice.
    "SET synchronous_commit = on",
)


def open_postgres(url: str, check_stop: Callable[[], None] = lambda: None) -> PostgresDatabase:
    """The database that ``url`` (``postgresql+psycopg://…``) names."""
    try:
        import psycopg
    except ImportError:
        raise ConfigurationError(
            "PostgreSQL needs the extra postgres", "Install it: pip install 'stcli[postgres]'"
        ) from None
    address = driver_address(url)
    try:
        psycopg.conninfo.conninfo_to_dict(address)
    except psycopg.ProgrammingError:
        # Its text quotes the address, and with it a password.
        raise UsageError(
            f"{VARIABLE} cannot be read as an address",
            "Such as postgresql+psycopg://db.example/stcli; write other characters as %XX.",
        ) from None
    return PostgresDatabase(psycopg, address, check_stop)


class PostgresDatabase(Database):
    """Hosts share it; one transaction writes at a time, held apart by an advisory lock."""

    is_shared = True

    def __init__(self, driver: Any, address: str, check_stop: Callable[[], None]) -> None:
        super().__init__(check_stop)
        self._driver = driver
        self._address = address
        self._was_there = False
        self.errors = (driver.Error,)

    def connect(self) -> psycopg.Connection:
        """A server that was there and is not any more is waited for, as while it is restarted."""
        try:
            raw: psycopg.Connection = self._driver.connect(
                self._address,
                autocommit=True,
                cursor_factory=self._driver.ClientCursor,
                # Poolers that lend a session for one transaction know nothing of prepared statements.
                prepare_threshold=None,
                **self._unless_said(
                    connect_timeout=CONNECT_SECONDS,
                    application_name="stcli",
                    keepalives_idle=10,
                    keepalives_interval=5,
                    keepalives_count=3,
                    tcp_user_timeout=30_000,
                ),
            )
        except self._driver.OperationalError as error:
            if not self._was_there:
                raise
            time.sleep(TRY_SECONDS)
            raise Busy from error
        try:
            raw.execute("; ".join(_SESSION))
            raw.autocommit = False
        except BaseException:
            raw.close()
            raise
        self._was_there = True
        return raw

    def _unless_said(self, **values: object) -> dict[str, object]:
        """Parameters of the connection that the address leaves open."""
        said = self._driver.conninfo.conninfo_to_dict(self._address)
        return {name: value for name, value in values.items() if name not in said}

    def is_current(self, raw: psycopg.Connection) -> bool:
        return not raw.closed

    def waited_in_vain(self, busy: Busy) -> StcliError:
        error = busy.__cause__
        if isinstance(error, self._driver.errors.LockNotAvailable) or error is None:
            return locked()
        return self._unreachable(error)

    def begin_read(self, raw: psycopg.Connection) -> None:
        self._begin(raw, self._driver.IsolationLevel.REPEATABLE_READ, "SELECT 1")

    @contextmanager
    def beside(self) -> Iterator[Transaction]:
        """A transaction that commits at its end and holds up no other writer but those of the same
        rows; for what belongs to no campaign."""
        with self._mapped_errors(), self._begun(self._begin_beside) as raw:
            yield self.transaction(raw)
            raw.commit()

    def _begin_beside(self, raw: psycopg.Connection) -> None:
        wait = f"SET LOCAL lock_timeout = {BUSY_SECONDS * 1000}"
        self._begin(raw, self._driver.IsolationLevel.READ_COMMITTED, wait)

    def begin_write(self, raw: psycopg.Connection) -> None:
        wait = f"SET LOCAL lock_timeout = {int(TRY_SECONDS * 1000)}"
        self._begin(raw, self._driver.IsolationLevel.READ_COMMITTED, wait)
        try:
            # Whatever comes then may have to wait longer, such as a migration for who reads a table.
            raw.execute(
                "SELECT pg_advisory_xact_lock(%s), set_config('lock_timeout', %s, true)",
                (WRITE_LOCK, f"{BUSY_SECONDS}s"),
            )
        except self._driver.errors.LockNotAvailable as error:
            raw.rollback()
            raise Busy from error

    def _begin(self, raw: psycopg.Connection, isolation: Any, statement: str) -> None:
        try:
            raw.isolation_level = isolation
            raw.execute(statement)
        except self._driver.OperationalError as error:
            if raw.closed:
                raise Broken from error
            raise

    def transaction(self, raw: psycopg.Connection) -> Transaction:
        return _PostgresTransaction(raw, self._driver.Cursor)

    def has_table(self, sql: Transaction, name: str) -> bool:
        return sql.execute("SELECT to_regclass(?)", (name,)).scalar_one() is not None

    def tables(self, sql: Transaction) -> list[Table]:
        names = sql.execute(
            "SELECT tablename FROM pg_tables WHERE schemaname = current_schema() "
            'ORDER BY tablename COLLATE "C"'
        ).scalars()
        return [self._table(sql, name) for name in list(names)]

    def _table(self, sql: Transaction, name: str) -> Table:
        columns = sql.execute(
            "SELECT attname, format_type(atttypid, NULL) FROM pg_attribute "
            "WHERE attrelid = to_regclass(?) AND attnum > 0 AND NOT attisdropped ORDER BY attnum",
            (name,),
        ).all()
        key = sql.execute(
            "SELECT a.attname FROM pg_index i JOIN pg_attribute a ON a.attrelid = i.indrelid "
            "AND a.attnum = ANY(i.indkey) WHERE i.indrelid = to_regclass(?) AND i.indisprimary "
            "ORDER BY array_position(i.indkey::smallint[], a.attnum)",
            (name,),
        ).scalars()
        return Table(
            name,
            tuple(column for column, _ in columns),
            tuple(key),
            frozenset(column for column, kind in columns if kind == "text"),
        )

    def in_key_order(self, sql: Transaction, table: Table) -> Iterator[Row]:
        order = ", ".join(
            f'{column} COLLATE "C"' if column in table.texts else column for column in table.key
        )
        statement = f"SELECT {', '.join(table.columns)} FROM {table.name} ORDER BY {order}"
        return self._streamed(sql, statement)

    def _streamed(self, sql: Transaction, statement: str) -> Iterator[Row]:
        with sql.raw.cursor(name="rows") as cursor:
            cursor.itersize = ROWS_AT_A_TIME
            yield from cursor.execute(statement)

    def count_on(self, sql: Transaction) -> None:
        for table, column in sql.execute(
            "SELECT table_name, column_name FROM information_schema.columns "
            "WHERE table_schema = current_schema() AND is_identity = 'YES'"
        ).all():
            sql.execute(
                f"SELECT setval(pg_get_serial_sequence(?, ?), coalesce(max({column}), 0) + 1, false) "
                f"FROM {table}",
                (table, column),
            )

    def begin_history(self, sql: Transaction) -> None:
        from stcli.store.identity import write_identity

        write_identity(sql, self.identity(), datetime.now(UTC))

    def storable(self, row: Row) -> Row:
        return tuple(_storable(value) for value in row)

    # What only a server has

    def clock_ahead(self) -> float:
        """By how many seconds the database's clock is ahead of this host's."""
        with self.read() as sql:
            before = datetime.now(UTC)
            there: datetime = sql.execute("SELECT clock_timestamp()").scalar_one()
            after = datetime.now(UTC)
        # Half of the way there and back.
        return (there - (before + (after - before) / 2)).total_seconds()

    def refuse_wrong_clock(self) -> None:
        """``StateError`` where this host and the database do not agree on what time it is."""
        ahead = self.clock_ahead()
        if abs(ahead) > CLOCKS_MAY_DIFFER_SECONDS:
            raise StateError(
                f"this host's clock is {abs(ahead):.0f} s {'behind' if ahead > 0 else 'ahead of'} "
                "the database's, so hosts cannot judge each other's requests",
                "Set both clocks right (NTP), then run again.",
            )

    def identity(self) -> str:
        """Which history of which database this is: another one after a failover, after a recovery to
        a point in time, and after a dump was put into a new database. Empty where the server does not
        tell."""
        try:
            with self.read() as sql:
                return str(
                    sql.execute(
                        "SELECT s.system_identifier || ' ' || d.oid || ' ' || "
                        "substr(pg_walfile_name(pg_current_wal_lsn()), 1, 8) "
                        "FROM pg_control_system() s, pg_database d "
                        "WHERE d.datname = current_database()"
                    ).scalar_one()
                )
        except StateUnreachable:
            raise
        except StateError:
            return ""

    def state_error(self, error: Exception) -> StcliError:
        errors = self._driver.errors
        if isinstance(error, errors.LockNotAvailable):
            return locked()
        if isinstance(error, errors.DiskFull):
            return StateError(
                f"the disk of the database is full ({_first_line(error)}), so nothing more can be "
                "remembered",
                "Free some space, then run again: the pass goes on where it stopped.",
            )
        if isinstance(error, errors.ReadOnlySqlTransaction):
            return StateError(
                "the state database is read-only: this server is a standby",
                "Let STCLI_DATABASE_URL name the primary (target_session_attrs=read-write finds it).",
            )
        if isinstance(error, errors.InsufficientPrivilege):
            return StateError(
                f"the user of the state database may not do what stcli needs: {_first_line(error)}",
                "Let that user own the database, or its schema public.",
            )
        if isinstance(error, self._driver.OperationalError):
            return self._unreachable(error)
        # Its further lines quote the row, and with it people.
        return refused(_first_line(error))

    def _unreachable(self, error: BaseException) -> StcliError:
        text = str(error)
        if "FATAL" in text and not any(words in text for words in _FOR_A_MOMENT):
            return StateError(
                f"the state database refuses this host: {_first_line(error)}",
                "Check the user, the database and the password (such as in ~/.pgpass).",
            )
        return StateUnreachable(
            f"the state database cannot be reached: {_first_line(error)}",
            "Check STCLI_DATABASE_URL, and that the server runs and lets this host in.",
        )


class _PostgresTransaction(Transaction):
    """Statements are written for SQLite's marks; the few words that differ are changed here."""

    def __init__(self, raw: Any, many: Callable[[Any], Any]) -> None:
        super().__init__(raw)
        self._many = many

    def execute(self, statement: str, values: tuple[object, ...] = ()) -> Rows:
        return Rows(self.raw.execute(_spoken(statement), [_storable(v) for v in values]))

    def execute_many(self, statement: str, rows: Sequence[tuple[object, ...]]) -> Rows:
        # The connection's own kind of cursor would wait for the answer to each row.
        cursor = self._many(self.raw)
        cursor.executemany(_spoken(statement), [[_storable(v) for v in row] for row in rows])
        return Rows(cursor)


@cache
def _spoken(statement: str) -> str:
    """A statement in PostgreSQL's words."""
    if statement.startswith("CREATE TABLE"):
        statement = statement.replace(
            "INTEGER PRIMARY KEY", "BIGINT GENERATED BY DEFAULT AS IDENTITY PRIMARY KEY"
        )
        return re.sub(r"\bREAL\b", "DOUBLE PRECISION", statement)
    return statement.replace("%", "%%").replace("?", "%s")


def _storable(value: object) -> object:
    """PostgreSQL has no room for the character NUL in a text."""
    return value.replace("\x00", "\ufffd") if isinstance(value, str) and "\x00" in value else value


def _first_line(error: BaseException) -> str:
    return next(iter(str(error).splitlines()), type(error).__name__)
