"""The qualification of each booked lead: where it stands and when to look at it again."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum

from stcli.domain.ids import BookingId, CampaignName, JobId, UserId
from stcli.store.engine import Database, Lease, optional_instant, utc_text


class QualificationState(StrEnum):
    """``intent`` and ``taking_back`` were committed before a qualification was set or taken back, and
    nobody knows yet whether that took effect. ``settled`` ones were qualified or decided by a person
    in Referral Factory: left alone."""

    OPEN = "open"
    INTENT = "intent"
    QUALIFIED = "qualified"
    TAKING_BACK = "taking_back"
    UNQUALIFIED = "unqualified"
    SETTLED = "settled"
    GONE = "gone"


@dataclass(frozen=True, slots=True)
class Watched:
    """A booked lead and what the ledger knows of its evidence."""

    user_id: UserId
    code: str
    state: QualificationState
    external_id: str
    booking_id: BookingId | None
    hand_job_id: JobId | None
    look_up_job: bool
    job_id: JobId | None
    reached_at: datetime | None
    evaluate_at: datetime | None
    due: int
    """How often its evidence changed since it was last judged."""
    ignored: tuple[BookingId, ...] = ()
    """Dismissed bookings that another one was asked for beside."""

    @property
    def is_decided(self) -> bool:
        """Whether nothing that happens in ServiceTitan can matter any more."""
        return self.state in (QualificationState.SETTLED, QualificationState.GONE)


@dataclass(frozen=True, slots=True)
class Evaluated:
    """What to remember of one lead after it was looked at.

    ``due`` keeps it due, counted as one change more. ``seen`` is the lead's ``due`` when its
    evidence was read: where it has grown since, the lead stays due, because another campaign's pass
    read on in the tenant's feeds meanwhile.
    """

    user_id: UserId
    state: QualificationState
    due: bool = False
    evaluate_at: datetime | None = None
    job_id: JobId | None = None
    reached_at: datetime | None = None
    seen: int | None = None


_SELECT = (
    "SELECT q.user_id, q.code, q.state, l.external_id, l.booking_id, l.job_id, l.look_up_job, "
    "q.job_id, q.reached_at, q.evaluate_at, q.due, l.ignored FROM qualifications q JOIN ledger l "
    "ON l.tenant = q.tenant AND l.tab = 'leads' AND l.user_id = q.user_id "
    "WHERE q.campaign = ? AND q.tenant = ? "
)


class Qualifications:
    def __init__(self, database: Database) -> None:
        self._database = database

    def due(self, campaign: CampaignName, tenant: str, now: datetime) -> list[Watched]:
        """Leads whose evidence changed, or whose time has come, by id."""
        return self._select(
            campaign,
            tenant,
            "AND (q.due > 0 OR q.evaluate_at <= ?) ORDER BY q.user_id",
            (utc_text(now),),
        )

    def of(self, campaign: CampaignName, tenant: str, user_id: UserId) -> Watched | None:
        found = self._select(campaign, tenant, "AND q.user_id = ?", (user_id,))
        return found[0] if found else None

    def all(self, campaign: CampaignName, tenant: str) -> list[Watched]:
        return self._select(campaign, tenant, "ORDER BY q.user_id", ())

    def _select(
        self, campaign: CampaignName, tenant: str, rest: str, values: tuple[object, ...]
    ) -> list[Watched]:
        with self._database.read() as sql:
            rows = sql.execute(_SELECT + rest, (campaign, tenant, *values))
            return [
                Watched(
                    user_id=UserId(r[0]),
                    code=r[1],
                    state=QualificationState(r[2]),
                    external_id=r[3],
                    booking_id=None if r[4] is None else BookingId(r[4]),
                    hand_job_id=None if r[5] is None else JobId(r[5]),
                    look_up_job=bool(r[6]),
                    job_id=None if r[7] is None else JobId(r[7]),
                    reached_at=optional_instant(r[8]),
                    evaluate_at=optional_instant(r[9]),
                    due=r[10],
                    ignored=tuple(BookingId(number) for number in json.loads(r[11])),
                )
                for r in rows
            ]

    def held(self, campaign: CampaignName, tenant: str) -> tuple[int, datetime | None]:
        """How many wait for their time (``hold_days``), and when the first one's comes."""
        with self._database.read() as sql:
            number, first = sql.execute(
                "SELECT count(*), min(evaluate_at) FROM qualifications WHERE campaign = ? "
                "AND tenant = ? AND evaluate_at IS NOT NULL AND state IN ('open', 'intent')",
                (campaign, tenant),
            ).one()
            return int(number), optional_instant(first)

    def counts(self, campaign: CampaignName, tenant: str) -> dict[QualificationState, int]:
        with self._database.read() as sql:
            rows = sql.execute(
                "SELECT state, count(*) FROM qualifications WHERE campaign = ? AND tenant = ? "
                "GROUP BY state",
                (campaign, tenant),
            )
            return {QualificationState(row[0]): row[1] for row in rows}

    def oldest_booking(self, tenant: str) -> datetime | None:
        """When the oldest booking of the ledger was made: where the job feeds have to begin."""
        with self._database.read() as sql:
            return optional_instant(
                sql.execute(
                    "SELECT min(booked_on) FROM ledger WHERE tenant = ? AND tab = 'leads'",
                    (tenant,),
                ).scalar_one()
            )

    def apply_rule(
        self, lease: Lease, campaign: CampaignName, tenant: str, rule: str, now: datetime
    ) -> int:
        """Make every undecided lead due whose last verdict came from another rule."""
        with self._database.write(lease) as sql:
            return sql.execute(
                "UPDATE qualifications SET rule = ?, due = due + 1, evaluate_at = NULL, changed_at = ? "
                "WHERE campaign = ? AND tenant = ? AND rule != ?",
                (rule, utc_text(now), campaign, tenant, rule),
            ).rowcount

    def job_looked_up(self, lease: Lease, tenant: str, users: Sequence[UserId]) -> None:
        with self._database.write(lease) as sql:
            for user_id in users:
                sql.execute(
                    "UPDATE ledger SET look_up_job = 0 WHERE tenant = ? AND tab = 'leads' "
                    "AND user_id = ?",
                    (tenant, user_id),
                )

    def save(
        self,
        lease: Lease,
        campaign: CampaignName,
        tenant: str,
        evaluated: Sequence[Evaluated],
        now: datetime,
    ) -> None:
        if not evaluated:
            return
        with self._database.write(lease) as sql:
            sql.execute_many(
                "UPDATE qualifications SET state = ?, "
                "due = CASE WHEN ? = 1 THEN due + 1 WHEN due > coalesce(?, due) THEN due ELSE 0 END, "
                "evaluate_at = ?, job_id = ?, "
                "reached_at = ?, changed_at = ? WHERE campaign = ? AND tenant = ? AND user_id = ?",
                [
                    (
                        e.state.value,
                        int(e.due),
                        e.seen,
                        None if e.evaluate_at is None else utc_text(e.evaluate_at),
                        e.job_id,
                        None if e.reached_at is None else utc_text(e.reached_at),
                        utc_text(now),
                        campaign,
                        tenant,
                        e.user_id,
                    )
                    for e in evaluated
                ],
            )
