"""The order in which secrets are looked for; the first source that has one wins.

What a variable, a file, a credential or a command gives is never stored. There is no silent way
down to plain text: the insecure file exists only where a person asked for it.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

from stcli.credentials import sources
from stcli.credentials.insecure_file import InsecureFile
from stcli.credentials.names import APP_KEY, RF_TOKEN, SecretRequest, ways
from stcli.credentials.os_keyring import OsKeyring
from stcli.domain.secret import Secret
from stcli.errors import CredentialsMissing, CredentialsUnusable
from stcli.paths import Home


@dataclass(frozen=True, slots=True)
class Found:
    """A secret and, in words, where it came from."""

    secret: Secret
    source: str
    is_stored: bool


class SecretChain:
    """The look-up of one home. ``check_stop`` raises where a stop was asked for: commands and the
    keyring may take their time."""

    def __init__(
        self,
        environment: Mapping[str, str],
        home: Home,
        commands: Mapping[str, Sequence[str]],
        keyring: OsKeyring | None = None,
        check_stop: Callable[[], None] = lambda: None,
    ) -> None:
        self._environment = environment
        self._commands = commands
        self._keyring = keyring or OsKeyring(check_stop=check_stop)
        self._check_stop = check_stop
        self._file = InsecureFile(home.state)

    def find(self, request: SecretRequest) -> Found:
        """The secret, or ``CredentialsMissing`` naming every way to give it."""
        given = self.given(request)
        if given is not None:
            return given
        problem = ""
        try:
            stored = self._keyring.get(request.stored_as)
        except CredentialsUnusable as error:
            stored, problem = None, f"; {error.message}"
        if stored is not None:
            return Found(sources.usable(stored.reveal(), "the keyring"), "keyring", is_stored=True)
        kept = self._file.get(request.stored_as)
        if kept is not None:
            return Found(kept, f"file {self._file.path}", is_stored=True)
        command = "stcli auth login" if request in (RF_TOKEN, APP_KEY) else "stcli finalize"
        raise CredentialsMissing(
            f"there is no {request.label}{problem}",
            "Give it by one of: " + "; ".join(ways(request, stored_by=command)) + ".",
        )

    def given(self, request: SecretRequest) -> Found | None:
        """The secret if a source outside of stcli's own stores gives it."""
        found = (
            sources.from_variable(request, self._environment)
            or sources.from_named_file(request, self._environment)
            or sources.from_systemd(request, self._environment)
            or sources.from_command(request, self._commands, self._check_stop)
        )
        return None if found is None else Found(found[0], found[1], is_stored=False)

    def check_storable(self, *, insecure: bool) -> None:
        """Raise before anybody is asked for a secret that could not be kept."""
        if not insecure:
            self._keyring.check()

    def store(self, request: SecretRequest, secret: Secret, *, insecure: bool) -> str:
        """Keep a secret; answers where."""
        usable = sources.usable(secret.reveal(), request.label)
        if insecure:
            self._file.set(request.stored_as, usable)
            # The keyring is looked at first: an older secret in it would win.
            self._forget_in_keyring(request)
            return f"file {self._file.path}"
        self._keyring.set(request.stored_as, usable)
        self._file.delete(request.stored_as)
        return "keyring"

    def forget(self, request: SecretRequest) -> str:
        """Remove a secret from stcli's own stores. Answers what kept the keyring from being asked,
        or empty text: without a keyring there is nothing of ours in it, a locked one may keep it."""
        left = self._forget_in_keyring(request)
        self._file.delete(request.stored_as)
        return left

    def _forget_in_keyring(self, request: SecretRequest) -> str:
        try:
            self._keyring.delete(request.stored_as)
        except CredentialsUnusable as error:
            return error.message
        return ""
