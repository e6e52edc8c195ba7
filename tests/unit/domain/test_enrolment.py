"""Who may become a referrer, with which address, and what a mapping reads of a customer."""

from __future__ import annotations

from dataclasses import replace
from datetime import date, datetime, timedelta, timezone
from typing import Any

import pytest

from stcli.domain import catalog
from stcli.domain.enrolment import (
    CustomerSubject,
    Enrolment,
    EnrolmentState,
    Filter,
    KnownCustomer,
    after_enrolment,
    allowed_email,
)
from stcli.domain.outcome import SkipReason
from stcli.domain.records import CustomerContact
from tests.unit.domain.customers import WHEN, contact, customer, known

SURVIVOR: dict[str, Any] = {"merged_to_id": 9}
SUPPRESSED = {"ada@example.com"}


def told(*contacts: CustomerContact, **facts: Any) -> KnownCustomer:
    return KnownCustomer(customer(**facts), contacts)


def chosen(one: KnownCustomer, suppressed: set[str] | None = None) -> str:
    """The address that was chosen, or the reason why there is none."""
    found = allowed_email(one, suppressed or set())
    return found.value if isinstance(found, CustomerContact) else str(found)


FAULTS: list[tuple[SkipReason, dict[str, Any], list[CustomerContact]]] = [
    (SkipReason.INACTIVE, {"active": False}, [contact(1, "ada@example.com")]),
    (SkipReason.MERGED, SURVIVOR, [contact(1, "ada@example.com")]),
    (SkipReason.NO_NAME, {"name": " \t"}, [contact(1, "ada@example.com")]),
    (SkipReason.NO_EMAIL, {}, []),
    (SkipReason.INVALID_EMAIL, {}, [contact(1, "ada at example.com")]),
    (SkipReason.DO_NOT_MAIL, {"do_not_mail": True}, [contact(1, "ada@example.com")]),
    (SkipReason.DO_NOT_SERVICE, {"do_not_service": True}, [contact(1, "ada@example.com")]),
    (SkipReason.MARKETING_OFF, {}, [contact(1, "ada@example.com", marketing=False)]),
]


@pytest.mark.parametrize(("reason", "facts", "contacts"), FAULTS, ids=lambda value: str(value)[:20])
def test_each_reason_alone(
    reason: SkipReason, facts: dict[str, Any], contacts: list[CustomerContact]
) -> None:
    """One thing wrong is enough, and it is named."""
    assert allowed_email(told(*contacts, **facts), set()) is reason


def test_a_suppressed_address_is_a_reason() -> None:
    """The suppression list is asked for what the address is known by."""
    assert chosen(told(contact(1, " ADA@example.com")), SUPPRESSED) == "suppressed"
    assert chosen(told(contact(1, " ADA@example.com"))) == " ADA@example.com"


def test_the_first_reason_of_several_counts() -> None:
    """Everything wrong at once, then repaired from the front: the order is the product's."""
    wrong: dict[str, Any] = {
        "active": False,
        "merged_to_id": 9,
        "name": "",
        "do_not_mail": True,
        "do_not_service": True,
    }
    invalid = contact(1, "ada")
    unwilling = contact(1, "ada@example.com", marketing=False)
    repairs: list[tuple[str, dict[str, Any], list[CustomerContact]]] = [
        ("inactive", {}, []),
        ("merged", {"active": True}, []),
        ("no_name", {"merged_to_id": None}, []),
        ("no_email", {"name": "Ada"}, []),
        ("invalid_email", {}, [invalid]),
        ("do_not_mail", {}, [unwilling]),
        ("do_not_service", {"do_not_mail": False}, [unwilling]),
        ("marketing_off", {"do_not_service": False}, [unwilling]),
        ("suppressed", {}, [unwilling._replace(marketing=True)]),
    ]
    facts = dict(wrong)
    found = []
    for _, repaired, contacts in repairs:
        facts.update(repaired)
        found.append(chosen(told(*contacts, **facts), SUPPRESSED))
    assert found == [reason for reason, _, _ in repairs]
    order = [str(reason) for reason in SkipReason]
    assert sorted(found, key=order.index) == found


@pytest.mark.parametrize(
    "contacts",
    [
        [contact(1, "ada@example.com", active=False)],
        [contact(1, "")],
        [contact(1, "  ")],
        [contact(1, "5550100199", "Phone")],
        [contact(1, "ada@example.com", "Fax")],
        [contact(1, "ada@example.com", "")],
    ],
)
def test_what_is_no_email_at_all(contacts: list[CustomerContact]) -> None:
    """Blank, inactive and other kinds of contact count as none, not as wrong ones."""
    assert chosen(told(*contacts)) == "no_email"


def test_the_lowest_id_wins_wherever_it_stands() -> None:
    """Not the order of the feed but the id decides, so that the choice stays."""
    ways = [contact(30, "c@example.com"), contact(4, "a@example.com"), contact(12, "b@example.com")]
    assert {chosen(told(*order)) for order in (ways, ways[::-1], ways[1:] + ways[:1])} == {
        "a@example.com"
    }


@pytest.mark.parametrize(
    "first",
    [
        contact(1, "a@example.com", active=False),
        contact(1, "a at example.com"),
        contact(1, "a@example.com", marketing=False),
        contact(1, "Ada@example.com"),
        contact(1, " "),
        contact(1, "a@example.com", "Phone"),
    ],
)
def test_what_is_wrong_with_one_contact_leaves_the_others(first: CustomerContact) -> None:
    """Marketing, validity and suppression are judged for each address by itself."""
    assert chosen(told(first, contact(2, "b@example.com")), SUPPRESSED) == "b@example.com"


def test_reasons_of_different_addresses_are_named_by_the_last_hurdle() -> None:
    """One unwilling and one suppressed address: what is left fails by the suppression."""
    ways = (contact(1, "b@example.com", marketing=False), contact(2, "ada@example.com"))
    assert chosen(told(*ways), SUPPRESSED) == "suppressed"
    ways = (contact(1, "invalid"), contact(2, "ada@example.com", marketing=False))
    assert chosen(told(*ways)) == "marketing_off"


@pytest.mark.parametrize(
    ("reason", "later"),
    [
        (SkipReason.DO_NOT_MAIL, SkipReason.OPTED_OUT),
        (SkipReason.MARKETING_OFF, SkipReason.OPTED_OUT),
        (SkipReason.SUPPRESSED, SkipReason.OPTED_OUT),
        (SkipReason.DO_NOT_SERVICE, SkipReason.DO_NOT_SERVICE),
        (SkipReason.INACTIVE, SkipReason.INACTIVE),
        (SkipReason.MERGED, SkipReason.MERGED),
        (SkipReason.NO_NAME, SkipReason.NO_NAME),
        (SkipReason.NO_EMAIL, SkipReason.NO_EMAIL),
        (SkipReason.INVALID_EMAIL, SkipReason.INVALID_EMAIL),
    ],
)
def test_how_a_reason_is_called_after_the_enrolment(reason: SkipReason, later: SkipReason) -> None:
    """A customer's own wish in any form is opting out; the rest keeps its name."""
    assert after_enrolment(reason) is later


def test_only_two_states_are_referrers() -> None:
    """Whoever was only asked for, refused or deleted is none."""
    referrers = {s for s in EnrolmentState if Enrolment(customer().id, s).is_referrer}
    assert referrers == {EnrolmentState.ENROLLED, EnrolmentState.LINKED}


LATE = datetime(2026, 11, 24, 0, 30, tzinfo=timezone(timedelta(hours=2)))
"""Still the 23rd in UTC."""


@pytest.mark.parametrize(
    ("wanted", "one", "admitted"),
    [
        (Filter(), known(), True),
        (Filter(customer_type="Residential"), known(), True),
        (Filter(customer_type="Commercial"), known(), False),
        (Filter(customer_type="Residential"), known(1, type=""), False),
        (Filter(tags=frozenset({1, 2})), known(1, tag_type_ids=(2, 3)), True),
        (Filter(tags=frozenset({1, 2})), known(1, tag_type_ids=(3,)), False),
        (Filter(tags=frozenset({1, 2})), known(), False),
        (Filter(created_since=date(2026, 11, 23)), known(), True),
        (Filter(created_since=date(2026, 11, 24)), known(), False),
        (Filter(created_since=date(2026, 11, 23)), known(1, created_on=LATE), True),
        (Filter(created_since=date(2026, 11, 24)), known(1, created_on=LATE), False),
        (Filter(has_job_since=date(2026, 11, 23)), known(1, last_job_at=WHEN), True),
        (Filter(has_job_since=date(2026, 11, 24)), known(1, last_job_at=WHEN), False),
        (Filter(has_job_since=date(2026, 11, 24)), known(1, last_job_at=LATE), False),
        (Filter(has_job_since=date(2020, 1, 1)), known(), False),
        (
            Filter("Residential", frozenset({3}), date(2026, 1, 1), date(2026, 1, 1)),
            known(1, tag_type_ids=(3,), last_job_at=WHEN),
            True,
        ),
        (
            Filter("Residential", frozenset({3}), date(2026, 1, 1), date(2026, 1, 1)),
            known(1, last_job_at=WHEN),
            False,
        ),
    ],
)
def test_a_filter_wants_all_its_parts(wanted: Filter, one: KnownCustomer, admitted: bool) -> None:
    """One of several tags is enough, days are those of UTC and inclusive, no job is not enough."""
    assert wanted.admits(one) is admitted


FULL = KnownCustomer(
    customer(
        name="Lovelace, Ada",
        created_on=LATE,
        address={"street": "1 Main St", "city": "Bath"},
        custom_fields={11: "Gold"},
    ),
    [
        contact(5, "555-0105", "Phone"),
        contact(4, "555-0104", "Phone"),
        contact(3, "555-0103", "Phone", active=False),
        contact(2, " ", "Phone"),
        contact(6, "555-0106", "MobilePhone"),
        contact(1, "other@example.com"),
    ],
)


@pytest.mark.parametrize(
    ("source", "value"),
    [
        ("name", "Lovelace, Ada"),
        ("email", "ada@example.com"),
        ("phone", "555-0104"),
        ("mobile_phone", "555-0106"),
        ("type", "Residential"),
        ("address.street", "1 Main St"),
        ("address.city", "Bath"),
        ("address.unit", ""),
        ("created_on", "2026-11-23"),
        ("custom_field:Level", "Gold"),
        ("custom_field:Never set", ""),
        ("custom_field:Unknown", ""),
    ],
)
def test_what_a_mapping_reads_of_a_customer(source: str, value: str) -> None:
    """The chosen address, the first number that counts, the day in UTC, custom fields by name."""
    subject = CustomerSubject(FULL, "ada@example.com", {"Level": 11, "Never set": 12})
    assert subject.value(source) == value


@pytest.mark.parametrize("source", ["phone", "mobile_phone", "address.street", "custom_field:x"])
def test_a_customer_without_anything_reads_as_blank(source: str) -> None:
    """What is not there is empty text, never an error."""
    assert CustomerSubject(KnownCustomer(customer()), "", {"x": 1}).value(source) == ""


def test_every_source_of_the_catalogue_can_be_read() -> None:
    """No name that the file may say is unknown to a customer who has everything."""
    address = dict.fromkeys(("street", "unit", "city", "state", "zip", "country"), "x")
    everything = replace(FULL, customer=FULL.customer._replace(address=address))
    subject = CustomerSubject(everything, "ada@example.com", {"Level": 11})
    names = [name.replace("NAME", "Level") for name in catalog.SYNC.source_names]
    assert [name for name in names if not subject.value(name)] == []
