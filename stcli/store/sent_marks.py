"""Which run asked each tenant for a booking last, and when: kept beside the state, not in it.

The state knows every request that it has seen. One that was put back from a copy, replaced by hand or
deleted knows nothing of those that came after it, and one of them may still take effect. This mark
outlives the state, so that a pass can tell that the state is older than the last request.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

from stcli.domain.ids import RunId
from stcli.errors import StateError
from stcli.paths import private_file, private_folder
from stcli.store.engine import utc_instant, utc_text

_TABLE = """CREATE TABLE IF NOT EXISTS sent (
    tenant TEXT PRIMARY KEY, run_id TEXT NOT NULL, at TEXT NOT NULL) WITHOUT ROWID"""


@dataclass(frozen=True, slots=True)
class Sent:
    """The run that asked for a booking last, and a moment shortly before its newest request."""

    run_id: RunId
    at: datetime


class SentMarks:
    """The marks of a home, in the file that its rate limits are kept in. ``history_began``: when the
    state took the place of another one, where its database can tell."""

    def __init__(
        self, file: Path, history_began: Callable[[], datetime | None] = lambda: None
    ) -> None:
        self._file = file
        self.history_began = history_began

    def note(self, tenant: str, run_id: RunId, at: datetime) -> None:
        """From now on bookings are asked for; called before the first request is sent."""
        with self._opened() as sql:
            sql.execute(
                "INSERT INTO sent VALUES (?, ?, ?) ON CONFLICT (tenant) DO UPDATE SET "
                "run_id = excluded.run_id, at = excluded.at",
                (tenant, run_id, utc_text(at)),
            )

    def last(self, tenant: str) -> Sent | None:
        if not self._file.exists():
            return None
        with self._opened() as sql:
            row = sql.execute("SELECT run_id, at FROM sent WHERE tenant = ?", (tenant,)).fetchone()
        return None if row is None else Sent(RunId(row[0]), utc_instant(row[1]))

    @contextmanager
    def _opened(self) -> Iterator[sqlite3.Connection]:
        """One transaction on the file."""
        try:
            private_folder(self._file.parent)
            private_file(self._file)
            with closing(sqlite3.connect(self._file, timeout=5)) as sql, sql:
                sql.execute(_TABLE)
                yield sql
        except (OSError, sqlite3.Error) as error:
            raise StateError(
                f"the time of the last request cannot be kept in {self._file}: {error}",
                "Check the folder's permissions and the free space; a damaged file can be removed.",
            ) from error
