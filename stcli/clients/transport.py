"""The only module that speaks HTTP: bounded, counted, and mapped to our errors.

Redirects are never followed, because httpx would hand the app key to wherever they point. Plain http
is possible only to this machine. Bodies are read up to a bound. Nothing of a body, a header, a query
or a secret gets into an error or a log line.
"""

from __future__ import annotations

import asyncio
import functools
import ipaddress
import logging
import socket
import ssl
import time
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from email.utils import parsedate_to_datetime
from types import TracebackType
from typing import Self
from urllib.parse import urlsplit

from stcli import __version__
from stcli.clients.http_library import httpx
from stcli.domain.secret import Secret
from stcli.errors import (
    ConfigurationError,
    CredentialsUnusable,
    NoAnswer,
    Unavailable,
    UnexpectedAnswer,
)

MAX_BODY_BYTES = 64 * 2**20
MAX_ERROR_BODY_BYTES = 64 * 2**10
MAX_CONNECTIONS = 128
CONNECT_SECONDS = 15.0
KEEPALIVE_SECONDS = 4.0
"""Shorter than the 5 s after which common servers close an idle connection, so that a write is not
sent into a connection that is just being closed, which would leave it in doubt."""

TURN_SECONDS = 2.0
"""How long a connection is kept waiting for its turn: a server closes one that is not used."""
_FIRST_BYTE = ".send_request_headers.started"

# httpx logs each address with its query, httpcore what it sends: both would put codes of people, and
# in time perhaps secrets, into a log that asks for everything.
_log = logging.getLogger("stcli.clients")
for _name in ("httpx", "httpcore"):
    logging.getLogger(_name).setLevel(logging.WARNING)


async def _at_once() -> None:
    """Nothing has to be waited for."""


@dataclass(frozen=True, slots=True)
class Answer:
    """An HTTP answer below 300 or from 400 on; the body of an error may be cut off."""

    status: int
    content_type: str
    retry_after: str
    date: str
    body: bytes

    @property
    def is_html(self) -> bool:
        """Whether a page for people came where a document was due: a proxy, a portal, an outage."""
        return "html" in self.content_type or self.body.lstrip()[:1] == b"<"


class NotSent(Unavailable):
    """No connection came about, or no turn on it, so the request certainly had no effect."""


class Transport:
    """Sends requests to the hosts of one system and counts them."""

    def __init__(
        self, system: str, *urls: str, timeout_seconds: float, logs_paths: bool = True
    ) -> None:
        parts = [urlsplit(checked_url(url, system)) for url in urls]
        self.system = system
        self._logs_paths = logs_paths
        self.requests = 0
        self.clock_ahead_seconds: float | None = None
        self._timeout_seconds = timeout_seconds
        self._is_local = all(is_loopback(part.hostname or "") for part in parts)
        self._needs_tls = any(part.scheme == "https" for part in parts)
        self._client: httpx.AsyncClient | None = None

    async def __aenter__(self) -> Self:
        try:
            self._client = self._opened()
        except (ValueError, ImportError, httpx.InvalidURL):
            # Only what the environment says of proxies is read there.
            raise ConfigurationError(
                f"{self.system} cannot be reached: the proxy that the environment names is no "
                "http or https address",
                "Check HTTPS_PROXY and ALL_PROXY, such as http://proxy.example:3128.",
            ) from None
        return self

    def _opened(self) -> httpx.AsyncClient:
        return httpx.AsyncClient(
            timeout=httpx.Timeout(
                self._timeout_seconds, connect=min(self._timeout_seconds, CONNECT_SECONDS)
            ),
            limits=httpx.Limits(
                max_connections=MAX_CONNECTIONS,
                max_keepalive_connections=MAX_CONNECTIONS,
                keepalive_expiry=KEEPALIVE_SECONDS,
            ),
            headers={"User-Agent": f"stcli/{__version__}", "Accept": "application/json"},
            follow_redirects=False,
            verify=_trusting_public_authorities() if self._needs_tls else _trusting_nobody(),
            trust_env=not self._is_local,
        )

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        client, self._client = self._client, None
        if client is not None:
            await client.aclose()

    async def send(
        self,
        method: str,
        url: str,
        *,
        query: Mapping[str, str] | None = None,
        headers: Mapping[str, str] | None = None,
        json: bytes | None = None,
        form: Mapping[str, str] | None = None,
        before_write: Callable[[], Awaitable[None]] = _at_once,
    ) -> Answer:
        """One request, once. ``before_write`` is awaited when there is a connection, right before the
        first byte, for ``TURN_SECONDS`` at most.

        ``NotSent``: it certainly had no effect. ``NoAnswer``: it may have had one.
        ``UnexpectedAnswer``: a redirect, or more than can be read.
        """
        if self._client is None:
            raise RuntimeError("the transport is not open: use it in 'async with'")
        sent = dict(headers or {})
        if json is not None:
            sent["Content-Type"] = "application/json"
        self.requests += 1
        began = time.monotonic()
        outcome = "cut off"
        waits_for_turn = False

        async def trace(event: str, _info: Mapping[str, object]) -> None:
            nonlocal waits_for_turn
            if event.endswith(_FIRST_BYTE):
                waits_for_turn = True
                async with asyncio.timeout(TURN_SECONDS):
                    await before_write()
                waits_for_turn = False

        try:
            # httpx bounds each read, not the request: a server that trickles would hold it for ever.
            async with asyncio.timeout(self._timeout_seconds):
                async with self._client.stream(
                    method,
                    url,
                    params=dict(query) if query else None,
                    headers=sent,
                    content=json,
                    data=dict(form) if form is not None else None,
                    extensions={"trace": trace},
                ) as response:
                    outcome = f"HTTP {response.status_code}"
                    self._compare_clocks(response)
                    return await self._read(response)
        except (
            httpx.ConnectError,
            httpx.ConnectTimeout,
            httpx.PoolTimeout,
            httpx.ProxyError,
        ) as error:
            outcome = _reason(error)
            raise self._not_sent(url, error) from error
        except (httpx.RequestError, TimeoutError) as error:
            outcome = _reason(error)
            # Only what is known not to have left: whatever the library does otherwise is a doubt.
            if waits_for_turn:
                raise NotSent(
                    f"{self.system} was not asked: the limit left no room in time",
                    "Run again later.",
                ) from error
            raise NoAnswer(
                f"{self.system} did not answer{self._through(url)}: {outcome}", "Run again later."
            ) from error
        finally:
            took = round((time.monotonic() - began) * 1000)
            # The path alone: a query may hold a person's code or address.
            place = urlsplit(url).path if self._logs_paths else self.system
            _log.debug("%s %s: %s in %d ms", method, place, outcome, took)

    def _compare_clocks(self, response: httpx.Response) -> None:
        """By the Date header (RFC 9110, 6.6.1), which is exact to a second."""
        try:
            at = parsedate_to_datetime(response.headers.get("date", ""))
        except (ValueError, OverflowError):
            return
        self.clock_ahead_seconds = at.timestamp() - time.time()

    def _not_sent(self, url: str, error: httpx.RequestError) -> Unavailable:
        host = urlsplit(url).hostname
        if _is_untrusted_certificate(error):
            return Unavailable(
                f"the TLS certificate of {host} is not trusted",
                "Something between here and there may be reading along. Behind a company's proxy, "
                "point SSL_CERT_FILE to its certificate authority.",
            )
        through = self._through(url)
        return NotSent(
            f"{self.system} cannot be reached at {host}{through}: {_why_no_connection(error)}",
            "Check the proxy (HTTPS_PROXY, ALL_PROXY, NO_PROXY); then run again."
            if through
            else "Check the network and the address; then run again.",
        )

    def _through(self, url: str) -> str:
        """Names the proxy on the way to an address: what failed may be between here and there. Out
        of the environment, as httpx finds it, which does not tell."""
        from urllib.request import getproxies, proxy_bypass

        parts = urlsplit(url)
        proxies = getproxies()
        chosen = proxies.get(parts.scheme) or proxies.get("all")
        if self._is_local or not chosen or proxy_bypass(parts.hostname or ""):
            return ""
        # Without the password that may stand before its name.
        return f" through the proxy {chosen.rpartition('//')[2].rpartition('@')[2].rstrip('/')}"

    async def _read(self, response: httpx.Response) -> Answer:
        status = response.status_code
        if 300 <= status < 400:
            raise UnexpectedAnswer(
                f"{self.system} answered with a redirect to {_target(response)}, which is never "
                "followed",
                "Check the configured address; a proxy or a portal may be in between.",
                status=status,
                definite=response.request.method == "GET",
            )
        parts: list[bytes] = []
        size, most = 0, MAX_BODY_BYTES if status < 400 else MAX_ERROR_BODY_BYTES
        async for part in response.aiter_bytes():
            parts.append(part)
            size += len(part)
            if size > most:
                if status >= 400:
                    break
                raise UnexpectedAnswer(
                    f"{self.system} sent more than {most // 2**20} MB in one answer",
                    "Nothing of the answer was used. Tell its support if it stays so.",
                    status=status,
                    definite=response.request.method == "GET",
                )
        headers = response.headers
        return Answer(
            status,
            headers.get("content-type", "").lower(),
            headers.get("retry-after", ""),
            headers.get("date", ""),
            b"".join(parts)[:most],
        )


def checked_url(url: str, system: str) -> str:
    """``url`` without a slash at its end if it may carry secrets: https, or http to this machine."""
    try:
        parts = urlsplit(url)
        host = parts.hostname
        _ = parts.port
    except ValueError:
        host = None
    else:
        more = parts.query or parts.fragment or parts.username or parts.password
        is_safe = parts.scheme == "https" or (parts.scheme == "http" and is_loopback(host or ""))
        if host and is_safe and not more:
            return url.rstrip("/")
    raise ConfigurationError(
        f"the address of {system} is not an https address (plain http is for this machine only)",
        "Check STCLI_RF_URL, STCLI_ST_API_URL and STCLI_ST_AUTH_URL.",
    )


def is_loopback(host: str) -> bool:
    """Whether ``host`` is this machine, by its name or its number; nothing is looked up."""
    if host == "localhost":
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


def header_value(secret: Secret, what: str) -> str:
    """The text of a secret that goes into a header.

    Checked here, because the errors that httpx raises for a line break or a letter outside ASCII
    repeat the whole value.
    """
    text = secret.reveal()
    if text and text.isascii() and text.isprintable() and " " not in text:
        return text
    raise CredentialsUnusable(
        f"the {what} is empty or contains a space, a line break or another character that none has",
        "Copy it again, without anything before or after it: stcli auth login",
    )


@functools.cache
def _trusting_public_authorities() -> ssl.SSLContext:
    # Reading the authorities takes 20 ms, so the clients of a process share them.
    try:
        return httpx.create_ssl_context()
    except OSError as error:
        raise ConfigurationError(
            f"the certificates of the public authorities cannot be read: {error.strerror or 'damaged'}",
            "Check SSL_CERT_FILE and SSL_CERT_DIR, or unset them.",
        ) from error


@functools.cache
def _trusting_nobody() -> ssl.SSLContext:
    """Where every address is plain http: verification stays on, and no authority need be read."""
    return ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)


def _target(response: httpx.Response) -> str:
    try:
        return urlsplit(response.headers.get("location", "")).hostname or "the same host"
    except ValueError:
        return "an address that is none"


def _is_untrusted_certificate(error: BaseException) -> bool:
    cause: BaseException | None = error
    while cause is not None:
        if isinstance(cause, ssl.SSLCertVerificationError):
            return True
        cause = cause.__cause__ or cause.__context__
    return False


def _why_no_connection(error: BaseException) -> str:
    """What the operating system said, which tells DNS, a closed port and a proxy apart."""
    cause: BaseException | None = error
    while cause is not None:
        if isinstance(cause, socket.gaierror):
            return "its name cannot be resolved"
        if isinstance(cause, ConnectionRefusedError):
            return "the connection was refused"
        if isinstance(cause, ssl.SSLError):
            reason = (cause.reason or "no reason given").replace("_", " ").lower()
            return f"TLS failed ({reason}); does it speak https at that port?"
        cause = cause.__cause__ or cause.__context__
    return _reason(error) if isinstance(error, Exception) else "no connection"


_REASONS = {
    "ConnectError": "no connection",
    "ConnectTimeout": "connecting took too long",
    "PoolTimeout": "no free connection",
    "ProxyError": "the proxy refused",
    "ReadTimeout": "the answer took too long",
    "WriteTimeout": "sending took too long",
    "TimeoutError": "the answer took too long",
    "RemoteProtocolError": "the connection was dropped",
    "ReadError": "the connection was dropped",
    "WriteError": "the connection was dropped",
    "CloseError": "the connection was dropped",
    "DecodingError": "the answer was damaged",
}


def _reason(error: Exception) -> str:
    """The kind of a network failure, without addresses or contents."""
    return _REASONS.get(type(error).__name__, type(error).__name__)
