"""Customers become referrers, once per email address, and are kept in step.

Read, then look, then write. Looking judges every customer that changed since the last look, or that
something else made due, and stores what is to become of each; how far was looked is committed with
it. Writing takes what is planned, judges it once more on what is known by then, and commits that it
is about to be asked for before it is. Referral Factory takes an email address once in a campaign, so
an answer that got lost is found again by the address: in the list, or by the refusal of a repeat.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, date, datetime

from stcli.domain.campaign import SyncTab, SyncType
from stcli.domain.catalog import SYNC_TARGETS
from stcli.domain.enrolment import (
    REFERRERS,
    Enrolment,
    EnrolmentState,
    Filter,
    KnownCustomer,
)
from stcli.domain.enrolment_plan import (
    Decision,
    Draft,
    EnrolmentRules,
    Surroundings,
    Verdict,
    changes,
    decide,
    draft,
    fingerprint,
)
from stcli.domain.ids import CustomerId, UserId
from stcli.domain.mapping.rules import Rule, sources_of
from stcli.domain.matching import email_key
from stcli.domain.outcome import Count, Failure, SkipReason
from stcli.domain.records import Campaign, Person
from stcli.errors import (
    ConfigurationError,
    NoAnswer,
    RecordNotFound,
    RecordRejected,
    RemoteGone,
    SafetyStop,
    SetupRequired,
    StcliError,
    Unavailable,
)
from stcli.store.customers import changed_since, known_customers, suppressed
from stcli.store.engine import Transaction
from stcli.store.enrolments import (
    Settled,
    bound_users,
    enrolments_of,
    holders,
    mark_recheck,
    mark_sharers,
    merged_referrers,
    move_on,
    save_enrolments,
    settle,
    stored_progress,
    to_recheck,
)
from stcli.store.failures import FailureState, clear_failure
from stcli.store.people import people_by_email, people_by_id
from stcli.usecases.passes.bookings import find_campaign
from stcli.usecases.passes.context import PassContext
from stcli.usecases.passes.custom_fields import field_named
from stcli.usecases.passes.failing import record_failure
from stcli.usecases.passes.feeds import (
    customer_jobs_up_to_date,
    customers_up_to_date,
    suppressions_up_to_date,
)
from stcli.usecases.passes.options import one_of
from stcli.usecases.passes.pipeline import BATCH, Pipeline

KIND = "sync"
CHUNK = 500
"""How many customers are judged in one transaction."""

ROUNDS = 10
"""How often decisions may make others due within a pass: a chain of mergers so long is none."""

SILENT_WRITES_THAT_STOP = 20
FEW_UPDATES = 50
"""So many updates in one pass alarm nobody, however few referrers there are."""

_OWN_LABELS = frozenset({"first name", "email"})
"""Form fields that are properties of a user of their own, not entries of ``meta``."""


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


async def run_sync(context: PassContext) -> None:
    """The ``sync`` pass."""
    settings = context.config.sync
    if settings is None:
        raise ConfigurationError(
            f"{context.campaign} has no sync tab",
            f"Set it up with: stcli sync setup {context.campaign}",
        )
    campaign = await find_campaign(context)
    await _SyncPass(context, settings, campaign).run()


class _SyncPass:
    """One pass; the methods are its steps, in order."""

    def __init__(self, context: PassContext, settings: SyncTab, campaign: Campaign) -> None:
        self.context = context
        self.settings = settings
        self.campaign = campaign
        self.obeys_suppressions = context.config.consent.suppressions == "obey"
        self._touched = 0
        self._silent = 0
        self._parked: dict[CustomerId, str] = {}
        self._failing: set[CustomerId] = set()

    async def run(self) -> None:
        context = self.context
        enrolments = context.state.enrolments
        await self._refuse_a_second_import()
        rules = await self._rules()
        await context.people.refresh()
        await self._read()
        await context.in_state(
            enrolments.apply_rule,
            context.held.lease,
            context.campaign,
            context.tenant,
            self.campaign.id,
            rules.fingerprint,
        )
        await self._make_due()
        await self._look(rules)
        creates, updates = await self._brake()
        if context.options.dry_run:
            await self._plan(creates, updates)
        else:
            await self._write(rules, creates, updates)
        await self._count_the_others()
        if await self._is_complete():
            await context.in_state(
                enrolments.imported, context.held.lease, context.campaign, context.now()
            )

    async def _refuse_a_second_import(self) -> None:
        context = self.context
        if (context.options.sync_type or self.settings.type) is not SyncType.ONE_TIME:
            return
        progress = await context.in_state(context.state.enrolments.progress, context.campaign)
        if progress.imported_at is not None and not context.options.again:
            raise ConfigurationError(
                f"the customers of {context.campaign} were imported on "
                f"{progress.imported_at:%Y-%m-%d}, and a one-time sync imports once",
                f"Import again with: stcli sync run {context.campaign} --once --again",
            )

    # Rules

    async def _rules(self) -> EnrolmentRules:
        settings, fields = self.settings, self.settings.fields
        required = [target.name for target in SYNC_TARGETS if target.required]
        asked = [
            f"meta.{entry.label}"
            for entry in self.campaign.referrer_fields
            if entry.required and entry.label.casefold() not in _OWN_LABELS
        ]
        missing = [name for name in asked if name not in fields]
        if missing:
            raise SetupRequired(
                f"Setup Required: {self.campaign.code} requires of every referrer "
                + ", ".join(missing),
                f"Map them with: stcli sync setup {self.context.campaign}",
            )
        wanted = settings.filter
        tags: frozenset[int] = frozenset()
        if wanted.tags:
            known = await self.context.crm.tag_types()
            tags = frozenset(one_of("tag", name, known) for name in wanted.tags)
        custom_fields = await self._custom_fields(fields)
        return EnrolmentRules(
            fields=fields,
            required=(*required, *asked),
            custom_fields=custom_fields,
            filter=Filter(
                wanted.customer_type or "", tags, wanted.created_since, wanted.has_job_since
            ),
            fingerprint=fingerprint(
                (
                    self.campaign.id,
                    sorted((name, repr(rule)) for name, rule in fields.items()),
                    sorted(asked),
                    sorted(custom_fields.items()),
                    wanted.customer_type,
                    sorted(tags),
                    wanted.created_since,
                    wanted.has_job_since,
                    self.obeys_suppressions,
                )
            ),
        )

    async def _custom_fields(self, fields: dict[str, Rule]) -> dict[str, int]:
        names = [
            name.removeprefix("custom_field:")
            for rule in fields.values()
            for name in sources_of(rule)
            if name.startswith("custom_field:")
        ]
        if not names:
            return {}
        known = await self.context.crm.custom_fields()
        return {name: field_named(name, known, "sync.fields").id for name in names}

    # Reading

    async def _read(self) -> None:
        context = self.context
        await customers_up_to_date(context)
        if self.obeys_suppressions:
            await suppressions_up_to_date(context)
        since = self.settings.filter.has_job_since
        if since is not None:
            await customer_jobs_up_to_date(context, since)

    async def _make_due(self) -> None:
        """What was refused waits until it changes; what failed otherwise, or is in doubt, is looked
        at again, and so is what was refused once its address has shown up."""
        context = self.context
        failures = await context.in_state(context.state.failures.of, context.campaign, KIND)
        again: list[CustomerId] = []
        for failure in failures:
            customer_id = CustomerId(int(failure.record))
            self._failing.add(customer_id)
            if failure.state is FailureState.TRANSIENT:
                again.append(customer_id)
            else:
                self._parked[customer_id] = failure.fingerprint
        await context.in_state(
            context.state.enrolments.make_due,
            context.held.lease,
            context.campaign,
            self.campaign.id,
            again,
        )

    # Looking

    async def _look(self, rules: EnrolmentRules) -> None:
        context = self.context
        total = await context.in_state(
            context.state.customers.count_changed,
            context.tenant,
            (await context.in_state(context.state.enrolments.progress, context.campaign)).position,
        )
        context.progress.begin("customers looked at", total, None)
        position: int | None = None
        while True:
            context.stop.check()
            decisions, left_out, position, number = await context.in_state(
                self._look_at_changed, rules, position
            )
            context.tally.skip(SkipReason.BEFORE_SINCE, left_out)
            self._count_decisions(decisions)
            context.progress.advance(number)
            if not number:
                break
        for _ in range(ROUNDS):
            last, looked = -1, 0
            while True:
                context.stop.check()
                decisions, last, number = await context.in_state(self._look_again, rules, last)
                self._count_decisions(decisions)
                looked += number
                if not number:
                    break
            if not looked:
                break
        context.progress.end()

    def _look_at_changed(
        self, rules: EnrolmentRules, position: int | None
    ) -> tuple[list[Decision], int, int, int]:
        """Judge the next customers that changed, in one transaction with how far that is.

        With ``since`` the place is not kept: those left out are still to be looked at.
        """
        context, since = self.context, self.context.options.since
        with context.state.enrolments.looking(context.held.lease, context.tenant) as sql:
            start = stored_progress(sql, context.campaign) if position is None else position
            ids, reached = changed_since(sql, context.tenant, start, CHUNK)
            decisions, left_out = self._judge(sql, rules, ids, since)
            if since is None:
                move_on(sql, context.campaign, reached)
        return decisions, left_out, reached, len(ids)

    def _look_again(self, rules: EnrolmentRules, last: int) -> tuple[list[Decision], int, int]:
        """Judge the next customers that something else made due. Who is made due by another's
        decision in here comes in a later round."""
        context = self.context
        with context.state.enrolments.looking(context.held.lease, context.tenant) as sql:
            ids = to_recheck(sql, context.campaign, last, CHUNK)
            decisions, _ = self._judge(sql, rules, ids, None)
        return decisions, ids[-1] if ids else last, len(ids)

    def _judge(
        self, sql: Transaction, rules: EnrolmentRules, ids: Sequence[CustomerId], since: date | None
    ) -> tuple[list[Decision], int]:
        context = self.context
        known = known_customers(sql, context.tenant, ids)
        order = [customer_id for customer_id in ids if customer_id in known]
        wanted = order
        if since is not None:
            wanted = [c for c in order if _day(known[c].customer.created_on) >= since]
        verdicts = self._verdicts(sql, rules, {c: known[c] for c in wanted})
        rows = enrolments_of(sql, context.campaign, wanted)
        around = self._surroundings(sql, wanted, rows, verdicts)
        decisions: list[Decision] = []
        result: dict[CustomerId, Enrolment] = {}
        for customer_id in wanted:
            made = decide(
                known[customer_id], rows.get(customer_id), verdicts[customer_id], rules, around
            )
            for row in (made.row, *made.given_up):
                rows[row.customer_id] = result[row.customer_id] = row
            decisions.append(made)
        save_enrolments(sql, context.campaign, context.tenant, list(result.values()), context.now())
        self._remember_failures(sql, decisions)
        mark_recheck(sql, context.campaign, [c for made in decisions for c in made.look_again])
        freed = [m.freed for m in decisions if m.freed and m.freed not in around.holders]
        mark_sharers(sql, context.campaign, context.tenant, freed)
        return decisions, len(order) - len(wanted)

    def _verdicts(
        self, sql: Transaction, rules: EnrolmentRules, known: dict[CustomerId, KnownCustomer]
    ) -> dict[CustomerId, Verdict]:
        def asked(keys: set[str]) -> set[str]:
            return suppressed(sql, self.context.tenant, keys) if self.obeys_suppressions else set()

        keys = {email_key(contact.value) for one in known.values() for contact in one.contacts} - {
            ""
        }
        never = asked(keys)
        found = {c: draft(one, rules, never) for c, one in known.items()}
        # An address that was mapped from elsewhere than the contacts is asked for as well.
        others = {v.key for v in found.values() if isinstance(v, Draft)} - keys
        if others and (more := asked(others)):
            found = {c: draft(one, rules, never | more) for c, one in known.items()}
        return found

    def _surroundings(
        self,
        sql: Transaction,
        ids: Sequence[CustomerId],
        rows: dict[CustomerId, Enrolment],
        verdicts: dict[CustomerId, Verdict],
    ) -> Surroundings:
        campaign, tenant = self.context.campaign, self.context.tenant
        keys = {v.key for v in verdicts.values() if isinstance(v, Draft)}
        keys |= {row.email_key for row in rows.values() if row.email_key}
        people = people_by_email(sql, self.campaign.id, sorted(keys))
        merged = merged_referrers(sql, campaign, tenant, ids)
        users: set[UserId] = {person.id for person in people.values()}
        users |= {row.user_id for row in rows.values() if row.user_id is not None}
        users |= {r.user_id for one in merged.values() for r in one if r.user_id is not None}
        return Surroundings(
            holders=holders(sql, campaign, sorted(keys)),
            bound=bound_users(sql, campaign, sorted(users)),
            people_by_key=people,
            people_by_id=people_by_id(sql, sorted(users)),
            merged_into=merged,
            parked=self._parked,
        )

    def _remember_failures(self, sql: Transaction, decisions: Sequence[Decision]) -> None:
        context = self.context
        for made in decisions:
            customer_id, row = made.row.customer_id, made.row
            is_open = row.state is EnrolmentState.PLANNED or row.update_due
            if made.failure is not None:
                self._parked[customer_id] = made.failure_of
                self._failing.add(customer_id)
                record_failure(
                    sql, context, KIND, made.failure, made.failure_of, FailureState.PARKED
                )
            elif customer_id in self._failing and not made.is_parked and not is_open:
                clear_failure(sql, campaign=context.campaign, kind=KIND, record=str(customer_id))
                self._failing.discard(customer_id)
                self._parked.pop(customer_id, None)

    def _count_decisions(self, decisions: Sequence[Decision]) -> None:
        tally = self.context.tally
        for made in decisions:
            record = str(made.row.customer_id)
            if made.count is not None:
                tally.add(made.count)
                self._touched += 1
                tally.intend(record, "link", "is in the campaign already")
            if made.failure is not None:
                self._touched += 1
                tally.fail(made.failure)

    # Brakes

    async def _brake(self) -> tuple[int, int]:
        """How many referrers may be made and changed; nothing has been written to either system."""
        context, options = self.context, self.context.options
        counts = await context.in_state(context.state.enrolments.counts, context.campaign)
        creates = sum(n for (state, _), n in counts.items() if state is EnrolmentState.PLANNED)
        updates = await context.in_state(context.state.enrolments.count_updates, context.campaign)
        if creates and (waits := self._why_nobody_is_enrolled()):
            context.tally.notes.append(
                f"{waits}, so nobody is enrolled; customers that wait: {creates}"
            )
            creates = 0
        if options.limit is not None:
            updates = min(updates, options.limit)
            creates = min(creates, options.limit - updates)
        allowed = self.settings.limits.max_creates
        if allowed is not None and creates > allowed and not options.allow_mass_change:
            raise SafetyStop(
                f"this pass would enrol {creates} customers; sync.limits.max_creates allows "
                f"{allowed}, so none was enrolled",
                "Look at the plan with --dry-run. If it is right, run once with "
                "--allow-mass-change.",
            )
        referrers = sum(n for (state, _), n in counts.items() if state in REFERRERS)
        if updates > max(FEW_UPDATES, referrers // 2) and not options.allow_mass_change:
            raise SafetyStop(
                f"this pass would change {updates} of {referrers} referrers, which is more than "
                "half of them, so none was changed",
                "A changed mapping does that, or a mistake in ServiceTitan. Look at the plan with "
                "--dry-run. If it is right, run once with --allow-mass-change.",
            )
        return creates, updates

    def _why_nobody_is_enrolled(self) -> str:
        campaign = self.campaign
        if campaign.status and campaign.status != "launched":
            return f"the campaign {campaign.code} is {campaign.status}"
        try:
            ended = campaign.ends_at and date.fromisoformat(campaign.ends_at[:10])
        except ValueError:
            ended = None
        if ended and ended < _day(self.context.now()):
            return f"the campaign {campaign.code} has ended"
        return ""

    # Writing

    async def _plan(self, creates: int, updates: int) -> None:
        """What a dry run says instead of writing."""
        context, enrolments = self.context, self.context.state.enrolments
        context.tally.add(Count.CREATED, creates)
        context.tally.add(Count.UPDATED, updates)
        self._touched += updates
        for row in await context.in_state(enrolments.to_update, context.campaign, -1, updates):
            context.tally.intend(str(row.customer_id), "update")
        if creates:
            planned = await context.in_state(
                enrolments.in_state,
                context.campaign,
                EnrolmentState.PLANNED,
                -1,
                min(creates, 1000),
            )
            for row in planned:
                name = row.sent.get("first_name", "")
                context.tally.intend(str(row.customer_id), "create", f"as {name}")

    async def _write(self, rules: EnrolmentRules, creates: int, updates: int) -> None:
        per_second = self.context.rates.referral_factory
        if updates:
            self.context.progress.begin("referrers updated", updates, per_second)
            await self._send(self._batches(rules, updates, for_updates=True))
            self.context.progress.end()
        if creates:
            self.context.progress.begin("customers enrolled", creates, per_second)
            await self._send(self._batches(rules, creates, for_updates=False))
            self.context.progress.end()

    async def _batches(
        self, rules: EnrolmentRules, number: int, *, for_updates: bool
    ) -> AsyncIterator[Sequence[Write]]:
        """What is to be written, batch by batch, each committed before it is handed out."""
        after, left = -1, number
        while left > 0:
            self.context.held.check()
            after, seen, writes = await self.context.in_state(
                self._take, rules, after, min(BATCH, left), for_updates=for_updates
            )
            if not seen:
                return
            left -= len(writes)
            if writes:
                yield writes

    def _take(
        self, rules: EnrolmentRules, after: int, number: int, *, for_updates: bool
    ) -> tuple[int, int, list[Write]]:
        """The next rows, judged on what is known now. Who is no longer to be written is left to the
        next look; the others' intent is committed."""
        context, enrolments = self.context, self.context.state.enrolments
        with enrolments.looking(context.held.lease, context.tenant) as sql:
            if for_updates:
                rows = enrolments.to_update(context.campaign, after, number)
            else:
                rows = enrolments.in_state(context.campaign, EnrolmentState.PLANNED, after, number)
            ids = [row.customer_id for row in rows]
            verdicts = self._verdicts(sql, rules, known_customers(sql, context.tenant, ids))
            keys = [v.key for v in verdicts.values() if isinstance(v, Draft)]
            owners = holders(sql, context.campaign, keys)
            writes: list[Write] = []
            stale: list[CustomerId] = []
            for row in rows:
                verdict = verdicts.get(row.customer_id)
                if isinstance(verdict, Draft) and (
                    owners.get(verdict.key, row.customer_id if for_updates else None)
                    == row.customer_id
                ):
                    changed = changes(row, verdict) if for_updates else {}
                    writes.append(Write(row, verdict, changed))
                else:
                    stale.append(row.customer_id)
            mark_recheck(sql, context.campaign, stale)
            if not for_updates:
                settle(sql, context.campaign, [_intent(write) for write in writes], context.now())
        return ids[-1] if ids else after, len(ids), writes

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
        except NoAnswer as error:
            self._silent += 1
            if self._silent >= SILENT_WRITES_THAT_STOP:
                raise
            if write.row.is_referrer:
                return _failed(write, error.message, error.trace_id, FailureState.TRANSIENT)
            return Outcome(write, is_open=True)
        self._silent = 0
        return outcome

    async def _create(self, write: Write) -> Outcome:
        try:
            person = await self.context.referral.create_referrer(
                self.campaign.id, write.draft.values, welcome_mail=self.settings.welcome_mail
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
            meta: dict[str, str] = {}
            if any(name.startswith("meta.") for name in write.changed):
                meta = dict((await self.context.referral.user(str(user_id))).meta)
            person = await self.context.referral.update_user(user_id, write.changed, meta)
        except RecordNotFound:
            return Outcome(
                write, _settled(write, EnrolmentState.GONE, user_id), skip=SkipReason.GONE
            )
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
            mark = outcome.write.draft.fingerprint
            record_failure(sql, self.context, KIND, outcome.failure, mark, outcome.failure_state)
        elif outcome.count is not None or outcome.skip is not None:
            clear_failure(sql, campaign=self.context.campaign, kind=KIND, record=str(customer_id))

    def _count(self, outcome: Outcome) -> None:
        tally = self.context.tally
        if outcome.count is not None and outcome.count is not Count.UNCHANGED:
            tally.add(outcome.count)
            self._touched += 1
        if outcome.failure is not None:
            tally.fail(outcome.failure)
            is_in_doubt = outcome.settled is None and not outcome.write.row.is_referrer
            self._touched += not is_in_doubt

    # The end

    async def _count_the_others(self) -> None:
        """Everybody else: referrers left as they were, and customers who are none, by reason."""
        context = self.context
        counts = await context.in_state(context.state.enrolments.counts, context.campaign)
        stay = 0
        for (state, reason), number in counts.items():
            if reason:
                context.tally.skip(SkipReason(reason), number)
            elif state in (*REFERRERS, EnrolmentState.REFUSED):
                stay += number
        # Where an update counts as one, its referrer is not left as it was.
        context.tally.add(Count.UNCHANGED, max(stay - self._touched, 0))

    async def _is_complete(self) -> bool:
        """Whether everybody known has been treated, so that an import has been done."""
        context = self.context
        if context.options.dry_run or context.options.since is not None:
            return False
        counts = await context.in_state(context.state.enrolments.counts, context.campaign)
        open_states = (EnrolmentState.PLANNED, EnrolmentState.INTENT)
        return not any(state in open_states for state, _ in counts)


def _day(at: datetime) -> date:
    return at.astimezone(UTC).date()


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


def _unsent(write: Write) -> Outcome:
    """Nothing was sent: planned again, or still due."""
    if write.row.is_referrer:
        return Outcome(write)
    return Outcome(write, _settled(write, EnrolmentState.PLANNED, None))


def _failed(write: Write, reason: str, trace_id: str, state: FailureState) -> Outcome:
    """Refused or not answered. A refused update is not due any more until something changes."""
    settled = None
    if write.row.is_referrer and state is FailureState.PARKED:
        row = write.row
        settled = Settled(row.customer_id, row.state, row.email_key, row.user_id, row.sent)
    return Outcome(
        write,
        settled,
        failure=Failure(str(write.row.customer_id), reason, trace_id),
        failure_state=state,
    )
