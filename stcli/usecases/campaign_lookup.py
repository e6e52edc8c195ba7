"""The Referral Factory campaign that a campaign file names."""

from __future__ import annotations

from stcli.domain.campaign import CampaignConfig
from stcli.domain.records import Campaign
from stcli.errors import RecordNotFound, RemoteGone
from stcli.usecases.ports import ReferralGateway


async def find_campaign(referral: ReferralGateway, config: CampaignConfig) -> Campaign:
    """The Referral Factory campaign of the file, or exit 4 when it is gone."""
    identifier = config.referral_campaign
    try:
        return await referral.campaign(identifier)
    except RecordNotFound as error:
        raise RemoteGone(
            f"Referral Factory has no campaign {identifier!r} (any more)",
            "Check referral_campaign in the campaign file; stcli campaigns lists what there is.",
            status=error.status,
        ) from error
