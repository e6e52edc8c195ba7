"""Booked leads become qualified referrals, once what the rule asks for has happened.

Cost follows what changed: the bookings, jobs and job-history feeds are read on from where they were,
a record that changed makes the leads behind it due, and only those are judged. A job's own history
is read once, when the job becomes known as a lead's.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import StrEnum

from stcli.domain.campaign import Method
from stcli.domain.outcome import Count, Failure, SkipReason
from stcli.domain.qualification import (
    Decision,
    Evidence,
    Rule,
    Verdict,
    is_taken_back,
    judge,
    status_named_by,
)
from stcli.errors import RecordNotFound, RecordRejected, SafetyStop
from stcli.store.failures import FailureState
from stcli.store.qualifications import Evaluated, QualificationState, Watched
from stcli.usecases.passes.context import PassContext
from stcli.usecases.passes.feeds import (
    bookings_up_to_date,
    history_up_to_date,
    jobs_up_to_date,
)
from stcli.usecases.passes.job_evidence import gather, learn_about_jobs
from stcli.usecases.passes.options import resolve_conditions
from stcli.usecases.passes.pipeline import Pipeline

CHUNK = 500
KIND = "qualify"


class Step(StrEnum):
    """What is to be done about one lead in Referral Factory."""

    QUALIFY = "qualify"
    UNQUALIFY = "unqualify"
    LOOK = "look"
    """Nobody knows whether an earlier qualification took effect, and it is not due any more."""


@dataclass(frozen=True, slots=True)
class Change:
    """A qualification to be set, taken back, or looked for in Referral Factory.

    ``is_taken_back``: what a look finds set must be taken back, because the job is canceled now.
    """

    lead: Watched
    verdict: Verdict
    step: Step
    is_taken_back: bool = False

    @property
    def fingerprint(self) -> str:
        """Changes whenever Referral Factory's answer to the same request could."""
        return f"{self.step.value} {self.verdict.job_id} {self.lead.state.value}"


@dataclass(frozen=True, slots=True)
class _Outcome:
    lead: Watched
    evaluated: Evaluated | None
    count: Count | None = None
    skip: SkipReason | None = None
    failure: Failure | None = None
    fingerprint: str = ""


async def run_qualify(context: PassContext) -> None:
    """The ``qualify`` pass."""
    settings = context.config.qualification
    if settings.method is Method.DO_NOT_QUALIFY:
        context.tally.notes.append(
            "qualification.method is do_not_qualify: referrals are qualified by hand"
        )
        return
    oldest = await context.in_state(context.state.qualifications.oldest_booking, context.tenant)
    counts = await context.in_state(
        context.state.qualifications.counts, context.campaign, context.tenant
    )
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
        context.tenant,
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
    changes = await _without_parked(context, changes)
    _brake(context, changes)
    await _apply(context, changes)


async def _judge_all(context: PassContext, rule: Rule, leads: Sequence[Watched]) -> list[Change]:
    """Judge these; what changes nothing is remembered at once."""
    await learn_about_jobs(context, leads)
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
        settled.append(_unchanged(rule, lead, evidence[lead.user_id], verdict))
    await context.in_state(
        context.state.qualifications.save,
        context.held.lease,
        context.campaign,
        context.tenant,
        settled,
        context.now(),
    )
    return changes


def _unchanged(rule: Rule, lead: Watched, evidence: Evidence, verdict: Verdict) -> Evaluated:
    """What to remember of a lead about whom nothing is to be done now."""
    job_id = lead.job_id or verdict.job_id
    if lead.state is QualificationState.QUALIFIED and is_taken_back(rule, evidence, lead.job_id):
        # Its job was canceled and another one holds up the qualification: that one counts now.
        job_id = verdict.job_id
    return Evaluated(
        lead.user_id,
        lead.state,
        evaluate_at=_evaluate_at(lead.state, verdict),
        seen=lead.due,
        job_id=job_id,
        reached_at=lead.reached_at or verdict.reached_at,
    )


def _evaluate_at(state: QualificationState, verdict: Verdict) -> datetime | None:
    """When a lead that waits out ``hold_days`` is to be judged again."""
    waits = state in (QualificationState.OPEN, QualificationState.UNQUALIFIED)
    return verdict.due_at if waits and verdict.decision is Decision.WAIT else None


def _change(rule: Rule, lead: Watched, evidence: Evidence, verdict: Verdict) -> Change | None:
    qualifies = verdict.decision is Decision.QUALIFY
    match lead.state:
        case QualificationState.OPEN:
            if qualifies:
                return Change(lead, verdict, Step.QUALIFY)
        case QualificationState.INTENT:
            if qualifies:
                return Change(lead, verdict, Step.QUALIFY)
            taken_back = is_taken_back(rule, evidence, lead.job_id)
            return Change(lead, verdict, Step.LOOK, is_taken_back=taken_back)
        case QualificationState.QUALIFIED:
            # A job that was canceled and made anew between two polls keeps the qualification.
            if not qualifies and is_taken_back(rule, evidence, lead.job_id):
                return Change(lead, verdict, Step.UNQUALIFY)
        case QualificationState.UNQUALIFIED:
            # Taken back by us when the job was canceled; a job that stands again earns it again.
            canceled = {
                found.job.id
                for found in evidence.jobs
                if status_named_by(found.job.status) == "Canceled"
            }
            if qualifies and verdict.job_id not in canceled:
                return Change(lead, verdict, Step.QUALIFY)
        case QualificationState.SETTLED | QualificationState.GONE:
            pass
    return None


def _brake(context: PassContext, changes: Sequence[Change]) -> None:
    allowed = context.config.qualification.limits.max_qualifies
    planned = sum(change.step is Step.QUALIFY for change in changes)
    if context.options.limit is not None:
        planned = min(planned, context.options.limit)
    if allowed is None or planned <= allowed or context.options.allow_mass_change:
        return
    raise SafetyStop(
        f"this pass would qualify {planned} referrals; qualification.limits.max_qualifies "
        f"allows {allowed}, so none was qualified",
        "Look at the plan with --dry-run. If it is right, run once with --allow-mass-change.",
    )


_PLANNED = {
    Step.QUALIFY: Count.QUALIFIED,
    Step.UNQUALIFY: Count.UNQUALIFIED,
    Step.LOOK: Count.UNCHANGED,
}


async def _apply(context: PassContext, changes: Sequence[Change]) -> None:
    limit = context.options.limit
    chosen = changes if limit is None else changes[:limit]
    if context.options.dry_run:
        for change in chosen:
            context.tally.add(_PLANNED[change.step])
            context.tally.intend(change.lead.code, change.step.value)
        return
    if any(change.step is Step.UNQUALIFY or change.is_taken_back for change in chosen):
        context.tally.notes.append(
            "unqualifying does not recall a reward that was issued already; see to those by hand"
        )

    async def prepare(batch: Sequence[Change]) -> None:
        await context.in_state(
            context.state.qualifications.save,
            context.held.lease,
            context.campaign,
            context.tenant,
            [_intent(change) for change in batch if change.step is Step.QUALIFY],
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
        is_qualified = person.qualified_at is not None
        wanted = _wanted(change, is_qualified)
        if is_qualified != wanted:
            await context.referral.qualify(lead.user_id, qualified=wanted)
    except RecordNotFound:
        gone = Evaluated(lead.user_id, QualificationState.GONE, seen=_seen(change))
        return _Outcome(lead, gone, skip=SkipReason.GONE)
    except RecordRejected as error:
        # A refusal is certain, so nothing is left to be looked for; it stays due, and is asked for
        # again when its fingerprint changes or a person says so.
        refused = Evaluated(
            lead.user_id, lead.state, due=True, job_id=lead.job_id, reached_at=lead.reached_at
        )
        failure = Failure(lead.code, error.message, error.trace_id)
        return _Outcome(lead, refused, failure=failure, fingerprint=change.fingerprint)
    state, count = _ended(lead, was_qualified=is_qualified, is_qualified=wanted)
    return _Outcome(lead, _after(change, state), count=count)


def _wanted(change: Change, is_qualified: bool) -> bool:
    """Whether the lead is to be qualified in the end."""
    match change.step:
        case Step.QUALIFY:
            return True
        case Step.UNQUALIFY:
            return False
        case Step.LOOK:
            # What an earlier pass has set for good reason stays, unless its job was canceled.
            return is_qualified and not change.is_taken_back


def _ended(
    lead: Watched, *, was_qualified: bool, is_qualified: bool
) -> tuple[QualificationState, Count]:
    """How a lead ends that Referral Factory had one way and has another, or the same, now."""
    if is_qualified and not was_qualified:
        return QualificationState.QUALIFIED, Count.QUALIFIED
    if was_qualified and not is_qualified:
        return QualificationState.UNQUALIFIED, Count.UNQUALIFIED
    if lead.state is QualificationState.INTENT:
        # Our own earlier write, whose answer was lost: it took effect, or it did not.
        if is_qualified:
            return QualificationState.QUALIFIED, Count.QUALIFIED
        return QualificationState.OPEN, Count.UNCHANGED
    return QualificationState.SETTLED, Count.UNCHANGED


def _seen(change: Change) -> int:
    """The count of changes that the verdict knew, with the one that its own intent added."""
    return change.lead.due + (1 if change.step is Step.QUALIFY else 0)


def _after(change: Change, state: QualificationState) -> Evaluated:
    # A look does not change for which job the earlier pass had qualified.
    by_now, before = change.verdict.job_id, change.lead.job_id
    return Evaluated(
        change.lead.user_id,
        state,
        evaluate_at=_evaluate_at(state, change.verdict),
        job_id=(before or by_now) if change.step is Step.LOOK else (by_now or before),
        reached_at=change.verdict.reached_at,
        seen=_seen(change),
    )


async def _without_parked(context: PassContext, changes: Sequence[Change]) -> list[Change]:
    """Those that Referral Factory has not refused in just this shape before."""
    if not changes:
        return []
    stored = await context.in_state(context.state.failures.of, context.campaign, KIND)
    parked = {
        (failure.record, failure.fingerprint) for failure in stored if failure.waits_for_a_change
    }
    left = [change for change in changes if (change.lead.code, change.fingerprint) not in parked]
    context.tally.add(Count.UNCHANGED, len(changes) - len(left))
    return left


def _remember(context: PassContext, outcomes: Iterable[_Outcome]) -> None:
    """Store the outcomes; what failed or was not sent stays due and is tried again next time."""
    state, lease, now = context.state, context.held.lease, context.now()
    evaluated = [o.evaluated for o in outcomes if o.evaluated is not None]
    state.qualifications.save(lease, context.campaign, context.tenant, evaluated, now)
    ended = [o.lead.code for o in outcomes if o.evaluated is not None and o.failure is None]
    state.failures.clear(lease, campaign=context.campaign, kind=KIND, records=ended)
    for outcome in outcomes:
        if outcome.failure is not None:
            state.failures.record(
                lease,
                campaign=context.campaign,
                kind=KIND,
                record=outcome.failure.record,
                reason=outcome.failure.reason,
                trace_id=outcome.failure.trace_id,
                fingerprint=outcome.fingerprint,
                state=FailureState.PARKED,
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
