"""Looking at the customers of a tenant: who is to become a referrer, and who is to be changed.

Every customer that changed since the last look, or that something else made due, is judged, and what
is to become of it is stored in one transaction with how far was looked.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from datetime import date, timedelta

from stcli.domain.enrolment import Enrolment, EnrolmentState, KnownCustomer
from stcli.domain.enrolment_plan import (
    Decision,
    Draft,
    EnrolmentRules,
    Surroundings,
    Verdict,
    decide,
    draft,
)
from stcli.domain.ids import CustomerId, RfCampaignId, UserId
from stcli.domain.matching import email_key
from stcli.domain.outcome import SkipReason
from stcli.store.customers import changed_since, known_customers, suppressed
from stcli.store.enrolments import (
    asked_since,
    bound_users,
    enrolments_of,
    holders,
    mark_recheck,
    mark_sharers,
    merged_referrers,
    move_on,
    release,
    save_enrolments,
    stored_progress,
    to_recheck,
)
from stcli.store.failures import FailureState, clear_failure
from stcli.store.people import people_by_email, people_by_id
from stcli.store.transaction import Transaction
from stcli.usecases.passes.context import PassContext
from stcli.usecases.passes.failing import record_failure

KIND = "sync"
CHUNK = 500
"""How many customers are judged in one transaction."""

ROUNDS = 10
"""How often decisions may make others due within a pass: a chain of mergers so long is none."""


class Look:
    """One look at a tenant's customers, for one campaign."""

    def __init__(
        self,
        context: PassContext,
        rf_campaign: RfCampaignId,
        rules: EnrolmentRules,
        *,
        obeys_suppressions: bool,
    ) -> None:
        self.context = context
        self.rf_campaign = rf_campaign
        self.rules = rules
        self.obeys_suppressions = obeys_suppressions
        self._parked: dict[CustomerId, str] = {}
        self._failing: set[CustomerId] = set()

    async def run(self) -> None:
        """Judge whoever is due, until nobody is."""
        await self._make_due()
        await self._look_at_all_changed()
        await self._look_again_at_all()

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
            self.rf_campaign,
            again,
        )

    async def _look_at_all_changed(self) -> None:
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
                self._look_at_changed, position
            )
            context.tally.skip(SkipReason.BEFORE_SINCE, left_out)
            self._count(decisions)
            context.progress.advance(number)
            if not number:
                break
        context.progress.end()

    async def _look_again_at_all(self) -> None:
        context = self.context
        for _ in range(ROUNDS):
            last, looked = -1, 0
            while True:
                context.stop.check()
                decisions, last, number = await context.in_state(self._look_again, last)
                self._count(decisions)
                looked += number
                if not number:
                    break
            if not looked:
                break

    def _look_at_changed(self, position: int | None) -> tuple[list[Decision], int, int, int]:
        """Judge the next customers that changed, in one transaction with how far that is.

        With ``since`` the place is not kept: those left out are still to be looked at.
        """
        context, since = self.context, self.context.options.since
        with context.state.enrolments.looking(context.held.lease, context.tenant) as sql:
            start = stored_progress(sql, context.campaign) if position is None else position
            ids, reached = changed_since(sql, context.tenant, start, CHUNK)
            decisions, left_out = self._judge(sql, ids, since)
            if since is None:
                move_on(sql, context.campaign, reached)
        return decisions, left_out, reached, len(ids)

    def _look_again(self, last: int) -> tuple[list[Decision], int, int]:
        """Judge the next customers that something else made due. Who is made due by another's
        decision in here comes in a later round."""
        context = self.context
        with context.state.enrolments.looking(context.held.lease, context.tenant) as sql:
            ids = to_recheck(sql, context.campaign, last, CHUNK)
            decisions, _ = self._judge(sql, ids, None)
        return decisions, ids[-1] if ids else last, len(ids)

    def _judge(
        self, sql: Transaction, ids: Sequence[CustomerId], since: date | None
    ) -> tuple[list[Decision], int]:
        context = self.context
        known = known_customers(sql, context.tenant, ids)
        order = [customer_id for customer_id in ids if customer_id in known]
        wanted = order
        if since is not None:
            wanted = [c for c in order if known[c].created_day >= since]
        verdicts = self.verdicts(sql, {c: known[c] for c in wanted})
        stored = enrolments_of(sql, context.campaign, order)
        rows = {c: stored[c] for c in wanted if c in stored}
        # Those whose state is known already are counted by it.
        left_out = sum(c not in stored for c in order) - sum(c not in stored for c in wanted)
        around = self._surroundings(sql, wanted, rows, verdicts)
        before = dict(rows)
        decisions: list[Decision] = []
        result: dict[CustomerId, Enrolment] = {}
        for customer_id in wanted:
            made = decide(
                known[customer_id], rows.get(customer_id), verdicts[customer_id], self.rules, around
            )
            for row in (made.row, *made.given_up):
                rows[row.customer_id] = result[row.customer_id] = row
            decisions.append(made)
        given_up = {row.customer_id for made in decisions for row in made.given_up}
        changed = {c for c, row in before.items() if _holdings(row) != _holdings(result[c])}
        release(sql, context.campaign, given_up | changed)
        save_enrolments(sql, context.campaign, context.tenant, list(result.values()), context.now())
        self._remember_failures(sql, decisions)
        mark_recheck(sql, context.campaign, [c for made in decisions for c in made.look_again])
        freed = [m.freed for m in decisions if m.freed and m.freed not in around.holders]
        mark_sharers(sql, context.campaign, context.tenant, freed)
        return decisions, left_out

    def verdicts(
        self, sql: Transaction, known: dict[CustomerId, KnownCustomer]
    ) -> dict[CustomerId, Verdict]:
        """What each of these would be enrolled with, or why not, on what is known in ``sql``."""
        keys = {email_key(contact.value) for one in known.values() for contact in one.contacts}
        never = self._suppressed(sql, keys)
        found = {c: draft(one, self.rules, never) for c, one in known.items()}
        # An address that was mapped from elsewhere than the contacts is asked for as well.
        others = {v.key for v in found.values() if isinstance(v, Draft)} - keys
        if others and (more := self._suppressed(sql, others)):
            found = {c: draft(one, self.rules, never | more) for c, one in known.items()}
        return found

    def _suppressed(self, sql: Transaction, keys: Collection[str]) -> set[str]:
        return suppressed(sql, self.context.tenant, keys) if self.obeys_suppressions else set()

    def _surroundings(
        self,
        sql: Transaction,
        ids: Sequence[CustomerId],
        rows: dict[CustomerId, Enrolment],
        verdicts: dict[CustomerId, Verdict],
    ) -> Surroundings:
        campaign, tenant = self.context.campaign, self.context.tenant
        doubt_seconds = self.context.doubt_seconds
        keys = {v.key for v in verdicts.values() if isinstance(v, Draft)}
        keys |= {row.email_key for row in rows.values() if row.email_key}
        people = people_by_email(sql, self.rf_campaign, sorted(keys))
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
            suppressed=self._suppressed(
                sql, {row.email_key for row in rows.values() if row.email_key}
            ),
            in_doubt=asked_since(
                sql, campaign, ids, self.context.now() - timedelta(seconds=doubt_seconds)
            ),
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

    def _count(self, decisions: Sequence[Decision]) -> None:
        tally = self.context.tally
        for made in decisions:
            record = str(made.row.customer_id)
            if made.count is not None:
                tally.add(made.count)
                tally.intend(record, "link", "is in the campaign already")
            if made.failure is not None:
                tally.fail(made.failure)


def _holdings(row: Enrolment) -> tuple[str, UserId | None]:
    """What nobody else of the campaign can have."""
    return row.email_key, row.user_id
