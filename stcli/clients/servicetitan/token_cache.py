"""Access tokens in files that the processes of a host share.

One file for a grant (authorisation address, client id, client secret), mode 600 in a folder of mode
700, named by a hash, so that another secret never meets the token of the one before. Beside it lies a
lock file. Nothing here speaks HTTP, so that forgetting a token costs no import of it.
"""

from __future__ import annotations

import asyncio
import errno
import hashlib
import json
import logging
import os
import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path

from stcli.domain.secret import Secret
from stcli.paths import private_folder, write_private

LOOK_SECONDS = 0.05
LONGEST_LOCK_SECONDS = 330.0
"""Longer than any fetch with its retries: whoever holds the lock so long has been stopped."""

_BUSY = {errno.EACCES, errno.EAGAIN, errno.EDEADLK}
_log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Token:
    """An access token; ``expires_at`` in seconds since 1970. ``margin_seconds``: how long before
    that it is no longer used."""

    text: Secret
    expires_at: float
    margin_seconds: float = 60.0


class TokenCache:
    """The token file of one grant."""

    def __init__(self, folder: Path, auth_url: str, client_id: str, secret: Secret) -> None:
        parts = (auth_url.rstrip("/"), client_id, secret.reveal())
        digest = hashlib.sha256(json.dumps(["stcli token", *parts]).encode()).hexdigest()[:40]
        self._file = folder / f"{digest}.json"
        self._lock = folder / f"{digest}.lock"

    def read(self) -> Token | None:
        """The cached token; a damaged file counts as none."""
        try:
            document = json.loads(self._file.read_text(encoding="utf-8"))
            text, expires_at = document["access_token"], float(document["expires_at"])
        except (OSError, ValueError, KeyError, TypeError):
            return None
        is_token = isinstance(text, str) and text and text.isascii() and text.isprintable()
        return Token(Secret(text), expires_at) if is_token and " " not in text else None

    def write(self, token: Token) -> None:
        """Keep a token for others. A file that cannot be written costs a request, not the pass."""
        try:
            private_folder(self._file.parent)
            document = {"access_token": token.text.reveal(), "expires_at": token.expires_at}
            write_private(self._file, json.dumps(document))
        except OSError as error:
            _log.warning("the access token cannot be kept in %s: %s", self._file.parent, error)

    def forget(self) -> None:
        """Delete the token; that none is there is fine."""
        self._file.unlink(missing_ok=True)
        self._lock.unlink(missing_ok=True)

    @asynccontextmanager
    async def locked(self) -> AsyncIterator[None]:
        """Hold the lock that one process fetches under.

        The operating system drops it when the process dies. Where it cannot be had the block runs
        without: a second token request is better than none.
        """
        try:
            private_folder(self._lock.parent)
            descriptor = os.open(self._lock, os.O_RDWR | os.O_CREAT, 0o600)
        except OSError as error:
            _log.warning("token requests are not shared: %s", error)
            yield
            return
        try:
            await _take(descriptor)
            yield
        finally:
            os.close(descriptor)


async def _take(descriptor: int) -> None:
    lock = _platform_lock()
    give_up_at = time.monotonic() + LONGEST_LOCK_SECONDS
    while time.monotonic() < give_up_at:
        try:
            lock(descriptor)
            return
        except OSError as error:
            if error.errno not in _BUSY:
                _log.warning("token requests are not shared: %s", error)
                return
        await asyncio.sleep(LOOK_SECONDS)


def _platform_lock() -> Callable[[int], None]:
    """How this platform locks an open file without waiting."""
    if os.name == "nt":
        import msvcrt

        return lambda descriptor: msvcrt.locking(descriptor, msvcrt.LK_NBLCK, 1)  # type: ignore[attr-defined,unused-ignore] # exists on Windows only
    import fcntl

    return lambda descriptor: fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
