"""Which campaign file all hosts are to run with, and who said so."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime

from stcli.store.engine import Database, utc_instant, utc_text
from stcli.store.transaction import Transaction


@dataclass(frozen=True, slots=True)
class Accepted:
    """A campaign file that somebody stands for; ``file_hash`` is the SHA-256 of its bytes."""

    file_hash: str
    at: datetime
    by: str


class AcceptedFiles:
    def __init__(self, database: Database) -> None:
        self._database = database

    def of(self, campaign: str) -> Accepted | None:
        with self._database.read() as sql:
            return _one(sql, campaign)

    def other_than(self, campaign: str, file_hash: str) -> Accepted | None:
        """The file that all hosts are to run with, where it is not this one. A state that no other
        host shares runs with whatever file is there."""
        known = self.of(campaign) if self._database.is_shared else None
        return known if known is not None and known.file_hash != file_hash else None

    def first(self, campaign: str, file_hash: str, now: datetime, by: str) -> Accepted:
        """The accepted file; this one from now on where none was."""
        known = self.of(campaign)
        if known is not None:
            return known
        with self._database.write() as sql:
            known = _one(sql, campaign)
            if known is not None:
                return known
            _accept(sql, campaign, file_hash, now, by)
        return Accepted(file_hash, now, by)

    def accept(self, campaign: str, file_hash: str, now: datetime, by: str) -> None:
        """From now on this file is the one."""
        with self._database.write() as sql:
            _accept(sql, campaign, file_hash, now, by)


def _one(sql: Transaction, campaign: str) -> Accepted | None:
    row = sql.execute(
        "SELECT file_hash, accepted_at, accepted_by FROM accepted_files WHERE campaign = ?",
        (campaign,),
    ).one_or_none()
    return None if row is None else Accepted(row[0], utc_instant(row[1]), row[2])


def _accept(sql: Transaction, campaign: str, file_hash: str, now: datetime, by: str) -> None:
    sql.execute(
        "INSERT INTO accepted_files VALUES (?, ?, ?, ?) ON CONFLICT (campaign) DO UPDATE SET "
        "file_hash = excluded.file_hash, accepted_at = excluded.accepted_at, "
        "accepted_by = excluded.accepted_by",
        (campaign, file_hash, utc_text(now), by),
    )
