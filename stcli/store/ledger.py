"""Who was booked: one row for each person and tab, written before the booking is asked for.

A row's life: ``intent`` (committed before the POST) → ``booked``, or ``in_doubt`` when the answer
does not tell whether the booking exists, or gone again when the server certainly refused. ``linked``
rows were found, not made. ``present`` people were there before the action was switched on. ``resend``
asks for one more booking beside those in ``ignored``.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from typing import Any

from sqlalchemy import Connection, Row

from stcli.domain.ids import BookingId, CampaignName, JobId, RunId, UserId
from stcli.store.engine import Database, Lease, optional_instant, utc_text
from stcli.store.failures import FailureState, clear_failure, upsert_failure


class LedgerState(StrEnum):
    PRESENT = "present"
    INTENT = "intent"
    IN_DOUBT = "in_doubt"
    BOOKED = "booked"
    LINKED = "linked"
    RESEND = "resend"


@dataclass(frozen=True, slots=True)
class Entry:
    """One row of the ledger."""

    user_id: UserId
    code: str
    state: LedgerState
    external_id: str = ""
    booking_id: BookingId | None = None
    job_id: JobId | None = None
    booked_on: datetime | None = None
    draft: str = ""
    doubt_since: datetime | None = None
    ignored: tuple[BookingId, ...] = ()


@dataclass(frozen=True, slots=True)
class Intent:
    """A booking about to be asked for. ``draft`` is the fingerprint of what will be sent."""

    user_id: UserId
    code: str
    external_id: str
    draft: str
    ignored: tuple[BookingId, ...] = ()


@dataclass(frozen=True, slots=True)
class Booked:
    """The booking exists: made by us, or found."""

    user_id: UserId
    code: str
    external_id: str
    booking_id: BookingId
    booked_on: datetime
    found: bool


@dataclass(frozen=True, slots=True)
class Doubtful:
    """Asked for, and no answer tells whether it exists. ``since`` is when we stopped listening."""

    user_id: UserId
    since: datetime


@dataclass(frozen=True, slots=True)
class Refused:
    """Certainly not made. ``parked``: not to be tried again until something changes."""

    user_id: UserId
    code: str
    reason: str
    trace_id: str
    draft: str
    parked: bool


@dataclass(frozen=True, slots=True)
class Withdrawn:
    """An intent that was never sent."""

    user_id: UserId


Settlement = Booked | Doubtful | Refused | Withdrawn

_COLUMNS = (
    "user_id, code, state, external_id, booking_id, job_id, booked_on, draft, doubt_since, ignored"
)


@dataclass(frozen=True, slots=True)
class LedgerScope:
    """Whose rows: a campaign's, of one tab, on one tenant."""

    campaign: CampaignName
    tab: str
    tenant: str
    kind: str


class Ledger:
    def __init__(self, database: Database) -> None:
        self._database = database

    def unfinished(self, scope: LedgerScope) -> list[Entry]:
        """Rows whose booking was asked for without a definite end."""
        return self._select(scope, "state IN ('intent', 'in_doubt')", ())

    def resends(self, scope: LedgerScope) -> list[Entry]:
        return self._select(scope, "state = 'resend'", ())

    def entry(self, scope: LedgerScope, user_id: UserId) -> Entry | None:
        found = self._select(scope, "user_id = ?", (user_id,))
        return found[0] if found else None

    def by_code(self, scope: LedgerScope, code: str) -> Entry | None:
        found = self._select(scope, "code = ?", (code,))
        return found[0] if found else None

    def _select(
        self, scope: LedgerScope, condition: str, values: tuple[object, ...]
    ) -> list[Entry]:
        with self._database.read() as sql:
            rows = sql.exec_driver_sql(
                f"SELECT {_COLUMNS} FROM ledger WHERE campaign = ? AND tab = ? AND {condition} "
                "ORDER BY user_id",
                (scope.campaign, scope.tab, *values),
            ).all()
        return [_entry(row) for row in rows]

    def count_done(self, scope: LedgerScope) -> int:
        """How many people have their booking."""
        return self._count(scope, "'booked', 'linked'")

    def count_present(self, scope: LedgerScope) -> int:
        """How many people were there before the action was switched on."""
        return self._count(scope, "'present'")

    def _count(self, scope: LedgerScope, states: str) -> int:
        with self._database.read() as sql:
            return int(
                sql.exec_driver_sql(
                    "SELECT count(*) FROM ledger WHERE campaign = ? AND tab = ? "
                    f"AND state IN ({states})",
                    (scope.campaign, scope.tab),
                ).scalar_one()
            )

    def remember_present(
        self, scope: LedgerScope, people: Iterable[tuple[UserId, str]], now: datetime
    ) -> int:
        """Leave these alone for good: they joined before the action was switched on."""
        rows = [
            (scope.campaign, scope.tab, user_id, code, scope.tenant, utc_text(now))
            for user_id, code in people
        ]
        if not rows:
            return 0
        with self._database.write() as sql:
            return sql.exec_driver_sql(
                "INSERT INTO ledger (campaign, tab, user_id, code, state, tenant, updated_at) "
                "VALUES (?, ?, ?, ?, 'present', ?, ?) ON CONFLICT DO NOTHING",
                rows,
            ).rowcount

    def intend(
        self,
        lease: Lease,
        scope: LedgerScope,
        intents: Sequence[Intent],
        run_id: RunId,
        now: datetime,
    ) -> None:
        """Commit, in one transaction, that these bookings are about to be asked for."""
        with self._database.write(lease) as sql:
            sql.exec_driver_sql(
                "INSERT INTO ledger (campaign, tab, user_id, code, state, tenant, external_id, "
                "draft, ignored, run_id, updated_at) "
                "VALUES (?, ?, ?, ?, 'intent', ?, ?, ?, ?, ?, ?) "
                "ON CONFLICT (campaign, tab, user_id) DO UPDATE SET state = 'intent', "
                "tenant = excluded.tenant, external_id = excluded.external_id, "
                "draft = excluded.draft, ignored = excluded.ignored, doubt_since = NULL, "
                "run_id = excluded.run_id, updated_at = excluded.updated_at",
                [
                    (
                        scope.campaign,
                        scope.tab,
                        intent.user_id,
                        intent.code,
                        scope.tenant,
                        intent.external_id,
                        intent.draft,
                        json.dumps(intent.ignored),
                        run_id,
                        utc_text(now),
                    )
                    for intent in intents
                ],
            )

    def settle(
        self,
        lease: Lease,
        scope: LedgerScope,
        settlements: Sequence[Settlement],
        run_id: RunId,
        now: datetime,
    ) -> None:
        """Commit, in one transaction, what became of bookings that were asked for or looked up."""
        with self._database.write(lease) as sql:
            for settlement in settlements:
                _settle(sql, scope, settlement, run_id, now)

    def resend(
        self, scope: LedgerScope, user_id: UserId, ignored: Sequence[BookingId], now: datetime
    ) -> None:
        """Ask for one more booking of this person, beside ``ignored``."""
        with self._database.write() as sql:
            sql.exec_driver_sql(
                "UPDATE ledger SET state = 'resend', ignored = ?, booking_id = NULL, job_id = NULL, "
                "booked_on = NULL, updated_at = ? WHERE campaign = ? AND tab = ? AND user_id = ?",
                (json.dumps(list(ignored)), utc_text(now), scope.campaign, scope.tab, user_id),
            )

    def bind(
        self,
        scope: LedgerScope,
        user_id: UserId,
        code: str,
        *,
        booking: BookingId | None,
        job: JobId | None,
        booked_on: datetime | None,
        now: datetime,
    ) -> None:
        """Evidence given by hand: this booking or this job belongs to this person."""
        with self._database.write() as sql:
            sql.exec_driver_sql(
                "INSERT INTO ledger (campaign, tab, user_id, code, state, tenant, booking_id, "
                "job_id, booked_on, look_up_job, updated_at) "
                "VALUES (?, ?, ?, ?, 'linked', ?, ?, ?, ?, ?, ?) "
                "ON CONFLICT (campaign, tab, user_id) DO UPDATE SET state = 'linked', "
                "booking_id = coalesce(excluded.booking_id, ledger.booking_id), "
                "job_id = coalesce(excluded.job_id, ledger.job_id), "
                "booked_on = coalesce(excluded.booked_on, ledger.booked_on), "
                "look_up_job = excluded.look_up_job, doubt_since = NULL, "
                "updated_at = excluded.updated_at",
                (
                    scope.campaign,
                    scope.tab,
                    user_id,
                    code,
                    scope.tenant,
                    booking,
                    job,
                    None if booked_on is None else utc_text(booked_on),
                    int(booking is not None),
                    utc_text(now),
                ),
            )
            clear_failure(sql, campaign=scope.campaign, kind=scope.kind, record=code)
            _watch(sql, scope, user_id, code, now)


def _settle(
    sql: Connection, scope: LedgerScope, settlement: Settlement, run_id: RunId, now: datetime
) -> None:
    key = (scope.campaign, scope.tab, settlement.user_id)
    match settlement:
        case Booked():
            sql.exec_driver_sql(
                "INSERT INTO ledger (campaign, tab, user_id, code, state, tenant, external_id, "
                "booking_id, booked_on, look_up_job, run_id, updated_at) "
                "VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?) "
                "ON CONFLICT (campaign, tab, user_id) DO UPDATE SET state = excluded.state, "
                "tenant = excluded.tenant, external_id = excluded.external_id, "
                "booking_id = excluded.booking_id, booked_on = excluded.booked_on, "
                "look_up_job = excluded.look_up_job, doubt_since = NULL, run_id = excluded.run_id, "
                "updated_at = excluded.updated_at",
                (
                    *key,
                    settlement.code,
                    (LedgerState.LINKED if settlement.found else LedgerState.BOOKED).value,
                    scope.tenant,
                    settlement.external_id,
                    settlement.booking_id,
                    utc_text(settlement.booked_on),
                    int(settlement.found),
                    run_id,
                    utc_text(now),
                ),
            )
            clear_failure(sql, campaign=scope.campaign, kind=scope.kind, record=settlement.code)
            _watch(sql, scope, settlement.user_id, settlement.code, now)
        case Doubtful():
            sql.exec_driver_sql(
                "UPDATE ledger SET state = 'in_doubt', doubt_since = ?, updated_at = ? "
                "WHERE campaign = ? AND tab = ? AND user_id = ?",
                (utc_text(settlement.since), utc_text(now), *key),
            )
        case Refused():
            _withdraw(sql, key)
            upsert_failure(
                sql,
                campaign=scope.campaign,
                kind=scope.kind,
                record=settlement.code,
                reason=settlement.reason,
                trace_id=settlement.trace_id,
                fingerprint=settlement.draft,
                state=FailureState.PARKED if settlement.parked else FailureState.TRANSIENT,
                run_id=run_id,
                now=now,
            )
        case Withdrawn():
            _withdraw(sql, key)


def _withdraw(sql: Connection, key: tuple[object, ...]) -> None:
    """Forget an intent; one that followed a resend falls back to that."""
    sql.exec_driver_sql(
        "UPDATE ledger SET state = 'resend', doubt_since = NULL WHERE campaign = ? AND tab = ? "
        "AND user_id = ? AND state IN ('intent', 'in_doubt') AND ignored != '[]'",
        key,
    )
    sql.exec_driver_sql(
        "DELETE FROM ledger WHERE campaign = ? AND tab = ? AND user_id = ? "
        "AND state IN ('intent', 'in_doubt')",
        key,
    )


def _watch(sql: Connection, scope: LedgerScope, user_id: UserId, code: str, now: datetime) -> None:
    """A lead with a booking waits for its qualification from now on."""
    if scope.tab != "leads":
        return
    sql.exec_driver_sql(
        "INSERT INTO qualifications (campaign, user_id, code, state, due, changed_at) "
        "VALUES (?, ?, ?, 'open', 1, ?) "
        "ON CONFLICT (campaign, user_id) DO UPDATE SET due = qualifications.due + 1",
        (scope.campaign, user_id, code, utc_text(now)),
    )


def _entry(row: Row[Any]) -> Entry:
    r = tuple(row)
    return Entry(
        user_id=UserId(r[0]),
        code=r[1],
        state=LedgerState(r[2]),
        external_id=r[3],
        booking_id=None if r[4] is None else BookingId(r[4]),
        job_id=None if r[5] is None else JobId(r[5]),
        booked_on=optional_instant(r[6]),
        draft=r[7],
        doubt_since=optional_instant(r[8]),
        ignored=tuple(BookingId(number) for number in json.loads(r[9])),
    )
