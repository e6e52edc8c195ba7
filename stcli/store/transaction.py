"""One transaction of the database, and what its statements give.

Plain SQL over the driver's own interface (PEP 249): every statement of the store is written out, and
loading a library that builds statements would cost each command more than its own work.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any, Protocol

Row = tuple[Any, ...]
"""The values of one row, in the order of the statement's columns."""


class Cursor(Protocol):
    """What a driver's cursor has (PEP 249)."""

    @property
    def rowcount(self) -> int: ...
    def __iter__(self) -> Iterator[Row]: ...
    def fetchone(self) -> Row | None: ...
    def fetchmany(self, size: int, /) -> list[Row]: ...
    def fetchall(self) -> list[Row]: ...


class Transaction:
    """What several parts of the store are handed so that they act in one transaction; whoever holds
    it passes it on and does nothing else with it."""

    def __init__(self, raw: Any) -> None:
        self.raw = raw

    def execute(self, statement: str, values: tuple[object, ...] = ()) -> Rows:
        """Execute one statement; ``?`` stands for each value."""
        return Rows(self.raw.execute(statement, values))

    def execute_many(self, statement: str, rows: Sequence[tuple[object, ...]]) -> Rows:
        """Execute one statement once for each row of values."""
        return Rows(self.raw.executemany(statement, rows))


class Rows:
    """The rows that a statement gave; each is read once."""

    def __init__(self, cursor: Cursor) -> None:
        self._cursor = cursor

    def __iter__(self) -> Iterator[Row]:
        return iter(self._cursor)

    @property
    def rowcount(self) -> int:
        """How many rows the statement inserted, updated or deleted."""
        return self._cursor.rowcount

    def all(self) -> list[Row]:
        """Every row that is left."""
        return self._cursor.fetchall()

    def first(self) -> Row | None:
        """The first row, whatever comes behind it."""
        return self._cursor.fetchone()

    def one_or_none(self) -> Row | None:
        """The only row, or none; more are an error of the statement's author."""
        rows = self._cursor.fetchmany(2)
        if len(rows) > 1:
            raise LookupError("a statement for one row gave several")
        return rows[0] if rows else None

    def one(self) -> Row:
        """The only row."""
        row = self.one_or_none()
        if row is None:
            raise LookupError("a statement for one row gave none")
        return row

    def scalar_one(self) -> Any:
        """The first value of the only row."""
        return self.one()[0]

    def scalars(self) -> Iterator[Any]:
        """The first value of each row."""
        return (row[0] for row in self)
