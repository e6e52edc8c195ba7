"""The queue's tables: in a schema of their own, made once, of a version that is known."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import closing, contextmanager

import psycopg
from procrastinate.schema import SchemaManager

from stcli.database_address import driver_address
from stcli.errors import StateError, StateUnreachable

SCHEMA = "stcli_queue"
VERSION = "procrastinate 3.10"
"""What made the tables; ``pyproject.toml`` allows no other version of it."""
LOCK = 0x73746371
"""The advisory lock of whoever makes them ("stcq" in ASCII)."""


@contextmanager
def connected(url: str) -> Iterator[psycopg.Connection]:
    """One transaction of the queue's database; what goes wrong in it is an error of the state."""
    try:
        with closing(psycopg.connect(driver_address(url), connect_timeout=15)) as sql, sql:
            yield sql
    except psycopg.OperationalError as error:
        raise unreachable(error) from error
    except psycopg.Error as error:
        raise StateError(
            f"the queue's tables cannot be used: {_first_line(error)}",
            "Let the database's user create schemas in it (GRANT CREATE ON DATABASE), and own "
            f"{SCHEMA} where it is there.",
        ) from error


def make_tables(url: str) -> None:
    """Make the queue's tables where there are none; ``StateError`` where another version's are."""
    with connected(url) as sql:
        sql.execute("SELECT pg_advisory_xact_lock(%s)", (LOCK,))
        if not has_tables(sql):
            sql.execute(f"CREATE SCHEMA {SCHEMA}")
            sql.execute(f"SET LOCAL search_path TO {SCHEMA}")
            sql.execute(SchemaManager.get_schema())
            sql.execute("CREATE TABLE stcli_version (version TEXT NOT NULL)")
            sql.execute("INSERT INTO stcli_version VALUES (%s)", (VERSION,))


def has_tables(sql: psycopg.Connection) -> bool:
    """Whether the queue's tables are there; ``StateError`` where they are another version's."""
    found = _version(sql)
    if found not in (None, VERSION):
        raise StateError(
            f"the schema {SCHEMA} was made by {found or 'something else'}, and this stcli needs "
            f"{VERSION}",
            f"Stop all workers, then drop it (DROP SCHEMA {SCHEMA} CASCADE): it holds no more than "
            "what is to run next, and the next worker makes it anew.",
        )
    return found is not None


def _version(sql: psycopg.Connection) -> str | None:
    """What made the tables that are there; None: there are none. Empty: nobody says."""
    row = sql.execute(
        "SELECT to_regnamespace(%s)::oid, to_regclass(%s)::oid", (SCHEMA, f"{SCHEMA}.stcli_version")
    ).fetchone()
    if row is None or row[0] is None:
        return None
    if row[1] is None:
        return ""
    found = sql.execute("SELECT version FROM stcli_queue.stcli_version").fetchone()
    return str(found[0]) if found else ""


def unreachable(error: BaseException) -> StateUnreachable:
    """The database was there, or should have been."""
    return StateUnreachable(
        f"the queue's database cannot be reached: {_first_line(error)}",
        "Check STCLI_DATABASE_URL, and that the server runs and lets this host in.",
    )


def _first_line(error: BaseException) -> str:
    return next(iter(str(error).splitlines()), type(error).__name__)
