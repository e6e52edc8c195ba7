"""Who of a campaign is to get a booking, and if not, why; the first reason that applies. Pure."""

from __future__ import annotations

from dataclasses import replace

from stcli.domain.campaign import BookingTab, ReferrersTab
from stcli.domain.matching import email_key, phone_key
from stcli.domain.outcome import SkipReason
from stcli.domain.records import BookingDraft, ContactType, Person

TEST_SOURCE = "Test"
EXCLUDED_REFERRER_SOURCES = frozenset({"Added", "Api"})
"""People whom an administrator or a program added did not sign up themselves."""


def skip_reason(person: Person, tab: BookingTab, *, is_enrolled: bool = False) -> SkipReason | None:
    """Why a person is left alone, or None. ``since`` is inclusive and compared with Referral
    Factory's date as it stands; who has no date joined before any. ``is_enrolled``: the sync made a
    referrer of this person, or of a customer with this email address."""
    joined = person.signed_up_at
    if tab.since is not None and (joined is None or joined < tab.since):
        return SkipReason.BEFORE_SINCE
    if person.source == TEST_SOURCE:
        return SkipReason.TEST
    if isinstance(tab, ReferrersTab):
        excluded = EXCLUDED_REFERRER_SOURCES.difference(tab.include_sources)
        if person.source in excluded:
            return SkipReason.SOURCE_EXCLUDED
        if is_enrolled:
            return SkipReason.ENROLLED_BY_SYNC
    return None


def contact_keys(draft: BookingDraft) -> list[str]:
    """By what a person is recognised as a customer: the email address and the numbers."""
    keys = [
        email_key(contact.value) if contact.type is ContactType.EMAIL else phone_key(contact.value)
        for contact in draft.contacts
    ]
    return [key for key in keys if key]


def flagged(draft: BookingDraft, customer_id: int) -> BookingDraft:
    """The same booking, telling the office that this is a customer already."""
    return replace(
        draft,
        is_first_time_client=False,
        summary=f"{draft.summary}\nIs a customer already: {customer_id}",
    )
