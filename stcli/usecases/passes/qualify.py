"""Booked leads become qualified referrals, once what the rule asks for has happened.

Cost follows what changed: the bookings, jobs and job-history feeds are read on from where they were,
a record that changed makes the leads behind it due, and only those are judged. A job's own history
is read once, when the job becomes known as a lead's.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import timedelta

from stcli.domain.campaign import Method
from stcli.domain.ids import JobId, UserId
from stcli.domain.outcome import Count, Failure, SkipReason
from stcli.domain.qualification import (
    Decision,
    Evidence,
    JobEvidence,
    Rule,
    Verdict,
    is_taken_back,
    judge,
    status_named_by,
)
from stcli.errors import RecordNotFound, RecordRejected, SafetyStop
from stcli.store.failures import FailureState
from stcli.store.qualifications import Evaluated, QualificationState, Watched
from stcli.store.state import State
from stcli.usecases.passes.context import PassContext
from stcli.usecases.passes.feeds import (
    bookings_up_to_date,
    history_up_to_date,
    jobs_up_to_date,
)
from stcli.usecases.passes.options import resolve_conditions
from stcli.usecases.passes.pipeline import Pipeline

CHUNK = 500
KIND = "qualify"


@dataclass(frozen=True, slots=True)
class Change:
    """A qualification to be set, or taken back, in Referral Factory."""

    lead: Watched
    verdict: Verdict
    qualified: bool


@dataclass(frozen=True, slots=True)
class _Outcome:
    lead: Watched
    evaluated: Evaluated | None
    count: Count | None = None
    skip: SkipReason | None = None
    failure: Failure | None = None


async def run_qualify(context: PassContext) -> None:
    """The ``qualify`` pass."""
    settings = context.config.qualification
    if settings.method is Method.DO_NOT_QUALIFY:
        context.tally.notes.append(
            "qualification.method is do_not_qualify: referrals are qualified by hand"
        )
        return
    oldest = await context.in_state(context.state.qualifications.oldest_booking, context.tenant)
    counts = await context.in_state(context.state.qualifications.counts, context.campaign)
    if not counts:
        return
    rule = Rule(settings, await resolve_conditions(context.crm, settings.conditions))
    since = None if oldest is None else (oldest - timedelta(days=1)).date()
    await bookings_up_to_date(context, since)
    await jobs_up_to_date(context, since)
    await history_up_to_date(context, (context.now() - timedelta(days=1)).date())
    qualifications = context.state.qualifications
    await context.in_state(
        qualifications.apply_rule,
        context.held.lease,
        context.campaign,
        rule.fingerprint,
        context.now(),
    )
    due = await context.in_state(
        qualifications.due, context.campaign, context.tenant, context.now()
    )
    context.tally.add(Count.UNCHANGED, sum(counts.values()) - len(due))
    changes: list[Change] = []
    for start in range(0, len(due), CHUNK):
        context.stop.check()
        changes += await _judge_all(context, rule, due[start : start + CHUNK])
    _brake(context, changes)
    await _apply(context, changes)


async def _judge_all(context: PassContext, rule: Rule, leads: Sequence[Watched]) -> list[Change]:
    """Judge these; what changes nothing is remembered at once."""
    await _learn_about_jobs(context, leads)
    evidence = await context.in_state(gather, context.state, context.tenant, leads)
    changes: list[Change] = []
    settled: list[Evaluated] = []
    for lead in leads:
        verdict = judge(rule, evidence[lead.user_id], context.now())
        change = _change(rule, lead, evidence[lead.user_id], verdict)
        if change is not None:
            changes.append(change)
            continue
        context.tally.add(Count.UNCHANGED)
        waits = lead.state is QualificationState.OPEN and verdict.decision is Decision.WAIT
        settled.append(
            Evaluated(
                lead.user_id,
                lead.state,
                evaluate_at=verdict.due_at if waits else None,
                seen=lead.due,
                job_id=lead.job_id or verdict.job_id,
                reached_at=lead.reached_at or verdict.reached_at,
            )
        )
    await context.in_state(
        context.state.qualifications.save,
        context.held.lease,
        context.campaign,
        settled,
        context.now(),
    )
    return changes


def _change(rule: Rule, lead: Watched, evidence: Evidence, verdict: Verdict) -> Change | None:
    match lead.state:
        case QualificationState.OPEN | QualificationState.INTENT:
            if verdict.decision is Decision.QUALIFY:
                return Change(lead, verdict, qualified=True)
        case QualificationState.QUALIFIED:
            if is_taken_back(rule, evidence, lead.job_id):
                return Change(lead, verdict, qualified=False)
        case QualificationState.UNQUALIFIED:
            # Taken back by us when the job was canceled; a job that stands again earns it again.
            canceled = {
                found.job.id
                for found in evidence.jobs
                if status_named_by(found.job.status) == "Canceled"
            }
            if verdict.decision is Decision.QUALIFY and verdict.job_id not in canceled:
                return Change(lead, verdict, qualified=True)
        case QualificationState.SETTLED | QualificationState.GONE:
            pass
    return None


async def _learn_about_jobs(context: PassContext, leads: Sequence[Watched]) -> None:
    """Find the jobs of these leads and read each one's own history once."""
    feeds, tenant = context.state.feeds, context.tenant
    looked_up: list[UserId] = []
    for lead in leads:
        if not lead.look_up_job or lead.booking_id is None:
            continue
        context.stop.check()
        # The booking was found, not made by this pass: its job may be older than the jobs feed.
        try:
            for job in await context.crm.jobs_of_booking(lead.booking_id):
                await context.in_state(feeds.save_job, tenant, job)
            if await context.in_state(feeds.bookings, tenant, [lead.booking_id]) == {}:
                booking = await context.crm.booking(lead.booking_id)
                await context.in_state(feeds.save_listed, tenant, [booking])
        except (RecordNotFound, RecordRejected) as error:
            # Looked for again next time; the others go on.
            context.tally.notes.append(f"the booking of {lead.code}: {error.message}")
            continue
        looked_up.append(lead.user_id)
    await context.in_state(
        context.state.qualifications.job_looked_up,
        context.held.lease,
        context.campaign,
        looked_up,
    )
    ids = await context.in_state(_job_ids, context.state, tenant, leads)
    wanted = sorted({job_id for found in ids.values() for job_id, _ in found})
    known = await context.in_state(feeds.jobs, tenant, wanted)
    missing = [job_id for job_id in wanted if job_id not in known]
    for job in await context.crm.jobs(missing) if missing else ():
        await context.in_state(feeds.save_job, tenant, job)
    known = await context.in_state(feeds.jobs, tenant, wanted)
    for job_id, (_, history_read) in known.items():
        if not history_read:
            context.stop.check()
            try:
                events = await context.crm.job_history(job_id)
            except (RecordNotFound, RecordRejected):
                # A job without a history of its own: what the feeds show of it still counts, and
                # it must not keep the other leads from their verdicts.
                events = []
            await context.in_state(feeds.save_own_history, tenant, job_id, events)


def _job_ids(
    state: State, tenant: str, leads: Sequence[Watched]
) -> dict[UserId, list[tuple[JobId, str]]]:
    """The jobs of each lead, best evidence first: the booking's own word, jobs that name the
    booking, and last a link by hand."""
    bookings = state.feeds.bookings(tenant, [x.booking_id for x in leads if x.booking_id])
    by_booking = state.feeds.jobs_of(tenant, [x.booking_id for x in leads if x.booking_id])
    found: dict[UserId, list[tuple[JobId, str]]] = {}
    for lead in leads:
        known_by: dict[JobId, str] = {}
        if lead.booking_id is not None:
            booking = bookings.get(lead.booking_id)
            if booking is not None and booking.job_id is not None:
                known_by[booking.job_id] = "booking"
            for job_id in by_booking.get(lead.booking_id, ()):
                known_by.setdefault(job_id, "job")
        if lead.hand_job_id is not None:
            known_by.setdefault(lead.hand_job_id, "hand")
        found[lead.user_id] = list(known_by.items())
    return found


def gather(state: State, tenant: str, leads: Sequence[Watched]) -> dict[UserId, Evidence]:
    """Everything the state knows of these leads' bookings and jobs."""
    ids = _job_ids(state, tenant, leads)
    wanted = sorted({job_id for found in ids.values() for job_id, _ in found})
    jobs = state.feeds.jobs(tenant, wanted)
    reached = state.feeds.reached(tenant, wanted)
    bookings = state.feeds.bookings(tenant, [x.booking_id for x in leads if x.booking_id])
    return {
        lead.user_id: Evidence(
            booking_id=lead.booking_id,
            booking_status=(
                bookings[lead.booking_id].status if lead.booking_id in bookings else ""
            ),
            jobs=tuple(
                JobEvidence(jobs[job_id][0], known_by, tuple(reached.get(job_id, ())))
                for job_id, known_by in ids[lead.user_id]
                if job_id in jobs
            ),
        )
        for lead in leads
    }


def _brake(context: PassContext, changes: Sequence[Change]) -> None:
    allowed = context.config.qualification.limits.max_qualifies
    planned = sum(change.qualified for change in changes)
    if context.options.limit is not None:
        planned = min(planned, context.options.limit)
    if allowed is None or planned <= allowed or context.options.allow_mass_change:
        return
    raise SafetyStop(
        f"this pass would qualify {planned} referrals; qualification.limits.max_qualifies "
        f"allows {allowed}, so none was qualified",
        "Look at the plan with --dry-run. If it is right, run once with --allow-mass-change.",
    )


async def _apply(context: PassContext, changes: Sequence[Change]) -> None:
    limit = context.options.limit
    chosen = changes if limit is None else changes[:limit]
    if context.options.dry_run:
        for change in chosen:
            context.tally.add(Count.QUALIFIED if change.qualified else Count.UNQUALIFIED)
            context.tally.intend(change.lead.code, "qualify" if change.qualified else "unqualify")
        return
    if any(not change.qualified for change in chosen):
        context.tally.notes.append(
            "unqualifying does not recall a reward that was issued already; see to those by hand"
        )

    async def prepare(batch: Sequence[Change]) -> None:
        await context.in_state(
            context.state.qualifications.save,
            context.held.lease,
            context.campaign,
            [_intent(change) for change in batch if change.qualified],
            context.now(),
        )

    async def settle(outcomes: Sequence[_Outcome]) -> None:
        await context.in_state(_remember, context, outcomes)
        for outcome in outcomes:
            _count(context, outcome)

    await Pipeline[Change, _Outcome](
        stop=context.stop,
        prepare=prepare,
        send=lambda change: _send(context, change),
        settle=settle,
        unsent=lambda change: _Outcome(change.lead, None),
        unknown=lambda change: _Outcome(change.lead, None),
    ).run(chosen)


def _intent(change: Change) -> Evaluated:
    """Still due, so that a pass which dies here is picked up by the next."""
    return Evaluated(
        change.lead.user_id,
        QualificationState.INTENT,
        due=True,
        job_id=change.verdict.job_id,
        reached_at=change.verdict.reached_at,
    )


async def _send(context: PassContext, change: Change) -> _Outcome:
    """Set one qualification, if Referral Factory still has the lead as we think it has."""
    lead = change.lead
    try:
        context.held.check()
        person = await context.referral.user(str(lead.user_id))
        if (person.qualified_at is not None) != change.qualified:
            await context.referral.qualify(lead.user_id, qualified=change.qualified)
            count = Count.QUALIFIED if change.qualified else Count.UNQUALIFIED
        elif lead.state is QualificationState.INTENT:
            # Our own earlier write, whose answer was lost.
            count = Count.QUALIFIED
        else:
            count = Count.UNCHANGED
    except RecordNotFound:
        gone = Evaluated(lead.user_id, QualificationState.GONE, seen=_seen(change))
        return _Outcome(lead, gone, skip=SkipReason.GONE)
    except RecordRejected as error:
        return _Outcome(lead, None, failure=Failure(lead.code, error.message, error.trace_id))
    return _Outcome(lead, _after(change, count), count=count)


def _seen(change: Change) -> int:
    """The count of changes that the verdict knew, with the one that its own intent added."""
    return change.lead.due + (1 if change.qualified else 0)


def _after(change: Change, count: Count) -> Evaluated:
    if count is Count.UNCHANGED:
        state = QualificationState.SETTLED
    elif change.qualified:
        state = QualificationState.QUALIFIED
    else:
        state = QualificationState.UNQUALIFIED
    return Evaluated(
        change.lead.user_id,
        state,
        job_id=change.verdict.job_id or change.lead.job_id,
        reached_at=change.verdict.reached_at,
        seen=_seen(change),
    )


def _remember(context: PassContext, outcomes: Iterable[_Outcome]) -> None:
    """Store the outcomes; what failed or was not sent stays due and is tried again next time."""
    state, lease, now = context.state, context.held.lease, context.now()
    ended = [outcome for outcome in outcomes if outcome.evaluated is not None]
    state.qualifications.save(
        lease, context.campaign, [o.evaluated for o in ended if o.evaluated is not None], now
    )
    state.failures.clear(
        lease, campaign=context.campaign, kind=KIND, records=[o.lead.code for o in ended]
    )
    for outcome in outcomes:
        if outcome.failure is not None:
            state.failures.record(
                lease,
                campaign=context.campaign,
                kind=KIND,
                record=outcome.failure.record,
                reason=outcome.failure.reason,
                trace_id=outcome.failure.trace_id,
                fingerprint="",
                state=FailureState.TRANSIENT,
                run_id=context.run_id,
                now=now,
            )


def _count(context: PassContext, outcome: _Outcome) -> None:
    if outcome.count is not None:
        context.tally.add(outcome.count)
    if outcome.skip is not None:
        context.tally.skip(outcome.skip)
    if outcome.failure is not None:
        context.tally.fail(outcome.failure)
