"""The rows of one state brought into another one, whatever engines keep them.

Both sides are read in the order of their keys and compared as two sorted lists: what differs in the
target is taken away, what is missing there is put in, a few thousand rows in each transaction. So a
copy that was cut off goes on where it stopped when it is made again, one that is made again after a
change carries the change, and the last comparison, which finds nothing, is the proof.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import TypeVar

from stcli.errors import StateError, UsageError
from stcli.store.copies import FENCES_LOST
from stcli.store.copying import half_copied_from
from stcli.store.engine import Database, Table, utc_text
from stcli.store.transaction import Row, Transaction

ROWS_AT_A_TIME = 2000
ROUNDS = 3
"""How often what changed in the source meanwhile is followed before the copy is given up."""
STAYS = frozenset({"schema_migrations", "locks", "rate_slots", "state_copies", "database_identity"})
"""Tables that belong to the place and not to what is known."""

Item = TypeVar("Item")


@dataclass(frozen=True, slots=True)
class Copied:
    """``rows``: how many rows each table has on both sides; ``changed``: how many had to be put in
    or taken away."""

    rows: dict[str, int]
    changed: int


def begin_copy(
    target: Database,
    source_name: str,
    *,
    replace: bool,
    refuse_held: Callable[[Database], None] = lambda _: None,
) -> None:
    """Note that the target is being filled, so that nobody works on half of a state. ``UsageError``
    where it holds something else and ``replace`` does not allow to lose that. ``refuse_held`` raises
    where a pass works on it; from then on none can begin."""
    with target.write() as sql:
        refuse_held(target)
        begun = half_copied_from(sql)
        is_resumed = begun == source_name
        if not is_resumed and not replace and not _is_empty(target, sql):
            raise UsageError(
                "the target holds a state already"
                if begun is None
                else f"the target holds an unfinished copy of {begun}",
                "Name an empty database, or say --replace: what is there is saved to the backups "
                "folder first.",
            )
        sql.execute("DELETE FROM state_copies")
        sql.execute(
            "INSERT INTO state_copies (copied_from, began_at) VALUES (?, ?)",
            (source_name, utc_text(datetime.now(UTC))),
        )


def copy_rows(source: Database, target: Database) -> Copied:
    """Make the target's rows those of the source; both have this version's tables."""
    changed = 0
    for _ in range(ROUNDS):
        fences = _fences(source)
        with source.read() as there:
            tables = [table for table in source.tables(there) if table.name not in STAYS]
            _refuse_other_tables(tables, target)
            for table in tables:
                changed += _mend(source, there, target, table)
        rows, differences = _compared(source, target)
        # Whoever begins to work on the source raises a fence, also after the comparison.
        if not differences and _fences(source) == fences:
            return Copied(rows, changed)
    raise StateError(
        "the source changed as fast as it was copied",
        "End the passes that use it, then run the same command again: it goes on where it stopped.",
    )


def finish_copy(source: Database, target: Database, source_name: str) -> None:
    """The target may be used from now on. Whoever held a lock of either side may not write to it, and
    who books first waits for what was asked of the systems last: the target may not know of it."""
    fences = _fences(source)
    with target.write() as sql:
        for name, fence in sql.execute("SELECT name, fence FROM locks").all():
            fences[name] = max(fence, fences.get(name, 0))
        now = utc_text(datetime.now(UTC))
        sql.execute("DELETE FROM locks")
        sql.execute_many(
            "INSERT INTO locks VALUES (?, ?, 0, '', 0, '', '', ?, ?)",
            [(name, fence + FENCES_LOST, now, now) for name, fence in fences.items()],
        )
        target.count_on(sql)
        target.begin_history(sql)
        done = sql.execute(
            "UPDATE state_copies SET finished_at = ? WHERE copied_from = ?", (now, source_name)
        )
        if done.rowcount != 1:
            raise StateError(
                "another copy into this state was begun meanwhile",
                "Let one of them run to its end.",
            )


def _fences(database: Database) -> dict[str, int]:
    with database.read() as sql:
        return dict(sql.execute("SELECT name, fence FROM locks"))


def fill(source: Database, sql: Transaction, target: Database) -> None:
    """Put all rows of a view of the source into an empty target, unproved: for what is thrown away
    or only kept in case."""
    there = {table.name for table in _tables(target)}
    for table in source.tables(sql):
        if table.name in there and table.name not in STAYS:
            for batch in _batches(source.in_key_order(sql, table)):
                _change(target, table, [], batch)


def _tables(database: Database) -> list[Table]:
    with database.read() as sql:
        return database.tables(sql)


def _is_empty(database: Database, sql: Transaction) -> bool:
    return not any(
        sql.execute(f"SELECT 1 FROM {table.name} LIMIT 1").first()
        for table in database.tables(sql)
        if table.name not in STAYS
    )


def _refuse_other_tables(tables: Sequence[Table], target: Database) -> None:
    there = {table.name: table.columns for table in _tables(target)}
    for table in tables:
        if set(there.get(table.name, ())) != set(table.columns):
            raise StateError(
                f"the table {table.name} is not the same on both sides",
                "Both have to be states of this version of stcli.",
            )


def _mend(source: Database, there: Transaction, target: Database, table: Table) -> int:
    """Make one table the same; how many rows were changed."""
    changed = 0
    with target.read() as here:
        wrong = (
            old for _, old in _differences(source, there, target, here, table) if old is not None
        )
        for batch in _batches(wrong):
            _change(target, table, batch, [])
            changed += len(batch)
    # What is wrong goes first: a row may be missing for what another one has that is unique.
    with target.read() as here:
        missing = (
            new for new, _ in _differences(source, there, target, here, table) if new is not None
        )
        for batch in _batches(missing):
            _change(target, table, [], batch)
            changed += len(batch)
    return changed


def _change(target: Database, table: Table, wrong: Sequence[Row], missing: Sequence[Row]) -> None:
    where = " AND ".join(f"{column} = ?" for column in table.key)
    marks = ", ".join("?" for _ in table.columns)
    places = [table.columns.index(column) for column in table.key]
    with target.write() as sql:
        if wrong:
            sql.execute_many(
                f"DELETE FROM {table.name} WHERE {where}",
                [tuple(row[place] for place in places) for row in wrong],
            )
        if missing:
            sql.execute_many(
                f"INSERT INTO {table.name} ({', '.join(table.columns)}) VALUES ({marks})", missing
            )


def _compared(source: Database, target: Database) -> tuple[dict[str, int], int]:
    """How many rows each table of the source has now, and how many rows differ."""
    rows: dict[str, int] = {}
    differences = 0
    with source.read() as there, target.read() as here:
        for table in source.tables(there):
            if table.name in STAYS:
                continue
            rows[table.name] = there.execute(f"SELECT count(*) FROM {table.name}").scalar_one()
            differences += sum(1 for _ in _differences(source, there, target, here, table))
    return rows, differences


def _differences(
    source: Database, there: Transaction, target: Database, here: Transaction, table: Table
) -> Iterator[tuple[Row | None, Row | None]]:
    """Pairs of the row as it should be and as it is, where they differ; None: there is none."""
    places = [table.columns.index(column) for column in table.key]

    def key(row: Row) -> Row:
        return tuple(row[place] for place in places)

    wanted = (target.storable(row) for row in source.in_key_order(there, table))
    found = target.in_key_order(here, table)
    new, old = next(wanted, None), next(found, None)
    while new is not None or old is not None:
        if old is None or (new is not None and key(new) < key(old)):
            yield new, None
            new = next(wanted, None)
        elif new is None or key(old) < key(new):
            yield None, old
            old = next(found, None)
        else:
            if new != old:
                yield new, old
            new, old = next(wanted, None), next(found, None)


def _batches(items: Iterator[Item]) -> Iterator[list[Item]]:
    batch: list[Item] = []
    for item in items:
        batch.append(item)
        if len(batch) == ROWS_AT_A_TIME:
            yield batch
            batch = []
    if batch:
        yield batch
