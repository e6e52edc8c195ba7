"""Writing what a look planned: referrers are made and changed, each judged once more before.

That somebody is about to be asked for is committed before the asking. Referral Factory takes an
email address once in a campaign, so an answer that got lost is found again by the address: in the
list, or by the refusal of a repeat.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass, field, replace

from stcli.domain.enrolment import Enrolment, EnrolmentState, KnownCustomer
from stcli.domain.enrolment_plan import Draft, changes
from stcli.domain.ids import CustomerId, UserId
from stcli.domain.outcome import Count, Failure, SkipReason
from stcli.domain.records import Campaign, Person
from stcli.errors import (
    RecordNotFound,
    RecordRejected,
    RemoteGone,
    StcliError,
    Unavailable,
)
from stcli.store.customers import known_customers
from stcli.store.enrolments import (
    Settled,
    bound_users,
    holders,
    mark_recheck,
    mark_sharers,
    settle,
)
from stcli.store.failures import FailureState, clear_failure
from stcli.store.people import people_by_email
from stcli.store.transaction import Transaction
from stcli.usecases.passes.context import PassContext
from stcli.usecases.passes.enrolment_look import KIND, Look
from stcli.usecases.passes.failing import record_failure
from stcli.usecases.passes.pipeline import BATCH, Pipeline
from stcli.usecases.passes.silence import Silence


@dataclass(frozen=True, slots=True)
class Write:
    """One referrer to be made, or to be changed where there is a person already."""

    row: Enrolment
    draft: Draft
    changed: dict[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Outcome:
    """What became of a write. ``settled`` None: it stays as it was prepared."""

    write: Write
    settled: Settled | None = None
    person: Person | None = None
    count: Count | None = None
    skip: SkipReason | None = None
    failure: Failure | None = None
    failure_state: FailureState = FailureState.PARKED
    is_open: bool = False
    """Whether it has to be looked for: asked for, and not known what became of it."""


class Writing:
    """The writes of one pass. ``in_doubt``: how many were asked for and are not known to exist."""

    def __init__(
        self, context: PassContext, campaign: Campaign, look: Look, *, welcome_mail: bool
    ) -> None:
        self.context = context
        self.campaign = campaign
        self.look = look
        self.welcome_mail = welcome_mail
        self.in_doubt = 0
        self._silence = Silence()

    async def run(self, creates: int, updates: int) -> None:
        """Make so many changes, then so many referrers."""
        per_second = self.context.rates.referral_factory
        if updates:
            self.context.progress.begin("referrers updated", updates, per_second)
            await self._send(self._batches(updates, for_updates=True))
            self.context.progress.end()
        if creates:
            self.context.progress.begin("customers enrolled", creates, per_second)
            await self._send(self._batches(creates, for_updates=False))
            self.context.progress.end()

    async def _batches(self, number: int, *, for_updates: bool) -> AsyncIterator[Sequence[Write]]:
        """What is to be written, batch by batch, each committed before it is handed out."""
        after, left = -1, number
        while left > 0:
            self.context.held.check()
            after, seen, writes = await self.context.in_state(
                self._take, after, min(BATCH, left), for_updates=for_updates
            )
            if not seen:
                return
            left -= len(writes)
            if writes:
                yield writes

    def _take(self, after: int, number: int, *, for_updates: bool) -> tuple[int, int, list[Write]]:
        """The next rows, judged on what is known now. Who is no longer to be written is left to the
        next look; the others' intent is committed."""
        context, enrolments = self.context, self.context.state.enrolments
        with enrolments.looking(context.held.lease, context.tenant) as sql:
            if for_updates:
                rows = enrolments.to_update(context.campaign, after, number)
            else:
                rows = enrolments.in_state(context.campaign, EnrolmentState.PLANNED, after, number)
            ids = [row.customer_id for row in rows]
            known = known_customers(sql, context.tenant, ids)
            verdicts = self.look.verdicts(sql, known)
            keys = [v.key for v in verdicts.values() if isinstance(v, Draft)]
            owners = holders(sql, context.campaign, keys)
            writes: list[Write] = []
            stale: list[CustomerId] = []
            for row in rows:
                verdict = verdicts.get(row.customer_id)
                if not for_updates and self._waits(known.get(row.customer_id)):
                    continue
                if isinstance(verdict, Draft) and (
                    owners.get(verdict.key, row.customer_id if for_updates else None)
                    == row.customer_id
                    and (for_updates or self.look.rules.filter.admits(known[row.customer_id]))
                ):
                    changed = changes(row, verdict) if for_updates else {}
                    writes.append(Write(row, verdict, changed))
                    owners[verdict.key] = row.customer_id
                else:
                    stale.append(row.customer_id)
            mark_recheck(sql, context.campaign, stale)
            if not for_updates:
                settle(sql, context.campaign, [_intent(write) for write in writes], context.now())
        return ids[-1] if ids else after, len(ids), writes

    def _waits(self, known: KnownCustomer | None) -> bool:
        """Whether a customer is left for a pass without this one's ``since``."""
        since = self.context.options.since
        return since is not None and known is not None and known.created_day < since

    async def _send(self, batches: AsyncIterator[Sequence[Write]]) -> None:
        context = self.context
        open_ones: list[Outcome] = []

        async def prepare(_: Sequence[Write]) -> None:
            """The intents were committed with the batch."""

        async def remember(outcomes: Sequence[Outcome]) -> None:
            now = [outcome for outcome in outcomes if not outcome.is_open]
            open_ones.extend(outcome for outcome in outcomes if outcome.is_open)
            await context.in_state(self._settle, now)
            for outcome in now:
                self._count(outcome)
            context.progress.advance(len(outcomes))

        pipeline = Pipeline[Write, Outcome](
            stop=context.stop,
            prepare=prepare,
            send=self._post,
            settle=remember,
            unsent=_unsent,
            unknown=lambda write: Outcome(write, is_open=True),
        )
        ended: StcliError | None = None
        try:
            await pipeline.run_batches(batches)
        except StcliError as error:
            ended = error
        await self._resolve(open_ones, may_ask=ended is None)
        if ended is not None:
            raise ended

    async def _post(self, write: Write) -> Outcome:
        self.context.held.check()
        try:
            outcome = await (self._update(write) if write.row.is_referrer else self._create(write))
        except Unavailable as error:
            if error.definite and not write.row.is_referrer:
                # A server that cannot be reached for a creation concerns everybody.
                raise
            self._silence.met(error)
            if write.row.is_referrer:
                return _failed(write, error.message, error.trace_id, FailureState.TRANSIENT)
            return Outcome(write, is_open=True)
        self._silence.ended()
        return outcome

    async def _create(self, write: Write) -> Outcome:
        try:
            person = await self.context.referral.create_referrer(
                self.campaign.id, write.draft.values, welcome_mail=self.welcome_mail
            )
        except RecordNotFound as error:
            raise RemoteGone(
                f"Referral Factory no longer takes anybody into {self.campaign.code}",
                "Check the campaign; stcli campaigns lists what there is.",
                status=error.status,
            ) from error
        except RecordRejected as error:
            # Either the address is in the campaign already, or there is something else about it.
            failed = _failed(write, error.message, error.trace_id, FailureState.PARKED)
            return replace(failed, is_open=True)
        return Outcome(
            write,
            _settled(write, EnrolmentState.ENROLLED, person.id, tell=True),
            person,
            Count.CREATED,
        )

    async def _update(self, write: Write) -> Outcome:
        row = write.row
        user_id = row.user_id
        if user_id is None or not write.changed:
            return Outcome(write, _settled(write, row.state, user_id), count=Count.UNCHANGED)
        try:
            known = await self.context.referral.user(str(user_id))
            if known.unsubscribed_at is not None:
                # Nobody told us yet: the list is read in full once a day only.
                return Outcome(write, _as_it_was(row, row.state), known, skip=SkipReason.OPTED_OUT)
            person = await self.context.referral.update_user(user_id, write.changed, known.meta)
        except RecordNotFound:
            return Outcome(write, _as_it_was(row, EnrolmentState.GONE), skip=SkipReason.GONE)
        except RecordRejected as error:
            return _failed(write, error.message, error.trace_id, FailureState.PARKED)
        return Outcome(write, _settled(write, row.state, user_id), person, Count.UPDATED)

    async def _resolve(self, open_ones: Sequence[Outcome], *, may_ask: bool) -> None:
        """Look for what was asked for and not confirmed: by its address, in the list."""
        if not open_ones:
            return
        context = self.context
        if may_ask:
            try:
                await context.people.look_again()
            except Unavailable as error:
                context.tally.notes.append(
                    f"what is in doubt could not be looked for: {error.message}"
                )
        found = await context.in_state(self._find, open_ones)
        outcomes = [self._resolved(outcome, found) for outcome in open_ones]
        await context.in_state(self._settle, outcomes)
        for outcome in outcomes:
            self._count(outcome)

    def _find(self, outcomes: Sequence[Outcome]) -> dict[str, Person]:
        """The people behind the addresses who are not another customer's already."""
        context = self.context
        keys = [outcome.write.draft.key for outcome in outcomes]
        with context.state.database.read() as sql:
            people = people_by_email(sql, self.campaign.id, keys)
            bound = bound_users(sql, context.campaign, [person.id for person in people.values()])
        return {key: person for key, person in people.items() if person.id not in bound}

    def _resolved(self, outcome: Outcome, found: dict[str, Person]) -> Outcome:
        write, person = outcome.write, found.get(outcome.write.draft.key)
        was_refused = outcome.failure is not None
        if person is not None:
            state = EnrolmentState.LINKED if was_refused else EnrolmentState.ENROLLED
            count = Count.LINKED if was_refused else Count.CREATED
            return Outcome(write, _settled(write, state, person.id, tell=True), count=count)
        if was_refused:
            return replace(outcome, settled=_settled(write, EnrolmentState.REFUSED, None))
        return Outcome(
            write,
            failure=Failure(
                str(write.row.customer_id),
                "in doubt: Referral Factory did not say whether the referrer was made; the next "
                "pass looks for it",
            ),
            failure_state=FailureState.TRANSIENT,
        )

    def _settle(self, outcomes: Sequence[Outcome]) -> None:
        """Store what became of writes: the row, the person, the failure, in one commit."""
        context = self.context
        context.state.people.save(
            [outcome.person for outcome in outcomes if outcome.person is not None], listed=False
        )
        with context.state.database.write(context.held.lease) as sql:
            rows = [outcome.settled for outcome in outcomes if outcome.settled is not None]
            settle(sql, context.campaign, rows, context.now())
            for outcome in outcomes:
                self._settle_failure(sql, outcome)
            # Only an address that was given up for another one is free for somebody else.
            freed = [
                outcome.write.row.email_key
                for outcome in outcomes
                if outcome.settled is not None
                and outcome.settled.email_key != outcome.write.row.email_key
            ]
            mark_sharers(sql, context.campaign, context.tenant, freed)

    def _settle_failure(self, sql: Transaction, outcome: Outcome) -> None:
        customer_id = outcome.write.row.customer_id
        if outcome.failure is not None:
            write = outcome.write
            mark = write.draft.mark(for_update=write.row.is_referrer)
            record_failure(sql, self.context, KIND, outcome.failure, mark, outcome.failure_state)
        elif outcome.count is not None or outcome.skip is not None:
            clear_failure(sql, campaign=self.context.campaign, kind=KIND, record=str(customer_id))

    def _count(self, outcome: Outcome) -> None:
        tally = self.context.tally
        if outcome.count is not None and outcome.count is not Count.UNCHANGED:
            tally.add(outcome.count)
        if outcome.failure is not None:
            tally.fail(outcome.failure)
            self.in_doubt += outcome.settled is None and not outcome.write.row.is_referrer


def _intent(write: Write) -> Settled:
    return Settled(
        write.row.customer_id,
        EnrolmentState.INTENT,
        write.draft.key,
        None,
        write.draft.values,
    )


def _settled(
    write: Write, state: EnrolmentState, user_id: UserId | None, *, tell: bool = False
) -> Settled:
    return Settled(
        write.row.customer_id, state, write.draft.key, user_id, write.draft.values, tell=tell
    )


def _as_it_was(row: Enrolment, state: EnrolmentState) -> Settled:
    """With the address, the person and the values that it had; nothing is due any more."""
    return Settled(row.customer_id, state, row.email_key, row.user_id, row.sent)


def _unsent(write: Write) -> Outcome:
    """Nothing was sent: planned again, or still due."""
    if write.row.is_referrer:
        return Outcome(write)
    return Outcome(write, _settled(write, EnrolmentState.PLANNED, None))


def _failed(write: Write, reason: str, trace_id: str, state: FailureState) -> Outcome:
    """Refused or not answered. A refused update is not due any more until something changes."""
    settled = None
    if write.row.is_referrer and state is FailureState.PARKED:
        settled = _as_it_was(write.row, write.row.state)
    return Outcome(
        write,
        settled,
        failure=Failure(str(write.row.customer_id), reason, trace_id),
        failure_state=state,
    )
