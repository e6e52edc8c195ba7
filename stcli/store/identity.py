"""Since when this database is this one: a failover or a restore gives it another history.

What a server was told right before it died may be unknown to the standby that takes its place, and a
copy that was put back knows nothing of what came after it. A request for a booking that was forgotten
in this way may still take effect. The state remembers which history it was written in, so whoever comes
first afterwards sees that it is another one, and notes when that was.
"""

from __future__ import annotations

from datetime import datetime

from stcli.store.engine import optional_instant, utc_text
from stcli.store.postgres import PostgresDatabase
from stcli.store.transaction import Transaction


def note_identity(database: PostgresDatabase, now: datetime) -> None:
    """Remember the present history; where another one was known, it began now at the latest."""
    identity = database.identity()
    with database.read() as sql:
        known = _known(sql)
    if not identity or identity == known:
        return
    with database.write() as sql:
        known = _known(sql)
        if identity != known:
            write_identity(sql, identity, None if known is None else now)


def history_began(database: PostgresDatabase) -> datetime | None:
    """When the present history took the place of another one; None: it is the first."""
    with database.read() as sql:
        row = sql.execute("SELECT since FROM database_identity").one_or_none()
    return None if row is None else optional_instant(row[0])


def _known(sql: Transaction) -> str | None:
    row = sql.execute("SELECT identity FROM database_identity").one_or_none()
    return None if row is None else str(row[0])


def write_identity(sql: Transaction, identity: str, since: datetime | None) -> None:
    """``since``: when this history took the place of another one."""
    sql.execute("DELETE FROM database_identity")
    sql.execute(
        "INSERT INTO database_identity VALUES (?, ?)",
        (identity, None if since is None else utc_text(since)),
    )
