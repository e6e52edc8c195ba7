"""Both clients on the sandbox, whose rules were written from the vendors' documents by others."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from pathlib import Path

import pytest

from stcli.clients.ratelimit import RateLimiter
from stcli.clients.referralfactory.client import ReferralFactoryClient
from stcli.clients.servicetitan.client import ServiceTitanClient
from stcli.domain.ids import ProviderId, UserId
from stcli.domain.records import BookingContact, BookingDraft, ContactType
from stcli.domain.secret import Secret
from stcli.sandbox.server import RunningSandbox
from stcli.sandbox.settings import BOOKING_PROVIDER_ID


@pytest.fixture
def sandbox() -> Iterator[RunningSandbox]:
    with RunningSandbox() as running:
        yield running


def servicetitan(sandbox: RunningSandbox, folder: Path) -> ServiceTitanClient:
    given = sandbox.credentials
    return ServiceTitanClient(
        api_url=sandbox.st_api_url,
        auth_url=sandbox.st_auth_url,
        tenant_id=given.tenant_id,
        provider_id=BOOKING_PROVIDER_ID,
        client_id=given.client_id,
        client_secret=Secret(given.client_secret),
        app_key=Secret(given.app_key),
        limiter=RateLimiter(folder / "limits.db"),
        tokens_folder=folder / "tokens",
        timeout_seconds=10,
        rate_per_second=60,
    )


def referral_factory(sandbox: RunningSandbox, folder: Path) -> ReferralFactoryClient:
    return ReferralFactoryClient(
        url=sandbox.rf_url,
        token=Secret(sandbox.credentials.rf_token),
        limiter=RateLimiter(folder / "limits.db"),
        rate_per_minute=600,
    )


def draft(number: int) -> BookingDraft:
    return BookingDraft(
        source="Referral",
        name=f"Lead {number}",
        summary="From a test",
        is_first_time_client=True,
        external_id=f"test-{number}",
        contacts=(BookingContact(ContactType.EMAIL, f"lead{number}@example.com"),),
    )


def test_every_read_of_servicetitan(sandbox: RunningSandbox, tmp_path: Path) -> None:
    """Everything that the passes ask for is answered and understood."""

    async def scenario() -> None:
        async with servicetitan(sandbox, tmp_path) as client:
            await client.fresh_token()
            made = await client.create_booking(draft(1))
            first = await client.first_booking()
            own = await client.first_booking_of_provider(ProviderId(BOOKING_PROVIDER_ID))
            assert first is not None
            assert own is not None
            assert own.provider_id == BOOKING_PROVIDER_ID
            assert [booking.id for booking in await client.find_bookings("test-1")] == [made.id]
            assert list(await client.find_bookings("nobody")) == []
            assert (await client.booking(made.id)).external_id == "test-1"
            await client.bookings_feed("")
            jobs = (await client.jobs_feed("")).records
            await client.job_history_feed("2020-01-01")
            if jobs:
                assert [job.id for job in await client.jobs([jobs[0].id])] == [jobs[0].id]
                await client.job_history(jobs[0].id)
            assert list(await client.jobs_of_booking(made.id)) == []
            for options in (
                await client.campaigns(),
                await client.business_units(),
                await client.job_types(),
                await client.tag_types(),
                await client.booking_provider_tags(),
            ):
                assert options
                assert all(option.id and option.name for option in options)

    asyncio.run(scenario())


def test_every_call_of_referral_factory(sandbox: RunningSandbox, tmp_path: Path) -> None:
    """Campaigns, users and a qualification there and back."""

    async def scenario() -> None:
        async with referral_factory(sandbox, tmp_path) as client:
            campaigns = await client.campaigns()
            assert campaigns
            again = await client.campaign(campaigns[0].code)
            assert again.id == (await client.campaign(str(again.id))).id
            page = await client.users_page(1)
            assert page.people
            assert page.total >= len(page.people)
            lead = next(person for person in page.people if person.referrer_id)
            assert (await client.user(lead.code)).id == lead.id
            on = await client.qualify(UserId(lead.id), qualified=True)
            assert on.qualified_at is not None
            off = await client.qualify(UserId(lead.id), qualified=False)
            assert off.qualified_at is None

    asyncio.run(scenario())


def test_hundred_and_fifty_bookings_at_full_speed_are_never_throttled(
    sandbox: RunningSandbox, tmp_path: Path
) -> None:
    """The sandbox counts any second strictly: full speed is reached, without one 429."""

    async def scenario() -> tuple[float, int]:
        async with servicetitan(sandbox, tmp_path) as client:
            await client.fresh_token()
            began = asyncio.get_running_loop().time()
            async with asyncio.TaskGroup() as group:
                for number in range(150):
                    group.create_task(client.create_booking(draft(number)))
            return asyncio.get_running_loop().time() - began, client.requests

    seconds, requests = asyncio.run(scenario())
    assert requests == 151
    assert 2.4 <= seconds <= 4.0
