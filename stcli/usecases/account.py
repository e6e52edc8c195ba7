"""The account in Referral Factory: is its token good, and which campaigns does it have."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import AbstractAsyncContextManager

from stcli.domain.records import Campaign
from stcli.usecases.ports import ReferralGateway


async def list_campaigns(
    opened: AbstractAsyncContextManager[ReferralGateway],
) -> Sequence[Campaign]:
    async with opened as referral:
        return await referral.campaigns()


async def prove_token(opened: AbstractAsyncContextManager[ReferralGateway]) -> int:
    """How many campaigns the token shows; raises where it is refused."""
    return len(await list_campaigns(opened))
