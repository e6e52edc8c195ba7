"""Who of a campaign is to get a booking, and if not, why; the first reason that applies. Pure."""

from __future__ import annotations

from stcli.domain.campaign import BookingTab, ReferrersTab
from stcli.domain.outcome import SkipReason
from stcli.domain.records import Person

TEST_SOURCE = "Test"
EXCLUDED_REFERRER_SOURCES = frozenset({"Added", "Api"})
"""People whom an administrator or a program added did not sign up themselves."""


def skip_reason(person: Person, tab: BookingTab) -> SkipReason | None:
    """Why a person is left alone, or None. ``since`` is inclusive and compared with Referral
    Factory's date as it stands; who has no date joined before any."""
    joined = person.signed_up_at
    if tab.since is not None and (joined is None or joined < tab.since):
        return SkipReason.BEFORE_SINCE
    if person.source == TEST_SOURCE:
        return SkipReason.TEST
    if isinstance(tab, ReferrersTab):
        excluded = EXCLUDED_REFERRER_SOURCES.difference(tab.include_sources)
        if person.source in excluded:
            return SkipReason.SOURCE_EXCLUDED
    return None
