"""When a lead is qualified, from what ServiceTitan knows of the booking and its jobs. Pure.

*Reached* is the union of every status that a job was ever seen in and of the history events that
name a status, so a status that lasted a minute between two polls counts. ``completedOn`` alone
proves nothing: it is set by mistake and by imports too.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from enum import StrEnum

from stcli.domain.campaign import Excluded, Method, OnCancel, Qualification
from stcli.domain.catalog import JOB_STATUSES
from stcli.domain.ids import BookingId, JobId
from stcli.domain.records import Job

_SYNONYMS = {
    "inprogress": "InProgress",
    "working": "InProgress",
    "started": "InProgress",
    "complete": "Completed",
    "cancelled": "Canceled",
    "onhold": "Hold",
}
"""History events that name a status in other words, besides the statuses themselves."""

_STATUS_BY_NAME = {status.casefold(): status for status in JOB_STATUSES} | _SYNONYMS


def status_named_by(event: str) -> str:
    """The job status that an event or a status text names, or empty text.

    Compared without case, spaces and punctuation, and without a leading "job": ``Job Completed``,
    ``JobCompleted`` and ``completed`` are one. Anything else, known or not, counts for nothing.
    """
    name = "".join(character for character in event.casefold() if character.isalnum())
    return _STATUS_BY_NAME.get(name) or _STATUS_BY_NAME.get(name.removeprefix("job"), "")


@dataclass(frozen=True, slots=True)
class ReachedStatus:
    """A status that a job had: when at the latest it was reached, and where that was seen."""

    status: str
    at: datetime
    seen_in: str


@dataclass(frozen=True, slots=True)
class JobEvidence:
    """A job that came of the booking; ``known_by`` is ``booking``, ``job`` or ``hand``."""

    job: Job
    known_by: str
    reached: tuple[ReachedStatus, ...]


@dataclass(frozen=True, slots=True)
class Evidence:
    """All that is known of one lead's booking."""

    booking_id: BookingId | None
    booking_status: str
    jobs: tuple[JobEvidence, ...]


@dataclass(frozen=True, slots=True)
class ResolvedConditions:
    """The conditions of a rule with names turned into ServiceTitan's numbers."""

    job_types: frozenset[int] = frozenset()
    business_units: frozenset[int] = frozenset()
    tags: frozenset[int] = frozenset()
    minimum_total: float | None = None
    exclude: frozenset[Excluded] = frozenset()


@dataclass(frozen=True, slots=True)
class Rule:
    """What has to happen, ready to be judged."""

    settings: Qualification
    conditions: ResolvedConditions = ResolvedConditions()

    @property
    def fingerprint(self) -> str:
        """Changes whenever a verdict could."""
        text = self.settings.model_dump_json(exclude={"limits"}) + repr(
            [
                sorted(self.conditions.job_types),
                sorted(self.conditions.business_units),
                sorted(self.conditions.tags),
            ]
        )
        return hashlib.sha256(text.encode()).hexdigest()[:16]


class Decision(StrEnum):
    """What follows from the evidence."""

    NOT_YET = "not yet"
    WAIT = "wait"
    QUALIFY = "qualify"


@dataclass(frozen=True, slots=True)
class Check:
    """One condition: what is asked for, what was seen, whether it holds, when and where."""

    condition: str
    seen: str
    holds: bool
    at: datetime | None = None
    seen_in: str = ""


@dataclass(frozen=True, slots=True)
class Verdict:
    """The decision on one lead with every condition that led to it."""

    decision: Decision
    checks: tuple[Check, ...]
    job_id: JobId | None = None
    reached_at: datetime | None = None
    due_at: datetime | None = None


def judge(rule: Rule, evidence: Evidence, now: datetime) -> Verdict:
    """The verdict of the job for which all conditions held first; else of the most telling one.

    Several jobs may have come of one booking (a job cancelled and made anew): any one of them may
    qualify the lead.
    """
    if rule.settings.method is Method.DO_NOT_QUALIFY:
        return Verdict(
            Decision.NOT_YET, (Check("qualification method", "do_not_qualify", holds=False),)
        )
    if not evidence.jobs:
        seen = f"booking {evidence.booking_id} is {evidence.booking_status or 'not read yet'}"
        return Verdict(
            Decision.NOT_YET,
            (Check("booking becomes a job", seen if evidence.booking_id else "none", holds=False),),
        )
    verdicts = [_judge_job(rule, job, now) for job in evidence.jobs]
    order = (Decision.QUALIFY, Decision.WAIT, Decision.NOT_YET)
    return min(
        verdicts,
        key=lambda v: (order.index(v.decision), v.due_at or datetime.max.replace(tzinfo=UTC)),
    )


def _judge_job(rule: Rule, found: JobEvidence, now: datetime) -> Verdict:
    job = found.job
    became = Check(
        "booking becomes a job",
        f"job {job.id}",
        holds=True,
        at=job.created_on,
        seen_in={"booking": "booking", "job": "job's bookingId", "hand": "link by hand"}[
            found.known_by
        ],
    )
    checks = [became]
    reached_at: datetime | None = job.created_on
    settings = rule.settings
    if settings.method is Method.REACHES:
        hit = next((r for r in found.reached if r.status == settings.value), None)
        reached_at = None if hit is None else hit.at
        statuses = ", ".join(dict.fromkeys(r.status for r in found.reached)) or job.status
        checks.append(
            Check(
                f"job status reaches {settings.value}",
                statuses,
                holds=hit is not None,
                at=reached_at,
                seen_in="" if hit is None else hit.seen_in,
            )
        )
    checks.extend(_conditions(rule.conditions, job))
    takes_back = settings.on_cancel is OnCancel.UNQUALIFY or settings.hold_days > 0
    if takes_back and not _wants_cancellation(settings):
        canceled = status_named_by(job.status) == "Canceled"
        checks.append(Check("job is not canceled now", job.status, holds=not canceled))
    if not all(check.holds for check in checks) or reached_at is None:
        return Verdict(Decision.NOT_YET, tuple(checks), job.id, reached_at)
    due_at = reached_at + timedelta(days=settings.hold_days)
    if settings.hold_days:
        checks.append(
            Check(
                f"held for {settings.hold_days} days",
                f"until {due_at:%Y-%m-%d %H:%M} UTC",
                holds=now >= due_at,
            )
        )
    decision = Decision.QUALIFY if now >= due_at else Decision.WAIT
    return Verdict(decision, tuple(checks), job.id, reached_at, due_at)


def _wants_cancellation(settings: Qualification) -> bool:
    """Whether being canceled is what qualifies; a value that another method left behind is not."""
    return settings.method is Method.REACHES and settings.value == "Canceled"


def _conditions(conditions: ResolvedConditions, job: Job) -> list[Check]:
    checks: list[Check] = []
    for name, wanted, seen in (
        ("job type", conditions.job_types, job.job_type_id),
        ("business unit", conditions.business_units, job.business_unit_id),
    ):
        if wanted:
            checks.append(
                Check(f"{name} is one of {_listed(wanted)}", str(seen), holds=seen in wanted)
            )
    if conditions.tags:
        holds = bool(conditions.tags.intersection(job.tag_type_ids))
        checks.append(
            Check(f"tag is one of {_listed(conditions.tags)}", _listed(job.tag_type_ids), holds)
        )
    if conditions.minimum_total is not None:
        total = job.total or 0.0
        checks.append(
            Check(
                f"total is at least {conditions.minimum_total:g}",
                f"{total:g}",
                holds=total >= conditions.minimum_total,
            )
        )
    facts: Mapping[Excluded, bool] = {
        Excluded.RECALL: job.recall_for_id is not None,
        Excluded.WARRANTY: job.warranty_id is not None,
        Excluded.NO_CHARGE: job.no_charge,
    }
    checks.extend(
        Check(f"not a {kind.value} job", "it is" if facts[kind] else "it is not", not facts[kind])
        for kind in sorted(conditions.exclude)
    )
    return checks


def _listed(numbers: Sequence[int] | frozenset[int]) -> str:
    return ", ".join(str(number) for number in sorted(numbers)) or "none"


def is_taken_back(rule: Rule, evidence: Evidence, qualified_by: JobId | None) -> bool:
    """Whether a qualification that this rule made must be undone: its job is canceled now."""
    if rule.settings.on_cancel is not OnCancel.UNQUALIFY or _wants_cancellation(rule.settings):
        return False
    jobs = [found.job for found in evidence.jobs if found.job.id == qualified_by]
    return bool(jobs) and all(status_named_by(job.status) == "Canceled" for job in jobs)
