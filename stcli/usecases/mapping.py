"""What a mapping would make of a real record, and switching a tab's action on and off."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import date, datetime

from stcli.domain.campaign import CampaignConfig, Tab
from stcli.domain.ids import CampaignName
from stcli.domain.mapping.apply import (
    MappedField,
    Options,
    Subject,
    Unmappable,
    draft_booking,
    map_fields,
)
from stcli.domain.records import BookingDraft, Campaign, Person, PersonType
from stcli.errors import RecordNotFound, UsageError
from stcli.store.ledger import Ledger, LedgerScope
from stcli.usecases.passes.options import resolve_options
from stcli.usecases.ports import CrmGateway, ReferralGateway
from stcli.usecases.user_list import pages_from


@dataclass(frozen=True, slots=True)
class Preview:
    """Each row of the mapping for one person, and the booking it makes (or why none)."""

    person: Person
    rows: tuple[MappedField, ...]
    draft: BookingDraft | Unmappable


SAMPLE_PAGES = 20
"""How far the user list is read for somebody to show, at most."""


async def preview(
    config: CampaignConfig, tab: Tab, code: str, referral: ReferralGateway, crm: CrmGateway
) -> Preview:
    """Map one real person without writing anything."""
    campaign = await referral.campaign(config.referral_campaign)
    try:
        person = await referral.user(code)
    except RecordNotFound:
        raise UsageError(
            f"Referral Factory has nobody with the code {code!r}", "The code is case-sensitive."
        ) from None
    if person.campaign_id != campaign.id:
        raise UsageError(
            f"{code} belongs to another campaign than {campaign.code}", "Check the code."
        )
    if person.type is not _KINDS[tab]:
        raise UsageError(
            f"{code} is a {'referrer' if tab is Tab.LEADS else 'lead'}, not one for this tab",
            "Add --tab referrers." if tab is Tab.LEADS else "Add --tab leads.",
        )
    options = await resolve_options(crm, config.rules_of(tab))
    return _mapped(config, tab, await _subject(person, campaign, referral), options)


async def preview_some(
    config: CampaignConfig, tab: Tab, number: int, referral: ReferralGateway, crm: CrmGateway
) -> list[Preview]:
    """The same for the newest people that the first pages of the user list show."""
    campaign = await referral.campaign(config.referral_campaign)
    found: list[Person] = []
    async for page in pages_from(referral.users_page):
        found += [
            person
            for person in page.people
            if person.campaign_id == campaign.id and person.type is _KINDS[tab]
        ]
        if page.page >= SAMPLE_PAGES:
            break
    newest = sorted(found, key=lambda person: person.id, reverse=True)[:number]
    options = await resolve_options(crm, config.rules_of(tab))
    return [
        _mapped(config, tab, await _subject(person, campaign, referral), options)
        for person in newest
    ]


_KINDS = {Tab.LEADS: PersonType.LEAD, Tab.REFERRERS: PersonType.REFERRER}


async def _subject(person: Person, campaign: Campaign, referral: ReferralGateway) -> Subject:
    if person.referrer_id is None:
        return Subject(person, campaign)
    try:
        return Subject(person, campaign, await referral.user(str(person.referrer_id)))
    except RecordNotFound:
        return Subject(person, campaign)


def _mapped(config: CampaignConfig, tab: Tab, subject: Subject, options: Options) -> Preview:
    fields = config.rules_of(tab)
    return Preview(
        subject.person,
        tuple(map_fields(subject, fields)),
        draft_booking(subject, fields, options),
    )


@dataclass(frozen=True, slots=True)
class Switching:
    """A tab whose action is about to be switched on, or opened for those who were there."""

    name: CampaignName
    config: CampaignConfig
    tenant: str
    tab: Tab

    async def remember_present(
        self, since: date, referral: ReferralGateway, ledger: Ledger, now: datetime
    ) -> int:
        """Remember everyone who joined up to this moment, so that switching on concerns newcomers
        only. ``since`` is what leaves out those of earlier days; only people of that day and later
        ones have to be remembered one by one."""
        campaign = await referral.campaign(self.config.referral_campaign)
        kind = PersonType.LEAD if self.tab is Tab.LEADS else PersonType.REFERRER
        present = [
            (person.id, person.code)
            async for page in pages_from(referral.users_page)
            for person in page.people
            if person.campaign_id == campaign.id
            and person.type is kind
            and (person.signed_up_at is None or person.signed_up_at >= since)
        ]
        return ledger.remember_present(self._scope(campaign), present, now)

    async def forget_present(self, referral: ReferralGateway, ledger: Ledger) -> int:
        """Let those be booked too who were there when the action was switched on."""
        campaign = await referral.campaign(self.config.referral_campaign)
        return ledger.forget_present(self._scope(campaign))

    def _scope(self, campaign: Campaign) -> LedgerScope:
        return LedgerScope(self.name, self.tab.value, self.tenant, campaign.id)
