"""The mark of a state that is being filled: until that has ended nobody works on half of one."""

from __future__ import annotations

from stcli.errors import StateError
from stcli.store.transaction import Transaction


def half_copied_from(sql: Transaction) -> str | None:
    """What a copy into this state was begun of, where it was not finished."""
    row = sql.execute(
        "SELECT copied_from FROM state_copies WHERE finished_at IS NULL"
    ).one_or_none()
    return None if row is None else str(row[0])


def refuse_half_copy(sql: Transaction) -> None:
    """``StateError`` where a copy into this state was begun and not finished."""
    if (name := half_copied_from(sql)) is not None:
        raise StateError(
            f"this state is an unfinished copy of {name}",
            "Run that stcli state copy (or state restore) again; it goes on where it stopped.",
        )
