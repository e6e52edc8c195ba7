"""Random histories of several customers, their office, Referral Factory and passes that look, write
and get lost answers: what must hold after every step.

Beside ``decide`` stands a model that is simple because it knows everything: who may be a referrer,
who is in the campaign, and who waits for whom.
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import replace
from datetime import date
from random import Random
from typing import Any

from hypothesis import note, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule

from stcli.domain.enrolment import Enrolment, EnrolmentState, Filter, KnownCustomer
from stcli.domain.enrolment_plan import Decision, Draft, Surroundings, decide, draft
from stcli.domain.ids import CustomerId, UserId
from stcli.domain.matching import email_key
from stcli.domain.outcome import Count, SkipReason
from stcli.domain.records import Person
from tests.unit.domain.customers import contact, customer, person, rules

S = EnrolmentState
NUMBERS = tuple(CustomerId(number) for number in range(1, 5))
ADDRESSES = (
    "a@example.com",
    "A@example.com",
    "b@example.com",
    "c@example.com",
    "d@example.com",
    "none",
)
RULES = rules(wanted=Filter(customer_type="Residential"))
DAY = date(2026, 11, 23)

IN_ORDER: dict[str, Any] = {
    "name": "Lovelace, Ada",
    "active": True,
    "merged_to_id": None,
    "do_not_mail": False,
    "do_not_service": False,
    "type": "Residential",
}
EDITS: tuple[dict[str, Any], ...] = (
    IN_ORDER,
    IN_ORDER | {"name": "King, Grace"},
    IN_ORDER | {"type": "Commercial"},
    {"name": "King, Mary"},
    {"do_not_mail": True},
    {"name": ","},
    {"type": "Commercial"},
    {"do_not_service": True},
    {"active": False},
    {"name": ""},
)
FATES = ("made", "made", "made and lost", "lost", "refused", "deleted", "not sent")

ACTS = ("joins", "joins", "unsubscribes", "moves", "is suppressed or no longer")


def wish(one: KnownCustomer, suppressed: set[str]) -> str:
    """Whom the model lets in: the address key of somebody who may be written to, else blank."""
    about = one.customer
    if not about.active or about.merged_to_id or not about.name.strip():
        return ""
    if about.do_not_mail or about.do_not_service:
        return ""
    good = [
        c.value.lower()
        for c in sorted(one.contacts, key=lambda c: c.id)
        if c.active and c.marketing and "@" in c.value and c.value.lower() not in suppressed
    ]
    return good[0] if good else ""


class History(RuleBasedStateMachine):
    """One campaign of one tenant. ``due``: customers that the next look is about."""

    @initialize(chance=st.randoms(use_true_random=True))
    def begin(self, chance: Random) -> None:
        self.known: dict[CustomerId, KnownCustomer] = {}
        self.rows: dict[CustomerId, Enrolment] = {}
        self.people: dict[UserId, Person] = {}
        self.parked: dict[CustomerId, str] = {}
        self.suppressed: set[str] = set()
        self.made_for: dict[UserId, CustomerId] = {}
        self.joined = 0
        self.due: set[CustomerId] = set(NUMBERS)
        for number in NUMBERS:
            pair = chance.choices(ADDRESSES, k=2)
            note(f"customer {number}: {pair}")
            contacts = [
                contact(number * 10 + at, text, customer_id=number) for at, text in enumerate(pair)
            ]
            self.known[number] = KnownCustomer(customer(number), contacts)

    @rule(chance=st.randoms(use_true_random=True))
    def something_happens(self, chance: Random) -> None:
        (happens,) = chance.choices(
            (
                self.a_pass_runs,
                self.a_contact_changes,
                self.the_office_edits_a_customer,
                self.somebody_acts_by_themselves,
                self.customers_are_merged,
            ),
            (6, 4, 4, 3, 1),
        )
        happens(chance)

    # What people do

    def change(self, number: CustomerId, **facts: Any) -> None:
        one = self.known[number]
        self.known[number] = replace(one, customer=one.customer._replace(**facts))
        self.due.add(number)

    def the_office_edits_a_customer(self, chance: Random) -> None:
        number, facts = chance.choice(NUMBERS), chance.choice(EDITS)
        note(f"edit {number}: {facts}")
        self.change(number, **facts)

    def a_contact_changes(self, chance: Random) -> None:
        number, at, text = chance.choice(NUMBERS), chance.randrange(2), chance.choice(ADDRESSES)
        marketing = chance.random() < 0.8
        note(f"contact {at} of {number}: {text}, marketing {marketing}")
        one = self.known[number]
        contacts = list(one.contacts)
        contacts[at] = contacts[at]._replace(value=text, marketing=marketing)
        self.known[number] = replace(one, contacts=contacts)
        self.due.add(number)

    def customers_are_merged(self, chance: Random) -> None:
        number, survivor = sorted(chance.sample(NUMBERS, 2))  # ServiceTitan knows no circles
        note(f"merge {number} into {survivor}")
        self.change(number, merged_to_id=survivor, active=False)

    def somebody_acts_by_themselves(self, chance: Random) -> None:
        text, what = chance.choice(ADDRESSES), chance.choice(ACTS)
        note(f"{text} {what}")
        key, found = email_key(text), self.person_of(text)
        if what == "joins" and found is None and "@" in text:
            self.join(text)
        elif what == "unsubscribes" and found is not None:
            self.people[found.id] = replace(found, unsubscribed_at=DAY)
            self.due |= {row.customer_id for row in self.rows.values() if row.user_id == found.id}
        elif what == "moves" and found is not None:
            new = chance.choice(ADDRESSES[:-1])
            is_bound = any(row.user_id == found.id for row in self.rows.values())
            if is_bound and self.person_of(new) in (None, found):
                self.people[found.id] = replace(found, email=new)
                self.free({key})
        elif what == "is suppressed or no longer":
            self.suppressed ^= {key}
            self.due |= {
                number
                for number, one in self.known.items()
                if any(email_key(c.value) == key for c in one.contacts)
            }

    def join(self, text: str) -> Person:
        self.joined += 1
        number = UserId(100 + self.joined)
        self.people[number] = person(number, text)
        return self.people[number]

    def person_of(self, text: str) -> Person | None:
        return next(
            (one for one in self.people.values() if email_key(one.email) == email_key(text)), None
        )

    # What a pass does

    def around(self) -> Surroundings:
        merged: dict[CustomerId, list[Enrolment]] = {}
        for number, one in self.known.items():
            row, survivor = self.rows.get(number), one.customer.merged_to_id
            if survivor is not None and row is not None and row.is_referrer:
                merged.setdefault(survivor, []).append(row)
        rows = self.rows.values()
        return Surroundings(
            holders={row.email_key: row.customer_id for row in rows if row.email_key},
            bound={row.user_id: row.customer_id for row in rows if row.user_id is not None},
            people_by_key={email_key(one.email): one for one in self.people.values()},
            people_by_id=self.people,
            merged_into=merged,
            parked=self.parked,
        )

    def a_pass_runs(self, chance: Random) -> None:
        """It looks, then it writes; what becomes of each write is drawn."""
        order = chance.sample(NUMBERS, len(NUMBERS))
        fates = chance.choices(FATES, k=len(NUMBERS))
        batch, retry = chance.randint(1, 4), chance.random() < 0.2
        note(f"pass: order {order}, batches of {batch}, retry {retry}, then {fates}")
        self.look(order, batch, retry=retry)
        for number, fate in zip(order, fates, strict=True):
            if self.rows[number].update_due:
                self.update(number, fate)
        for number, fate in zip(order, fates, strict=True):
            if self.rows[number].state is S.PLANNED:
                self.create(number, fate)

    def look(self, order: Sequence[CustomerId], batch: int, *, retry: bool) -> None:
        """Everybody who is due, in batches, and then whoever that made due, until nobody is."""
        if retry:
            self.due |= set(self.parked)
            self.parked.clear()
        # What is in doubt, and what was refused and has shown up, is looked at by every pass.
        self.due |= {
            row.customer_id
            for row in self.rows.values()
            if row.state is S.INTENT or (row.state is S.REFUSED and self.person_of(row.email_key))
        }
        looked: set[CustomerId] = set()
        for _ in range(10):
            due = [number for number in order if number in self.due]
            if not due:
                break
            looked |= self.due
            self.due.clear()
            for at in range(0, len(due), batch):
                self.look_at(due[at : at + batch])
        assert not self.due, "looking comes to an end"
        for number in looked:
            row = self.rows[number]
            # Another one may have been planned with the address since.
            if row.reason != SkipReason.FILTERED and not row.update_due:
                self.deciding_again_changes_nothing(number, self.around())
        self.everybody_entitled_has_a_place(looked)

    def look_at(self, batch: Sequence[CustomerId]) -> None:
        """One transaction: surroundings are read once, and learn from decision to decision."""
        around, before = self.around(), dict(self.rows)
        freed: set[str] = set()
        for number in batch:
            made = self.decide(number, around)
            self.due |= set(made.look_again)
            freed |= {made.freed} - {""}
            self.deciding_again_changes_nothing(number, around)
        self.free(freed - set(around.holders))
        self.nobody_lost_their_person(before)

    def decide(self, number: CustomerId, around: Surroundings) -> Decision:
        one = self.known[number]
        verdict, parked = draft(one, RULES, self.suppressed), self.parked.get(number)
        made = decide(one, self.rows.get(number), verdict, RULES, around)
        for row in (made.row, *made.given_up):
            self.rows[row.customer_id] = row
        if made.failure is not None:
            self.parked[number] = made.failure_of
        elif not made.is_parked and made.row.state is not S.PLANNED and not made.row.update_due:
            self.parked.pop(number, None)
        if made.row.state is S.LINKED and not made.given_up:
            assert self.made_for.get(made.row.user_id) != number
        if made.row.update_due:
            assert isinstance(verdict, Draft)
            assert parked != verdict.mark(for_update=True)
            found = self.person_of(verdict.key)
            assert (
                verdict.key == made.row.email_key or found is None or found.id == made.row.user_id
            )
        if made.row.state is S.PLANNED:
            assert isinstance(verdict, Draft)
            assert parked != verdict.mark(for_update=False)
            assert made.row.email_key == verdict.key == wish(one, self.suppressed)
            assert one.customer.type == "Residential"
            assert self.person_of(verdict.key) is None
        if made.count is Count.LINKED:
            assert made.row.is_referrer
            assert not made.row.reason
        return made

    def free(self, keys: set[str]) -> None:
        """Whoever was told that an address is another's is looked at again when it is free."""
        for number, row in self.rows.items():
            values = {email_key(c.value) for c in self.known[number].contacts}
            if row.reason == SkipReason.DUPLICATE_EMAIL and values & keys:
                self.due.add(number)

    def create(self, number: CustomerId, fate: str) -> None:
        """Ask for one who is planned: the intent first, then the answer, if one comes."""
        verdict = draft(self.known[number], RULES, self.suppressed)
        assert isinstance(verdict, Draft)
        if fate == "not sent":
            return
        row = Enrolment(number, S.INTENT, email_key=verdict.key, sent=verdict.values)
        self.rows[number] = row
        is_taken = self.person_of(verdict.key) is not None
        if fate == "lost":
            return
        if fate == "refused" or is_taken:
            self.rows[number] = replace(row, state=S.REFUSED)
            self.parked[number] = verdict.mark(for_update=False)
            return
        made = self.join(verdict.values["email"])
        self.made_for[made.id] = number
        if fate != "made and lost":
            self.rows[number] = replace(row, state=S.ENROLLED, user_id=made.id)
            self.parked.pop(number, None)

    def update(self, number: CustomerId, fate: str) -> None:
        """Tell Referral Factory what changed."""
        row, verdict = self.rows[number], draft(self.known[number], RULES, self.suppressed)
        assert isinstance(verdict, Draft)
        assert row.user_id is not None
        if fate in ("lost", "not sent"):
            return
        if {r.customer_id for r in self.rows.values() if r.email_key == verdict.key} - {number}:
            self.due.add(number)  # somebody else was planned with that address meanwhile
            return
        other = self.person_of(verdict.key)
        if fate == "refused" or (other is not None and other.id != row.user_id):
            self.rows[number] = replace(row, update_due=False)
            self.parked[number] = verdict.mark(for_update=True)
            return
        new = replace(row, email_key=verdict.key, sent=verdict.values, update_due=False)
        if fate == "deleted":
            self.people.pop(row.user_id)
            new = replace(new, state=S.GONE, reason="gone")
        else:
            old = self.people[row.user_id]
            self.people[row.user_id] = replace(old, email=verdict.values["email"])
            self.free({email_key(old.email)} - {new.email_key})
        self.rows[number] = new
        self.parked.pop(number, None)
        self.free({row.email_key} - {new.email_key})

    # What must hold

    @invariant()
    def an_address_has_one_holder_and_a_person_one_customer(self) -> None:
        if not hasattr(self, "rows"):
            return
        keys = [row.email_key for row in self.rows.values() if row.email_key]
        assert len(set(keys)) == len(keys)
        users = [row.user_id for row in self.rows.values() if row.user_id is not None]
        assert len(set(users)) == len(users)

    @invariant()
    def every_row_is_of_one_piece(self) -> None:
        for row in getattr(self, "rows", {}).values():
            has_person = row.is_referrer or row.state is S.GONE
            assert (row.user_id is not None) is has_person
            if row.state is S.SKIPPED:
                assert row.reason
                assert not row.email_key
            if row.update_due:
                assert row.is_referrer
                assert not row.reason
            if row.state in (S.PLANNED, S.INTENT, S.REFUSED):
                assert not row.reason

    @invariant()
    def nobody_is_asked_for_twice(self) -> None:
        """No customer has two people made for it, whatever got lost between."""
        owners = list(getattr(self, "made_for", {}).values())
        gone = {r.customer_id for r in getattr(self, "rows", {}).values() if r.state is S.GONE}
        for number in set(owners):
            if number not in gone and owners.count(number) > 1:
                people = {user for user, owner in self.made_for.items() if owner == number}
                given = {r.user_id for r in self.rows.values() if r.customer_id != number}
                assert people & given, "only who gave a person to a survivor is asked for again"

    def nobody_lost_their_person(self, before: dict[CustomerId, Enrolment]) -> None:
        after = {row.user_id: row for row in self.rows.values() if row.user_id is not None}
        for number, row in before.items():
            if row.state is S.GONE:
                assert self.rows[number] == replace(row, reason="gone")
            if not row.is_referrer:
                continue
            assert row.user_id in after
            now = self.rows[number]
            if not now.is_referrer:
                assert now == Enrolment(number, S.SKIPPED, now.reason)
                heir = after[row.user_id]
                assert heir.customer_id != number
                assert heir.is_referrer
                assert self.known[number].customer.merged_to_id is not None

    def deciding_again_changes_nothing(self, number: CustomerId, around: Surroundings) -> None:
        before = dict(self.rows)
        made = self.decide(number, around)
        assert self.rows == before
        assert (made.count, made.failure, made.given_up, made.freed) == (None, None, [], "")

    def everybody_entitled_has_a_place(self, looked: set[CustomerId]) -> None:
        """After a look: only who may be is planned, and nobody waits for nothing."""
        holders = {row.email_key: row for row in self.rows.values() if row.email_key}
        bound = {row.user_id for row in self.rows.values() if row.user_id is not None}
        for number in NUMBERS:
            row, one = self.rows[number], self.known[number]
            key = wish(one, self.suppressed)
            if row.state is S.PLANNED:
                assert row.email_key == key != ""
                assert one.customer.type == "Residential"
            if row.state is S.LINKED and not row.reason:
                assert key
            if row.state is S.SKIPPED and key:
                if row.reason == "duplicate_email":
                    found = self.person_of(key)
                    assert key in holders or (found is not None and found.id in bound)
                else:
                    assert row.reason == "filtered"
                    assert one.customer.type == "Commercial"
            survivor = one.customer.merged_to_id
            if row.is_referrer and survivor is not None and number in looked:
                heir = self.rows[survivor]
                assert heir.is_referrer or heir.state is S.GONE
            if row.state is S.REFUSED and key and row.email_key:
                assert number in self.parked
            assert row.state is not S.INTENT


EXAMPLES = int(os.environ.get("STCLI_TEST_EXAMPLES") or 250)
TestHistory = History.TestCase
TestHistory.settings = settings(max_examples=EXAMPLES, stateful_step_count=30, deadline=None)
