"""ServiceTitan's API v2 for one tenant; satisfies ``CrmGateway``."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Sequence
from pathlib import Path
from types import TracebackType
from typing import Self, TypeVar
from urllib.parse import quote

import msgspec

from stcli.clients.answers import decoded, raise_for_passing, rejection
from stcli.clients.ratelimit import RateLimiter
from stcli.clients.retry import Again, RetryPolicy
from stcli.clients.servicetitan import wire
from stcli.clients.servicetitan.auth import TokenSource
from stcli.clients.transport import Answer, NotSent, Transport
from stcli.domain.ids import BookingId, JobId, ProviderId
from stcli.domain.records import Booking, BookingDraft, FeedPage, Job, JobEvent, NamedOption
from stcli.domain.secret import Secret
from stcli.errors import (
    ApiError,
    ConfigurationError,
    CredentialsRefused,
    NoAnswer,
    RecordNotFound,
    UnexpectedAnswer,
)

SYSTEM = "ServiceTitan"
IDS_AT_ONCE = 50
"""The most ids that a list takes (CRM v2 and JPM v2, parameter ids)."""
LIST_PAGE = 500
MOST_PAGES = 1000

Shape = TypeVar("Shape")
Record = TypeVar("Record")
Wire = TypeVar("Wire")


class ServiceTitanClient:
    """An async context manager; open for the length of one pass or command."""

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
        limits_file: Path,
        rate_per_second: float,
        tokens_folder: Path | None,
        timeout_seconds: float,
        retry: RetryPolicy | None = None,
    ) -> None:
        self._tenant = tenant_id
        self._provider = provider_id
        self._app_key = app_key
        self._retry = retry or RetryPolicy()
        self._api = Transport(SYSTEM, api_url, timeout_seconds)
        self._auth = Transport(SYSTEM, auth_url, timeout_seconds)
        self._limiter = RateLimiter(
            limits_file, _limit_key(api_url, app_key, tenant_id), rate_per_second
        )
        self._tokens = TokenSource(
            self._auth,
            auth_url=auth_url,
            client_id=client_id,
            client_secret=client_secret,
            folder=tokens_folder,
            retry=self._retry,
        )

    async def __aenter__(self) -> Self:
        await self._api.__aenter__()
        await self._auth.__aenter__()
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        await self._api.__aexit__(kind, error, trace)
        await self._auth.__aexit__(kind, error, trace)

    @property
    def requests(self) -> int:
        return self._api.requests + self._auth.requests

    async def fresh_token(self) -> None:
        await self._tokens.fetch()

    async def first_booking(self) -> Booking | None:
        return await self._first(f"/crm/v2/tenant/{self._tenant}/bookings")

    async def first_booking_of_provider(self, provider: ProviderId) -> Booking | None:
        return await self._first(
            f"/crm/v2/tenant/{self._tenant}/booking-provider/{provider}/bookings"
        )

    async def _first(self, path: str) -> Booking | None:
        page = await self._get(path, wire.BOOKINGS, {"page": 1, "pageSize": 1})
        return wire.booking(page.data[0]) if page.data else None

    async def booking_provider_tags(self) -> Sequence[NamedOption]:
        return await self._list(
            f"/crm/v2/tenant/{self._tenant}/booking-provider-tags", wire.TAGS, wire.tag
        )

    async def find_bookings(self, external_id: str) -> Sequence[Booking]:
        found = await self._list(
            f"/crm/v2/tenant/{self._tenant}/bookings",
            wire.BOOKINGS,
            wire.booking,
            {"externalId": external_id},
        )
        matching = [booking for booking in found if booking.external_id == external_id]
        wanted = external_id.casefold()
        if not matching and any(booking.external_id.casefold() != wanted for booking in found):
            # The server ignores filters that it does not know: then nothing follows from a list
            # that may hold the booking on a later page.
            raise UnexpectedAnswer(
                f"{SYSTEM} ignored the filter for external ids, so it cannot be told whether a "
                "booking exists",
                "Nothing was booked again; tell its support.",
            )
        return matching

    async def booking(self, booking_id: BookingId) -> Booking:
        found = await self._get(
            f"/crm/v2/tenant/{self._tenant}/bookings/{booking_id}", wire.BOOKING, what="booking"
        )
        return wire.booking(found)

    async def create_booking(self, draft: BookingDraft) -> Booking:
        if self._provider is None:
            raise ConfigurationError(
                "servicetitan.booking_provider is missing", "Run: stcli finalize"
            )
        answer = await self._send(
            "POST",
            f"/crm/v2/tenant/{self._tenant}/booking-provider/{self._provider}/bookings",
            json=msgspec.json.encode(wire.booking_request(draft)),
        )
        try:
            made = wire.booking(decoded(answer, wire.BOOKING, SYSTEM, is_write=True))
        except (ValueError, UnexpectedAnswer) as error:
            raise NoAnswer(
                f"{SYSTEM} answered a write with something its documents do not promise",
                "Run again later.",
            ) from error
        return made

    async def bookings_feed(self, position: str) -> FeedPage[Booking]:
        page = await self._feed("crm", "bookings", position, wire.BOOKINGS_FEED)
        return _feed_page(page, [wire.booking(item) for item in page.data])

    async def jobs_feed(self, position: str) -> FeedPage[Job]:
        page = await self._feed("jpm", "jobs", position, wire.JOBS_FEED)
        return _feed_page(page, [wire.job(item) for item in page.data])

    async def job_history_feed(self, position: str) -> FeedPage[JobEvent]:
        page = await self._feed("jpm", "job-history", position, wire.HISTORY_FEED)
        events = [wire.event(item.job_id, entry) for item in page.data for entry in item.history]
        return _feed_page(page, events)

    async def _feed(
        self, module: str, name: str, position: str, decoder: msgspec.json.Decoder[Shape]
    ) -> Shape:
        # The newest changes sooner, at the price of repeats, which the state takes no harm from.
        query: dict[str, str | int] = {"includeRecentChanges": "true"}
        if position:
            query["from"] = position
        return await self._get(f"/{module}/v2/tenant/{self._tenant}/export/{name}", decoder, query)

    async def jobs(self, ids: Sequence[JobId]) -> Sequence[Job]:
        found: list[Job] = []
        for start in range(0, len(ids), IDS_AT_ONCE):
            part = ids[start : start + IDS_AT_ONCE]
            found += await self._list(
                f"/jpm/v2/tenant/{self._tenant}/jobs",
                wire.JOBS,
                wire.job,
                {"ids": ",".join(str(number) for number in part)},
            )
        wanted = set(ids)
        return [job for job in found if job.id in wanted]

    async def jobs_of_booking(self, booking_id: BookingId) -> Sequence[Job]:
        found = await self._list(
            f"/jpm/v2/tenant/{self._tenant}/jobs", wire.JOBS, wire.job, {"bookingId": booking_id}
        )
        return [job for job in found if job.booking_id == booking_id]

    async def job_history(self, job_id: JobId) -> Sequence[JobEvent]:
        found = await self._get(
            f"/jpm/v2/tenant/{self._tenant}/jobs/{job_id}/history", wire.HISTORY, what="job"
        )
        return [wire.event(job_id, entry) for entry in found.history or ()]

    async def campaigns(self) -> Sequence[NamedOption]:
        return await self._named("marketing", "campaigns")

    async def business_units(self) -> Sequence[NamedOption]:
        return await self._named("settings", "business-units")

    async def job_types(self) -> Sequence[NamedOption]:
        return await self._named("jpm", "job-types")

    async def tag_types(self) -> Sequence[NamedOption]:
        return await self._named("settings", "tag-types")

    async def _named(self, module: str, name: str) -> Sequence[NamedOption]:
        return await self._list(
            f"/{module}/v2/tenant/{self._tenant}/{name}", wire.NAMED, wire.named
        )

    async def _list(
        self,
        path: str,
        decoder: msgspec.json.Decoder[wire.Page[Wire]],
        convert: Callable[[Wire], Record],
        query: dict[str, str | int] | None = None,
    ) -> list[Record]:
        """All pages of a list."""
        found: list[Record] = []
        for page_number in range(1, MOST_PAGES + 1):
            page = await self._get(
                path, decoder, {**(query or {}), "page": page_number, "pageSize": LIST_PAGE}
            )
            found += [convert(item) for item in page.data]
            if not page.has_more or not page.data:
                return found
            if query:
                # A filtered list of more than a page: either the filter was ignored, or the answer
                # is of no use all the same. The callers check every record they get.
                return found
        raise UnexpectedAnswer(
            f"{SYSTEM}'s list {_template(path)} does not end", "Try again later."
        )

    async def _get(
        self,
        path: str,
        decoder: msgspec.json.Decoder[Shape],
        query: dict[str, str | int] | None = None,
        what: str = "record",
    ) -> Shape:
        answer = await self._send("GET", path, query=query, what=what)
        return decoded(answer, decoder, SYSTEM, is_write=False)

    async def _send(
        self,
        method: str,
        path: str,
        *,
        query: dict[str, str | int] | None = None,
        json: bytes | None = None,
        what: str = "record",
    ) -> Answer:
        """One request with token, app key, rate limit and retries; any answer but a success is
        raised as one of our errors."""
        is_write = method == "POST"

        async def attempt() -> Answer:
            return await self._attempt(method, path, query, json, is_write=is_write)

        answer = await self._retry.run(attempt)
        if 200 <= answer.status < 300:
            return answer
        raise _refusal(answer, method, path, what)

    async def _attempt(
        self,
        method: str,
        path: str,
        query: dict[str, str | int] | None,
        json: bytes | None,
        *,
        is_write: bool,
    ) -> Answer:
        token = await self._tokens.get()
        answer = await self._once(method, path, query, json, token, is_write=is_write)
        if answer.status == 401:
            # A token may be revoked or expire early: exactly one fresh one is tried.
            token = await self._tokens.get(refused=token)
            answer = await self._once(method, path, query, json, token, is_write=is_write)
        raise_for_passing(answer, SYSTEM, is_write=is_write)
        return answer

    async def _once(
        self,
        method: str,
        path: str,
        query: dict[str, str | int] | None,
        json: bytes | None,
        token: Secret,
        *,
        is_write: bool,
    ) -> Answer:
        await self._limiter.acquire()
        try:
            return await self._api.send(
                method,
                path,
                query=query,
                json=json,
                headers={
                    "Authorization": f"Bearer {token.reveal()}",
                    "ST-App-Key": self._app_key.reveal(),
                },
            )
        except NotSent as error:
            raise Again(error) from error
        except NoAnswer as error:
            if is_write:
                raise
            raise Again(error) from error


def _feed_page(page: wire.Export[Wire], records: Sequence[Record]) -> FeedPage[Record]:
    return FeedPage(tuple(records), page.continue_from, page.has_more)


def _limit_key(api_url: str, app_key: Secret, tenant: int) -> str:
    """The limit holds for one app key on one tenant (of one installation)."""
    text = "\n".join((api_url.rstrip("/"), app_key.reveal(), str(tenant)))
    return "servicetitan " + hashlib.sha256(text.encode()).hexdigest()[:24]


def _refusal(answer: Answer, method: str, path: str, what: str) -> ApiError:
    try:
        problem = wire.PROBLEM.decode(answer.body)
    except (msgspec.DecodeError, UnicodeDecodeError):
        problem = wire.ProblemWire()
    trace_id = problem.trace_id or ""
    place = f"{method} {_template(path)}"
    if answer.status == 401:
        return CredentialsRefused(
            f"{SYSTEM} refused the app key or the token",
            "Check the app key (stcli auth login), then run stcli finalize again.",
            status=401,
            trace_id=trace_id,
        )
    if answer.status == 403:
        return CredentialsRefused(
            f"{SYSTEM} refused access to {place}: the tenant is not granted or a scope is missing",
            "In ServiceTitan, check the app's access under API Application Access.",
            status=403,
            trace_id=trace_id,
        )
    fields = [f"{name}: {', '.join(messages)}" for name, messages in (problem.errors or {}).items()]
    if answer.status in (400, 404, 409, 422):
        return rejection(SYSTEM, answer.status, problem.title or "", fields, trace_id, what)
    return UnexpectedAnswer(
        f"{SYSTEM} answered {place} with HTTP {answer.status}",
        "Run again later; if it stays so, tell its support.",
        status=answer.status,
        trace_id=trace_id,
    )


def _template(path: str) -> str:
    """The path without numbers, which would say which record it was."""
    return "/".join("{id}" if part.isdigit() else quote(part) for part in path.split("/"))


__all__ = ["RecordNotFound", "ServiceTitanClient"]
