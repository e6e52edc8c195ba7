"""Records that failed, until they succeed, change, or a person decides.

A failure is ``parked`` when the server (or the mapping) refused the record: it is tried again only
when its fingerprint differs, that is when the record or its mapping changed, or on request. It is
``transient`` when trying again may help by itself, and ``dismissed`` when a person let it go.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum

from stcli.errors import UsageError
from stcli.store.engine import Database, Lease, utc_instant, utc_text
from stcli.store.transaction import Transaction


class FailureState(StrEnum):
    PARKED = "parked"
    TRANSIENT = "transient"
    DISMISSED = "dismissed"


@dataclass(frozen=True, slots=True)
class StoredFailure:
    id: int
    campaign: str
    kind: str
    record: str
    reason: str
    trace_id: str
    fingerprint: str
    state: FailureState
    first_at: datetime
    last_at: datetime

    @property
    def is_open(self) -> bool:
        """Whether anybody still has to look at it."""
        return self.state is not FailureState.DISMISSED

    @property
    def waits_for_a_change(self) -> bool:
        """Whether it is left alone as long as its fingerprint stays."""
        return self.state in (FailureState.PARKED, FailureState.DISMISSED)


_COLUMNS = (
    "failure_id, campaign, pass, record, reason, trace_id, fingerprint, state, first_at, last_at"
)


def upsert_failure(
    sql: Transaction,
    *,
    campaign: str,
    kind: str,
    record: str,
    reason: str,
    trace_id: str,
    fingerprint: str,
    state: FailureState,
    run_id: str,
    now: datetime,
) -> None:
    at = utc_text(now)
    sql.execute(
        "INSERT INTO failures (campaign, pass, record, reason, trace_id, fingerprint, state, "
        "run_id, first_at, last_at) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?) "
        "ON CONFLICT (campaign, pass, record) DO UPDATE SET reason = excluded.reason, "
        "trace_id = excluded.trace_id, fingerprint = excluded.fingerprint, state = excluded.state, "
        "run_id = excluded.run_id, last_at = excluded.last_at",
        (campaign, kind, record, reason, trace_id, fingerprint, state.value, run_id, at, at),
    )


def clear_failure(sql: Transaction, *, campaign: str, kind: str, record: str) -> None:
    sql.execute(
        "DELETE FROM failures WHERE campaign = ? AND pass = ? AND record = ?",
        (campaign, kind, record),
    )


class Failures:
    def __init__(self, database: Database) -> None:
        self._database = database

    def of(self, campaign: str, kind: str | None = None) -> list[StoredFailure]:
        """All failures of a campaign (of one kind of pass), oldest first, dismissed ones too."""
        with self._database.read() as sql:
            rows = sql.execute(
                f"SELECT {_COLUMNS} FROM failures WHERE campaign = ? AND (? IS NULL OR pass = ?) "
                "ORDER BY failure_id",
                (campaign, kind, kind),
            )
            return [
                StoredFailure(
                    r[0],
                    r[1],
                    r[2],
                    r[3],
                    r[4],
                    r[5],
                    r[6],
                    FailureState(r[7]),
                    utc_instant(r[8]),
                    utc_instant(r[9]),
                )
                for r in rows
            ]

    def open_count(self, campaign: str) -> int:
        with self._database.read() as sql:
            return int(
                sql.execute(
                    "SELECT count(*) FROM failures WHERE campaign = ? AND state != 'dismissed'",
                    (campaign,),
                ).scalar_one()
            )

    def record(
        self,
        lease: Lease,
        *,
        campaign: str,
        kind: str,
        record: str,
        reason: str,
        trace_id: str,
        fingerprint: str,
        state: FailureState,
        run_id: str,
        now: datetime,
    ) -> None:
        with self._database.write(lease) as sql:
            upsert_failure(
                sql,
                campaign=campaign,
                kind=kind,
                record=record,
                reason=reason,
                trace_id=trace_id,
                fingerprint=fingerprint,
                state=state,
                run_id=run_id,
                now=now,
            )

    def clear(self, lease: Lease, *, campaign: str, kind: str, records: Iterable[str]) -> None:
        with self._database.write(lease) as sql:
            for record in records:
                clear_failure(sql, campaign=campaign, kind=kind, record=record)

    def retry(self, campaign: str, ids: Iterable[int]) -> int:
        """Make failures due again: those with these numbers, dismissed ones too, or where no number
        is given all that nobody has dismissed. A number that there is not is wrong usage, and then
        nothing is changed."""
        return self._set_state(campaign, ids, FailureState.TRANSIENT)

    def dismiss(self, campaign: str, ids: Iterable[int]) -> int:
        """Let these go; all open ones where no number is given. Unknown numbers as in ``retry``."""
        return self._set_state(campaign, ids, FailureState.DISMISSED)

    def _set_state(self, campaign: str, ids: Iterable[int], state: FailureState) -> int:
        chosen = set(ids)
        with self._database.write() as sql:
            if not chosen:
                return sql.execute(
                    "UPDATE failures SET state = ? WHERE campaign = ? AND state != 'dismissed'",
                    (state.value, campaign),
                ).rowcount
            unknown = [
                str(failure_id)
                for failure_id in sorted(chosen)
                if not sql.execute(
                    "UPDATE failures SET state = ? WHERE campaign = ? AND failure_id = ?",
                    (state.value, campaign, failure_id),
                ).rowcount
            ]
            if unknown:
                raise UsageError(
                    f"{campaign} has no failure {', '.join(unknown)}",
                    f"See: stcli failures list {campaign}",
                )
            return len(chosen)
