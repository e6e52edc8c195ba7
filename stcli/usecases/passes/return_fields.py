"""Referral links and counts go back to the customers' custom fields, where they changed.

ServiceTitan's documents do not say that the custom fields which a PATCH leaves out stay as they are.
So the first write on a tenant is watched: the customer is read before and after it. If another field
changed, it is put back and nothing more is written. A customer without other fields proves nothing;
then the first one that has some is watched too.
"""

from __future__ import annotations

import logging
from collections.abc import AsyncIterator, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import NoReturn

from stcli.domain.enrolment import Enrolment, KnownCustomer, may_not_be_told
from stcli.domain.enrolment_plan import fingerprint
from stcli.domain.ids import CustomerId
from stcli.domain.mapping.rules import Rule
from stcli.domain.outcome import Count, Failure
from stcli.domain.records import Customer
from stcli.domain.return_fields import (
    ReturnField,
    is_same,
    to_write,
    wanted_values,
)
from stcli.errors import (
    ApiError,
    ConfigurationError,
    NoAnswer,
    RecordNotFound,
    RecordRejected,
    SafetyStop,
)
from stcli.store.canaries import Canary, CanaryState
from stcli.store.customers import known_customers, suppressed
from stcli.store.failures import FailureState, clear_failure
from stcli.store.people import people_by_id
from stcli.usecases.campaign_lookup import find_campaign
from stcli.usecases.passes.context import PassContext
from stcli.usecases.passes.custom_fields import return_fields
from stcli.usecases.passes.failing import record_failure
from stcli.usecases.passes.feeds import customers_up_to_date, suppressions_up_to_date
from stcli.usecases.passes.pipeline import BATCH, Pipeline
from stcli.usecases.passes.silence import Silence

KIND = "return"
_ASK_SUPPORT = (
    "Ask ServiceTitan's support about PATCH customers and customFields; leave return_fields out until "
    "then."
)

log = logging.getLogger("stcli.passes")


@dataclass(frozen=True, slots=True)
class WriteBack:
    """What one customer is to be told. ``returned``: all that it will have been told then."""

    row: Enrolment
    values: Mapping[int, str]
    returned: Mapping[int, str]
    other_fields: frozenset[int] = frozenset()
    written: Customer | None = None
    """The customer as it is, where one of the values was written and watched already."""
    watched: frozenset[int] = frozenset()
    """The field of that value."""


@dataclass(frozen=True, slots=True)
class Outcome:
    write: WriteBack
    customer: Customer | None = None
    failure: Failure | None = None
    failure_state: FailureState = FailureState.PARKED


async def run_return(context: PassContext) -> None:
    """The ``return`` pass."""
    settings = context.config.sync
    if settings is None or not settings.return_fields:
        raise ConfigurationError(
            f"{context.campaign} has no return fields",
            f"Set them up with: stcli sync setup {context.campaign}",
        )
    await _ReturnPass(context, settings.return_fields).run()


class _ReturnPass:
    """One pass; the methods are its steps, in order."""

    def __init__(self, context: PassContext, rules: Mapping[str, Rule]) -> None:
        self.context = context
        self.rules = rules
        self.obeys_suppressions = context.config.consent.suppressions == "obey"
        self.fields: Sequence[ReturnField] = ()
        self.canary: Canary | None = None
        self._silence = Silence()

    async def run(self) -> None:
        context, enrolments = self.context, self.context.state.enrolments
        campaign = await find_campaign(context.referral, context.config)
        await context.in_state(
            enrolments.begin, context.held.lease, context.campaign, context.tenant, campaign.id
        )
        rule = fingerprint(sorted((name, repr(rule)) for name, rule in self.rules.items()))
        progress = await context.in_state(enrolments.progress, context.campaign)
        is_new = progress.return_rule != rule
        # A changed rule writes to everybody, also to those of whom no news would have come: who has
        # unsubscribed since the list was read in full is left alone.
        await context.people.refresh(completely=is_new and bool(progress.return_rule))
        await self._make_failed_due()
        due = await context.in_state(enrolments.count_returns, context.campaign)
        if is_new or due:
            self.fields = return_fields(
                self.rules, await context.crm.custom_fields(), "sync.return_fields"
            )
        if is_new:
            await context.in_state(
                enrolments.apply_return_rule,
                context.held.lease,
                context.campaign,
                rule,
            )
            due = await context.in_state(enrolments.count_returns, context.campaign)
        total = await context.in_state(enrolments.count_referrers, context.campaign)
        context.tally.add(Count.UNCHANGED, total - due)
        self.canary = await self._stored_canary()
        if self.canary is not None and not context.options.dry_run:
            # Also where nothing is to be written: somebody's fields may wait to be put back.
            with context.locks.hold(f"{context.tenant} canary", KIND):
                self.canary = await self._stored_canary()
                await self._recover_canary()
        if not due:
            return
        await self._read()
        context.progress.begin("customers written back", due, context.rates.servicetitan)
        if context.options.dry_run:
            await self._plan()
        else:
            await self._send()
        context.progress.end()

    async def _read(self) -> None:
        """What the customers wish now: a one-time sync does not look again by itself."""
        await customers_up_to_date(self.context)
        if self.obeys_suppressions:
            await suppressions_up_to_date(self.context)

    async def _stored_canary(self) -> Canary | None:
        context = self.context
        return await context.in_state(context.state.canaries.of, context.tenant)

    async def _make_failed_due(self) -> None:
        context = self.context
        failures = await context.in_state(context.state.failures.of, context.campaign, KIND)
        again = [CustomerId(int(f.record)) for f in failures if f.state is FailureState.TRANSIENT]
        await context.in_state(
            context.state.enrolments.make_return_due, context.held.lease, context.campaign, again
        )

    # Which values

    async def _batches(self) -> AsyncIterator[Sequence[WriteBack]]:
        """What is to be written, batch by batch; what needs no writing is settled at once."""
        context, after = self.context, -1
        left = context.options.limit
        while left is None or left > 0:
            context.stop.check()
            rows = await context.in_state(
                context.state.enrolments.to_return, context.campaign, after, BATCH
            )
            if not rows:
                return
            after = rows[-1].customer_id
            writes = await context.in_state(self._compared, rows)
            needed = [write for write in writes if write.values]
            if left is not None:
                needed = needed[:left]
                left -= len(needed)
            settled = [write for write in writes if not write.values]
            context.tally.add(Count.UNCHANGED, len(settled))
            context.progress.advance(len(settled))
            await context.in_state(self._mark, settled)
            if needed:
                yield needed

    def _compared(self, rows: Sequence[Enrolment]) -> list[WriteBack]:
        context = self.context
        with context.state.database.read() as sql:
            known = known_customers(sql, context.tenant, [row.customer_id for row in rows])
            users = [row.user_id for row in rows if row.user_id is not None]
            people = people_by_id(sql, users)
            never: set[str] = set()
            if self.obeys_suppressions:
                never = suppressed(sql, context.tenant, [row.email_key for row in rows])
        found: list[WriteBack] = []
        for row in rows:
            person = None if row.user_id is None else people.get(row.user_id)
            customer = known.get(row.customer_id)
            if person is None or customer is None or person.unsubscribed_at is not None:
                found.append(WriteBack(row, {}, row.returned))
                continue
            if may_not_be_told(customer, row.email_key, never):
                # Left due: the next look tells why, and who comes back is told then.
                continue
            wanted = wanted_values(person, self.fields)
            values = to_write(wanted, row.returned, customer.customer.custom_fields, self.fields)
            found.append(
                WriteBack(row, values, {**row.returned, **wanted}, self._others(customer, values))
            )
        return found

    @staticmethod
    def _others(known: KnownCustomer, values: Mapping[int, str]) -> frozenset[int]:
        """Fields that stand there and are not to be written: ours of an earlier time too."""
        return frozenset(known.customer.custom_fields) - frozenset(values)

    async def _plan(self) -> None:
        async for batch in self._batches():
            for write in batch:
                self.context.tally.add(Count.UPDATED)
                self.context.tally.intend(str(write.row.customer_id), "write back")

    # The watched write

    async def _watched(
        self, batches: AsyncIterator[Sequence[WriteBack]]
    ) -> AsyncIterator[Sequence[WriteBack]]:
        """The batches, after the first write that proves something was watched."""
        async for batch in batches:
            left = list(batch)
            while (candidate := self._candidate(left)) is not None:
                at = left.index(candidate)
                # One campaign of the tenant at a time: another's unfinished write proves nothing.
                with self.context.locks.hold(f"{self.context.tenant} canary", KIND):
                    self.canary = await self._stored_canary()
                    await self._recover_canary()
                    if self._candidate(left) is not candidate:
                        # Another campaign of the tenant has looked meanwhile.
                        continue
                    watched = await self._watch(candidate)
                if isinstance(watched, Outcome):
                    del left[at]
                    await self._take_in([watched])
                else:
                    left[at] = watched
            if left:
                yield left

    def _candidate(self, batch: Sequence[WriteBack]) -> WriteBack | None:
        """Whose write has to be watched: one with other fields, or, the very first time, anyone."""
        if self.canary is not None and self.canary.state is CanaryState.PASSED:
            return None
        with_others = next((w for w in batch if w.other_fields and w.written is None), None)
        return with_others or (batch[0] if batch and self.canary is None else None)

    async def _watch(self, write: WriteBack) -> WriteBack | Outcome:
        """Write one field and look; what is left to be written of this customer, or its refusal."""
        context, crm = self.context, self.context.crm
        customer_id, earlier = write.row.customer_id, self.canary
        field_id, value = next(iter(write.values.items()))
        try:
            before = await crm.customer(customer_id)
            await self._keep(
                Canary(CanaryState.BEGUN, customer_id, field_id, dict(before.custom_fields))
            )
            context.held.check()
            await crm.update_custom_fields(customer_id, {field_id: value})
        except (RecordRejected, RecordNotFound) as error:
            # Refused, so nothing was written: another customer has to be watched.
            await self._forget_canary(earlier)
            return _refused(write, error)
        except ApiError as error:
            if error.definite:
                await self._forget_canary(earlier)
            raise
        after = await crm.customer(customer_id)
        others = {key: text for key, text in before.custom_fields.items() if key != field_id}
        changed = [key for key, text in others.items() if after.custom_fields.get(key) != text]
        if changed:
            canary = Canary(CanaryState.FAILED, customer_id, field_id, {})
            await self._put_back(canary, {key: others[key] for key in changed}, after)
        data_type = next(f.field.data_type for f in self.fields if f.field.id == field_id)
        if not is_same(after.custom_fields.get(field_id, ""), value, data_type):
            await self._forget_canary(earlier)
            raise SafetyStop(
                f"ServiceTitan accepted a value for custom field {field_id} and did not keep it",
                "Look at the field in ServiceTitan: it may be read-only or of another type.",
            )
        state = CanaryState.PASSED if others else CanaryState.BLANK
        await self._keep(Canary(state, customer_id, field_id, {}))
        rest = {number: text for number, text in write.values.items() if number != field_id}
        return replace(write, values=rest, written=after, watched=frozenset({field_id}))

    async def _put_back(
        self, canary: Canary, values: Mapping[int, str], after: Customer
    ) -> NoReturn:
        """The write of one field changed others: put these values back beside what stands there
        now, and write nothing more. What is not back yet stays remembered for the next pass."""
        await self._keep(replace(canary, state=CanaryState.FAILED, before=values))
        try:
            restored = await self.context.crm.update_custom_fields(
                canary.customer_id, {**after.custom_fields, **values}
            )
            now = restored.custom_fields
        except ApiError as error:
            log.warning("custom fields were not put back: %s", error)
            now = after.custom_fields
        lost = {key: text for key, text in values.items() if now.get(key) != text}
        await self._keep(replace(canary, state=CanaryState.FAILED, before=lost))
        fate = (
            f"{_numbers(lost)} could not be put back, and the next pass tries again"
            if lost
            else "they were put back"
        )
        raise SafetyStop(
            f"writing custom field #{canary.field_id} of customer {canary.customer_id} changed "
            f"others ({_numbers(values)}); {fate}. Nothing more is written",
            f"Run again until they are back: stcli run {self.context.campaign}"
            if lost
            else _ASK_SUPPORT,
        )

    async def _recover_canary(self) -> None:
        """What an earlier watched write left behind."""
        canary = self.canary
        if canary is None or canary.state in (CanaryState.PASSED, CanaryState.BLANK):
            return
        try:
            after = await self.context.crm.customer(canary.customer_id)
        except RecordNotFound:
            # Nobody is left whose fields could be put back.
            after = None
        if canary.state is CanaryState.BEGUN:
            await self._finish_looking(canary, after)
            return
        if after is not None and (emptied := _emptied(canary, after)):
            await self._put_back(canary, emptied, after)
        if canary.before:
            await self._keep(replace(canary, before={}))
        raise SafetyStop(
            f"writing custom field #{canary.field_id} of customer {canary.customer_id} changed "
            "others when it was tried on this tenant, so nothing is written back",
            f"{_ASK_SUPPORT} Then forget the result with: stcli sync reset {self.context.campaign}",
        )

    async def _finish_looking(self, canary: Canary, after: Customer | None) -> None:
        """The process died before it could look, or even before the write. Fields that became empty
        are put back; whatever else is seen proves nothing, so a write will be watched anew."""
        if after is not None and (emptied := _emptied(canary, after)):
            await self._put_back(canary, emptied, after)
        await self._forget_canary(None)

    async def _forget_canary(self, before: Canary | None) -> None:
        self.canary = before
        canaries = self.context.state.canaries
        if before is None:
            await self.context.in_state(canaries.forget, self.context.tenant)
        else:
            await self._keep(before)

    async def _keep(self, canary: Canary) -> None:
        self.canary = canary
        context = self.context
        await context.in_state(context.state.canaries.save, context.tenant, canary, context.now())

    # Writing

    async def _send(self) -> None:
        context = self.context

        async def prepare(_: Sequence[WriteBack]) -> None:
            """Setting the same values twice is setting them once: no intent is needed."""

        await Pipeline[WriteBack, Outcome](
            stop=context.stop,
            prepare=prepare,
            send=self._patch,
            settle=self._take_in,
            unsent=Outcome,
            unknown=Outcome,
        ).run_batches(self._watched(self._batches()))

    async def _take_in(self, outcomes: Sequence[Outcome]) -> None:
        """Store and count what became of writes."""
        context = self.context
        await context.in_state(self._settle, outcomes)
        for outcome in outcomes:
            if outcome.failure is not None:
                context.tally.fail(outcome.failure)
            elif outcome.customer is not None:
                context.tally.add(Count.UPDATED)
        context.progress.advance(len(outcomes))

    async def _patch(self, write: WriteBack) -> Outcome:
        context, customer_id = self.context, write.row.customer_id
        context.held.check()
        if write.written is not None and not write.values:
            return Outcome(write, write.written)
        try:
            customer = await context.crm.update_custom_fields(customer_id, write.values)
        except NoAnswer as error:
            self._silence.met(error)
            failure = Failure(str(customer_id), error.message, error.trace_id)
            return Outcome(write, failure=failure, failure_state=FailureState.TRANSIENT)
        except (RecordRejected, RecordNotFound) as error:
            self._silence.ended()
            return _refused(write, error)
        self._silence.ended()
        return Outcome(write, customer)

    def _mark(self, writes: Sequence[WriteBack]) -> None:
        context = self.context
        context.state.enrolments.mark_return(
            context.held.lease,
            context.campaign,
            [(write.row, write.returned) for write in writes],
            context.now(),
        )

    def _settle(self, outcomes: Sequence[Outcome]) -> None:
        context = self.context
        for outcome in outcomes:
            if outcome.customer is not None:
                context.state.customers.save_own_write(
                    context.tenant,
                    outcome.customer,
                    outcome.write.watched.union(outcome.write.values),
                )
        done = [
            (o.write.row, o.write.returned if o.failure is None else o.write.row.returned)
            for o in outcomes
            if o.customer is not None
            or (o.failure is not None and o.failure_state is FailureState.PARKED)
        ]
        context.state.enrolments.mark_return(
            context.held.lease, context.campaign, done, context.now()
        )
        with context.state.database.write(context.held.lease) as sql:
            for outcome in outcomes:
                if outcome.failure is not None:
                    mark = fingerprint(sorted(outcome.write.values.items()))
                    record_failure(sql, context, KIND, outcome.failure, mark, outcome.failure_state)
                elif outcome.customer is not None:
                    record = str(outcome.write.row.customer_id)
                    clear_failure(sql, campaign=context.campaign, kind=KIND, record=record)


def _emptied(canary: Canary, after: Customer) -> dict[int, str]:
    """What stood beside the written field and is gone; somebody's newer value is left alone."""
    return {
        key: text
        for key, text in canary.before.items()
        if key != canary.field_id and not after.custom_fields.get(key)
    }


def _numbers(fields: Iterable[int]) -> str:
    return ", ".join(f"#{key}" for key in sorted(fields))


def _refused(write: WriteBack, error: ApiError) -> Outcome:
    failure = Failure(str(write.row.customer_id), error.message, error.trace_id)
    return Outcome(write, failure=failure)
