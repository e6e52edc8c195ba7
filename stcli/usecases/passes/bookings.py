"""Leads and referrers become bookings: exactly one for each person, whatever happens between.

Fetch, then plan, then apply. Before the first POST the tenant's bookings feed is brought up to date,
and a booking that already carries the person's external id is adopted. An intent is committed before
each POST. A POST whose answer does not tell whether it took effect is in doubt: it is looked for by
its external id, and asked for again only when it is still missing after the time in which an
unanswered write may take effect. Meanwhile the pass goes on with the others.
"""

from __future__ import annotations

import logging
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from datetime import date, datetime, timedelta

from stcli.domain.campaign import BookingTab, ExistingCustomers, Tab
from stcli.domain.eligibility import contact_keys, flagged, skip_reason
from stcli.domain.ids import BookingId, UserId
from stcli.domain.mapping.apply import (
    Options,
    Subject,
    Unmappable,
    draft_booking,
    fingerprint,
)
from stcli.domain.matching import email_key
from stcli.domain.outcome import Count, Failure, SkipReason
from stcli.domain.records import Booking, BookingDraft, Campaign, Person, PersonType
from stcli.errors import (
    NoAnswer,
    RecordNotFound,
    RecordRejected,
    RemoteGone,
    SafetyStop,
)
from stcli.store.failures import StoredFailure
from stcli.store.ledger import (
    Booked,
    Doubtful,
    Entry,
    Intent,
    LedgerScope,
    LedgerState,
    Refused,
    Settlement,
    Several,
    Withdrawn,
)
from stcli.usecases.campaign_lookup import find_campaign
from stcli.usecases.passes.context import PassContext
from stcli.usecases.passes.feeds import bookings_up_to_date, customers_up_to_date
from stcli.usecases.passes.options import resolve_options
from stcli.usecases.passes.pipeline import Pipeline
from stcli.usecases.passes.silence import Silence

log = logging.getLogger("stcli.passes")

FEED_MAY_LAG = timedelta(hours=1)
"""How far back the list is asked beside the feed. The vendor promises no time; polling every 5 to
10 minutes is what it advises."""

MARK_EVERY = 0.25
"""How often, in times of doubt, a pass that sends marks that it still does."""

PERSON_TYPES = {Tab.LEADS: PersonType.LEAD, Tab.REFERRERS: PersonType.REFERRER}


@dataclass(frozen=True, slots=True)
class Candidate:
    """A person who is to be booked, with what would be sent."""

    person: Person
    draft: BookingDraft
    fingerprint: str
    ignored: tuple[BookingId, ...] = ()


async def run_bookings(context: PassContext, tab: Tab) -> None:
    """The ``leads`` or the ``referrers`` pass."""
    campaign = await find_campaign(context.referral, context.config)
    scope = LedgerScope(context.campaign, tab.value, context.tenant, campaign.id)
    # Two local campaigns may be one in Referral Factory: their people are booked by one at a time,
    # and the second finds what the first has booked.
    with context.locks.hold(scope.lock, tab.value):
        await _BookingPass(context, tab, campaign, scope).run()


class _BookingPass:
    """One pass over one tab; the methods are its steps, in order."""

    def __init__(
        self, context: PassContext, tab: Tab, campaign: Campaign, scope: LedgerScope
    ) -> None:
        self.context = context
        self.settings: BookingTab = context.config.booking_tab(tab)
        self.scope = scope
        self.kind = PERSON_TYPES[tab]
        self.campaign = campaign
        self._failures: dict[str, StoredFailure] = {}
        self._options: Options | None = None
        self._referrers: dict[UserId, Person | None] = {}
        self._silence = Silence()
        self._asked: set[UserId] = set()
        self._marked_at: datetime | None = None

    async def run(self) -> None:
        context = self.context
        await context.people.refresh()
        if self.settings.existing_customers is not ExistingCustomers.SEND:
            await customers_up_to_date(context)
        ledger = context.state.ledger
        if self.kind is PersonType.LEAD:
            await context.in_state(
                ledger.watch_others, context.held.lease, self.scope, context.now()
            )
        several = await context.in_state(ledger.several_again, self.scope)
        done = await context.in_state(ledger.count_done, self.scope)
        context.tally.add(Count.UNCHANGED, done - len(several))
        context.tally.skip(
            SkipReason.BEFORE_SINCE,
            await context.in_state(ledger.count_present, self.scope),
        )
        self._failures = {
            failure.record: failure
            for failure in await context.in_state(
                context.state.failures.of, context.campaign, self.scope.tab
            )
        }
        await self._look_again(several)
        unfinished = await self._unfinished()
        candidates = await self._candidates()
        if not unfinished and not candidates:
            return
        await self._let_forgotten_requests_end()
        await bookings_up_to_date(context, await self._feed_start(unfinished, candidates))
        await self._list_recent()
        doubtful = await self._adopt_unfinished(unfinished)
        candidates = await self._adopt(candidates)
        expired, waiting = await self._look_up_expired(doubtful)
        candidates += await self._again(expired)
        self._brake(len(candidates))
        if context.options.dry_run:
            self._plan(candidates, waiting)
            return
        sent = await self._send(candidates)
        await self._resolve_doubts([*waiting, *sent])

    async def _let_forgotten_requests_end(self) -> None:
        """Where the state is older than the last request for a booking, because a copy was put back
        or it began anew, wait until that request can no longer take effect: nobody could say then
        that it is missing."""
        context = self.context
        if context.options.dry_run:
            return
        # The newest request came at most this share after the mark; it was listened to for the time
        # of doubt, and may take effect as long after that.
        longest = (2 + MARK_EVERY) * context.doubt_seconds
        left = [
            min((moment - context.now()).total_seconds() + longest, longest)
            for moment in await self._forgotten_since()
        ]
        seconds = max(left, default=0.0)
        if seconds <= 0:
            return
        log.warning(
            "the state is older than the last request for a booking; waiting %.0f s for that one",
            seconds,
        )
        context.tally.notes.append(
            "the state is older than the last request for a booking (a copy was put back, or it "
            f"began anew), so {seconds:.0f} s were waited until that one could take effect no more"
        )
        if await context.stop.wait(seconds):
            context.stop.check()

    async def _forgotten_since(self) -> list[datetime]:
        """When bookings may have been asked for last that the state does not know of."""
        context = self.context
        moments = []
        mark = await context.in_state(context.sent.last, context.tenant)
        if mark is not None and not await context.in_state(context.state.runs.knows, mark.run_id):
            moments.append(mark.at)
        began = await context.in_state(context.sent.history_began)
        return moments if began is None else [*moments, began]

    async def _list_recent(self) -> None:
        """What was booked lately, from the list: it knows what an export feed may show only later,
        such as the bookings of a pass whose database was just lost."""
        context = self.context
        recent = await context.crm.recent_bookings(context.now() - FEED_MAY_LAG)
        await context.in_state(context.state.feeds.save_listed, context.tenant, recent)

    async def _unfinished(self) -> list[Entry]:
        """Bookings asked for earlier without a definite end. An intent whose process died may have
        been sent at any moment until now, so its time of doubt starts now."""
        context = self.context
        entries = await context.in_state(context.state.ledger.unfinished, self.scope)
        now = context.now()
        orphans = [entry for entry in entries if entry.state is LedgerState.INTENT]
        # A clock that was set back must not make a doubt end in the far future.
        early = [e for e in entries if e.doubt_since is not None and e.doubt_since > now]
        await self._settle([Doubtful(entry.user_id, now) for entry in [*orphans, *early]])
        again = {entry.user_id for entry in [*orphans, *early]}
        return [
            replace(entry, state=LedgerState.IN_DOUBT, doubt_since=now)
            if entry.user_id in again
            else entry
            for entry in entries
        ]

    async def _look_again(self, entries: Sequence[Entry]) -> None:
        """Those who had several bookings, on request: the only one that is left is linked. None is
        asked for, also where the list shows none at all."""
        for entry in await self._found_meanwhile(entries):
            self.context.tally.fail(
                Failure(
                    entry.code,
                    "several bookings had its external id, and ServiceTitan shows none of them now; "
                    "say which counts with: stcli leads link",
                )
            )

    async def _candidates(self) -> list[Candidate]:
        """Everyone without a booking who is to get one; the others are counted with their reason."""
        context = self.context
        resends = {
            entry.user_id: entry.ignored
            for entry in await context.in_state(context.state.ledger.resends, self.scope)
        }
        chunks = context.state.people.without_booking(
            self.campaign.id, self.kind, self.scope.tenant, self.scope.tab
        )
        found: list[Candidate] = []
        while people := await context.in_state(next, chunks, None):
            context.stop.check()
            enrolled = await self._enrolled(people)
            for person in people:
                reason = skip_reason(person, self.settings, is_enrolled=person.id in enrolled)
                if reason is not None and person.id not in resends:
                    self._skip(person, reason)
                    continue
                candidate = await self._candidate(person)
                if candidate is not None:
                    found.append(replace(candidate, ignored=resends.get(person.id, ())))
        return found

    async def _enrolled(self, people: Sequence[Person]) -> set[UserId]:
        """Who of these is a referrer by the sync, or has a synced customer's address."""
        if self.kind is not PersonType.REFERRER:
            return set()
        context = self.context
        users, keys = await context.in_state(
            context.state.enrolments.enrolled_among,
            context.campaign,
            [person.id for person in people],
            [email_key(person.email) for person in people],
        )
        return {p.id for p in people if p.id in users or email_key(p.email) in keys}

    def _skip(self, person: Person, reason: SkipReason) -> None:
        self.context.tally.skip(reason)
        self.context.tally.intend(person.code, "skip", reason.value)

    async def _candidate(self, person: Person) -> Candidate | None:
        """What would be sent for a person; None when that was refused before or cannot be made, or
        when the person is a customer already and the tab leaves those out."""
        draft, is_customer = await self._draft(person)
        if is_customer and self.settings.existing_customers is ExistingCustomers.SKIP:
            self._skip(person, SkipReason.EXISTING_CUSTOMER)
            return None
        mark = self._mark(draft)
        if self._is_parked(person.code, mark):
            self.context.tally.add(Count.UNCHANGED)
            return None
        if isinstance(draft, Unmappable):
            await self._park(person, draft.reason, mark)
            return None
        return Candidate(person, draft, mark)

    async def _draft(self, person: Person) -> tuple[BookingDraft | Unmappable, bool]:
        """The booking that the mapping makes of a person, and whether it is for a customer."""
        subject = Subject(person, self.campaign, await self._referrer_of(person))
        draft = draft_booking(subject, self.settings.fields, await self._resolved_options())
        if (
            isinstance(draft, Unmappable)
            or self.settings.existing_customers is ExistingCustomers.SEND
        ):
            return draft, False
        context = self.context
        found = await context.in_state(
            context.state.customers.with_contact, context.tenant, contact_keys(draft)
        )
        if not found:
            return draft, False
        return flagged(draft, min(found.values())), True

    def _is_parked(self, code: str, mark: str) -> bool:
        """Whether just this was refused before and waits for a change or a person."""
        failure = self._failures.get(code)
        return failure is not None and failure.fingerprint == mark and failure.waits_for_a_change

    def _mark(self, draft: BookingDraft | Unmappable) -> str:
        """Tells one attempt from another: what one tenant refused, another one may take."""
        return f"{fingerprint(draft)} {self.scope.tenant}"

    async def _referrer_of(self, person: Person) -> Person | None:
        if person.referrer_id is None:
            return None
        if person.referrer_id not in self._referrers:
            self._referrers[person.referrer_id] = await self.context.in_state(
                self.context.state.people.get, person.referrer_id
            )
        return self._referrers[person.referrer_id]

    async def _resolved_options(self) -> Options:
        if self._options is None:
            self._options = await resolve_options(self.context.crm, self.settings.fields)
        return self._options

    async def _feed_start(
        self, unfinished: Sequence[Entry], candidates: Sequence[Candidate]
    ) -> date | None:
        """A day before the oldest of them joined; None, the beginning, where that is not known."""
        get = self.context.state.people.get
        people = [await self.context.in_state(get, entry.user_id) for entry in unfinished]
        joined = [
            None if person is None else person.signed_up_at
            for person in [*people, *(candidate.person for candidate in candidates)]
        ]
        known = [day for day in joined if day is not None]
        return min(known) - timedelta(days=1) if len(known) == len(joined) else None

    async def _adopt_unfinished(self, entries: Sequence[Entry]) -> list[Entry]:
        """Entries whose booking the feed shows are done; the others stay in doubt."""
        found = await self._known_bookings([entry.external_id for entry in entries])
        rest: list[Entry] = []
        for entry in entries:
            others = _without(found.get(entry.external_id, []), entry.ignored)
            if not await self._adopt_one(entry.user_id, entry.code, entry.external_id, others):
                rest.append(entry)
        return rest

    async def _adopt(self, candidates: Sequence[Candidate]) -> list[Candidate]:
        """Candidates who have a booking already are linked; the others are left to be booked."""
        found = await self._known_bookings([c.draft.external_id for c in candidates])
        repeated = {
            external_id
            for external_id, number in Counter(c.draft.external_id for c in candidates).items()
            if number > 1
        }
        rest: list[Candidate] = []
        for candidate in candidates:
            person, external_id = candidate.person, candidate.draft.external_id
            if external_id in repeated:
                await self._park(
                    person, "another person has the same external id", candidate.fingerprint
                )
                continue
            others = _without(found.get(external_id, []), candidate.ignored)
            if not await self._adopt_one(person.id, person.code, external_id, others):
                rest.append(candidate)
        return rest

    async def _known_bookings(self, external_ids: Sequence[str]) -> dict[str, list[Booking]]:
        return await self.context.in_state(
            self.context.state.feeds.bookings_with, self.context.tenant, external_ids
        )

    async def _adopt_one(
        self, user_id: UserId, code: str, external_id: str, bookings: Sequence[Booking]
    ) -> bool:
        """Link the one booking with this external id; report two; False where there is none."""
        tally = self.context.tally
        if not bookings:
            return False
        if len(bookings) > 1:
            found = Several(user_id, code, external_id, tuple(b.id for b in bookings))
            tally.fail(Failure(code, found.reason))
            await self._settle([found])
            return True
        booking = bookings[0]
        tally.add(Count.LINKED)
        tally.intend(code, "link", f"booking {booking.id} exists")
        await self._settle(
            [Booked(user_id, code, external_id, booking.id, booking.created_on, found=True)]
        )
        return True

    async def _look_up_expired(self, entries: Sequence[Entry]) -> tuple[list[Entry], list[Entry]]:
        """Ask for each doubt that is old enough; returns those certainly missing, and the young."""
        context = self.context
        expired: list[Entry] = []
        waiting: list[Entry] = []
        for entry in entries:
            context.stop.check()
            since = entry.doubt_since or context.now()
            if (context.now() - since).total_seconds() < context.doubt_seconds:
                waiting.append(entry)
                continue
            bookings = _without(await context.crm.find_bookings(entry.external_id), entry.ignored)
            if not await self._adopt_one(entry.user_id, entry.code, entry.external_id, bookings):
                # Certainly missing, so it was no write that counts.
                self._asked.discard(entry.user_id)
                expired.append(entry)
        return expired, waiting

    async def _again(self, entries: Sequence[Entry]) -> list[Candidate]:
        """Entries that certainly have no booking become candidates again, under the external id
        that was looked for, even if the mapping was changed since."""
        again: list[Candidate] = []
        for entry in entries:
            person = await self.context.in_state(self.context.state.people.get, entry.user_id)
            if person is None:
                continue
            draft, _ = await self._draft(person)
            if isinstance(draft, Unmappable):
                await self._park(person, draft.reason, self._mark(draft))
                continue
            draft = replace(draft, external_id=entry.external_id)
            again.append(Candidate(person, draft, self._mark(draft), entry.ignored))
        return again

    def _brake(self, number: int) -> None:
        """Refuse to go beyond ``limits: max_creates``; nothing has been written to either system."""
        options = self.context.options
        allowed = self.settings.limits.max_creates
        planned = number if options.limit is None else min(number, options.limit)
        if allowed is None or planned <= allowed or options.allow_mass_change:
            return
        raise SafetyStop(
            f"this pass would make {planned} bookings; {self.scope.tab}.limits.max_creates "
            f"allows {allowed}, so none was made",
            "Look at the plan with --dry-run. If it is right, run once with --allow-mass-change; "
            "if not, set since: in the campaign file.",
        )

    def _plan(self, candidates: Sequence[Candidate], waiting: Sequence[Entry]) -> None:
        tally = self.context.tally
        for candidate in self._limited(candidates):
            tally.add(Count.CREATED)
            tally.intend(candidate.person.code, "create")
        for entry in waiting:
            tally.add(Count.UNCHANGED)
            tally.intend(entry.code, "wait", "asked for; not yet certain whether it exists")

    def _limited(self, candidates: Sequence[Candidate]) -> Sequence[Candidate]:
        limit = self.context.options.limit
        return candidates if limit is None else candidates[:limit]

    async def _send(self, candidates: Sequence[Candidate]) -> list[Entry]:
        """Ask for the bookings; returns those that are in doubt now."""
        doubts: dict[UserId, Entry] = {}
        people = {candidate.person.id: candidate for candidate in candidates}

        async def settle(settlements: Sequence[Settlement]) -> None:
            await self._settle(settlements)
            for settlement in settlements:
                self._count(settlement)
                if isinstance(settlement, Doubtful):
                    candidate = people[settlement.user_id]
                    doubts[settlement.user_id] = Entry(
                        settlement.user_id,
                        candidate.person.code,
                        LedgerState.IN_DOUBT,
                        candidate.draft.external_id,
                        draft=candidate.fingerprint,
                        doubt_since=settlement.since,
                        ignored=candidate.ignored,
                    )

        pipeline = Pipeline[Candidate, Settlement](
            stop=self.context.stop,
            prepare=self._intend,
            send=self._post,
            settle=settle,
            unsent=lambda candidate: Withdrawn(candidate.person.id),
            unknown=lambda candidate: Doubtful(candidate.person.id, self.context.now()),
        )
        try:
            await pipeline.run(self._limited(candidates))
        except BaseException:
            self._count_doubts(doubts.values())
            raise
        return list(doubts.values())

    async def _intend(self, candidates: Sequence[Candidate]) -> None:
        context = self.context
        await context.in_state(
            context.state.ledger.intend,
            context.held.lease,
            self.scope,
            [
                Intent(c.person.id, c.person.code, c.draft.external_id, c.fingerprint, c.ignored)
                for c in candidates
            ],
            context.run_id,
            context.now(),
        )
        await self._mark_sending()

    async def _mark_sending(self) -> None:
        context, now = self.context, self.context.now()
        self._marked_at = now
        await context.in_state(context.sent.note, context.tenant, context.run_id, now)

    async def _post(self, candidate: Candidate) -> Settlement:
        person, draft = candidate.person, candidate.draft
        self.context.held.check()
        due = timedelta(seconds=MARK_EVERY * self.context.doubt_seconds)
        if self._marked_at is None or self.context.now() - self._marked_at >= due:
            # A batch may be held up for minutes where the server asked for a pause.
            await self._mark_sending()
        self._asked.add(person.id)
        try:
            booking = await self.context.crm.create_booking(draft)
        except NoAnswer as error:
            self._silence.met(error)
            return Doubtful(person.id, self.context.now())
        except RecordNotFound as error:
            raise RemoteGone(
                "ServiceTitan no longer knows this tenant or booking provider",
                f"Prove the values again: stcli finalize {self.context.campaign}",
                status=error.status,
                trace_id=error.trace_id,
            ) from error
        except RecordRejected as error:
            self._silence.ended()
            return Refused(
                person.id,
                person.code,
                error.message,
                error.trace_id,
                candidate.fingerprint,
                parked=True,
            )
        self._silence.ended()
        return Booked(
            person.id, person.code, draft.external_id, booking.id, booking.created_on, found=False
        )

    def _count(self, settlement: Settlement) -> None:
        match settlement:
            case Booked():
                self.context.tally.add(Count.CREATED)
            case Refused():
                self.context.tally.fail(
                    Failure(settlement.code, settlement.reason, settlement.trace_id)
                )
            case Doubtful() | Withdrawn():
                return

    async def _resolve_doubts(self, entries: Sequence[Entry]) -> None:
        """Wait until each doubt can be decided, then look once more and ask at most once again."""
        context = self.context
        if not entries:
            return
        left = await self._found_meanwhile(entries)
        if left:
            newest = max(entry.doubt_since or context.now() for entry in left)
            seconds = context.doubt_seconds - (context.now() - newest).total_seconds()
            if seconds > 0 and await context.stop.wait(seconds):
                self._count_doubts(left)
                context.stop.check()
            expired, waiting = await self._look_up_expired(left)
            candidates = await self._again(expired)
            allowed = candidates[: self._still_allowed(len(candidates))]
            beyond = {candidate.person.id for candidate in candidates[len(allowed) :]}
            left = [*waiting, *(entry for entry in expired if entry.user_id in beyond)]
            left = await self._found_meanwhile([*left, *(await self._send(allowed))])
        self._count_doubts(left)

    def _still_allowed(self, number: int) -> int:
        """How many of so many that certainly have no booking may be asked for once more: ``--limit``
        and ``max_creates`` bound all that this pass made, or may have made."""
        options, most = self.context.options, self.settings.limits.max_creates
        bounds = [options.limit, None if options.allow_mass_change else most]
        return min(
            [number, *(max(bound - len(self._asked), 0) for bound in bounds if bound is not None)]
        )

    async def _found_meanwhile(self, entries: Sequence[Entry]) -> list[Entry]:
        """Look once for each; found is certain at any time, missing only after the time of doubt."""
        left: list[Entry] = []
        for entry in entries:
            self.context.stop.check()
            bookings = _without(
                await self.context.crm.find_bookings(entry.external_id), entry.ignored
            )
            if not await self._adopt_one(entry.user_id, entry.code, entry.external_id, bookings):
                left.append(entry)
        return left

    def _count_doubts(self, entries: Iterable[Entry]) -> None:
        for entry in entries:
            self.context.tally.fail(
                Failure(
                    entry.code,
                    "in doubt: ServiceTitan did not say whether the booking was made; "
                    "the next pass looks for it",
                )
            )

    async def _park(self, person: Person, reason: str, mark: str) -> None:
        self.context.tally.fail(Failure(person.code, reason))
        await self._settle([Refused(person.id, person.code, reason, "", mark, parked=True)])

    async def _settle(self, settlements: Sequence[Settlement]) -> None:
        context = self.context
        if settlements:
            await context.in_state(
                context.state.ledger.settle,
                context.held.lease,
                self.scope,
                settlements,
                context.run_id,
                context.now(),
            )


def _without(bookings: Sequence[Booking], ignored: Sequence[BookingId]) -> list[Booking]:
    return [booking for booking in bookings if booking.id not in ignored]
