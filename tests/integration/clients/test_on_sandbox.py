"""Both clients on the sandbox, whose rules were written from the vendors' documents by others."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Iterator
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from stcli.clients.ratelimit import RateLimiter
from stcli.clients.referralfactory.client import ReferralFactoryClient
from stcli.clients.servicetitan.client import ServiceTitanClient
from stcli.clients.slots import SlotFile
from stcli.domain.ids import CustomerId, ProviderId, UserId
from stcli.domain.records import BookingContact, BookingDraft, ContactType, FeedPage, PersonType
from stcli.domain.secret import Secret
from stcli.errors import RecordNotFound, RecordRejected
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
        limiter=RateLimiter(SlotFile(folder / "limits.db")),
        tokens_folder=folder / "tokens",
        timeout_seconds=10,
        rate_per_second=60,
    )


def referral_factory(sandbox: RunningSandbox, folder: Path) -> ReferralFactoryClient:
    return ReferralFactoryClient(
        url=sandbox.rf_url,
        token=Secret(sandbox.credentials.rf_token),
        limiter=RateLimiter(SlotFile(folder / "limits.db")),
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


def test_every_call_of_customers(sandbox: RunningSandbox, tmp_path: Path) -> None:
    """Feeds to their end, suppressions, custom fields, and a write that leaves the others alone."""

    async def to_the_end(feed: Callable[[str], Awaitable[FeedPage[Any]]]) -> list[Any]:
        records: list[Any] = []
        page = await feed("")
        records += page.records
        while page.has_more:
            page = await feed(page.token)
            records += page.records
        return records

    async def scenario() -> None:
        async with servicetitan(sandbox, tmp_path) as client:
            customers = {one.id: one for one in await to_the_end(client.customers_feed)}
            contacts = await to_the_end(client.contacts_feed)
            jobs = await to_the_end(client.customer_jobs_feed)
            assert customers
            assert {contact.customer_id for contact in contacts} & set(customers)
            assert {job.customer_id for job in jobs} <= set(customers)
            found = await client.suppressions(None)
            assert len({one.email for one in found}) == len(found)
            later = datetime(2999, 1, 1, tzinfo=UTC)
            assert list(await client.suppressions(later)) == []
            text = next(f for f in await client.custom_fields() if f.data_type == "Text")
            before = await client.customer(next(iter(customers)))
            after = await client.update_custom_fields(before.id, {text.id: "https://example.com/a"})
            assert after.custom_fields == {**before.custom_fields, text.id: "https://example.com/a"}
            assert (await client.customer(before.id)).custom_fields == after.custom_fields
            with pytest.raises(RecordRejected):
                await client.update_custom_fields(before.id, {999_999: "x"})
            with pytest.raises(RecordNotFound):
                await client.update_custom_fields(CustomerId(999_999_999), {text.id: "x"})

    asyncio.run(scenario())


def test_every_write_of_referrers(sandbox: RunningSandbox, tmp_path: Path) -> None:
    """Made once, refused a second time, changed in part, counted, and gone."""

    async def scenario() -> None:
        async with referral_factory(sandbox, tmp_path) as client:
            campaign = (await client.campaigns())[0]
            required = {
                f"meta.{one.label}": "x"
                for one in campaign.referrer_fields
                if one.required and one.label.casefold() not in ("first name", "email")
            }
            values = {
                "first_name": "Ada",
                "email": "ada-of-a-test@example.com",
                "meta.City": "Bath",
                **required,
            }
            made = await client.create_referrer(campaign.id, values, welcome_mail=False)
            assert (made.type, made.campaign_id) == (PersonType.REFERRER, campaign.id)
            assert made.url
            again = values | {"email": values["email"].upper()}
            with pytest.raises(RecordRejected) as caught:
                await client.create_referrer(campaign.id, again, welcome_mail=False)
            assert caught.value.status == 422
            changed = await client.update_user(made.id, {"first_name": "Grace"}, made.meta)
            assert changed == replace(made, first_name="Grace")
            changed = await client.update_user(made.id, {"meta.City": "York"}, changed.meta)
            assert changed.meta == {**made.meta, "City": "York"}
            last = (await client.users_page(1)).last_page
            listed = (await client.users_page(last, with_counts=True)).people
            (own,) = [person for person in listed if person.id == made.id]
            assert (own.referrals, own.qualified_referrals) == (0, 0)
            with pytest.raises(RecordNotFound):
                await client.update_user(UserId(999_999_999), {"first_name": "Ada"}, {})

    asyncio.run(scenario())


def test_hundred_and_fifty_bookings_at_full_speed_are_never_throttled(
    sandbox: RunningSandbox, tmp_path: Path
) -> None:
    """The sandbox counts any second strictly: not one 429, in no less time than the limit allows."""

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
    assert seconds >= 2.4
