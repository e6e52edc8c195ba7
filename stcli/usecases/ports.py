"""What use cases need of the outside, as Protocols; adapters and test fakes both satisfy them.

Every method of a gateway raises from ``stcli.errors``: ``CredentialsRefused``, ``RecordRejected``,
``RecordNotFound``, ``Unavailable`` after its own retries, ``NoAnswer`` for a write whose effect is
unknown, ``UnexpectedAnswer``. No raw document of a server crosses this line.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Protocol

from stcli.domain.ids import BookingId, CustomerId, JobId, ProviderId, RfCampaignId, UserId
from stcli.domain.records import (
    Booking,
    BookingDraft,
    Campaign,
    Customer,
    CustomerContact,
    CustomerJob,
    CustomFieldType,
    DueReward,
    FeedPage,
    Job,
    JobEvent,
    NamedOption,
    Person,
    Suppression,
    UserPage,
)


class CrmGateway(Protocol):
    """ServiceTitan, for one tenant and one booking provider."""

    @property
    def requests(self) -> int:
        """HTTP requests sent so far, retries and token requests included."""
        ...

    @property
    def clock_ahead_seconds(self) -> float | None:
        """How far the server's clock is ahead of ours, by its last answer; None: it did not tell."""
        ...

    async def fresh_token(self) -> None:
        """Fetch a token now, whatever is cached; refused: ``CredentialsRefused``."""
        ...

    async def first_booking(self) -> Booking | None:
        """``GET bookings?page=1&pageSize=1`` of the tenant."""
        ...

    async def first_booking_of_provider(self, provider: ProviderId) -> Booking | None:
        """The same list, of one booking provider."""
        ...

    async def booking_provider_tags(self) -> Sequence[NamedOption]: ...

    async def find_bookings(self, external_id: str) -> Sequence[Booking]:
        """All bookings of the tenant with exactly this ``externalId``; the answer is checked,
        because the server ignores filters it does not know."""
        ...

    async def recent_bookings(self, since: datetime) -> Sequence[Booking]:
        """Bookings of the tenant created at or after an instant, from the list, not the feed: a
        feed may show the newest changes late."""
        ...

    async def booking(self, booking_id: BookingId) -> Booking: ...

    async def create_booking(self, draft: BookingDraft) -> Booking:
        """One POST, never repeated after an answer that may hide an effect: ``NoAnswer``.
        Throttling and maintenance are waited out (they certainly had no effect)."""
        ...

    async def bookings_feed(self, position: str) -> FeedPage[Booking]:
        """One page of the feed from a token, a date or the beginning (empty)."""
        ...

    async def jobs_feed(self, position: str) -> FeedPage[Job]: ...

    async def job_history_feed(self, position: str) -> FeedPage[JobEvent]: ...

    async def jobs(self, ids: Sequence[JobId]) -> Sequence[Job]:
        """The jobs with these ids, asked for 50 at a time; unknown ids are left out."""
        ...

    async def jobs_of_booking(self, booking_id: BookingId) -> Sequence[Job]:
        """Jobs whose ``bookingId`` is this one (checked)."""
        ...

    async def job_history(self, job_id: JobId) -> Sequence[JobEvent]: ...

    async def customers_feed(self, position: str) -> FeedPage[Customer]: ...

    async def contacts_feed(self, position: str) -> FeedPage[CustomerContact]:
        """Contacts of customers; a contact that changes leaves its customer's entry alone."""
        ...

    async def customer_jobs_feed(self, position: str) -> FeedPage[CustomerJob]:
        """The jobs feed, read for whose the jobs are; canceled ones are left out."""
        ...

    async def suppressions(self, since: datetime | None) -> Sequence[Suppression]:
        """The tenant's suppression list, or what changed in it since an instant; those that are
        no longer active too. ``CredentialsRefused`` (403) where the grant lacks the scope."""
        ...

    async def custom_fields(self) -> Sequence[CustomFieldType]: ...

    async def customer(self, customer_id: CustomerId) -> Customer: ...

    async def update_custom_fields(
        self, customer_id: CustomerId, values: Mapping[int, str]
    ) -> Customer:
        """Write these custom fields, by id; the answer is the customer as it is then. Repeated by
        itself: it sets values."""
        ...

    async def campaigns(self) -> Sequence[NamedOption]: ...

    async def business_units(self) -> Sequence[NamedOption]: ...

    async def job_types(self) -> Sequence[NamedOption]: ...

    async def tag_types(self) -> Sequence[NamedOption]: ...


class ReferralGateway(Protocol):
    """Referral Factory, for one account."""

    @property
    def requests(self) -> int: ...

    @property
    def clock_ahead_seconds(self) -> float | None: ...

    async def campaigns(self) -> Sequence[Campaign]: ...

    async def campaign(self, identifier: str) -> Campaign:
        """By code or id; unknown: ``RecordNotFound``."""
        ...

    async def due_rewards(self, metric: str) -> Sequence[DueReward]:
        """What is owed and not yet issued, of one of ``REWARD_METRICS``."""
        ...

    async def users_page(self, page: int, *, with_counts: bool = False) -> UserPage:
        """One page (250) of the users of all campaigns, in the server's order."""
        ...

    async def user(self, identifier: str) -> Person: ...

    async def create_referrer(
        self, campaign: RfCampaignId, values: Mapping[str, str], *, welcome_mail: bool
    ) -> Person:
        """One POST, never repeated after an answer that may hide an effect: ``NoAnswer``. An email
        address that the campaign has already is ``RecordRejected``. ``values`` by target:
        ``first_name``, ``email``, ``meta.LABEL``."""
        ...

    async def update_user(
        self, user: UserId, changes: Mapping[str, str], meta: Mapping[str, str]
    ) -> Person:
        """Set the changed values, by target; ``meta``: what the form fields hold now, by label."""
        ...

    async def qualify(self, user: UserId, *, qualified: bool) -> Person: ...
