"""Who is left alone, and why: the first reason that applies."""

from __future__ import annotations

from dataclasses import replace
from datetime import date

import pytest

from stcli.domain.campaign import BookingTab, ReferrersTab
from stcli.domain.eligibility import skip_reason
from stcli.domain.ids import RfCampaignId, UserId
from stcli.domain.outcome import SkipReason
from stcli.domain.records import Person, PersonType

DAY = date(2026, 11, 23)
SOMEONE = Person(
    UserId(1),
    RfCampaignId(7),
    PersonType.LEAD,
    "c1",
    "Ada",
    "ada@example.com",
    "",
    "Referred",
    signed_up_at=DAY,
)


@pytest.mark.parametrize(
    ("since", "joined", "reason"),
    [
        (None, DAY, None),
        (None, None, None),
        (DAY, DAY, None),
        (DAY, date(2026, 11, 24), None),
        (DAY, date(2026, 11, 22), SkipReason.BEFORE_SINCE),
        (DAY, None, SkipReason.BEFORE_SINCE),
    ],
)
def test_since_is_inclusive(since, joined, reason) -> None:
    """That very day counts; nobody's date is guessed."""
    assert skip_reason(replace(SOMEONE, signed_up_at=joined), BookingTab(since=since)) is reason


@pytest.mark.parametrize("tab", [BookingTab(), ReferrersTab(include_sources=("Test",))])
def test_a_test_is_never_sent(tab) -> None:
    """Whatever is included."""
    assert skip_reason(replace(SOMEONE, source="Test"), tab) is SkipReason.TEST


@pytest.mark.parametrize("source", ["Added", "Api"])
def test_who_was_added_is_no_referrer_to_book_unless_included(source) -> None:
    """Leads of these sources are booked; referrers only where the file says so."""
    person = replace(SOMEONE, source=source)
    assert skip_reason(person, BookingTab()) is None
    assert skip_reason(person, ReferrersTab()) is SkipReason.SOURCE_EXCLUDED
    assert skip_reason(person, ReferrersTab(include_sources=(source,))) is None


def test_the_first_reason_counts() -> None:
    """In the order of the product: before_since, test, source_excluded."""
    person = replace(SOMEONE, source="Test", signed_up_at=date(2020, 1, 1))
    assert skip_reason(person, ReferrersTab(since=DAY)) is SkipReason.BEFORE_SINCE
