"""What the tenant's export feeds told, and how far they were read.

Shared by all campaigns of a tenant. A page and the token behind it are committed together, and only
if the token is still the one the page was asked with: two processes that read the same feed cannot
skip anything. Which of two records is newer is decided by ``modifiedOn``, not by position. A record
that changed makes the qualifications that rest on it due.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import date, datetime
from enum import StrEnum

from stcli.domain.ids import BookingId, JobId, ProviderId
from stcli.domain.qualification import ReachedStatus, status_named_by
from stcli.domain.records import Booking, FeedPage, Job, JobEvent
from stcli.store.engine import Database, optional_instant, utc_instant, utc_text
from stcli.store.statements import marks, parts
from stcli.store.transaction import Row, Transaction


class Feed(StrEnum):
    BOOKINGS = "bookings"
    JOBS = "jobs"
    JOB_HISTORY = "job_history"
    CUSTOMERS = "customers"
    CONTACTS = "contacts"
    CUSTOMER_JOBS = "customer_jobs"
    """The jobs feed once more, read for which customers had a job: it may have to reach back to
    another day than that of the bookings' jobs."""
    SUPPRESSIONS = "suppressions"
    """A list, not a feed; its token is the newest change that was seen."""


@dataclass(frozen=True, slots=True)
class Cursor:
    """Where a feed was read to, and the day it was opened from (empty: from the beginning)."""

    token: str
    opened_from: str


class Feeds:
    def __init__(self, database: Database) -> None:
        self._database = database

    def cursor(self, tenant: str, feed: Feed) -> Cursor | None:
        with self._database.read() as sql:
            row = sql.execute(
                "SELECT token, opened_from FROM feeds WHERE tenant = ? AND feed = ?",
                (tenant, feed.value),
            ).one_or_none()
        return None if row is None else Cursor(row[0], row[1])

    def open(self, tenant: str, feed: Feed, since: date | None, now: datetime) -> Cursor:
        """Begin (again) at a day, or at the very beginning."""
        start = "" if since is None else since.isoformat()
        with self._database.write() as sql:
            sql.execute(
                "INSERT INTO feeds VALUES (?, ?, ?, ?, ?) ON CONFLICT (tenant, feed) DO UPDATE SET "
                "token = excluded.token, opened_from = excluded.opened_from, "
                "read_at = excluded.read_at",
                (tenant, feed.value, start, start, utc_text(now)),
            )
        return Cursor(start, start)

    def save_bookings(
        self, tenant: str, asked_with: str, page: FeedPage[Booking], now: datetime
    ) -> bool:
        """Keep a page; False where another process moved the cursor meanwhile."""
        with self._database.write() as sql:
            if not advance(sql, tenant, Feed.BOOKINGS, asked_with, page.token, now):
                return False
            upsert_bookings(sql, tenant, page.records)
        return True

    def save_jobs(self, tenant: str, asked_with: str, page: FeedPage[Job], now: datetime) -> bool:
        """Keep the jobs of a page that came from a booking or are known already."""
        with self._database.write() as sql:
            if not advance(sql, tenant, Feed.JOBS, asked_with, page.token, now):
                return False
            known = _known_jobs(sql, tenant, [job.id for job in page.records])
            upsert_jobs(
                sql,
                tenant,
                [job for job in page.records if job.booking_id is not None or job.id in known],
            )
        return True

    def save_history(
        self, tenant: str, asked_with: str, page: FeedPage[JobEvent], now: datetime
    ) -> bool:
        """Keep the events of known jobs."""
        with self._database.write() as sql:
            if not advance(sql, tenant, Feed.JOB_HISTORY, asked_with, page.token, now):
                return False
            known = _known_jobs(sql, tenant, sorted({event.job_id for event in page.records}))
            _save_events(sql, tenant, [event for event in page.records if event.job_id in known])
        return True

    def save_job(self, tenant: str, job: Job) -> None:
        """A job that was asked for by its number or its booking."""
        with self._database.write() as sql:
            upsert_jobs(sql, tenant, [job])

    def save_own_history(self, tenant: str, job: JobId, events: Sequence[JobEvent]) -> None:
        """The whole history of a job that has become known as ours."""
        with self._database.write() as sql:
            _save_events(sql, tenant, events)
            sql.execute(
                "UPDATE crm_jobs SET history_read = 1 WHERE tenant = ? AND job_id = ?",
                (tenant, job),
            )

    def save_listed(self, tenant: str, bookings: Iterable[Booking]) -> None:
        """Bookings that came from a list or were asked for by number, not from the feed."""
        with self._database.write() as sql:
            upsert_bookings(sql, tenant, bookings)

    def bookings_with(self, tenant: str, external_ids: Sequence[str]) -> dict[str, list[Booking]]:
        """Known bookings by external id."""
        found: dict[str, list[Booking]] = {}
        with self._database.read() as sql:
            for part in parts(external_ids):
                rows = sql.execute(
                    "SELECT booking_id, external_id, provider_id, status, created_on, modified_on, "
                    f"job_id FROM crm_bookings WHERE tenant = ? AND external_id IN ({marks(part)}) "
                    "ORDER BY booking_id",
                    (tenant, *part),
                )
                for row in rows:
                    found.setdefault(row[1], []).append(_booking(row))
        return found

    def bookings(self, tenant: str, ids: Sequence[BookingId]) -> dict[BookingId, Booking]:
        with self._database.read() as sql:
            return {
                BookingId(row[0]): _booking(row)
                for part in parts(ids)
                for row in sql.execute(
                    "SELECT booking_id, external_id, provider_id, status, created_on, modified_on, "
                    f"job_id FROM crm_bookings WHERE tenant = ? AND booking_id IN ({marks(part)})",
                    (tenant, *part),
                )
            }

    def bookings_of_job(self, tenant: str, job: JobId) -> list[BookingId]:
        """Known bookings that say they became this job."""
        with self._database.read() as sql:
            found = sql.execute(
                "SELECT booking_id FROM crm_bookings WHERE tenant = ? AND job_id = ? "
                "ORDER BY booking_id",
                (tenant, job),
            ).scalars()
            return [BookingId(number) for number in found]

    def jobs(self, tenant: str, ids: Sequence[JobId]) -> dict[JobId, tuple[Job, bool]]:
        """Known jobs, each with whether its own history was read."""
        return {job.id: (job, read) for job, read in self._jobs(tenant, "job_id", ids)}

    def jobs_of(self, tenant: str, bookings: Sequence[BookingId]) -> dict[BookingId, list[JobId]]:
        """Jobs by the booking they say they came from, oldest first."""
        found: dict[BookingId, list[JobId]] = {}
        for job, _ in self._jobs(tenant, "booking_id", bookings):
            if job.booking_id is not None:
                found.setdefault(job.booking_id, []).append(job.id)
        return found

    def _jobs(self, tenant: str, column: str, ids: Sequence[int]) -> list[tuple[Job, bool]]:
        with self._database.read() as sql:
            return [
                (_job(row), bool(row[13]))
                for part in parts(ids)
                for row in sql.execute(
                    "SELECT job_id, booking_id, status, job_type_id, business_unit_id, tags, total, "
                    "recall_for_id, warranty_id, no_charge, completed_on, created_on, modified_on, "
                    f"history_read FROM crm_jobs WHERE tenant = ? AND {column} IN ({marks(part)}) "
                    "ORDER BY job_id",
                    (tenant, *part),
                )
            ]

    def reached(self, tenant: str, ids: Sequence[JobId]) -> dict[JobId, list[ReachedStatus]]:
        """Every status that these jobs are known to have had, earliest first."""
        found: dict[JobId, list[ReachedStatus]] = {}
        with self._database.read() as sql:
            for part in parts(ids):
                for row in sql.execute(
                    "SELECT job_id, status, reached_at, seen_in FROM crm_job_statuses "
                    f"WHERE tenant = ? AND job_id IN ({marks(part)}) ORDER BY reached_at",
                    (tenant, *part),
                ):
                    found.setdefault(JobId(row[0]), []).append(
                        ReachedStatus(row[1], utc_instant(row[2]), row[3])
                    )
        return found

    def events(self, tenant: str, job: JobId) -> list[JobEvent]:
        """Every event of a job, also those that name no status, oldest first."""
        with self._database.read() as sql:
            return [
                JobEvent(row[0], job, row[1], utc_instant(row[2]))
                for row in sql.execute(
                    "SELECT event_id, event_type, at FROM crm_job_events "
                    "WHERE tenant = ? AND job_id = ? ORDER BY at, event_id",
                    (tenant, job),
                )
            ]


def advance(
    sql: Transaction, tenant: str, feed: Feed, asked_with: str, token: str, now: datetime
) -> bool:
    """Move a cursor on; False where another process moved it meanwhile."""
    moved = sql.execute(
        "UPDATE feeds SET token = ?, read_at = ? WHERE tenant = ? AND feed = ? AND token = ?",
        (token, utc_text(now), tenant, feed.value, asked_with),
    )
    return moved.rowcount == 1


def upsert_bookings(sql: Transaction, tenant: str, bookings: Iterable[Booking]) -> None:
    """Keep the newest version of each booking; whoever waits for a changed one becomes due."""
    newest: dict[BookingId, Booking] = {}
    for booking in bookings:
        known = newest.get(booking.id)
        if known is None or booking.modified_on >= known.modified_on:
            newest[booking.id] = booking
    changed: list[BookingId] = []
    for part in parts(list(newest)):
        stored = {
            row[0]: row
            for row in sql.execute(
                "SELECT booking_id, status, job_id, modified_on FROM crm_bookings "
                f"WHERE tenant = ? AND booking_id IN ({marks(part)})",
                (tenant, *part),
            )
        }
        for number in part:
            booking, row = newest[number], stored.get(number)
            if row is not None and row[3] > utc_text(booking.modified_on):
                del newest[number]
            elif row is None or (row[1], row[2]) != (booking.status, booking.job_id):
                changed.append(number)
    if newest:
        sql.execute_many(
            "INSERT INTO crm_bookings VALUES (?, ?, ?, ?, ?, ?, ?, ?) "
            "ON CONFLICT (tenant, booking_id) DO UPDATE SET external_id = excluded.external_id, "
            "provider_id = excluded.provider_id, status = excluded.status, "
            "job_id = excluded.job_id, modified_on = excluded.modified_on",
            [
                (
                    tenant,
                    b.id,
                    b.external_id,
                    b.provider_id,
                    b.status,
                    b.job_id,
                    utc_text(b.created_on),
                    utc_text(b.modified_on),
                )
                for b in newest.values()
            ],
        )
    _make_due(sql, tenant, "booking_id", changed)
    # A second booking of the same external id is evidence too.
    named = {newest[number].external_id for number in changed}
    _make_due(sql, tenant, "external_id", sorted(named - {""}))


def upsert_jobs(sql: Transaction, tenant: str, jobs: Sequence[Job]) -> None:
    """Keep the newest version of each job, and every status that any version showed."""
    if not jobs:
        return
    sql.execute_many(
        "INSERT INTO crm_jobs (tenant, job_id, booking_id, status, job_type_id, business_unit_id, "
        "tags, total, recall_for_id, warranty_id, no_charge, completed_on, created_on, modified_on) "
        "VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?) "
        "ON CONFLICT (tenant, job_id) DO UPDATE SET booking_id = excluded.booking_id, "
        "status = excluded.status, job_type_id = excluded.job_type_id, "
        "business_unit_id = excluded.business_unit_id, tags = excluded.tags, "
        "total = excluded.total, recall_for_id = excluded.recall_for_id, "
        "warranty_id = excluded.warranty_id, no_charge = excluded.no_charge, "
        "completed_on = excluded.completed_on, modified_on = excluded.modified_on "
        "WHERE excluded.modified_on >= crm_jobs.modified_on",
        [
            (
                tenant,
                j.id,
                j.booking_id,
                j.status,
                j.job_type_id,
                j.business_unit_id,
                json.dumps(j.tag_type_ids),
                j.total,
                j.recall_for_id,
                j.warranty_id,
                int(j.no_charge),
                None if j.completed_on is None else utc_text(j.completed_on),
                utc_text(j.created_on),
                utc_text(j.modified_on),
            )
            for j in jobs
        ],
    )
    _save_statuses(
        sql,
        tenant,
        [
            (j.id, status, j.modified_on, "jobs feed")
            for j in jobs
            if (status := status_named_by(j.status))
        ],
    )
    _make_due_with_bookings(sql, tenant, [job.id for job in jobs])


def _save_events(sql: Transaction, tenant: str, events: Sequence[JobEvent]) -> None:
    if not events:
        return
    sql.execute_many(
        "INSERT INTO crm_job_events VALUES (?, ?, ?, ?, ?) ON CONFLICT DO NOTHING",
        [(tenant, e.job_id, e.id, e.event_type, utc_text(e.date)) for e in events],
    )
    _save_statuses(
        sql,
        tenant,
        [
            (e.job_id, status, e.date, "job history")
            for e in events
            if (status := status_named_by(e.event_type))
        ],
    )
    _make_due_with_bookings(sql, tenant, sorted({event.job_id for event in events}))


def _save_statuses(
    sql: Transaction, tenant: str, reached: Sequence[tuple[JobId, str, datetime, str]]
) -> None:
    """The earliest time wins; what the history says wins over what the feed happened to show."""
    if reached:
        sql.execute_many(
            "INSERT INTO crm_job_statuses VALUES (?, ?, ?, ?, ?) "
            "ON CONFLICT (tenant, job_id, status) DO UPDATE SET "
            "reached_at = excluded.reached_at, seen_in = excluded.seen_in "
            "WHERE excluded.reached_at < crm_job_statuses.reached_at",
            [(tenant, job, status, utc_text(at), where) for job, status, at, where in reached],
        )


def _make_due_with_bookings(sql: Transaction, tenant: str, jobs: Sequence[JobId]) -> None:
    _make_due(sql, tenant, "job_id", jobs)
    for part in parts(jobs):
        bookings = sql.execute(
            "SELECT booking_id FROM crm_jobs WHERE booking_id IS NOT NULL AND tenant = ? "
            f"AND job_id IN ({marks(part)}) UNION SELECT booking_id FROM crm_bookings "
            f"WHERE tenant = ? AND job_id IN ({marks(part)})",
            (tenant, *part, tenant, *part),
        ).scalars()
        ids = [BookingId(number) for number in bookings]
        _make_due(sql, tenant, "booking_id", ids)
        for some in parts(ids):
            named = sql.execute(
                "SELECT DISTINCT external_id FROM crm_bookings WHERE tenant = ? "
                f"AND external_id != '' AND booking_id IN ({marks(some)})",
                (tenant, *some),
            ).scalars()
            _make_due(sql, tenant, "external_id", list(named))


def _make_due(sql: Transaction, tenant: str, column: str, ids: Sequence[int | str]) -> None:
    for part in parts(ids):
        sql.execute(
            "UPDATE qualifications SET due = due + 1 WHERE tenant = ? AND user_id IN (SELECT user_id "
            f"FROM ledger WHERE tab = 'leads' AND tenant = ? AND {column} IN ({marks(part)}))",
            (tenant, tenant, *part),
        )


def _known_jobs(sql: Transaction, tenant: str, ids: Sequence[JobId]) -> set[JobId]:
    return {
        JobId(number)
        for part in parts(ids)
        for number in sql.execute(
            f"SELECT job_id FROM crm_jobs WHERE tenant = ? AND job_id IN ({marks(part)})",
            (tenant, *part),
        ).scalars()
    }


def _booking(row: Row) -> Booking:
    r = tuple(row)
    return Booking(
        id=BookingId(r[0]),
        external_id=r[1],
        provider_id=ProviderId(r[2]),
        status=r[3],
        created_on=utc_instant(r[4]),
        modified_on=utc_instant(r[5]),
        job_id=None if r[6] is None else JobId(r[6]),
    )


def _job(row: Row) -> Job:
    r = tuple(row)
    return Job(
        id=JobId(r[0]),
        booking_id=None if r[1] is None else BookingId(r[1]),
        status=r[2],
        job_type_id=r[3],
        business_unit_id=r[4],
        tag_type_ids=tuple(json.loads(r[5])),
        total=r[6],
        recall_for_id=r[7],
        warranty_id=r[8],
        no_charge=bool(r[9]),
        completed_on=optional_instant(r[10]),
        created_on=utc_instant(r[11]),
        modified_on=utc_instant(r[12]),
    )
