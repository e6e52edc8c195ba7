"""The account in Referral Factory: is its token good, and which campaigns does it have."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import AbstractAsyncContextManager

from stcli.domain.records import Campaign, DueReward
from stcli.usecases.ports import ReferralGateway


async def list_campaigns(
    opened: AbstractAsyncContextManager[ReferralGateway],
) -> Sequence[Campaign]:
    async with opened as referral:
        return await referral.campaigns()


async def due_rewards(
    opened: AbstractAsyncContextManager[ReferralGateway], metrics: Sequence[str]
) -> list[DueReward]:
    """Rewards owed and not yet issued, metric by metric."""
    async with opened as referral:
        return [reward for metric in metrics for reward in await referral.due_rewards(metric)]


async def prove_token(opened: AbstractAsyncContextManager[ReferralGateway]) -> int:
    """How many campaigns the token shows; raises where it is refused."""
    return len(await list_campaigns(opened))
