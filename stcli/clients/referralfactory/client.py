"""Referral Factory's API v2 for one account; satisfies ``ReferralGateway``.

600 calls a minute for one token, and after three abuses the caller's address is blocked: so after a
429 every call of the account waits, in all processes, and the third one ends the pass.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path
from types import TracebackType
from typing import Self, TypeVar
from urllib.parse import quote

import msgspec

from stcli.clients.answers import decoded, raise_for_passing, rejection
from stcli.clients.ratelimit import RateLimiter
from stcli.clients.referralfactory import wire
from stcli.clients.retry import Again, RetryPolicy, retry_after_seconds
from stcli.clients.transport import Answer, Transport
from stcli.domain.ids import UserId
from stcli.domain.records import Campaign, Person, UserPage
from stcli.domain.secret import Secret
from stcli.errors import ApiError, CredentialsRefused, Unavailable, UnexpectedAnswer

SYSTEM = "Referral Factory"
TIMEOUT_SECONDS = 60.0
PER_PAGE = 250
"""The most that a page holds (API v2, parameter per_page)."""
THROTTLED_PAUSE_SECONDS = 60.0
THROTTLED_TIMES_THAT_END = 3
MOST_PAGES = 1000

Shape = TypeVar("Shape")


class ReferralFactoryClient:
    """An async context manager; open for the length of one run or command."""

    def __init__(
        self,
        *,
        url: str,
        token: Secret,
        limits_file: Path,
        rate_per_minute: float,
        retry: RetryPolicy | None = None,
        pause_seconds: float = THROTTLED_PAUSE_SECONDS,
    ) -> None:
        self._token = token
        self._retry = retry or RetryPolicy()
        self._transport = Transport(SYSTEM, url, TIMEOUT_SECONDS)
        # One active token an account, so the address alone names the account of this home.
        self._limiter = RateLimiter(
            limits_file, f"referral factory {url.rstrip('/')}", rate_per_minute / 60
        )
        self._pause_seconds = pause_seconds
        self._throttled = 0

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

    async def campaigns(self) -> Sequence[Campaign]:
        found: list[Campaign] = []
        for number in range(1, MOST_PAGES + 1):
            page = await self._get(
                "/campaigns", wire.CAMPAIGN_PAGE, {"page": number, "per_page": PER_PAGE}
            )
            found += [wire.campaign(item) for item in page.data]
            if page.links.next is None or not page.data:
                return found
        raise UnexpectedAnswer(f"{SYSTEM}'s list of campaigns does not end", "Try again later.")

    async def campaign(self, identifier: str) -> Campaign:
        path = f"/campaigns/{quote(identifier, safe='')}"
        return wire.campaign((await self._get(path, wire.CAMPAIGN, what="campaign")).data)

    async def users_page(self, page: int) -> UserPage:
        found = await self._get("/users", wire.USER_PAGE, {"page": page, "per_page": PER_PAGE})
        meta = found.meta or wire.PageMetaWire()
        number = meta.current_page or page
        return UserPage(
            people=tuple(wire.person(item) for item in found.data),
            page=number,
            last_page=meta.last_page or number,
            total=meta.total or 0,
            has_next=found.links.next is not None,
        )

    async def user(self, identifier: str) -> Person:
        path = f"/users/{quote(identifier, safe='')}"
        return wire.person((await self._get(path, wire.USER, what="user")).data)

    async def qualify(self, user: UserId, *, qualified: bool) -> Person:
        body = msgspec.json.encode(wire.QualificationWire(int(user), qualified))
        # Setting what is set already changes nothing, so this write may be sent again.
        answer = await self._send("PUT", "/users/qualification", json=body, what="user")
        return wire.person(decoded(answer, wire.USER, SYSTEM, is_write=False).data)

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
        what: str,
    ) -> Answer:
        async def attempt() -> Answer:
            await self._limiter.acquire()
            try:
                answer = await self._transport.send(
                    method,
                    path,
                    query=query,
                    json=json,
                    headers={"Authorization": f"Bearer {self._token.reveal()}"},
                )
            except Unavailable as error:
                raise Again(error) from error
            if answer.status == 429:
                await self._throttle(answer)
            raise_for_passing(answer, SYSTEM, is_write=False)
            return answer

        answer = await self._retry.run(attempt)
        if 200 <= answer.status < 300:
            return answer
        raise _refusal(answer, what)

    async def _throttle(self, answer: Answer) -> None:
        """Hold back the whole account; the third time in one pass ends it."""
        wait = retry_after_seconds(answer.headers.get("retry-after"), datetime.now(UTC))
        wait = self._pause_seconds if wait is None else wait
        await self._limiter.pause(wait)
        self._throttled += 1
        failure = Unavailable(
            f"{SYSTEM} throttled this account {self._throttled} times",
            "It may block this address: make sure that nothing else uses the token, and run again "
            "later.",
            status=429,
        )
        if self._throttled >= THROTTLED_TIMES_THAT_END:
            raise failure
        # The limiter holds the next request back, so the loop itself need not wait.
        raise Again(failure, 0.0)


def _refusal(answer: Answer, what: str) -> ApiError:
    if answer.status == 401:
        return CredentialsRefused(
            f"{SYSTEM} refused the token; a newer one may have been made elsewhere, which ends "
            "this one (an account has one active token)",
            "Store the newest token with: stcli auth login",
            status=401,
        )
    if answer.status == 403:
        return CredentialsRefused(
            f"{SYSTEM} refused access",
            "Check that the token's account may use the API.",
            status=403,
        )
    try:
        error = wire.ERROR.decode(answer.body)
    except (msgspec.DecodeError, UnicodeDecodeError):
        error = wire.ErrorWire()
    fields = [
        f"{item.field or name}: {item.message or 'refused'}"
        for name, items in (error.errors or {}).items()
        for item in items
    ]
    if answer.status in (400, 404, 405, 406, 409, 410, 422):
        status = 404 if answer.status == 410 else answer.status
        return rejection(SYSTEM, status, error.message or "", fields, "", what)
    return UnexpectedAnswer(
        f"{SYSTEM} answered with HTTP {answer.status}",
        "Run again later; if it stays so, tell its support.",
        status=answer.status,
    )
