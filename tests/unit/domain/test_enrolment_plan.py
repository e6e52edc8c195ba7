"""What becomes of one customer in one campaign: every way a decision can go."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field, replace
from datetime import date
from typing import Any

import pytest

from stcli.domain.enrolment import Enrolment, EnrolmentState, Filter, KnownCustomer
from stcli.domain.enrolment_plan import (
    ADDRESS_TAKEN,
    Decision,
    Draft,
    EnrolmentRules,
    Surroundings,
    changes,
    decide,
    draft,
    fingerprint,
)
from stcli.domain.ids import CustomerId, UserId
from stcli.domain.mapping.apply import Unmappable
from stcli.domain.outcome import Count, SkipReason
from stcli.domain.records import Person
from tests.unit.domain.customers import contact, customer, known, person, rules

S = EnrolmentState
DAY = date(2026, 11, 23)
SENT = {"first_name": "Ada", "email": "c1@example.com"}


@dataclass
class World:
    """What is known around: the rows of a campaign, who is in it, what is parked."""

    rows: dict[CustomerId, Enrolment] = field(default_factory=dict)
    people: Sequence[Person] = ()
    known: dict[CustomerId, KnownCustomer] = field(default_factory=dict)
    parked: dict[CustomerId, str] = field(default_factory=dict)
    suppressed: set[str] = field(default_factory=set)
    rules: EnrolmentRules = field(default_factory=rules)

    def around(self) -> Surroundings:
        merged: dict[CustomerId, list[Enrolment]] = {}
        for customer_id, one in sorted(self.known.items()):
            survivor, row = one.customer.merged_to_id, self.rows.get(customer_id)
            if survivor is not None and row is not None and row.is_referrer:
                merged.setdefault(survivor, []).append(row)
        rows = self.rows.values()
        return Surroundings(
            holders={row.email_key: row.customer_id for row in rows if row.email_key},
            bound={row.user_id: row.customer_id for row in rows if row.user_id is not None},
            people_by_key={one.email.casefold(): one for one in self.people},
            people_by_id={one.id: one for one in self.people},
            merged_into=merged,
            parked=dict(self.parked),
        )

    def decide(self, one: KnownCustomer, around: Surroundings | None = None) -> Decision:
        """The decision for a customer, whose rows are kept as a pass keeps them."""
        customer_id = one.customer.id
        self.known[customer_id] = one
        made = decide(
            one,
            self.rows.get(customer_id),
            draft(one, self.rules, self.suppressed),
            self.rules,
            around or self.around(),
        )
        for row in (made.row, *made.given_up):
            self.rows[row.customer_id] = row
        if made.failure is not None:
            self.parked[customer_id] = made.failure_of
        return made


def world(*rows: Enrolment, people: Iterable[Person] = (), **settings: Any) -> World:
    return World({row.customer_id: row for row in rows}, tuple(people), **settings)


def referrer(number: int = 1, user: int = 100, **facts: Any) -> Enrolment:
    """The row of an enrolled customer who is in step."""
    email = f"c{number}@example.com"
    given: dict[str, Any] = {
        "email_key": email,
        "user_id": UserId(user),
        "sent": {"first_name": "Ada", "email": email},
    }
    return Enrolment(CustomerId(number), **{"state": S.ENROLLED, **given, **facts})


def row(state: EnrolmentState, number: int = 1, **facts: Any) -> Enrolment:
    return Enrolment(CustomerId(number), state, **facts)


def one_draft(one: KnownCustomer, **settings: Any) -> Draft:
    found = draft(one, rules(**settings), set())
    assert isinstance(found, Draft)
    return found


# Drafts


def test_a_draft_has_every_mapped_value() -> None:
    """Names are turned round, labels kept; it is known by its address and tells every change."""
    fields = {"meta.Phone": {"type": "dynamic", "from": "phone", "default": "none"}}
    one = known(1, " Ada@Example.com ")
    found = one_draft(one, fields=fields)
    assert found.values == {
        "first_name": "Ada",
        "email": "Ada@Example.com",
        "meta.Phone": "none",
    }
    assert found.key == "ada@example.com"
    assert found.mark(for_update=True) == one_draft(one, fields=fields).mark(for_update=True)
    with_phone = replace(one, contacts=[*one.contacts, contact(99, "555-0100", "Phone")])
    assert one_draft(with_phone, fields=fields).mark(for_update=True) != found.mark(for_update=True)
    assert found.mark(for_update=True) != found.mark(for_update=False)


def test_a_draft_needs_every_required_value() -> None:
    """What the campaign requires may not be blank; the reason names the field, not the customer."""
    fields = {"meta.Phone": {"type": "dynamic", "from": "phone"}}
    settings = rules(fields, required=("first_name", "email", "meta.Phone"))
    assert draft(known(), settings, set()) == Unmappable("required but blank: meta.Phone")
    assert draft(known(1, name=" , "), rules(), set()) == Unmappable(
        "required but blank: first_name"
    )


def test_a_reason_comes_before_the_mapping() -> None:
    """Somebody who may not be written to is not called unmappable."""
    one = known(1, name=" , ", do_not_mail=True)
    assert draft(one, rules(), set()) is SkipReason.DO_NOT_MAIL


def with_custom_email(value: str) -> KnownCustomer:
    one = known(1, "office@example.com")
    return replace(one, customer=one.customer._replace(custom_fields={11: value}))


MAPPED_EMAIL = {"email": {"type": "dynamic", "from": "custom_field:Private mail"}}


@pytest.mark.parametrize(
    ("value", "verdict"),
    [
        ("nobody", SkipReason.INVALID_EMAIL),
        ("Gone@Example.com", SkipReason.SUPPRESSED),
        ("", Unmappable("required but blank: email")),
    ],
)
def test_an_address_from_elsewhere_is_judged_too(value: str, verdict: object) -> None:
    """What holds for contacts holds for an address in a custom field."""
    settings = rules(MAPPED_EMAIL, custom_fields={"Private mail": 11})
    assert draft(with_custom_email(value), settings, {"gone@example.com"}) == verdict
    good = draft(with_custom_email("ada@example.org"), settings, set())
    assert isinstance(good, Draft)
    assert good.key == "ada@example.org"


def test_a_fingerprint_is_short_and_tells_values_apart() -> None:
    """It fits a column and depends on the text of what it is made of."""
    assert len(fingerprint("x")) == 32
    assert fingerprint(("a", "b")) != fingerprint(("ab",))
    assert fingerprint(("a", "b")) == fingerprint(("a", "b"))


# Nobody yet


@pytest.mark.parametrize("before", [None, row(S.SKIPPED, reason="no_email"), row(S.PLANNED)])
def test_somebody_new_is_planned(before: Enrolment | None) -> None:
    """An allowed customer whose address nobody has is to be asked for."""
    here = world(*([] if before is None else [before]))
    made = here.decide(known())
    assert made.row == row(S.PLANNED, email_key="c1@example.com", sent=SENT)
    assert (made.count, made.failure, made.freed, made.look_again) == (None, None, "", [])


def test_somebody_who_may_not_is_skipped_with_the_reason() -> None:
    """And what was planned before is given up, with its address."""
    here = world(row(S.PLANNED, email_key="c1@example.com", sent=SENT))
    made = here.decide(known(1, active=False))
    assert made.row == row(S.SKIPPED, reason="inactive")
    assert made.freed == "c1@example.com"


def test_somebody_in_the_campaign_already_is_linked() -> None:
    """The person of that address is this customer's; what changes from now on is sent."""
    here = world(people=[person(100, "C1@example.com")])
    made = here.decide(known())
    assert made.row == referrer(state=S.LINKED, return_due=1)
    assert made.count is Count.LINKED


def test_somebody_linked_who_unsubscribed_is_counted_by_that() -> None:
    """Who opted out in Referral Factory is known, left alone, and counted once."""
    here = world(people=[person(100, "c1@example.com", unsubscribed_at=DAY)])
    made = here.decide(known())
    assert made.row == referrer(state=S.LINKED, reason="opted_out", return_due=1)
    assert made.count is None


@pytest.mark.parametrize(
    "holder",
    [
        referrer(2, email_key="c1@example.com"),
        row(S.PLANNED, 2, email_key="c1@example.com"),
        row(S.INTENT, 2, email_key="c1@example.com"),
        row(S.REFUSED, 2, email_key="c1@example.com"),
        row(S.GONE, 2, email_key="c1@example.com", user_id=UserId(100)),
    ],
    ids=lambda holder: str(holder.state),
)
def test_a_second_customer_of_an_address_is_a_duplicate(holder: Enrolment) -> None:
    """Whoever held it first keeps it, in whatever state."""
    here = world(holder, people=[person(100, "c1@example.com")])
    assert here.decide(known()).row == row(S.SKIPPED, reason="duplicate_email")
    assert here.rows[CustomerId(2)] == holder


def test_a_person_belongs_to_one_customer_whatever_their_address() -> None:
    """A referrer changed the address in Referral Factory: its new one is taken too."""
    here = world(referrer(2, 100), people=[person(100, "c1@example.com")])
    assert here.decide(known()).row.reason == "duplicate_email"


def test_of_two_customers_decided_together_the_first_has_the_address() -> None:
    """Surroundings learn from one decision to the next."""
    here = world()
    around = here.around()
    assert here.decide(known(1, "same@example.com"), around).row.state is S.PLANNED
    assert here.decide(known(2, "SAME@example.com"), around).row.reason == "duplicate_email"
    here = world(people=[person(100, "same@example.com")])
    around = here.around()
    assert here.decide(known(1, "same@example.com"), around).row.state is S.LINKED
    assert here.decide(known(2, "same@example.com"), around).row.reason == "duplicate_email"


def test_a_freed_address_goes_to_the_next_in_one_go() -> None:
    """Who gives an address up does so for those that are decided after."""
    here = world(row(S.PLANNED, email_key="same@example.com"))
    around = here.around()
    gives = here.decide(known(1, "own@example.com"), around)
    assert (gives.freed, gives.row.email_key) == ("same@example.com", "own@example.com")
    assert here.decide(known(2, "same@example.com"), around).row.state is S.PLANNED
    assert around.holders == {"own@example.com": 1, "same@example.com": 2}


def test_who_is_not_wanted_is_filtered() -> None:
    """Also one who is in the campaign already; a duplicate is called a duplicate first."""
    settings = rules(wanted=Filter(customer_type="Commercial"))
    assert world(rules=settings).decide(known()).row == row(S.SKIPPED, reason="filtered")
    here = world(people=[person(100, "c1@example.com")], rules=settings)
    assert here.decide(known()).row.reason == "filtered"
    here = world(row(S.PLANNED, 2, email_key="c1@example.com"), rules=settings)
    assert here.decide(known()).row.reason == "duplicate_email"


def test_a_filter_is_for_joining_only() -> None:
    """A referrer who would not be wanted today stays one, in step."""
    here = world(referrer(), rules=rules(wanted=Filter(customer_type="Commercial")))
    made = here.decide(known(1, name="King, Grace"))
    assert made.row == referrer(update_due=True)


# What was refused


def test_what_was_refused_waits_until_it_changes() -> None:
    """The same values stay parked, with their address; other values are planned again."""
    one = known()
    refused = row(S.REFUSED, email_key="c1@example.com", sent=SENT)
    here = world(refused, parked={CustomerId(1): one_draft(one).mark(for_update=False)})
    made = here.decide(one)
    assert made.is_parked
    assert (made.row, made.count, made.failure, made.freed) == (refused, None, None, "")
    made = here.decide(known(1, name="King, Grace"))
    assert not made.is_parked
    assert made.row.state is S.PLANNED
    assert made.row.sent["first_name"] == "Grace"


def test_what_was_refused_is_planned_again_when_somebody_asks() -> None:
    """Without the mark of a parked failure it is tried again."""
    here = world(row(S.REFUSED, email_key="c1@example.com", sent=SENT))
    assert here.decide(known()).row.state is S.PLANNED


def test_what_was_refused_and_gets_another_address_frees_the_old_one() -> None:
    """A correction of the address is a new try, and the old one may be somebody else's."""
    old = known(1, "old@example.com")
    here = world(
        row(S.REFUSED, email_key="old@example.com"),
        parked={CustomerId(1): one_draft(old).mark(for_update=False)},
    )
    made = here.decide(known())
    assert (made.row.state, made.freed) == (S.PLANNED, "old@example.com")


def test_a_refused_address_that_shows_up_is_linked() -> None:
    """It was refused because it was there: the person is found as soon as the list has it."""
    here = world(
        row(S.REFUSED, email_key="c1@example.com", sent=SENT),
        people=[person(100, "c1@example.com")],
        parked={CustomerId(1): one_draft(known()).mark(for_update=False)},
    )
    made = here.decide(known())
    assert made.row == referrer(state=S.LINKED, return_due=1)
    assert (made.count, made.is_parked) == (Count.LINKED, False)


def test_what_cannot_be_mapped_fails_once() -> None:
    """The failure is told, then it waits; another reason is another failure."""
    one = known(1, name=" , ")
    here = world(row(S.PLANNED, email_key="c1@example.com"))
    made = here.decide(one)
    assert made.row == row(S.REFUSED)
    assert made.failure is not None
    assert (made.failure.record, made.failure.reason) == ("1", "required but blank: first_name")
    assert made.freed == "c1@example.com"
    again = here.decide(one)
    assert (again.failure, again.is_parked, again.row) == (None, True, row(S.REFUSED))
    here.rules = rules(required=("first_name", "email", "meta.Phone"))
    assert here.decide(known()).failure is not None


def test_what_can_be_mapped_again_is_planned() -> None:
    """A repaired name ends the wait."""
    here = world()
    here.decide(known(1, name=" , "))
    made = here.decide(known())
    assert (made.row.state, made.is_parked) == (S.PLANNED, False)


# What is in doubt


def test_an_intent_that_is_found_was_made() -> None:
    """The person behind the address is the one that was asked for."""
    here = world(
        row(S.INTENT, email_key="c1@example.com", sent=SENT),
        people=[person(100, "c1@example.com")],
    )
    made = here.decide(known())
    assert made.row == referrer(return_due=1)
    assert made.count is Count.CREATED


def test_an_intent_that_is_not_found_is_asked_for_again() -> None:
    """Referral Factory takes an address once, so a repeat makes no second one."""
    here = world(row(S.INTENT, email_key="c1@example.com", sent=SENT))
    assert here.decide(known()).row == row(S.PLANNED, email_key="c1@example.com", sent=SENT)


def test_an_intent_in_doubt_is_not_asked_for_under_another_address() -> None:
    """The list may show the first one late: only a repeat with the same address is harmless."""
    old = {"first_name": "Ada", "email": "old@example.com"}
    here = world(row(S.INTENT, email_key="old@example.com", sent=old))
    asked_just_now = replace(here.around(), in_doubt={CustomerId(1)})
    for one in (known(1, "new@example.com"), known(1, do_not_mail=True), known(1, name=" , ")):
        made = here.decide(one, asked_just_now)
        assert made.row == row(S.INTENT, email_key="old@example.com", sent=old)
        assert made.freed == ""
    # Old enough, and still not in the list: it was not made.
    made = here.decide(known(1, "new@example.com"))
    assert (made.row.state, made.row.email_key) == (S.PLANNED, "new@example.com")
    assert made.freed == "old@example.com"


def test_an_intent_whose_person_is_somebody_elses_is_a_duplicate() -> None:
    """What belongs to another customer by now is not taken from them."""
    here = world(
        row(S.INTENT, email_key="c1@example.com", sent=SENT),
        referrer(2, 100),
        people=[person(100, "c1@example.com")],
    )
    made = here.decide(known())
    assert (made.row.reason, made.freed) == ("duplicate_email", "c1@example.com")


def test_an_intent_found_by_its_old_address_is_told_the_new_one() -> None:
    """The address changed while it was in doubt: the one that was asked for is found and updated."""
    here = world(
        row(S.INTENT, email_key="old@example.com", sent=SENT | {"email": "old@example.com"}),
        people=[person(100, "old@example.com")],
    )
    made = here.decide(known())
    assert (made.row.state, made.row.user_id) == (S.ENROLLED, 100)
    assert made.row.email_key == "old@example.com"
    assert made.row.update_due


@pytest.mark.parametrize("change", [{"active": False}, {"name": "King, Grace"}])
def test_an_intent_found_late_counts_once(change: dict[str, Any]) -> None:
    """What changed meanwhile is counted by its reason or as an update, so not as created too."""
    here = world(
        row(S.INTENT, email_key="c1@example.com", sent=SENT),
        people=[person(100, "c1@example.com")],
    )
    made = here.decide(known(1, **change))
    assert made.row.reason or made.row.update_due
    assert made.count is None


def test_a_refused_one_found_late_counts_once() -> None:
    """Linked and opted out is opted out; linked and to be updated is an update."""
    for change in ({"do_not_mail": True}, {"name": "King, Grace"}):
        here = world(
            row(S.REFUSED, email_key="c1@example.com", sent=SENT),
            people=[person(100, "c1@example.com")],
        )
        made = here.decide(known(1, **change))
        assert made.row.state is S.LINKED
        assert made.row.reason == "opted_out" or made.row.update_due
        assert made.count is None


# Referrers


def test_a_referrer_in_step_is_left_as_it_is() -> None:
    """Nothing changed, nothing is due, nothing is counted."""
    here = world(referrer(), people=[person(100, "c1@example.com")])
    made = here.decide(known())
    assert (made.row, made.count, made.failure, made.look_again) == (referrer(), None, None, [])


def test_only_values_that_changed_in_servicetitan_are_due() -> None:
    """What the referrer changed in Referral Factory is not overwritten."""
    here = world(referrer(), people=[person(100, "own-new@example.com", first_name="Countess")])
    assert not here.decide(known()).row.update_due
    made = here.decide(known(1, name="Lovelace, Ada King"))
    assert made.row == referrer(update_due=True)
    assert changes(made.row, one_draft(known(1, name="Lovelace, Ada King"))) == {
        "first_name": "Ada King"
    }


def test_changes_are_told_by_target() -> None:
    """A new target with a value, a value that became blank; not what is and was blank."""
    before = referrer(sent={**SENT, "meta.A": "1", "meta.B": "2"})
    after = Draft({**SENT, "meta.A": "1", "meta.B": "", "meta.C": "", "meta.D": "4"})
    assert changes(before, after) == {"meta.B": "", "meta.D": "4"}
    assert changes(referrer(), Draft(SENT)) == {}


def test_an_update_that_is_due_no_longer_is_taken_back() -> None:
    """Changed there and back again before it was sent: there is nothing to send."""
    here = world(referrer(update_due=True))
    assert here.decide(known()).row == referrer()


def test_a_refused_update_waits_until_it_changes() -> None:
    """The same values are not sent again; other ones are."""
    one = known(1, name="King, Grace")
    here = world(referrer(), parked={CustomerId(1): one_draft(one).mark(for_update=True)})
    made = here.decide(one)
    assert (made.row, made.is_parked) == (referrer(), True)
    made = here.decide(known(1, name="King, Mary"))
    assert (made.row, made.is_parked) == (referrer(update_due=True), False)


@pytest.mark.parametrize(
    ("facts", "reason"),
    [
        ({"do_not_mail": True}, "opted_out"),
        ({"do_not_service": True}, "do_not_service"),
        ({"active": False}, "inactive"),
        ({"name": ""}, "no_name"),
        ({"merged_to_id": 9}, "merged"),
        ({"merged_to_id": 9, "active": False}, "merged"),
    ],
)
def test_a_referrer_who_may_not_be_told_is_left_alone(facts: dict[str, Any], reason: str) -> None:
    """Never taken back: the row keeps its person, its address and what was sent, with the reason."""
    here = world(referrer(update_due=True, return_due=2))
    made = here.decide(known(1, **facts))
    assert made.row == referrer(reason=reason, return_due=2)
    assert (made.count, made.failure, made.freed) == (None, None, "")
    assert made.look_again == ([9] if reason == "merged" else [])


def test_other_ways_of_opting_out() -> None:
    """Marketing switched off, suppressed, unsubscribed in Referral Factory, no address left."""
    here = world(referrer(), suppressed={"c1@example.com"})
    assert here.decide(known()).row == referrer(reason="opted_out")
    here = world(referrer(), people=[person(100, "x@example.com", unsubscribed_at=DAY)])
    assert here.decide(known(1, name="King, Grace")).row == referrer(reason="opted_out")
    off = contact(1, "c1@example.com", marketing=False)
    made = world(referrer()).decide(KnownCustomer(customer(), [off]))
    assert made.row == referrer(reason="opted_out")
    made = world(referrer()).decide(KnownCustomer(customer()))
    assert made.row == referrer(reason="no_email")


def test_who_comes_back_is_in_step_again() -> None:
    """A reason that no longer holds goes, and what changed meanwhile is due."""
    here = world(referrer(reason="opted_out"))
    assert here.decide(known(1, name="King, Grace")).row == referrer(update_due=True)


def test_an_unmappable_referrer_fails_once_and_stays() -> None:
    """A name that is none is told once; the referrer keeps what it has."""
    here = world(referrer(update_due=True))
    made = here.decide(known(1, name=" , "))
    assert made.row == referrer()
    assert made.failure is not None
    again = here.decide(known(1, name=" , "))
    assert (again.row, again.failure, again.is_parked) == (referrer(), None, True)


def test_a_new_address_that_is_free_is_an_update() -> None:
    """The old address stays held until Referral Factory has the new one."""
    here = world(referrer())
    made = here.decide(known(1, "new@example.com"))
    assert made.row == referrer(update_due=True)
    assert made.freed == ""


def test_another_spelling_of_the_address_is_an_update() -> None:
    """The same address in capitals is nobody else's."""
    here = world(referrer(), people=[person(100, "c1@example.com")])
    assert here.decide(known(1, "C1@example.com")).row == referrer(update_due=True)


@pytest.mark.parametrize(
    "holder",
    [
        row(S.PLANNED, 2, email_key="new@example.com"),
        referrer(2, 200, email_key="new@example.com"),
        row(S.GONE, 2, email_key="new@example.com", user_id=UserId(200)),
        person(300, "new@example.com"),
    ],
    ids=["planned", "referrer", "gone", "stranger"],
)
def test_a_new_address_that_is_taken_fails_once(holder: Enrolment | Person) -> None:
    """Parked as a failure; the referrer keeps the old address."""
    if isinstance(holder, Person):
        here = world(referrer(), people=[holder])
    else:
        here = world(referrer(), holder)
    made = here.decide(known(1, "new@example.com"))
    assert made.row == referrer()
    assert made.failure is not None
    assert made.failure.reason == ADDRESS_TAKEN
    again = here.decide(known(1, "new@example.com"))
    assert (again.row, again.failure, again.is_parked) == (referrer(), None, True)


def test_a_new_address_that_is_the_persons_own_by_now_is_no_conflict() -> None:
    """The referrer changed the address in both systems: nobody else has it."""
    here = world(referrer(), people=[person(100, "new@example.com")])
    made = here.decide(known(1, "new@example.com"))
    assert (made.row, made.failure) == (referrer(update_due=True), None)


# Gone


@pytest.mark.parametrize(
    "facts", [{}, {"name": "King, Grace"}, {"active": False}, {"merged_to_id": 9}]
)
def test_gone_stays_gone(facts: dict[str, Any]) -> None:
    """Deleted in Referral Factory: whatever changes, no second enrolment and no second row."""
    gone = referrer(state=S.GONE)
    here = world(gone, people=[person(300, "c1@example.com")])
    made = here.decide(known(1, **facts))
    assert made.row == replace(gone, reason="gone")
    assert (made.count, made.failure, made.freed, made.look_again) == (None, None, "", [])


def test_gone_does_not_take_over() -> None:
    """A survivor that was deleted in Referral Factory is not enrolled by a merger either."""
    here = world(referrer(1, state=S.GONE), referrer(2, 200))
    here.decide(known(2, merged_to_id=1))
    assert here.decide(known(1)).given_up == []
    assert here.rows[CustomerId(2)].user_id == 200


# Mergers


def merged(here: World, loser: int, survivor: int, **facts: Any) -> Decision:
    """``loser`` was merged into ``survivor``, as ServiceTitan tells it."""
    return here.decide(known(loser, merged_to_id=survivor, active=False, **facts))


def test_the_survivor_takes_the_referrer_over() -> None:
    """Person, address and sent values move; the write-back begins anew; both are looked at."""
    here = world(referrer(1, returned={5: "link"}, return_due=2))
    assert merged(here, 1, 2).look_again == [2]
    made = here.decide(known(2, "c1@example.com"))
    assert made.row == replace(referrer(1), customer_id=CustomerId(2), return_due=1)
    assert made.count is Count.LINKED
    assert made.given_up == [row(S.SKIPPED, reason="merged")]
    assert made.look_again == [1]
    assert made.freed == ""
    assert here.decide(here.known[CustomerId(1)]).row.state is S.SKIPPED


def test_the_survivor_of_another_address_is_an_update() -> None:
    """Its own values are sent to the person it took over, and it is counted by that."""
    here = world(referrer(1), row(S.PLANNED, 2, email_key="c2@example.com"))
    merged(here, 1, 2)
    made = here.decide(known(2))
    assert (made.row.user_id, made.row.email_key) == (100, "c1@example.com")
    assert made.row.update_due
    assert made.count is None
    assert made.freed == "c2@example.com"


def test_a_survivor_who_is_in_the_campaign_alone_keeps_that_person() -> None:
    """Its own address belongs to somebody whom no customer has: that one, not the merged one's."""
    here = world(referrer(1), people=[person(300, "own@example.com")])
    merged(here, 1, 2)
    made = here.decide(known(2, "own@example.com"))
    assert (made.row.user_id, made.count, made.given_up) == (300, Count.LINKED, [])


def test_a_survivor_whose_own_values_fail_counts_once() -> None:
    """The link moves, and the failure is what is told of this customer."""
    here = world(referrer(1))
    merged(here, 1, 2)
    made = here.decide(known(2, name=" , "))
    assert made.row.user_id == 100
    assert made.failure is not None
    assert made.count is None


def test_a_survivor_with_a_referrer_of_its_own_keeps_that() -> None:
    """The other one is left as it is, with the reason."""
    here = world(referrer(1), referrer(2, 200))
    merged(here, 1, 2)
    made = here.decide(known(2))
    assert (made.row, made.given_up) == (referrer(2, 200), [])
    assert here.rows[CustomerId(1)] == referrer(1, reason="merged")


def test_a_survivor_who_may_not_be_told_takes_over_all_the_same() -> None:
    """The person is its referrer from now on, left alone for its own reason and counted by it."""
    here = world(referrer(1, reason="merged"))
    merged(here, 1, 2)
    made = here.decide(known(2, do_not_mail=True))
    assert (made.row.user_id, made.row.reason, made.count) == (100, "opted_out", None)


def test_what_was_only_planned_does_not_move() -> None:
    """A merged customer without a person gives its address up, and the survivor may have it."""
    here = world(row(S.PLANNED, 1, email_key="c1@example.com"))
    made = merged(here, 1, 2)
    assert (made.row.state, made.freed) == (S.SKIPPED, "c1@example.com")
    assert here.decide(known(2, "c1@example.com")).row.state is S.PLANNED


def test_a_chain_of_mergers_ends_at_its_end() -> None:
    """From a to b to c, in one batch and the look after it, with one person all the way."""
    here = world(referrer(1))
    here.known = {CustomerId(2): known(2, merged_to_id=3, active=False)}
    queue = [*merged(here, 1, 2).look_again]
    seen = []
    while queue:
        number = queue.pop(0)
        seen.append(number)
        one = here.known.get(number, known(number))
        queue += here.decide(one).look_again
        assert len(seen) < 10
    assert seen[:2] == [2, 3]
    assert {n: r.state for n, r in here.rows.items()} == {
        1: S.SKIPPED,
        2: S.SKIPPED,
        3: S.ENROLLED,
    }
    assert here.rows[CustomerId(3)].user_id == 100


def test_a_chain_decided_in_one_batch_is_found_by_the_look_after_it() -> None:
    """The end of the chain is marked, and what it planned of its own gives way."""
    here = world(referrer(1))
    here.known = {
        CustomerId(1): known(1, merged_to_id=2, active=False),
        CustomerId(2): known(2, merged_to_id=3, active=False),
        CustomerId(3): known(3),
    }
    around = here.around()
    again = set()
    for number in (1, 2, 3):
        again |= set(here.decide(here.known[CustomerId(number)], around).look_again)
    assert 3 in again
    assert here.rows[CustomerId(3)].state is S.PLANNED
    made = here.decide(here.known[CustomerId(3)])
    assert (made.row.user_id, made.freed) == (100, "c3@example.com")


def test_of_two_merged_into_one_the_first_moves() -> None:
    """One person of a customer: the other one is left as it is."""
    here = world(referrer(1, 100), referrer(2, 200))
    merged(here, 1, 3)
    merged(here, 2, 3)
    made = here.decide(known(3))
    assert made.row.user_id == 100
    assert [given.customer_id for given in made.given_up] == [1]
    assert here.rows[CustomerId(2)] == referrer(2, 200, reason="merged")
    again = here.decide(known(3))
    assert (again.row, again.given_up, again.count) == (made.row, [], None)


def test_a_person_is_given_once_in_one_batch() -> None:
    """Old surroundings name a referrer that moved on; its person is not taken twice."""
    here = world(referrer(1))
    here.known[CustomerId(1)] = known(1, merged_to_id=2)
    around = here.around()
    first = here.rows[CustomerId(1)]
    around.merged_into = {CustomerId(2): [first], CustomerId(3): [first]}
    assert here.decide(known(2), around).row.user_id == 100
    assert here.decide(known(3), around).row.user_id is None


def test_a_customer_merged_into_itself_stays() -> None:
    """Nonsense of a server moves nothing and asks for no end of looks."""
    here = world(referrer())
    made = here.decide(known(1, merged_to_id=1))
    assert (made.row, made.given_up) == (referrer(reason="merged"), [])
    assert here.decide(known(1, merged_to_id=1)).row == made.row
