"""The only module that speaks HTTP: one client a system, bounded, and mapped to our errors.

Redirects are never followed, because the app key would go with them; plain http is possible only to
this machine; a body is read up to a bound; nothing of a body, a header or a token is put in an error.
"""

from __future__ import annotations

import asyncio
import ipaddress
from collections.abc import Mapping
from dataclasses import dataclass
from types import TracebackType
from typing import Self
from urllib.parse import urlsplit

import httpx

from stcli import __version__
from stcli.errors import ConfigurationError, NoAnswer, Unavailable, UnexpectedAnswer

MAX_BODY_BYTES = 64 * 1024 * 1024
MAX_CONNECTIONS = 128


@dataclass(frozen=True, slots=True)
class Answer:
    """An HTTP answer; ``headers`` with lower-case names."""

    status: int
    headers: Mapping[str, str]
    body: bytes

    @property
    def is_html(self) -> bool:
        return "html" in self.headers.get("content-type", "") or self.body.lstrip()[:1] == b"<"


class NotSent(Unavailable):
    """No connection came about, so the request certainly had no effect."""


class Transport:
    """Sends requests to one system and counts them."""

    def __init__(self, system: str, base_url: str, timeout_seconds: float) -> None:
        self.system = system
        self._base = checked_url(base_url, system).rstrip("/")
        self._host = urlsplit(self._base).hostname or ""
        self._timeout_seconds = timeout_seconds
        self._client: httpx.AsyncClient | None = None
        self.requests = 0

    async def __aenter__(self) -> Self:
        self._client = httpx.AsyncClient(
            timeout=httpx.Timeout(self._timeout_seconds, connect=min(self._timeout_seconds, 15)),
            limits=httpx.Limits(
                max_connections=MAX_CONNECTIONS, max_keepalive_connections=MAX_CONNECTIONS
            ),
            headers={"User-Agent": f"stcli/{__version__}", "Accept": "application/json"},
            follow_redirects=False,
            trust_env=not _is_loopback(self._host),
        )
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        if self._client is not None:
            await self._client.aclose()
            self._client = None

    async def send(
        self,
        method: str,
        path: str,
        *,
        query: Mapping[str, str | int] | None = None,
        headers: Mapping[str, str] | None = None,
        json: bytes | None = None,
        form: Mapping[str, str] | None = None,
    ) -> Answer:
        """One request, once. ``NotSent``: it had no effect; ``NoAnswer``: it may have had one."""
        if self._client is None:
            raise RuntimeError("the transport is not open")
        sent = dict(headers or {})
        if json is not None:
            sent["Content-Type"] = "application/json"
        self.requests += 1
        try:
            async with asyncio.timeout(self._timeout_seconds + 5):
                async with self._client.stream(
                    method,
                    self._base + path,
                    params=dict(query) if query else None,
                    headers=sent,
                    content=json,
                    data=dict(form) if form is not None else None,
                ) as response:
                    return await self._read(response)
        except (httpx.ConnectError, httpx.ConnectTimeout, httpx.PoolTimeout) as error:
            raise NotSent(
                f"{self.system} cannot be reached at {self._host}: {_reason(error)}",
                "Check the network, the proxy and the address; then run again.",
            ) from error
        except (httpx.TransportError, TimeoutError) as error:
            raise NoAnswer(
                f"{self.system} did not answer: {_reason(error)}", "Run again later."
            ) from error

    async def _read(self, response: httpx.Response) -> Answer:
        if response.is_redirect:
            target = urlsplit(response.headers.get("location", "")).hostname or "another address"
            raise UnexpectedAnswer(
                f"{self.system} wants to redirect to {target}, which is never followed",
                "Check the configured address; a proxy or a portal may be in between.",
                status=response.status_code,
            )
        body = bytearray()
        async for part in response.aiter_bytes():
            body += part
            if len(body) > MAX_BODY_BYTES:
                raise UnexpectedAnswer(
                    f"{self.system} sent more than {MAX_BODY_BYTES // 2**20} MB in one answer",
                    "Tell its support; nothing of the answer was used.",
                    status=response.status_code,
                    definite=response.status_code >= 400,
                )
        headers = {name.lower(): value for name, value in response.headers.items()}
        return Answer(response.status_code, headers, bytes(body))


def checked_url(url: str, system: str) -> str:
    """``url`` if it may carry secrets: https, or http to this machine."""
    parts = urlsplit(url)
    if parts.scheme == "https" and parts.hostname:
        return url
    if parts.scheme == "http" and parts.hostname and _is_loopback(parts.hostname):
        return url
    raise ConfigurationError(
        f"the address of {system} is not https (plain http only to this machine)",
        "Check STCLI_RF_URL, STCLI_ST_API_URL and STCLI_ST_AUTH_URL.",
    )


def _is_loopback(host: str) -> bool:
    if host == "localhost":
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


def _reason(error: Exception) -> str:
    """The kind of a network failure, without addresses or contents."""
    return {
        "ConnectError": "no connection",
        "ConnectTimeout": "connecting took too long",
        "PoolTimeout": "no free connection",
        "ReadTimeout": "the answer took too long",
        "WriteTimeout": "sending took too long",
        "TimeoutError": "the answer took too long",
        "RemoteProtocolError": "the connection was dropped",
        "ReadError": "the connection was dropped",
        "WriteError": "the connection was dropped",
    }.get(type(error).__name__, type(error).__name__)
