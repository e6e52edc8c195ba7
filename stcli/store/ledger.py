"""Who was booked: one row for each tenant, tab and person, written before the booking is asked for.

The local name of a campaign is not part of the key: two names of one Referral Factory campaign share
its people, and what was booked on one tenant is no booking of another.

A row's life: ``intent`` (committed before the POST) → ``booked``, or ``in_doubt`` when the answer
does not tell whether the booking exists, or gone again when the server certainly refused. ``linked``
rows were found, not made; ``several`` ones were found with more than one booking. ``present`` people
were there before the action was switched on. ``resend`` asks for one more booking beside those in
``ignored``.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum

from stcli.domain.ids import BookingId, CampaignName, JobId, RfCampaignId, RunId, UserId
from stcli.store.engine import Database, Lease, optional_instant, utc_text
from stcli.store.failures import FailureState, clear_failure, upsert_failure
from stcli.store.transaction import Row, Transaction


class LedgerState(StrEnum):
    PRESENT = "present"
    INTENT = "intent"
    IN_DOUBT = "in_doubt"
    BOOKED = "booked"
    LINKED = "linked"
    SEVERAL = "several"
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
class Several:
    """More than one booking has the person's external id; which one counts is for a person to say,
    and until then no other is asked for."""

    user_id: UserId
    code: str
    external_id: str
    bookings: tuple[BookingId, ...]

    @property
    def reason(self) -> str:
        ids = ", ".join(map(str, self.bookings))
        return (
            f"several bookings have its external id: {ids}; say which counts with: stcli leads link"
        )


@dataclass(frozen=True, slots=True)
class Withdrawn:
    """An intent that was never sent."""

    user_id: UserId


Settlement = Booked | Doubtful | Refused | Several | Withdrawn

_COLUMNS = (
    "user_id, code, state, external_id, booking_id, job_id, booked_on, draft, doubt_since, ignored"
)


@dataclass(frozen=True, slots=True)
class LedgerScope:
    """Whose rows: those of a Referral Factory campaign, of one tab, on one tenant. ``campaign`` is
    the local name under which they are worked on now."""

    campaign: CampaignName
    tab: str
    tenant: str
    rf_campaign: RfCampaignId

    @property
    def lock(self) -> str:
        """The lock that whoever asks for these bookings, or decides about them, holds."""
        return f"{self.tenant} campaign {self.rf_campaign} {self.tab}"


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

    def holder_of(
        self, tenant: str, *, booking: BookingId | None = None, job: JobId | None = None
    ) -> Entry | None:
        """The row, of any tab and campaign of the tenant, that has this booking or job already."""
        column, value = ("booking_id", booking) if job is None else ("job_id", job)
        with self._database.read() as sql:
            row = sql.execute(
                f"SELECT {_COLUMNS} FROM ledger WHERE tenant = ? AND {column} = ? "
                "ORDER BY tab, user_id",
                (tenant, value),
            ).first()
        return None if row is None else _entry(row)

    def several_again(self, scope: LedgerScope) -> list[Entry]:
        """Those with several bookings that a person wants looked at again."""
        return self._select(
            scope,
            "state = 'several' AND code IN (SELECT record FROM failures WHERE campaign = ? "
            "AND pass = ? AND state = 'transient')",
            (scope.campaign, scope.tab),
        )

    def by_code(self, scope: LedgerScope, code: str) -> Entry | None:
        found = self._select(scope, "code = ?", (code,))
        return found[0] if found else None

    def _select(
        self, scope: LedgerScope, condition: str, values: tuple[object, ...]
    ) -> list[Entry]:
        with self._database.read() as sql:
            rows = sql.execute(
                f"SELECT {_COLUMNS} FROM ledger WHERE {_OF_SCOPE} AND {condition} ORDER BY user_id",
                (*_scope(scope), *values),
            ).all()
        return [_entry(row) for row in rows]

    def count_in_doubt(self, campaign: CampaignName, tenant: str) -> int:
        """Bookings of this campaign that were asked for and not answered for yet."""
        with self._database.read() as sql:
            return int(
                sql.execute(
                    "SELECT count(*) FROM ledger WHERE tenant = ? AND campaign = ? "
                    "AND state IN ('intent', 'in_doubt')",
                    (tenant, campaign),
                ).scalar_one()
            )

    def count_done(self, scope: LedgerScope) -> int:
        """How many people have their booking, or several."""
        return self._count(scope, "'booked', 'linked', 'several'")

    def count_present(self, scope: LedgerScope) -> int:
        """How many people were there before the action was switched on."""
        return self._count(scope, "'present'")

    def _count(self, scope: LedgerScope, states: str) -> int:
        with self._database.read() as sql:
            return int(
                sql.execute(
                    f"SELECT count(*) FROM ledger WHERE {_OF_SCOPE} AND state IN ({states})",
                    _scope(scope),
                ).scalar_one()
            )

    def remember_present(
        self, scope: LedgerScope, people: Iterable[tuple[UserId, str]], now: datetime
    ) -> int:
        """Leave these alone for good: they joined before the action was switched on."""
        rows = [
            (*_scope(scope), user_id, scope.campaign, code, utc_text(now))
            for user_id, code in people
        ]
        if not rows:
            return 0
        with self._database.write() as sql:
            return sql.execute_many(
                "INSERT INTO ledger (tenant, tab, rf_campaign_id, user_id, campaign, code, state, "
                "updated_at) VALUES (?, ?, ?, ?, ?, ?, 'present', ?) ON CONFLICT DO NOTHING",
                rows,
            ).rowcount

    def forget_present(self, scope: LedgerScope) -> int:
        """Book those too who joined before the action was switched on; answers how many."""
        with self._database.write() as sql:
            return sql.execute(
                f"DELETE FROM ledger WHERE {_OF_SCOPE} AND state = 'present'", _scope(scope)
            ).rowcount

    def watch_others(self, lease: Lease, scope: LedgerScope, now: datetime) -> int:
        """Watch, under this name too, the leads that another name of the campaign has booked, so
        that giving that one up loses no qualification."""
        with self._database.write(lease) as sql:
            return sql.execute(
                "INSERT INTO qualifications (campaign, tenant, user_id, code, state, due, changed_at) "
                "SELECT ?, l.tenant, l.user_id, l.code, 'open', 1, ? FROM ledger l "
                f"WHERE {_OF_SCOPE} AND (l.campaign < ? OR l.campaign > ?) "
                "AND l.state IN ('booked', 'linked', 'several') ON CONFLICT DO NOTHING",
                (
                    scope.campaign,
                    utc_text(now),
                    *_scope(scope),
                    scope.campaign,
                    scope.campaign,
                ),
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
            sql.execute_many(
                "INSERT INTO ledger (tenant, tab, rf_campaign_id, user_id, campaign, code, state, "
                "external_id, draft, ignored, run_id, updated_at) "
                "VALUES (?, ?, ?, ?, ?, ?, 'intent', ?, ?, ?, ?, ?) "
                "ON CONFLICT (tenant, tab, user_id) DO UPDATE SET state = 'intent', "
                "campaign = excluded.campaign, external_id = excluded.external_id, "
                "draft = excluded.draft, ignored = excluded.ignored, doubt_since = NULL, "
                "run_id = excluded.run_id, updated_at = excluded.updated_at",
                [
                    (
                        *_scope(scope),
                        intent.user_id,
                        scope.campaign,
                        intent.code,
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
            sql.execute(
                "UPDATE ledger SET state = 'resend', ignored = ?, booking_id = NULL, job_id = NULL, "
                "booked_on = NULL, updated_at = ? WHERE tenant = ? AND tab = ? AND user_id = ?",
                (json.dumps(list(ignored)), utc_text(now), scope.tenant, scope.tab, user_id),
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
            sql.execute(
                "INSERT INTO ledger (tenant, tab, rf_campaign_id, user_id, campaign, code, state, "
                "booking_id, job_id, booked_on, look_up_job, updated_at) "
                "VALUES (?, ?, ?, ?, ?, ?, 'linked', ?, ?, ?, ?, ?) "
                "ON CONFLICT (tenant, tab, user_id) DO UPDATE SET state = 'linked', "
                "campaign = excluded.campaign, "
                "booking_id = coalesce(excluded.booking_id, ledger.booking_id), "
                "job_id = coalesce(excluded.job_id, ledger.job_id), "
                "booked_on = coalesce(excluded.booked_on, ledger.booked_on), "
                "look_up_job = excluded.look_up_job, doubt_since = NULL, "
                "updated_at = excluded.updated_at",
                (
                    *_scope(scope),
                    user_id,
                    scope.campaign,
                    code,
                    booking,
                    job,
                    None if booked_on is None else utc_text(booked_on),
                    int(booking is not None),
                    utc_text(now),
                ),
            )
            clear_failure(sql, campaign=scope.campaign, kind=scope.tab, record=code)
            _watch(sql, scope, user_id, code, now)


def _settle(
    sql: Transaction, scope: LedgerScope, settlement: Settlement, run_id: RunId, now: datetime
) -> None:
    key = (scope.tenant, scope.tab, settlement.user_id)
    match settlement:
        case Booked():
            sql.execute(
                "INSERT INTO ledger (tenant, tab, rf_campaign_id, user_id, campaign, code, state, "
                "external_id, booking_id, booked_on, look_up_job, run_id, updated_at) "
                "VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?) "
                "ON CONFLICT (tenant, tab, user_id) DO UPDATE SET state = excluded.state, "
                "campaign = excluded.campaign, external_id = excluded.external_id, "
                "booking_id = excluded.booking_id, booked_on = excluded.booked_on, "
                "look_up_job = excluded.look_up_job, doubt_since = NULL, run_id = excluded.run_id, "
                "updated_at = excluded.updated_at",
                (
                    *_scope(scope),
                    settlement.user_id,
                    scope.campaign,
                    settlement.code,
                    (LedgerState.LINKED if settlement.found else LedgerState.BOOKED).value,
                    settlement.external_id,
                    settlement.booking_id,
                    utc_text(settlement.booked_on),
                    int(settlement.found),
                    run_id,
                    utc_text(now),
                ),
            )
            clear_failure(sql, campaign=scope.campaign, kind=scope.tab, record=settlement.code)
            _watch(sql, scope, settlement.user_id, settlement.code, now)
        case Several():
            sql.execute(
                "INSERT INTO ledger (tenant, tab, rf_campaign_id, user_id, campaign, code, state, "
                "external_id, look_up_job, run_id, updated_at) "
                "VALUES (?, ?, ?, ?, ?, ?, 'several', ?, 1, ?, ?) "
                "ON CONFLICT (tenant, tab, user_id) DO UPDATE SET state = 'several', "
                "campaign = excluded.campaign, external_id = excluded.external_id, "
                "booking_id = NULL, look_up_job = 1, doubt_since = NULL, run_id = excluded.run_id, "
                "updated_at = excluded.updated_at",
                (
                    *_scope(scope),
                    settlement.user_id,
                    scope.campaign,
                    settlement.code,
                    settlement.external_id,
                    run_id,
                    utc_text(now),
                ),
            )
            upsert_failure(
                sql,
                campaign=scope.campaign,
                kind=scope.tab,
                record=settlement.code,
                reason=settlement.reason,
                trace_id="",
                fingerprint="",
                state=FailureState.PARKED,
                run_id=run_id,
                now=now,
            )
            _watch(sql, scope, settlement.user_id, settlement.code, now)
        case Doubtful():
            sql.execute(
                "UPDATE ledger SET state = 'in_doubt', doubt_since = ?, updated_at = ? "
                "WHERE tenant = ? AND tab = ? AND user_id = ?",
                (utc_text(settlement.since), utc_text(now), *key),
            )
        case Refused():
            _withdraw(sql, key)
            upsert_failure(
                sql,
                campaign=scope.campaign,
                kind=scope.tab,
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


def _withdraw(sql: Transaction, key: tuple[object, ...]) -> None:
    """Forget an intent; one that followed a resend falls back to that."""
    sql.execute(
        "UPDATE ledger SET state = 'resend', doubt_since = NULL WHERE tenant = ? AND tab = ? "
        "AND user_id = ? AND state IN ('intent', 'in_doubt') AND ignored != '[]'",
        key,
    )
    sql.execute(
        "DELETE FROM ledger WHERE tenant = ? AND tab = ? AND user_id = ? "
        "AND state IN ('intent', 'in_doubt')",
        key,
    )


def _watch(sql: Transaction, scope: LedgerScope, user_id: UserId, code: str, now: datetime) -> None:
    """A lead with a booking waits for its qualification from now on."""
    if scope.tab != "leads":
        return
    sql.execute(
        "INSERT INTO qualifications (campaign, tenant, user_id, code, state, due, changed_at) "
        "VALUES (?, ?, ?, ?, 'open', 1, ?) "
        "ON CONFLICT (campaign, tenant, user_id) DO UPDATE SET due = qualifications.due + 1",
        (scope.campaign, scope.tenant, user_id, code, utc_text(now)),
    )


_OF_SCOPE = "tenant = ? AND tab = ? AND rf_campaign_id = ?"


def _scope(scope: LedgerScope) -> tuple[str, str, RfCampaignId]:
    """The values of ``_OF_SCOPE``, which are also the first columns of a new row."""
    return scope.tenant, scope.tab, scope.rf_campaign


def _entry(row: Row) -> Entry:
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
