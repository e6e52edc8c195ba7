"""Access tokens: fetched once, shared by the processes of a host, renewed before they expire.

ServiceTitan throttles token requests and its tokens live 900 s, so a token is kept in a file (mode
600, named by a hash that covers the secret) and one process at a time fetches a new one; the others
wait for its result. Parallel calls of one process share one fetch.
"""

from __future__ import annotations

import asyncio
import hashlib
import json
import os
import sys
import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

import msgspec

from stcli.clients.answers import decoded, raise_for_passing
from stcli.clients.retry import Again, RetryPolicy
from stcli.clients.transport import Answer, Transport
from stcli.domain.secret import Secret
from stcli.errors import CredentialsRefused, Unavailable
from stcli.paths import private_folder, write_private

RENEW_BEFORE_SECONDS = 60.0
SYSTEM = "ServiceTitan"


@dataclass(frozen=True, slots=True)
class _Token:
    text: Secret
    expires_at: float


class _TokenAnswer(msgspec.Struct):
    access_token: str
    expires_in: float


_DECODER = msgspec.json.Decoder(_TokenAnswer)


class TokenSource:
    """The access token of one grant. ``folder`` None: nothing is cached or read from a cache."""

    def __init__(
        self,
        transport: Transport,
        *,
        auth_url: str,
        client_id: str,
        client_secret: Secret,
        folder: Path | None,
        retry: RetryPolicy,
        clock: Callable[[], float] = time.time,
    ) -> None:
        self._transport = transport
        self._client_id = client_id
        self._secret = client_secret
        self._retry = retry
        self._clock = clock
        self._file = (
            None if folder is None else folder / token_file_name(auth_url, client_id, client_secret)
        )
        self._token: _Token | None = None
        self._turn = asyncio.Lock()

    async def get(self, refused: Secret | None = None) -> Secret:
        """A token that is good for a while; another one than ``refused``."""
        async with self._turn:
            token = self._token
            if token is None or not self._is_good(token, refused):
                token = await self._shared(refused)
                self._token = token
            return token.text

    async def fetch(self) -> Secret:
        """A new token, whatever is cached."""
        async with self._turn:
            self._token = await self._fetch()
            self._write(self._token)
            return self._token.text

    def _is_good(self, token: _Token, refused: Secret | None) -> bool:
        left = token.expires_at - self._clock()
        return RENEW_BEFORE_SECONDS < left < 86_400 and token.text != refused

    async def _shared(self, refused: Secret | None) -> _Token:
        if self._file is None:
            return await self._fetch()
        cached = self._read()
        if cached is not None and self._is_good(cached, refused):
            return cached
        lock = _FileLock(self._file.with_suffix(".lock"))
        await lock.acquire()
        try:
            # Another process may have fetched one while this one waited for the lock.
            cached = self._read()
            if cached is not None and self._is_good(cached, refused):
                return cached
            token = await self._fetch()
            self._write(token)
            return token
        finally:
            lock.release()

    async def _fetch(self) -> _Token:
        async def attempt() -> Answer:
            try:
                answer = await self._transport.send(
                    "POST",
                    "/connect/token",
                    form={
                        "grant_type": "client_credentials",
                        "client_id": self._client_id,
                        "client_secret": self._secret.reveal(),
                    },
                )
            except Unavailable as error:
                raise Again(error) from error
            raise_for_passing(answer, SYSTEM, is_write=False)
            return answer

        asked_at = self._clock()
        answer = await self._retry.run(attempt)
        if answer.status in (400, 401, 403):
            raise CredentialsRefused(
                "ServiceTitan refused the client id or the client secret "
                "(or they belong to the other environment)",
                "Run stcli finalize again with the values of the Application Details page.",
                status=answer.status,
            )
        document = decoded(answer, _DECODER, SYSTEM, is_write=False)
        return _Token(Secret(document.access_token), asked_at + document.expires_in)

    def _read(self) -> _Token | None:
        """The cached token; a damaged or foreign file counts as none."""
        if self._file is None:
            return None
        try:
            document = json.loads(self._file.read_text(encoding="utf-8"))
            return _Token(Secret(str(document["access_token"])), float(document["expires_at"]))
        except (OSError, ValueError, KeyError, TypeError):
            return None

    def _write(self, token: _Token) -> None:
        if self._file is not None:
            write_private(
                self._file,
                json.dumps({"access_token": token.text.reveal(), "expires_at": token.expires_at}),
            )


def token_file_name(auth_url: str, client_id: str, secret: Secret) -> str:
    """Says nothing of the secret, and differs when any part does."""
    text = "\n".join((auth_url.rstrip("/"), client_id, secret.reveal()))
    return hashlib.sha256(text.encode()).hexdigest()[:40] + ".json"


def forget_token(folder: Path, auth_url: str, client_id: str, secret: Secret) -> None:
    """Delete the cached token of a grant."""
    file = folder / token_file_name(auth_url, client_id, secret)
    file.unlink(missing_ok=True)
    file.with_suffix(".lock").unlink(missing_ok=True)


class _FileLock:
    """An exclusive lock that the operating system drops when the process dies."""

    def __init__(self, file: Path) -> None:
        self._file = file
        self._descriptor = -1

    async def acquire(self) -> None:
        private_folder(self._file.parent)
        self._descriptor = os.open(self._file, os.O_RDWR | os.O_CREAT, 0o600)
        while True:
            with suppress(OSError):
                _lock(self._descriptor)
                return
            await asyncio.sleep(0.05)

    def release(self) -> None:
        os.close(self._descriptor)


def _lock(descriptor: int) -> None:
    """Lock an open file without waiting; ``OSError`` where another process holds it."""
    if sys.platform == "win32":
        import msvcrt

        msvcrt.locking(descriptor, msvcrt.LK_NBLCK, 1)
    else:
        import fcntl

        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
