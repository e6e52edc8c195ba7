"""What can be mapped, asked of both systems as far as the campaign's connection stands."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from stcli.domain.campaign import CampaignConfig, Tab
    from stcli.domain.ids import CampaignName
    from stcli.usecases.field_lists import FieldLists
    from stcli.wiring import Application


def real_lists(
    app: Application, name: CampaignName, config: CampaignConfig, tab: Tab
) -> FieldLists:
    """The catalogue with the real names in it; where a system cannot be asked, a remark says why."""
    from stcli.cli import running
    from stcli.usecases.field_lists import (
        catalogue_lists,
        remarked,
        tried,
        with_campaign,
        with_tenant,
    )

    async def of_campaign(lists: FieldLists) -> FieldLists:
        async with app.open_referral() as referral:
            return await with_campaign(lists, config, referral)

    async def of_tenant(lists: FieldLists) -> FieldLists:
        async with app.crm_for(name, config) as crm:
            return await with_tenant(lists, crm)

    async def both() -> FieldLists:
        lists = await tried(catalogue_lists(tab), "Referral Factory", of_campaign)
        if config.proof is None:
            return remarked(lists, f"{name} is not finalized, so ServiceTitan was not asked.")
        return await tried(lists, "ServiceTitan", of_tenant)

    return running.ask(both)
