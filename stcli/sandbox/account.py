"""The data of the one Referral Factory account: campaigns, their users, rewards that became due.

Emails are unique within a campaign, compared without case; codes are unique in the account.
Callers hold the world's lock.
"""

import random
import string
from collections import Counter
from collections.abc import Iterator, Sequence
from datetime import date

from stcli.sandbox.clock import VirtualClock
from stcli.sandbox.records import DueReward, ReferralCampaign, User

REFERRING = "person_referring"
INVITED = "person_invited"
SOURCES = ("Direct", "Referred", "Api", "Added", "Zapier", "Widget", "Popup", "Embed", "Test")
REWARD_TOTAL = 50.0


class Account:
    def __init__(self, seed: int, clock: VirtualClock, ids: Iterator[int]) -> None:
        self.clock = clock
        self._ids = ids
        self._random = random.Random(f"codes-{seed}")  # noqa: S311 - sample data
        self.campaigns: dict[int, ReferralCampaign] = {}
        self.users: dict[int, User] = {}
        self.rewards: dict[int, DueReward] = {}
        self._by_code: dict[str, int] = {}
        self._by_email: dict[tuple[int, str], int] = {}
        self._rewarded: set[int] = set()
        # Kept up with every change: a page shows the numbers of 250 users, and one referrer may
        # have sent half of the account.
        self._referrals: Counter[int] = Counter()
        self._qualified: Counter[int] = Counter()
        self._order: list[User] | None = None

    def next_id(self) -> int:
        return next(self._ids)

    # Campaigns

    def campaign(self, identifier: str) -> ReferralCampaign | None:
        for campaign in self.campaigns.values():
            if identifier in (campaign.code, str(campaign.id)):
                return campaign
        return None

    def delete_campaign(self, campaign: ReferralCampaign) -> None:
        for user in [u for u in self.users.values() if u.campaign_id == campaign.id]:
            self.delete_user(user)
        del self.campaigns[campaign.id]

    # Users

    def in_order(self) -> Sequence[User]:
        """All users, oldest first; built again only after one came or went."""
        if self._order is None:
            self._order = list(self.users.values())
        return self._order

    def user(self, identifier: str) -> User | None:
        by_code = self._by_code.get(identifier)
        if by_code is not None:
            return self.users[by_code]
        return self.users.get(int(identifier)) if identifier.isdecimal() else None

    def user_by_email(self, campaign_id: int, email: str) -> User | None:
        found = self._by_email.get((campaign_id, email.casefold()))
        return None if found is None else self.users[found]

    def add_user(
        self,
        campaign: ReferralCampaign,
        first_name: str,
        email: str,
        *,
        source: str,
        referrer: User | None = None,
        signed_up_at: date | None = None,
        meta: list[dict[str, str | None]] | None = None,
        code: str | None = None,
    ) -> User:
        code = code or self._new_code()
        user = User(
            id=self.next_id(),
            campaign_id=campaign.id,
            first_name=first_name,
            email=email,
            code=code,
            source=source,
            type=REFERRING if referrer is None else INVITED,
            url=f"{campaign.url}/{code}",
            referrer_id=None if referrer is None else referrer.id,
            signed_up_at=signed_up_at or self.clock.today(),
            meta=list(meta or ()),
        )
        self.users[user.id] = user
        self._by_code[user.code] = user.id
        self._by_email[campaign.id, email.casefold()] = user.id
        if referrer is not None:
            self._referrals[referrer.id] += 1
        if self._order is not None:
            self._order.append(user)
        return user

    def change_email(self, user: User, email: str) -> None:
        self._by_email.pop((user.campaign_id, user.email.casefold()), None)
        user.email = email
        self._by_email[user.campaign_id, email.casefold()] = user.id

    def delete_user(self, user: User) -> None:
        del self.users[user.id]
        self._by_code.pop(user.code, None)
        self._by_email.pop((user.campaign_id, user.email.casefold()), None)
        if user.referrer_id is not None:
            self._referrals[user.referrer_id] -= 1
            self._qualified[user.referrer_id] -= user.qualified_at is not None
        self._order = None

    def analytics(self, user: User) -> dict[str, int]:
        return {
            "reach": user.reach,
            "referrals": self._referrals[user.id],
            "qualified_referrals": self._qualified[user.id],
        }

    def qualify(self, user: User, *, qualified: bool) -> None:
        """Sets the state; the first qualification of a lead makes its referrer's reward due."""
        if qualified == (user.qualified_at is not None):
            return
        user.qualified_at = self.clock.today() if qualified else None
        if user.referrer_id is None:
            return
        self._qualified[user.referrer_id] += 1 if qualified else -1
        if qualified and user.id not in self._rewarded:
            self._rewarded.add(user.id)
            reward = DueReward(
                id=self.next_id(),
                reward_id=user.campaign_id,
                recipient_id=user.referrer_id,
                lead_id=user.id,
                total=REWARD_TOTAL,
            )
            self.rewards[reward.id] = reward

    def counts(self) -> dict[str, int]:
        users = self.users.values()
        return {
            "campaigns": len(self.campaigns),
            "users": len(self.users),
            "referrers": sum(user.type == REFERRING for user in users),
            "leads": sum(user.type == INVITED for user in users),
            "qualified": sum(user.qualified_at is not None for user in users),
            "rewards_due": len(self.rewards),
        }

    def _new_code(self) -> str:
        # A code of digits alone could be read as an id.
        while True:
            code = "".join(self._random.choices(string.ascii_uppercase + string.digits, k=7))
            if code not in self._by_code and not code.isdecimal():
                return code
