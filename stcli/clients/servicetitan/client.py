"""ServiceTitan API v2 for one tenant: lists, export feeds, bookings and jobs.

Every request waits for its turn at the shared limiter (60 a second for one app key on one tenant, in
both environments, says the vendor), carries a token of the tenant's grant, and is tried again only
where that can do no harm: a booking's POST is repeated after 429, maintenance and a connection that
never came about, and after nothing else.
"""

from __future__ import annotations

import asyncio
import hashlib
import time
from collections.abc import Awaitable, Callable, Iterable, Mapping, Sequence
from datetime import datetime
from itertools import chain
from pathlib import Path
from types import TracebackType
from typing import Self, TypeVar
from urllib.parse import urlsplit

import msgspec

from stcli.clients.answers import (
    as_read_failure,
    decoded,
    error_document,
    explained,
    field_messages,
    raise_if_passing,
    text_of,
    trace_id,
    unexpected_page,
)
from stcli.clients.pagination import all_pages, next_position
from stcli.clients.ratelimit import Limit, Limiter, Turn
from stcli.clients.retry import Again, RetryPolicy
from stcli.clients.servicetitan import wire
from stcli.clients.servicetitan.auth import SYSTEM, TokenSource
from stcli.clients.servicetitan.token_cache import TokenCache
from stcli.clients.transport import Answer, NotSent, Transport, checked_url, header_value
from stcli.domain.ids import BookingId, CustomerId, JobId, ProviderId
from stcli.domain.records import (
    Booking,
    BookingDraft,
    Customer,
    CustomerContact,
    CustomerJob,
    CustomFieldType,
    FeedPage,
    Job,
    JobEvent,
    NamedOption,
    Suppression,
)
from stcli.domain.secret import Secret
from stcli.errors import (
    ApiError,
    CredentialsRefused,
    NoAnswer,
    NotConnected,
    RecordNotFound,
    RecordRejected,
    UnexpectedAnswer,
)

Document = TypeVar("Document")
Record = TypeVar("Record")
Shape = TypeVar("Shape")
Item = TypeVar("Item")
Identified = TypeVar("Identified", Booking, Job)

PAGE_SIZE = 500
LARGEST_PAGE = 5000
"""The most that ``pageSize`` takes."""
IDS_AT_ONCE = 50
"""``ids`` filters take 50 at most (CRM v2 and JPM v2, "Perform lookup by multiple IDs")."""
LOOKUPS_AT_ONCE = 8
MOST_FILTERED_PAGES = 20
"""A filtered list longer than this shows that the server ignores the filter."""

_BOOKINGS = "/crm/v2/tenant/{tenant}/bookings"
_BOOKING = "/crm/v2/tenant/{tenant}/bookings/{id}"
_PROVIDER_BOOKINGS = "/crm/v2/tenant/{tenant}/booking-provider/{booking_provider}/bookings"
_PROVIDER_TAGS = "/crm/v2/tenant/{tenant}/booking-provider-tags"
_BOOKINGS_FEED = "/crm/v2/tenant/{tenant}/export/bookings"
_JOBS = "/jpm/v2/tenant/{tenant}/jobs"
_JOB_HISTORY = "/jpm/v2/tenant/{tenant}/jobs/{id}/history"
_JOB_TYPES = "/jpm/v2/tenant/{tenant}/job-types"
_JOBS_FEED = "/jpm/v2/tenant/{tenant}/export/jobs"
_HISTORY_FEED = "/jpm/v2/tenant/{tenant}/export/job-history"
_BUSINESS_UNITS = "/settings/v2/tenant/{tenant}/business-units"
_TAG_TYPES = "/settings/v2/tenant/{tenant}/tag-types"
_CAMPAIGNS = "/marketing/v2/tenant/{tenant}/campaigns"
_SUPPRESSIONS = "/marketing/v2/tenant/{tenant}/suppressions"
_CUSTOMER = "/crm/v2/tenant/{tenant}/customers/{id}"
_CUSTOM_FIELDS = "/crm/v2/tenant/{tenant}/customers/custom-fields"
_CUSTOMERS_FEED = "/crm/v2/tenant/{tenant}/export/customers"
_CONTACTS_FEED = "/crm/v2/tenant/{tenant}/export/customers/contacts"


class ServiceTitanClient:
    """Satisfies ``CrmGateway``. Open it with ``async with``; parallel calls are welcome.

    ``tokens_folder`` None: no token is read from or left in a cache. ``provider_id`` is needed for
    ``create_booking`` only. ``clock`` is the wall clock in seconds; waits go through ``retry`` and
    ``limiter``.
    """

    def __init__(
        self,
        *,
        api_url: str,
        auth_url: str,
        tenant_id: int,
        provider_id: int | None,
        client_id: str,
        client_secret: Secret,
        app_key: Secret,
        limiter: Limiter,
        tokens_folder: Path | None,
        timeout_seconds: float,
        rate_per_second: float,
        retry: RetryPolicy | None = None,
        clock: Callable[[], float] = time.time,
    ) -> None:
        self._api_url = checked_url(api_url, SYSTEM)
        self._tenant_id = tenant_id
        self._provider_id = provider_id
        self._app_key_header = header_value(app_key, "ST app key")
        self._limiter = limiter
        self._limit = Limit(limiter_key(self._api_url, tenant_id, app_key), rate_per_second, 1.0)
        self._retry = retry or RetryPolicy()
        self._clock = clock
        self._transport = Transport(SYSTEM, api_url, auth_url, timeout_seconds=timeout_seconds)
        self._tokens = TokenSource(
            self._transport,
            auth_url=auth_url,
            client_id=client_id,
            client_secret=client_secret,
            cache=None
            if tokens_folder is None
            else TokenCache(tokens_folder, auth_url, client_id, client_secret),
            retry=self._retry,
            clock=clock,
        )

    async def __aenter__(self) -> Self:
        await self._transport.__aenter__()
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        await self._transport.__aexit__(kind, error, trace)

    @property
    def requests(self) -> int:
        return self._transport.requests

    @property
    def clock_ahead_seconds(self) -> float | None:
        """How far the server's clock is ahead of ours, by its last answer."""
        return self._transport.clock_ahead_seconds

    async def fresh_token(self) -> None:
        await self._tokens.fetch()

    def forget_token(self) -> None:
        """Forget the access token, on the disk too."""
        self._tokens.forget()

    # Bookings (ServiceTitan CRM v2)

    async def first_booking(self) -> Booking | None:
        return await self._first(_BOOKINGS)

    async def first_booking_of_provider(self, provider: ProviderId) -> Booking | None:
        return await self._first(_PROVIDER_BOOKINGS, {"booking_provider": provider})

    async def booking_provider_tags(self) -> Sequence[NamedOption]:
        return await self._all(
            _PROVIDER_TAGS, wire.PROVIDER_TAGS, wire.ProviderTagDocument.record, "provider tags"
        )

    async def find_bookings(self, external_id: str) -> Sequence[Booking]:
        found = await self._all(
            _BOOKINGS,
            wire.BOOKINGS,
            wire.BookingDocument.record,
            "bookings with one externalId",
            {"externalId": external_id},
            most_pages=MOST_FILTERED_PAGES,
        )
        return _unique(booking for booking in found if booking.external_id == external_id)

    async def recent_bookings(self, since: datetime) -> Sequence[Booking]:
        filters = {"createdOnOrAfter": f"{since:%Y-%m-%dT%H:%M:%SZ}", "sort": "-CreatedOn"}

        async def fetch(number: int) -> tuple[Sequence[Booking], bool]:
            query = {**filters, "page": str(number), "pageSize": str(PAGE_SIZE)}
            page = await self._get(_BOOKINGS, wire.BOOKINGS, query)
            records = [document.record() for document in page.data]
            # Newest first: an older one ends it, also where the server ignored the filter.
            has_older = any(record.created_on < since for record in records)
            return records, bool(page.has_more) and not has_older

        return _unique(
            booking
            for booking in await all_pages(fetch, f"{SYSTEM}'s list of recent bookings")
            if booking.created_on >= since
        )

    async def booking(self, booking_id: BookingId) -> Booking:
        document = await self._get(_BOOKING, wire.BOOKING, path={"id": booking_id})
        return document.record()

    async def create_booking(self, draft: BookingDraft) -> Booking:
        if self._provider_id is None:
            raise NotConnected(
                "no booking provider is known, so no booking can be made", "Run stcli finalize."
            )
        answer = await self._accepted(
            "POST",
            _PROVIDER_BOOKINGS,
            body=wire.booking_request(draft),
            path={"booking_provider": self._provider_id},
        )
        return decoded(answer, wire.BOOKING, SYSTEM, is_write=True).record()

    async def bookings_feed(self, position: str) -> FeedPage[Booking]:
        return await self._feed(
            _BOOKINGS_FEED, wire.BOOKINGS_FEED, _one(wire.BookingDocument.record), position
        )

    # Jobs (ServiceTitan JPM v2)

    async def jobs_feed(self, position: str) -> FeedPage[Job]:
        return await self._feed(_JOBS_FEED, wire.JOBS_FEED, _one(wire.JobDocument.record), position)

    async def job_history_feed(self, position: str) -> FeedPage[JobEvent]:
        return await self._feed(
            _HISTORY_FEED, wire.HISTORY_FEED, wire.JobHistoryDocument.records, position
        )

    async def jobs(self, ids: Sequence[JobId]) -> Sequence[Job]:
        wanted = list(dict.fromkeys(ids))
        chunks = [wanted[at : at + IDS_AT_ONCE] for at in range(0, len(wanted), IDS_AT_ONCE)]
        return list(chain.from_iterable(await _together(self._jobs_of, chunks)))

    async def _jobs_of(self, ids: Sequence[JobId]) -> Sequence[Job]:
        found = await self._all(
            _JOBS,
            wire.JOBS,
            wire.JobDocument.record,
            "jobs with given ids",
            {"ids": ",".join(str(job_id) for job_id in ids)},
            most_pages=MOST_FILTERED_PAGES,
        )
        return _unique(job for job in found if job.id in ids)

    async def jobs_of_booking(self, booking_id: BookingId) -> Sequence[Job]:
        found = await self._all(
            _JOBS,
            wire.JOBS,
            wire.JobDocument.record,
            "jobs of one booking",
            {"bookingId": str(booking_id)},
            most_pages=MOST_FILTERED_PAGES,
        )
        return _unique(job for job in found if job.booking_id == booking_id)

    async def job_history(self, job_id: JobId) -> Sequence[JobEvent]:
        document = await self._get(_JOB_HISTORY, wire.HISTORY, path={"id": job_id})
        return document.records(job_id)

    # Customers (ServiceTitan CRM v2) and who of them asked for no marketing (Marketing v2)

    async def customers_feed(self, position: str) -> FeedPage[Customer]:
        return await self._feed(
            _CUSTOMERS_FEED, wire.CUSTOMERS_FEED, _one(wire.CustomerDocument.record), position
        )

    async def contacts_feed(self, position: str) -> FeedPage[CustomerContact]:
        return await self._feed(
            _CONTACTS_FEED, wire.CONTACTS_FEED, _one(wire.ContactDocument.record), position
        )

    async def customer_jobs_feed(self, position: str) -> FeedPage[CustomerJob]:
        return await self._feed(
            _JOBS_FEED, wire.CUSTOMER_JOBS_FEED, wire.CustomerJobDocument.records, position
        )

    async def suppressions(self, since: datetime | None) -> Sequence[Suppression]:
        filters = {"active": "Any", "sort": "+Id"}
        if since is not None:
            filters["modifiedOnOrAfter"] = f"{since:%Y-%m-%dT%H:%M:%SZ}"
        return await self._all(
            _SUPPRESSIONS,
            wire.SUPPRESSIONS,
            wire.SuppressionDocument.record,
            "suppressions",
            filters,
            page_size=LARGEST_PAGE,
        )

    async def custom_fields(self) -> Sequence[CustomFieldType]:
        return await self._all(
            _CUSTOM_FIELDS,
            wire.CUSTOM_FIELD_TYPES,
            wire.CustomFieldTypeDocument.record,
            "custom fields",
        )

    async def customer(self, customer_id: CustomerId) -> Customer:
        document = await self._get(_CUSTOMER, wire.CUSTOMER, path={"id": customer_id})
        return document.record()

    async def update_custom_fields(
        self, customer_id: CustomerId, values: Mapping[int, str]
    ) -> Customer:
        answer = await self._accepted(
            "PATCH",
            _CUSTOMER,
            body=wire.custom_fields_request(values),
            path={"id": customer_id},
            is_repeatable=True,
        )
        return decoded(answer, wire.CUSTOMER, SYSTEM, is_write=True).record()

    # What a tenant defines; lists give the active ones (Marketing, Settings and JPM v2, "active")

    async def campaigns(self) -> Sequence[NamedOption]:
        return await self._options(_CAMPAIGNS, "campaigns")

    async def business_units(self) -> Sequence[NamedOption]:
        return await self._options(_BUSINESS_UNITS, "business units")

    async def job_types(self) -> Sequence[NamedOption]:
        return await self._options(_JOB_TYPES, "job types")

    async def tag_types(self) -> Sequence[NamedOption]:
        return await self._options(_TAG_TYPES, "tag types")

    # How a request is made

    async def _options(self, endpoint: str, what: str) -> Sequence[NamedOption]:
        return await self._all(endpoint, wire.OPTIONS, wire.OptionDocument.record, what)

    async def _first(self, endpoint: str, path: Mapping[str, int] | None = None) -> Booking | None:
        page = await self._get(endpoint, wire.BOOKINGS, {"page": "1", "pageSize": "1"}, path)
        return page.data[0].record() if page.data else None

    async def _all(
        self,
        endpoint: str,
        decoder: msgspec.json.Decoder[wire.Page[Document]],
        convert: Callable[[Document], Record],
        what: str,
        filters: Mapping[str, str] | None = None,
        *,
        most_pages: int = 1000,
        page_size: int = PAGE_SIZE,
    ) -> list[Record]:
        async def fetch(number: int) -> tuple[Sequence[Record], bool]:
            query = {**(filters or {}), "page": str(number), "pageSize": str(page_size)}
            page = await self._get(endpoint, decoder, query)
            return [convert(document) for document in page.data], page.has_more

        return await all_pages(fetch, f"{SYSTEM}'s list of {what}", most_pages=most_pages)

    async def _feed(
        self,
        endpoint: str,
        decoder: msgspec.json.Decoder[wire.Feed[Document]],
        convert: Callable[[Document], Sequence[Record]],
        position: str,
    ) -> FeedPage[Record]:
        query = {"includeRecentChanges": "true"}
        if position:
            query["from"] = position
        feed = await self._get(endpoint, decoder, query)
        records = chain.from_iterable(convert(document) for document in feed.data)
        token = next_position(
            position, feed.continue_from, feed.has_more, f"{SYSTEM}'s feed {endpoint}"
        )
        return FeedPage(tuple(records), token, feed.has_more)

    async def _get(
        self,
        endpoint: str,
        decoder: msgspec.json.Decoder[Shape],
        query: Mapping[str, str] | None = None,
        path: Mapping[str, int] | None = None,
    ) -> Shape:
        answer = await self._accepted("GET", endpoint, query=query, path=path)
        return decoded(answer, decoder, SYSTEM, is_write=False)

    async def _accepted(
        self,
        method: str,
        endpoint: str,
        *,
        query: Mapping[str, str] | None = None,
        body: bytes | None = None,
        path: Mapping[str, int] | None = None,
        is_repeatable: bool = False,
    ) -> Answer:
        """The answer of a success; every refusal is raised. One 401 is answered with a new token.

        A write that sets values ``is_repeatable``: doing it twice is doing it once. Without its
        last word it is ``NoAnswer`` all the same.
        """
        url = self._api_url + endpoint.format(tenant=self._tenant_id, **(path or {}))
        is_read = method == "GET"
        refused: Secret | None = None

        async def ready() -> tuple[Secret, Turn]:
            # The token before the turn: a slot must not wait for a token request.
            token = await self._tokens.get(refused)
            return token, await self._limiter.acquire(self._limit)

        async def attempt(given: tuple[Secret, Turn]) -> tuple[Secret, Answer]:
            token, turn = given
            try:
                return token, await self._sent(
                    token, turn, method, url, query, body, is_repeatable=is_read or is_repeatable
                )
            except NotSent as error:
                raise Again(error) from error
            except NoAnswer as error:
                if is_read:
                    raise Again(as_read_failure(error)) from error
                if not is_repeatable:
                    raise
                raise Again(error) from error

        while True:
            token, answer = await self._retry.run(ready, attempt)
            if answer.status != 401 or refused is not None:
                break
            refused = token
        if answer.status >= 300:
            raise self._refusal(answer, endpoint)
        return answer

    async def _sent(
        self,
        token: Secret,
        turn: Turn,
        method: str,
        url: str,
        query: Mapping[str, str] | None,
        body: bytes | None,
        *,
        is_repeatable: bool,
    ) -> Answer:
        headers = {
            "Authorization": f"Bearer {token.reveal()}",
            "ST-App-Key": self._app_key_header,
        }
        answer = await self._transport.send(
            method,
            url,
            query=query,
            headers=headers,
            json=body,
            before_write=lambda: self._limiter.confirm(turn),
        )
        try:
            raise_if_passing(
                answer,
                SYSTEM,
                self._clock(),
                is_repeatable=is_repeatable,
                is_write=method != "GET",
            )
        except Again as again:
            if answer.status == 429 and again.wait_seconds is not None:
                # However long it is: this call may give up, and the next run waits or says so.
                await self._limiter.pause(self._limit.key, again.wait_seconds)
            raise
        return answer

    def _refusal(self, answer: Answer, endpoint: str) -> ApiError:
        status = answer.status
        document = error_document(answer)
        trace = trace_id(document)
        fields = list(field_messages(document.get("errors")))
        said = explained(text_of(document, "title"), fields, f"HTTP {status}")
        if status == 401:
            return CredentialsRefused(
                f"ServiceTitan refused the app key or the access token: {said}",
                "Check the app key (stcli auth login); it must be that of the app which the tenant "
                "connected. Then run stcli finalize.",
                status=status,
                trace_id=trace,
            )
        if answer.is_html:
            return unexpected_page(answer, SYSTEM)
        if status == 403:
            return CredentialsRefused(
                f"ServiceTitan does not let this app use {endpoint}: {said}",
                "The tenant has not granted the app, or the grant lacks this scope: check the app "
                "under API Application Access.",
                status=status,
                trace_id=trace,
            )
        if status in (404, 410):
            return RecordNotFound(
                f"ServiceTitan has nothing at {endpoint} for this id: {said}",
                status=status,
                trace_id=trace,
            )
        if status in (400, 409, 413, 414, 422):
            return RecordRejected(f"ServiceTitan refused it: {said}", status=status, trace_id=trace)
        return UnexpectedAnswer(
            f"ServiceTitan answered {endpoint} with HTTP {status}: {said}",
            "Check the address; a newer stcli may be needed.",
            status=status,
            trace_id=trace,
        )


def limiter_key(api_url: str, tenant_id: int, app_key: Secret) -> str:
    """What the vendor counts by: one app key on one tenant, at one host. Tells nothing of the key."""
    host = urlsplit(api_url).netloc.lower()
    text = "\n".join(("stcli limit", host, str(tenant_id), app_key.reveal()))
    return f"servicetitan:{hashlib.sha256(text.encode()).hexdigest()[:32]}"


def _one(convert: Callable[[Document], Record]) -> Callable[[Document], Sequence[Record]]:
    return lambda document: (convert(document),)


def _unique(records: Iterable[Identified]) -> list[Identified]:
    """Each record once: a list that changes while it is read may show one on two pages."""
    return list({record.id: record for record in records}.values())


async def _together(
    call: Callable[[Item], Awaitable[Record]], items: Iterable[Item]
) -> list[Record]:
    """``call`` of each item, in their order, a few at a time; the first failure ends the rest."""
    few = asyncio.Semaphore(LOOKUPS_AT_ONCE)

    async def one(item: Item) -> Record:
        async with few:
            return await call(item)

    tasks = [asyncio.ensure_future(one(item)) for item in items]
    try:
        return list(await asyncio.gather(*tasks))
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
