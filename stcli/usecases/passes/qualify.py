"""Booked leads become qualified referrals, once what the rule asks for has happened.

Cost follows what changed: the bookings, jobs and job-history feeds are read on from where they were,
a record that changed makes the leads behind it due, and only those are judged. A job's own history
is read once, when the job becomes known as a lead's.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
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
from stcli.errors import RecordNotFound, RecordRejected, SafetyStop, Unavailable
from stcli.store.failures import FailureState, StoredFailure
from stcli.store.qualifications import Evaluated, QualificationState, Watched
from stcli.usecases.passes.context import PassContext
from stcli.usecases.passes.feeds import (
    bookings_up_to_date,
    history_up_to_date,
    jobs_up_to_date,
)
from stcli.usecases.passes.job_evidence import Learning, Unread, gather
from stcli.usecases.passes.options import resolve_conditions
from stcli.usecases.passes.pipeline import Pipeline
from stcli.usecases.passes.silence import Silence

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
    def has_intent(self) -> bool:
        """Whether its request is remembered before it is sent; a look only confirms one that was."""
        return self.step is not Step.LOOK

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
    failure_state: FailureState = FailureState.PARKED
    keeps_failure: bool = False


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
    stored = await context.in_state(context.state.failures.of, context.campaign, KIND)
    judging = _Judging(context, rule, stored)
    changes: list[Change] = []
    for start in range(0, len(due), CHUNK):
        context.stop.check()
        changes += await judging.judge(due[start : start + CHUNK])
    changes = judging.without_parked(changes)
    _brake(context, changes)
    await _apply(context, changes, judging.silence)


class _Judging:
    """Judges leads chunk by chunk; ``stored`` are the failures of earlier passes."""

    def __init__(self, context: PassContext, rule: Rule, stored: Sequence[StoredFailure]) -> None:
        self.context = context
        self.rule = rule
        self.silence = Silence()
        self._failed = {failure.record for failure in stored}
        self._parked = {
            (failure.record, failure.fingerprint)
            for failure in stored
            if failure.waits_for_a_change
        }
        self._learning = Learning(context, self._parked, self.silence)

    async def judge(self, leads: Sequence[Watched]) -> list[Change]:
        """What is to be done about these; what changes nothing is remembered at once."""
        context = self.context
        unread = await self._learning.learn([lead for lead in leads if not lead.is_decided])
        evidence = await context.in_state(gather, context.state, context.tenant, leads)
        changes: list[Change] = []
        settled: list[_Outcome] = []
        for lead in leads:
            known, gap = evidence[lead.user_id], unread.get(lead.user_id)
            verdict = judge(self.rule, known, context.now())
            change = _change(self.rule, lead, known, verdict)
            # What is known may be enough to qualify, and never to take back or to put aside.
            if change is not None and (gap is None or change.step is Step.QUALIFY):
                changes.append(change)
            elif gap is not None:
                settled.append(_incomplete(lead, gap))
            else:
                still = _unchanged(self.rule, lead, known, verdict)
                settled.append(_Outcome(lead, still, count=Count.UNCHANGED))
        await context.in_state(_remember, context, settled, self._failed)
        for outcome in settled:
            _count(context, outcome)
        return changes

    def without_parked(self, changes: Sequence[Change]) -> list[Change]:
        """Those that Referral Factory has not refused in just this shape before; whoever failed
        lately comes last, so that with ``--limit`` the others have their turn."""
        left = [c for c in changes if (c.lead.code, c.fingerprint) not in self._parked]
        self.context.tally.add(Count.UNCHANGED, len(changes) - len(left))
        return sorted(left, key=lambda change: change.lead.code in self._failed)


def _incomplete(lead: Watched, gap: Unread) -> _Outcome:
    """A lead whose evidence is not whole stays due, until it is or a person lets it go."""
    due = Evaluated(
        lead.user_id,
        lead.state,
        due=True,
        evaluate_at=lead.evaluate_at,
        job_id=lead.job_id,
        reached_at=lead.reached_at,
    )
    if gap.was_told:
        return _Outcome(lead, due, count=Count.UNCHANGED, keeps_failure=True)
    failure = Failure(lead.code, gap.reason, gap.trace_id)
    return _Outcome(lead, due, failure=failure, fingerprint=gap.mark, failure_state=gap.state)


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
        case QualificationState.TAKING_BACK:
            if is_taken_back(rule, evidence, lead.job_id):
                return Change(lead, verdict, Step.UNQUALIFY)
            return Change(lead, verdict, Step.QUALIFY if qualifies else Step.LOOK)
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


async def _apply(context: PassContext, changes: Sequence[Change], silence: Silence) -> None:
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
            [_intent(change) for change in batch if change.has_intent],
            context.now(),
        )

    async def settle(outcomes: Sequence[_Outcome]) -> None:
        ended = {o.lead.code for o in outcomes if o.evaluated is not None}
        await context.in_state(_remember, context, outcomes, ended)
        for outcome in outcomes:
            _count(context, outcome)

    await Pipeline[Change, _Outcome](
        stop=context.stop,
        prepare=prepare,
        send=lambda change: _send(context, change, silence),
        settle=settle,
        unsent=lambda change: _Outcome(change.lead, None),
        unknown=lambda change: _Outcome(change.lead, None),
    ).run(chosen)


def _intent(change: Change) -> Evaluated:
    """Still due, so that a pass which dies here is picked up by the next."""
    lead, verdict = change.lead, change.verdict
    if change.step is Step.UNQUALIFY:
        return Evaluated(
            lead.user_id,
            QualificationState.TAKING_BACK,
            due=True,
            job_id=lead.job_id,
            reached_at=lead.reached_at,
        )
    return Evaluated(
        lead.user_id,
        QualificationState.INTENT,
        due=True,
        job_id=verdict.job_id,
        reached_at=verdict.reached_at,
    )


async def _send(context: PassContext, change: Change, silence: Silence) -> _Outcome:
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
        silence.ended()
        gone = Evaluated(lead.user_id, QualificationState.GONE, seen=_seen(change))
        return _Outcome(lead, gone, skip=SkipReason.GONE)
    except Unavailable as error:
        # What was remembered before stays: the next pass looks what became of it.
        silence.met(error)
        failure = Failure(lead.code, error.message, error.trace_id)
        return _Outcome(lead, None, failure=failure, failure_state=FailureState.TRANSIENT)
    except RecordRejected as error:
        silence.ended()
        # A refusal is certain, so nothing is left to be looked for; it stays due, and is asked for
        # again when its fingerprint changes or a person says so.
        refused = Evaluated(
            lead.user_id, lead.state, due=True, job_id=lead.job_id, reached_at=lead.reached_at
        )
        failure = Failure(lead.code, error.message, error.trace_id)
        return _Outcome(lead, refused, failure=failure, fingerprint=change.fingerprint)
    silence.ended()
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
    if lead.state is QualificationState.TAKING_BACK:
        # Likewise: what was to be taken back is, or it still stands.
        if is_qualified:
            return QualificationState.QUALIFIED, Count.UNCHANGED
        return QualificationState.UNQUALIFIED, Count.UNQUALIFIED
    return QualificationState.SETTLED, Count.UNCHANGED


def _seen(change: Change) -> int:
    """The count of changes that the verdict knew, with the one that its own intent added."""
    return change.lead.due + (1 if change.has_intent else 0)


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


def _remember(
    context: PassContext, outcomes: Sequence[_Outcome], may_have_failed: Collection[str]
) -> None:
    """Store the outcomes; what failed or was not sent stays due and is tried again next time. An
    earlier failure of a record that ended is forgotten; only these may have one."""
    state, lease, now = context.state, context.held.lease, context.now()
    evaluated = [o.evaluated for o in outcomes if o.evaluated is not None]
    state.qualifications.save(lease, context.campaign, context.tenant, evaluated, now)
    ended = [
        o.lead.code
        for o in outcomes
        if o.evaluated is not None
        and o.failure is None
        and not o.keeps_failure
        and o.lead.code in may_have_failed
    ]
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
                state=outcome.failure_state,
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
