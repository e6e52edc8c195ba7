"""Access tokens: fetched once, shared by the processes of a host, renewed before they expire.

ServiceTitan throttles token requests and a token lives 900 s. Parallel calls of one process share one
fetch; of several processes one fetches and the others read its result.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable

import msgspec

from stcli.clients.answers import (
    decoded,
    error_document,
    explained,
    raise_if_passing,
    text_of,
    unexpected_page,
)
from stcli.clients.retry import Again, RetryPolicy, at_once
from stcli.clients.servicetitan.token_cache import Token, TokenCache
from stcli.clients.transport import Answer, NotSent, Transport
from stcli.domain.secret import Secret
from stcli.errors import CredentialsRefused, NoAnswer, Unavailable, UnexpectedAnswer

SYSTEM = "ServiceTitan"
RENEW_BEFORE_SECONDS = 60.0
LONGEST_LIFE_SECONDS = 86_400.0
"""A cached token said to live longer was written under a clock that was set back since."""


class _TokenAnswer(msgspec.Struct):
    access_token: str
    expires_in: float = 900.0


_TOKEN = msgspec.json.Decoder(_TokenAnswer, strict=False)


class TokenSource:
    """The access token of one grant. ``cache`` None: none is read or left on the disk."""

    def __init__(
        self,
        transport: Transport,
        *,
        auth_url: str,
        client_id: str,
        client_secret: Secret,
        cache: TokenCache | None,
        retry: RetryPolicy,
        clock: Callable[[], float] = time.time,
    ) -> None:
        self._transport = transport
        self._url = f"{auth_url.rstrip('/')}/connect/token"
        self._client_id = client_id
        self._secret = client_secret
        self._cache = cache
        self._retry = retry
        self._clock = clock
        self._token: Token | None = None
        self._turn = asyncio.Lock()

    async def get(self, refused: Secret | None = None) -> Secret:
        """A token that is good for a while, and another one than ``refused``."""
        token = self._token
        if token is not None and self._is_good(token, refused):
            return token.text
        async with self._turn:
            token = self._token
            if token is None or not self._is_good(token, refused):
                token = self._token = await self._shared(refused)
            return token.text

    async def fetch(self) -> None:
        """A new token, whatever is cached."""
        async with self._turn:
            self._token = None
            token = self._token = await self._fetch()
            if self._cache is not None:
                await asyncio.to_thread(self._cache.write, token)

    def forget(self) -> None:
        """Forget the token, here and on the disk."""
        self._token = None
        if self._cache is not None:
            self._cache.forget()

    def _is_good(self, token: Token, refused: Secret | None) -> bool:
        left = token.expires_at - self._clock()
        return token.margin_seconds <= left < LONGEST_LIFE_SECONDS and token.text != refused

    async def _shared(self, refused: Secret | None) -> Token:
        if self._cache is None:
            return await self._fetch()
        cached = self._cache.read()
        if cached is not None and self._is_good(cached, refused):
            return cached
        async with self._cache.locked():
            # Another process may have fetched one while this one waited for the lock.
            cached = self._cache.read()
            if cached is not None and self._is_good(cached, refused):
                return cached
            token = await self._fetch()
            await asyncio.to_thread(self._cache.write, token)
            return token

    async def _fetch(self) -> Token:
        asked_at = self._clock()
        answer = await self._retry.run(at_once, self._attempt)
        if answer.status >= 400:
            raise _refusal(answer)
        document = decoded(answer, _TOKEN, SYSTEM, is_write=False)
        text, life = document.access_token, document.expires_in
        if not (
            text and text.isascii() and text.isprintable() and " " not in text and 0 < life < 1e6
        ):
            raise UnexpectedAnswer(
                "ServiceTitan's access token is none", "Run again later.", status=answer.status
            )
        # A token that lives shortly is used for half its life, else each call would fetch one.
        return Token(Secret(text), asked_at + life, min(RENEW_BEFORE_SECONDS, life / 2))

    async def _attempt(self, _: None) -> Answer:
        form = {
            "grant_type": "client_credentials",
            "client_id": self._client_id,
            "client_secret": self._secret.reveal(),
        }
        try:
            answer = await self._transport.send("POST", self._url, form=form)
        except NotSent as error:
            raise Again(error) from error
        except NoAnswer as error:
            # Asking twice for a token does no harm.
            raise Again(Unavailable(error.message, error.hint)) from error
        raise_if_passing(answer, SYSTEM, self._clock(), is_repeatable=True, is_write=False)
        return answer


def _refusal(answer: Answer) -> CredentialsRefused | UnexpectedAnswer:
    if answer.is_html:
        return unexpected_page(answer, SYSTEM)
    if answer.status not in (400, 401, 403):
        return UnexpectedAnswer(
            f"ServiceTitan's token address answered with HTTP {answer.status}",
            "Check STCLI_ST_AUTH_URL.",
            status=answer.status,
        )
    reason = explained(text_of(error_document(answer), "error"), (), f"HTTP {answer.status}")
    return CredentialsRefused(
        f"ServiceTitan refused the client id or the client secret ({reason}), or they belong to "
        "the other environment",
        "Copy both again from the Application Details page and run stcli finalize; check that the "
        "campaign's environment is the one they were made in.",
        status=answer.status,
    )
