"""Switching what happens when someone joins on: for newcomers only, or for everybody."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import date, datetime

from stcli.domain.campaign import CampaignConfig, Tab
from stcli.domain.ids import CampaignName
from stcli.domain.records import Campaign, PersonType
from stcli.store.ledger import Ledger, LedgerScope
from stcli.usecases.campaign_lookup import find_campaign
from stcli.usecases.ports import ReferralGateway
from stcli.usecases.user_list import pages_from


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
        campaign = await find_campaign(referral, self.config)
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
        campaign = await find_campaign(referral, self.config)
        return ledger.forget_present(self._scope(campaign))

    def _scope(self, campaign: Campaign) -> LedgerScope:
        return LedgerScope(self.name, self.tab.value, self.tenant, campaign.id)
