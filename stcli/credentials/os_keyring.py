"""The operating system's keyring, asked with a time limit.

A keyring can hang for ever (a locked one waits for a dialogue that nobody sees), so each call runs on
a daemon thread of its own, which never holds up the end of the process, and after one timeout the
keyring is not asked again.
"""

from __future__ import annotations

import queue
import threading
import time
from collections.abc import Callable
from typing import Protocol, TypeVar

from stcli.credentials.names import KEYRING_SERVICE
from stcli.domain.secret import Secret
from stcli.errors import CredentialsUnusable

CALL_SECONDS = 5.0
LOOK_SECONDS = 0.1
"""How often a stop is looked for meanwhile."""

Result = TypeVar("Result")
Answer = TypeVar("Answer")


class Backend(Protocol):
    """What is used of a keyring; ``keyring``'s own backends have it."""

    def get_password(self, service: str, username: str) -> str | None: ...

    def set_password(self, service: str, username: str, password: str) -> None: ...

    def delete_password(self, service: str, username: str) -> None: ...


def system_backend() -> Backend:
    """The keyring that the ``keyring`` library chooses on this machine."""
    import keyring

    return keyring.get_keyring()


class OsKeyring:
    """Get, set and delete, each bounded. Raises ``CredentialsUnusable`` where there is no usable
    keyring, saying whether it is absent, locked or hangs."""

    def __init__(
        self,
        backend: Callable[[], Backend] = system_backend,
        seconds: float = CALL_SECONDS,
        check_stop: Callable[[], None] = lambda: None,
    ) -> None:
        self._backend = backend
        self._seconds = seconds
        self._check_stop = check_stop
        self._problem: str | None = None

    def get(self, name: str) -> Secret | None:
        text = self._call(lambda backend: backend.get_password(KEYRING_SERVICE, name))
        return Secret(text) if text else None

    def set(self, name: str, secret: Secret) -> None:
        self._call(lambda b: b.set_password(KEYRING_SERVICE, name, secret.reveal()))

    def delete(self, name: str) -> None:
        """Forget an entry; one that is not there is forgotten already."""
        if self.get(name) is not None:
            self._call(lambda backend: backend.delete_password(KEYRING_SERVICE, name))

    def check(self) -> None:
        """Raise if nothing could be stored now; asks for an entry that does not exist."""
        self.get("availability check")

    def _call(self, use: Callable[[Backend], Result]) -> Result:
        if self._problem is not None:
            raise _unusable(self._problem)
        answers: queue.SimpleQueue[Result | BaseException] = queue.SimpleQueue()

        def ask() -> None:
            try:
                backend = self._backend()
                _refuse_none(backend)
                answers.put(use(backend))
            except BaseException as error:  # noqa: BLE001 - a backend may raise anything; it is told
                answers.put(error)

        threading.Thread(target=ask, name="keyring", daemon=True).start()
        answer = self._waited_for(answers)
        if isinstance(answer, BaseException):
            raise _unusable(_described(answer)) from None
        return answer

    def _waited_for(self, answers: queue.SimpleQueue[Answer]) -> Answer:
        give_up_at = time.monotonic() + self._seconds
        while True:
            try:
                return answers.get(timeout=min(LOOK_SECONDS, self._seconds))
            except queue.Empty:
                self._check_stop()
                if time.monotonic() >= give_up_at:
                    self._problem = f"the keyring did not answer within {self._seconds:g} s"
                    raise _unusable(self._problem) from None


class _NoKeyring(Exception):
    """There is a backend in name only."""


class _PlainText(Exception):
    """The backend keeps what it is given as plain text, which is for a person to decide."""


def _refuse_none(backend: Backend) -> None:
    # A chain of backends stores in its first.
    chain = getattr(backend, "backends", None)
    first = next(iter(chain), backend) if chain is not None else backend
    module, name = type(first).__module__, type(first).__name__
    if module in ("keyring.backends.fail", "keyring.backends.null"):
        raise _NoKeyring
    if name == "PlaintextKeyring":
        raise _PlainText


def _described(error: BaseException) -> str:
    name = type(error).__name__
    if name in ("NoKeyringError", "_NoKeyring"):
        return "this machine has no keyring (or none that a session without a desktop can use)"
    if name == "_PlainText":
        return "the only keyring of this machine keeps secrets as plain text"
    if name in ("KeyringLocked", "InitError", "LockedException"):
        return "the keyring is locked"
    return f"the keyring refused ({name})"


def _unusable(problem: str) -> CredentialsUnusable:
    return CredentialsUnusable(
        problem,
        "Unlock or install one, give the secret by variable, file, systemd credential or command, "
        "or add --insecure-storage to keep it in a file that only you can read.",
    )
