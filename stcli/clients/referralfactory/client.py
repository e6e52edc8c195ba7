"""Referral Factory API v2 for one account: campaigns, users and qualification.

600 calls a minute for one access token, and after three abuses the caller's address is blocked for a
while. So each call waits for its turn at the shared limiter; one 429 holds back every call of the
account, in all processes; and the third in the life of a client ends its pass.
"""

from __future__ import annotations

import hashlib
import time
from collections.abc import Callable, Mapping, Sequence
from types import TracebackType
from typing import Self, TypeVar
from urllib.parse import quote, urlsplit

from stcli.clients.answers import (
    LATER,
    as_read_failure,
    decoded,
    error_document,
    explained,
    field_messages,
    raise_if_passing,
    text_of,
    unexpected_page,
)
from stcli.clients.pagination import all_pages
from stcli.clients.ratelimit import Limit, Limiter, Turn
from stcli.clients.referralfactory import wire
from stcli.clients.retry import Again, RetryPolicy, retry_after_seconds
from stcli.clients.transport import Answer, NotSent, Transport, checked_url, header_value
from stcli.domain.ids import RfCampaignId, UserId
from stcli.domain.records import Campaign, DueReward, Person, UserPage
from stcli.domain.secret import Secret
from stcli.errors import (
    ApiError,
    CredentialsRefused,
    NoAnswer,
    RecordNotFound,
    RecordRejected,
    Unavailable,
    UnexpectedAnswer,
)

Document = TypeVar("Document")
Record = TypeVar("Record")
Shape = TypeVar("Shape")

SYSTEM = "Referral Factory"
PAGE_SIZE = 250
"""The most that ``per_page`` takes (API v2, per_page)."""
PAUSE_SECONDS = 60.0
"""How long a 429 that names no delay holds everybody back: the limit is one of a minute."""
ABUSES_THAT_BLOCK = 3
TIMEOUT_SECONDS = 60.0
"""Usual answers take under 1 s, yet 3 of 40 took over 25 s (measured, referral-factory.md)."""


class ReferralFactoryClient:
    """Satisfies ``ReferralGateway``. Open it with ``async with``; parallel calls are welcome.

    ``url`` is the API's base with its version, such as https://api.referral-factory.com/api/v2.
    One client serves one pass, or the passes of one ``run``: it counts the 429 of its own life.
    """

    def __init__(
        self,
        *,
        url: str,
        token: Secret,
        limiter: Limiter,
        rate_per_minute: float,
        timeout_seconds: float = TIMEOUT_SECONDS,
        retry: RetryPolicy | None = None,
        clock: Callable[[], float] = time.time,
    ) -> None:
        self._url = checked_url(url, SYSTEM)
        self._headers = {"Authorization": f"Bearer {header_value(token, 'RF token')}"}
        self._limiter = limiter
        self._limit = Limit(limiter_key(self._url, token), rate_per_minute, 60.0)
        self._retry = retry or RetryPolicy()
        self._clock = clock
        self._transport = Transport(SYSTEM, url, timeout_seconds=timeout_seconds)
        self._abuses = 0

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

    async def campaigns(self) -> Sequence[Campaign]:
        async def fetch(number: int) -> tuple[Sequence[Campaign], bool]:
            answer = await self._accepted("GET", "/campaigns", query=_page_query(number))
            page = decoded(answer, wire.CAMPAIGNS, SYSTEM, is_write=False)
            records = _converted(answer, lambda: [document.record() for document in page.data])
            return records, page.has_next(number, PAGE_SIZE)

        return await all_pages(fetch, f"{SYSTEM}'s list of campaigns")

    async def campaign(self, identifier: str) -> Campaign:
        answer = await self._accepted("GET", "/campaigns/{identifier}", identifier=identifier)
        document = decoded(answer, wire.CAMPAIGN, SYSTEM, is_write=False)
        return _converted(answer, document.data.record)

    async def due_rewards(self, metric: str) -> Sequence[DueReward]:
        async def fetch(number: int) -> tuple[Sequence[DueReward], bool]:
            try:
                answer = await self._accepted(
                    "GET", f"/rewards/due/{metric}", query=_page_query(number)
                )
            except RecordNotFound as error:
                # It lists what there is, so that it is not there is no record's fault.
                raise UnexpectedAnswer(
                    f"{SYSTEM} has no list of the {metric} rewards that are due",
                    "Check STCLI_RF_URL, and that the account's plan includes rewards.",
                    status=error.status,
                ) from error
            page = decoded(answer, wire.REWARDS, SYSTEM, is_write=False)
            records = _converted(
                answer, lambda: [document.record(metric) for document in page.data]
            )
            return records, page.has_next(number, PAGE_SIZE)

        return await all_pages(fetch, f"{SYSTEM}'s list of due rewards")

    async def users_page(self, page: int, *, with_counts: bool = False) -> UserPage:
        query = _page_query(page)
        if with_counts:
            query["with"] = "user.analytics"
        answer = await self._accepted("GET", "/users", query=query)
        document = decoded(answer, wire.USERS, SYSTEM, is_write=False)
        return _converted(answer, lambda: wire.user_page(document, page, PAGE_SIZE))

    async def user(self, identifier: str) -> Person:
        answer = await self._accepted("GET", "/users/{identifier}", identifier=identifier)
        document = decoded(answer, wire.USER, SYSTEM, is_write=False)
        return _known(_converted(answer, document.data.record), answer)

    async def create_referrer(
        self, campaign: RfCampaignId, values: Mapping[str, str], *, welcome_mail: bool
    ) -> Person:
        answer = await self._accepted(
            "POST",
            "/users",
            body=wire.new_referrer_request(campaign, values, welcome_mail=welcome_mail),
            is_repeatable=False,
        )
        document = decoded(answer, wire.USER, SYSTEM, is_write=True)
        return _known(
            _converted(answer, document.data.record, is_write=True), answer, is_write=True
        )

    async def update_user(
        self, user: UserId, changes: Mapping[str, str], meta: Mapping[str, str]
    ) -> Person:
        answer = await self._accepted(
            "PUT",
            "/users/{identifier}",
            body=wire.changes_request(changes, meta),
            identifier=str(user),
        )
        document = decoded(answer, wire.USER, SYSTEM, is_write=True)
        return _known(
            _converted(answer, document.data.record, is_write=True), answer, is_write=True
        )

    async def qualify(self, user: UserId, *, qualified: bool) -> Person:
        answer = await self._accepted(
            "PUT",
            "/users/qualification",
            body=wire.qualification_request(user, qualified=qualified),
        )
        document = decoded(answer, wire.USER, SYSTEM, is_write=True)
        return _known(
            _converted(answer, document.data.record, is_write=True), answer, is_write=True
        )

    # How a request is made

    async def _accepted(
        self,
        method: str,
        endpoint: str,
        *,
        query: Mapping[str, str] | None = None,
        body: bytes | None = None,
        identifier: str | None = None,
        is_repeatable: bool = True,
    ) -> Answer:
        """The answer of a success; every refusal is raised.

        Reads and the PUTs (which set values) may be repeated; a write whose last word is missing is
        ``NoAnswer``.
        """
        url = self._url + _path(endpoint, identifier)
        is_write = method != "GET"

        async def ready() -> Turn:
            self._refuse_after_abuse()
            turn = await self._limiter.acquire(self._limit)
            self._refuse_after_abuse()
            return turn

        async def attempt(turn: Turn) -> Answer:
            try:
                answer = await self._transport.send(
                    method,
                    url,
                    query=query,
                    headers=self._headers,
                    json=body,
                    before_write=lambda: self._limiter.confirm(turn),
                )
                if answer.status == 429:
                    await self._hold_back(answer)
                raise_if_passing(
                    answer,
                    SYSTEM,
                    self._clock(),
                    is_repeatable=is_repeatable,
                    is_write=is_write,
                )
            except NotSent as error:
                raise Again(error) from error
            except NoAnswer as error:
                if not is_repeatable:
                    raise
                raise Again(error if is_write else as_read_failure(error)) from error
            return answer

        answer = await self._retry.run(ready, attempt)
        if answer.status >= 300:
            raise _refusal(answer, endpoint)
        return answer

    async def _hold_back(self, answer: Answer) -> None:
        self._abuses += 1
        delay = retry_after_seconds(answer.retry_after, answer.date, self._clock())
        seconds = PAUSE_SECONDS if delay is None else delay
        await self._limiter.pause(self._limit.key, seconds)
        self._refuse_after_abuse()
        # The pause is what this call waits for, together with all others.
        raise Again(Unavailable(f"{SYSTEM} gets too many requests", LATER, status=429), 0.0)

    def _refuse_after_abuse(self) -> None:
        if self._abuses >= ABUSES_THAT_BLOCK:
            raise Unavailable(
                f"{SYSTEM} said {self._abuses} times that it gets too many requests; going on "
                "could get this address blocked",
                "Wait some minutes. Check that nothing else uses the same token and that "
                "STCLI_RF_RATE_PER_MINUTE is not above the account's limit.",
                status=429,
            )


def limiter_key(url: str, token: Secret) -> str:
    """What the vendor counts by: the access token. Tells nothing of it."""
    text = "\n".join(("stcli limit", urlsplit(url).netloc.lower(), token.reveal()))
    return f"referralfactory:{hashlib.sha256(text.encode()).hexdigest()[:32]}"


def _path(endpoint: str, identifier: str | None) -> str:
    if identifier in ("", ".", ".."):
        # They would name another path than the one meant.
        raise RecordNotFound(f"{SYSTEM} has nothing that is called {identifier!r}")
    return endpoint.format(identifier=quote(identifier or "", safe=""))


def _page_query(number: int) -> dict[str, str]:
    return {"page": str(number), "per_page": str(PAGE_SIZE)}


def _converted(answer: Answer, convert: Callable[[], Record], *, is_write: bool = False) -> Record:
    """What ``convert`` makes of a document; a number or a date that is none is not one."""
    try:
        return convert()
    except (ValueError, OverflowError):
        message = f"{SYSTEM} answered with a number or a date that is none"
        if is_write:
            raise NoAnswer(message, LATER, status=answer.status) from None
        raise UnexpectedAnswer(message, LATER, status=answer.status) from None


def _known(person: Person | None, answer: Answer, *, is_write: bool = False) -> Person:
    if person is None:
        message = f"{SYSTEM} answered with a user who is neither a lead nor a referrer"
        if is_write:
            raise NoAnswer(message, LATER, status=answer.status)
        raise UnexpectedAnswer(message, "A newer stcli may be needed.", status=answer.status)
    return person


def _refusal(answer: Answer, endpoint: str) -> ApiError:
    status = answer.status
    document = error_document(answer)
    fields = list(field_messages(document.get("errors")))
    said = explained(text_of(document, "message"), fields, f"HTTP {status}")
    if status == 401:
        return CredentialsRefused(
            f"{SYSTEM} refused the access token: an account has one active token, so a newer one "
            "may have been made elsewhere",
            "Make or copy the current token and store it: stcli auth login",
            status=status,
        )
    if answer.is_html:
        return unexpected_page(answer, SYSTEM)
    if status == 403:
        return CredentialsRefused(
            f"{SYSTEM} does not let this account use {endpoint}: {said}",
            "Check that the account's plan includes the API.",
            status=status,
        )
    if status in (404, 410):
        return RecordNotFound(f"{SYSTEM} has nothing at {endpoint} by this name", status=status)
    if status in (400, 409, 413, 414, 422):
        return RecordRejected(f"{SYSTEM} refused it: {said}", status=status)
    return UnexpectedAnswer(
        f"{SYSTEM} answered {endpoint} with HTTP {status}: {said}",
        "Check STCLI_RF_URL; a newer stcli may be needed.",
        status=status,
    )
