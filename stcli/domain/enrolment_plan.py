"""What is to become of one customer in one campaign: decided from what both systems said. Pure.

A plan never enrols anybody twice: an email address has one holder in a campaign, and so has a
person. Whoever held it first keeps it. After the enrolment nothing is taken back: a referrer whose
customer opted out, was deactivated or merged is left as it is, and the reason is kept.
"""

from __future__ import annotations

import hashlib
from collections.abc import Container, Mapping, Sequence
from dataclasses import dataclass, field, replace

from stcli.domain.enrolment import (
    CustomerSubject,
    Enrolment,
    EnrolmentState,
    Filter,
    KnownCustomer,
    after_enrolment,
    allowed_email,
    has_left_address,
)
from stcli.domain.ids import CustomerId, UserId
from stcli.domain.mapping.apply import Unmappable, referrer_values
from stcli.domain.mapping.rules import Rule
from stcli.domain.matching import email_key, is_email
from stcli.domain.outcome import Count, Failure, SkipReason
from stcli.domain.records import Person

ADDRESS_TAKEN = "its new email address belongs to another person of the campaign"


@dataclass(frozen=True, slots=True)
class EnrolmentRules:
    """The settings of a ``sync`` tab, with names resolved. ``required``: targets that may not be
    blank; ``custom_fields``: ids of the mapped ones by name."""

    fields: Mapping[str, Rule]
    required: Sequence[str]
    custom_fields: Mapping[str, int]
    filter: Filter
    fingerprint: str


@dataclass(frozen=True, slots=True)
class Draft:
    """What a referrer would be given, by target."""

    values: Mapping[str, str]

    @property
    def key(self) -> str:
        return email_key(self.values["email"])

    def mark(self, *, for_update: bool) -> str:
        """Tells later whether just this was refused: making somebody is not changing somebody."""
        return fingerprint((for_update, sorted(self.values.items())))


Verdict = Draft | Unmappable | SkipReason


def fingerprint(of: object) -> str:
    """A short hash that tells whether something is still what was refused."""
    return hashlib.sha256(repr(of).encode()).hexdigest()[:32]


def draft(known: KnownCustomer, rules: EnrolmentRules, suppressed: Container[str]) -> Verdict:
    """What a customer would be enrolled with, or why not. ``suppressed`` holds email keys."""
    contact = allowed_email(known, suppressed)
    if isinstance(contact, SkipReason):
        return contact
    subject = CustomerSubject(known, contact.value.strip(), rules.custom_fields)
    values = referrer_values(subject, rules.fields, rules.required)
    if isinstance(values, Unmappable):
        return values
    # The address may be mapped from elsewhere: what holds for contacts holds for it too.
    if not is_email(values["email"]):
        return SkipReason.INVALID_EMAIL
    if email_key(values["email"]) in suppressed:
        return SkipReason.SUPPRESSED
    return Draft(values)


@dataclass(slots=True)
class Surroundings:
    """What is known around the customers that are decided together. The first two are kept up to
    date from one decision to the next."""

    holders: dict[str, CustomerId]
    bound: dict[UserId, CustomerId]
    people_by_key: Mapping[str, Person]
    people_by_id: Mapping[UserId, Person]
    merged_into: Mapping[CustomerId, Sequence[Enrolment]]
    parked: Mapping[CustomerId, str]
    """Fingerprints of what was refused and waits for a change or a person."""
    suppressed: Container[str] = ()
    """Email keys that asked for no marketing, among those of the rows."""
    in_doubt: Container[CustomerId] = ()
    """Who was asked for so lately that it may still take effect unseen."""


@dataclass(slots=True)
class Decision:
    """``row``: how the customer stands now. ``given_up``: rows whose person went to this customer;
    ``look_again``: customers who may be concerned; ``freed``: an address that nobody holds now."""

    row: Enrolment
    count: Count | None = None
    failure: Failure | None = None
    failure_of: str = ""
    is_parked: bool = False
    """Whether it is just what was refused before."""
    given_up: list[Enrolment] = field(default_factory=list)
    look_again: list[CustomerId] = field(default_factory=list)
    freed: str = ""


def decide(
    known: KnownCustomer,
    row: Enrolment | None,
    verdict: Verdict,
    rules: EnrolmentRules,
    around: Surroundings,
) -> Decision:
    """The decision for one customer; ``around`` learns who holds what now."""
    customer_id = known.customer.id
    before = row or Enrolment(customer_id, EnrolmentState.SKIPPED)
    made = _decided(known, before, verdict, rules, around)
    after = made.row
    if before.email_key and before.email_key != after.email_key:
        around.holders.pop(before.email_key, None)
        made.freed = before.email_key
    if after.email_key:
        around.holders[after.email_key] = customer_id
    if after.user_id is not None:
        around.bound[after.user_id] = customer_id
    for other in made.given_up:
        made.look_again.append(other.customer_id)
    return made


def _decided(
    known: KnownCustomer,
    row: Enrolment,
    verdict: Verdict,
    rules: EnrolmentRules,
    around: Surroundings,
) -> Decision:
    if row.state is EnrolmentState.GONE:
        return Decision(replace(row, reason=SkipReason.GONE.value))
    made = Decision(row)
    if not row.is_referrer:
        _find_own(made, around)
    if not made.row.is_referrer:
        own = rules.filter.admits(known) and _has_own_person(row, verdict, around)
        _take_over(made, around, has_own_person=own)
    if made.row.is_referrer:
        _keep_in_step(made, known, verdict, around)
    else:
        _enrol(made, known, verdict, rules, around)
    if made.row.reason or made.row.update_due or made.failure is not None:
        # Counted once: by its reason, as a failure, or as an update when that is written.
        made.count = None
    return made


def _find_own(made: Decision, around: Surroundings) -> None:
    """What was asked for, or refused because it was there, shows up under its address."""
    row = made.row
    if row.state not in (EnrolmentState.INTENT, EnrolmentState.REFUSED) or not row.email_key:
        return
    person = around.people_by_key.get(row.email_key)
    if person is None or person.id in around.bound:
        return
    is_own = row.state is EnrolmentState.INTENT
    made.count = Count.CREATED if is_own else Count.LINKED
    made.row = replace(
        row,
        state=EnrolmentState.ENROLLED if is_own else EnrolmentState.LINKED,
        user_id=person.id,
        return_due=row.return_due + 1,
    )


def _take_over(made: Decision, around: Surroundings, *, has_own_person: bool) -> None:
    """The referrer of a customer that was merged into this one is this one's from now on, unless
    this one is, or may turn out to be, in the campaign itself."""
    row = made.row
    if row.customer_id in around.in_doubt or has_own_person:
        return
    others = around.merged_into.get(row.customer_id, ())
    other = next((o for o in others if around.bound.get(_user(o)) == o.customer_id), None)
    if other is None:
        return
    made.row = replace(
        row,
        state=other.state,
        reason="",
        email_key=other.email_key,
        user_id=other.user_id,
        sent=other.sent,
        returned={},
        return_due=row.return_due + 1,
    )
    made.count = Count.LINKED
    made.given_up.append(
        Enrolment(other.customer_id, EnrolmentState.SKIPPED, SkipReason.MERGED.value)
    )


def _has_own_person(row: Enrolment, verdict: Verdict, around: Surroundings) -> bool:
    """Whether somebody of the campaign has this customer's address, and no other customer that
    person or address."""
    if not isinstance(verdict, Draft):
        return False
    person = around.people_by_key.get(verdict.key)
    is_free = around.holders.get(verdict.key, row.customer_id) == row.customer_id
    return person is not None and person.id not in around.bound and is_free


def _user(row: Enrolment) -> UserId:
    return UserId(-1) if row.user_id is None else row.user_id


def _keep_in_step(
    made: Decision, known: KnownCustomer, verdict: Verdict, around: Surroundings
) -> None:
    """Somebody who is a referrer: what changed, and whether it may be told."""
    row = made.row
    reason = _why_left_alone(row, known, verdict, around)
    made.row = replace(row, reason=reason, update_due=False)
    if known.customer.merged_to_id is not None:
        made.look_again.append(known.customer.merged_to_id)
    if reason or isinstance(verdict, SkipReason):
        return
    if isinstance(verdict, Unmappable):
        _fail(made, verdict.reason, fingerprint(verdict.reason), around)
        return
    if not changes(row, verdict):
        return
    is_new = verdict.key != row.email_key
    if is_new and around.holders.get(verdict.key) in _merged_twins(row, around):
        # The address came with a customer merged into this one, whose referrer keeps it.
        return
    if is_new and _is_taken(verdict.key, row, around):
        _fail(made, ADDRESS_TAKEN, verdict.mark(for_update=True), around)
        return
    made.is_parked = around.parked.get(row.customer_id) == verdict.mark(for_update=True)
    made.row = replace(made.row, update_due=not made.is_parked)


def changes(row: Enrolment, verdict: Draft) -> dict[str, str]:
    """The values that are others than those which Referral Factory was given last: those that
    changed in ServiceTitan, or by the mapping."""
    return {
        target: value
        for target, value in verdict.values.items()
        if value != row.sent.get(target, "")
    }


def _why_left_alone(
    row: Enrolment, known: KnownCustomer, verdict: Verdict, around: Surroundings
) -> str:
    if known.customer.merged_to_id is not None:
        return SkipReason.MERGED.value
    if isinstance(verdict, SkipReason):
        return after_enrolment(verdict).value
    person = around.people_by_id.get(_user(row))
    has_left = has_left_address(known, row.email_key, around.suppressed)
    if has_left or (person is not None and person.unsubscribed_at is not None):
        return SkipReason.OPTED_OUT.value
    return ""


def _merged_twins(row: Enrolment, around: Surroundings) -> set[CustomerId]:
    return {other.customer_id for other in around.merged_into.get(row.customer_id, ())}


def _is_taken(key: str, row: Enrolment, around: Surroundings) -> bool:
    person = around.people_by_key.get(key)
    return around.holders.get(key, row.customer_id) != row.customer_id or (
        person is not None and person.id != row.user_id
    )


def _enrol(
    made: Decision,
    known: KnownCustomer,
    verdict: Verdict,
    rules: EnrolmentRules,
    around: Surroundings,
) -> None:
    """Somebody who is no referrer yet."""
    row = made.row
    customer_id = row.customer_id
    is_same = isinstance(verdict, Draft) and verdict.key == row.email_key
    if customer_id in around.in_doubt and not is_same:
        # It may exist under that address: nothing is known, so nothing is changed.
        return
    if isinstance(verdict, Unmappable):
        made.row = Enrolment(customer_id, EnrolmentState.REFUSED)
        _fail(made, verdict.reason, fingerprint(verdict.reason), around)
        return
    if isinstance(verdict, SkipReason):
        made.row = _skipped(customer_id, verdict)
        return
    person = around.people_by_key.get(verdict.key)
    bound_to = None if person is None else around.bound.get(person.id)
    if around.holders.get(verdict.key, customer_id) != customer_id or bound_to is not None:
        made.row = _skipped(customer_id, SkipReason.DUPLICATE_EMAIL)
    elif not rules.filter.admits(known):
        made.row = _skipped(customer_id, SkipReason.FILTERED)
    elif person is not None:
        opted_out = person.unsubscribed_at is not None
        made.row = Enrolment(
            customer_id,
            EnrolmentState.LINKED,
            reason=SkipReason.OPTED_OUT.value if opted_out else "",
            email_key=verdict.key,
            user_id=person.id,
            sent=verdict.values,
            return_due=1,
        )
        made.count = Count.LINKED
    else:
        made.is_parked = around.parked.get(customer_id) == verdict.mark(for_update=False)
        made.row = Enrolment(
            customer_id,
            EnrolmentState.REFUSED if made.is_parked else EnrolmentState.PLANNED,
            email_key=verdict.key,
            sent=verdict.values,
        )


def _skipped(customer_id: CustomerId, reason: SkipReason) -> Enrolment:
    return Enrolment(customer_id, EnrolmentState.SKIPPED, reason.value)


def _fail(made: Decision, reason: str, mark: str, around: Surroundings) -> None:
    """A failure, unless just this one was told before and waits."""
    made.is_parked = around.parked.get(made.row.customer_id) == mark
    if not made.is_parked:
        made.failure = Failure(str(made.row.customer_id), reason)
        made.failure_of = mark
