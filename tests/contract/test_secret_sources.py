"""One suite for every source of secrets: all answer alike, and none shows what it holds."""

from __future__ import annotations

import itertools
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import keyring.backend
import keyring.errors
import pytest
from keyrings.alt.file import PlaintextKeyring

from stcli.credentials.chain import SecretChain
from stcli.credentials.names import APP_KEY, RF_TOKEN, Grant, SecretRequest, client_secret
from stcli.credentials.os_keyring import Backend, OsKeyring
from stcli.domain.secret import Secret
from stcli.errors import CredentialsMissing, CredentialsUnusable, ExitCode
from stcli.paths import Home

GRANT = Grant("production", 985798691, "cid.1")
CLIENT_SECRET = client_secret("spring-hvac", GRANT)
VALUE = "s3cret-value"


@dataclass
class Setup:
    """What a source needs around it."""

    home: Home
    environment: dict[str, str] = field(default_factory=dict)
    commands: dict[str, Sequence[str]] = field(default_factory=dict)
    backend: Callable[[], Backend] = keyring.get_keyring

    def chain(self) -> SecretChain:
        return SecretChain(self.environment, self.home, self.commands, OsKeyring(self.backend, 0.3))


@pytest.fixture
def setup(tmp_path: Path) -> Setup:
    return Setup(Home(tmp_path, tmp_path / "state", tmp_path / "logs"))


def _variable(setup: Setup, request: SecretRequest, tmp_path: Path) -> None:
    setup.environment[request.variables[-1]] = VALUE


def _file(setup: Setup, request: SecretRequest, tmp_path: Path) -> None:
    path = tmp_path / "a file"
    path.write_text(VALUE + "\n", encoding="utf-8")
    setup.environment[request.variables[-1] + "_FILE"] = str(path)


def _systemd(setup: Setup, request: SecretRequest, tmp_path: Path) -> None:
    (tmp_path / request.credentials[-1]).write_text(VALUE, encoding="utf-8")
    setup.environment["CREDENTIALS_DIRECTORY"] = str(tmp_path)


def _command(setup: Setup, request: SecretRequest, tmp_path: Path) -> None:
    setup.commands[request.key] = [sys.executable, "-c", f"print({VALUE!r})"]


def _keyring(setup: Setup, request: SecretRequest, tmp_path: Path) -> None:
    setup.chain().store(request, Secret(VALUE), insecure=False)


def _insecure(setup: Setup, request: SecretRequest, tmp_path: Path) -> None:
    setup.chain().store(request, Secret(VALUE), insecure=True)


IN_ORDER = (_variable, _file, _systemd, _command, _keyring, _insecure)
Source = Callable[[Setup, SecretRequest, Path], None]


@pytest.mark.parametrize("source", IN_ORDER)
@pytest.mark.parametrize("request_", [RF_TOKEN, APP_KEY, CLIENT_SECRET], ids=lambda r: r.key)
def test_each_source_gives_each_secret(setup, tmp_path, source, request_) -> None:
    """The value without its line end, and a name of the source that does not show it."""
    source(setup, request_, tmp_path)
    found = setup.chain().find(request_)
    assert found.secret == Secret(VALUE)
    assert found.is_stored is (source in (_keyring, _insecure))
    assert VALUE not in repr(found)


@pytest.mark.parametrize(("first", "second"), list(itertools.pairwise(IN_ORDER)))
def test_the_order_is_fixed(setup, tmp_path, first, second) -> None:
    """Of two sources the one that stands first in the product wins."""
    second(setup, RF_TOKEN, tmp_path)
    first(setup, RF_TOKEN, tmp_path)
    names = {
        _variable: "variable",
        _file: "file",
        _systemd: "systemd",
        _command: "command",
        _keyring: "keyring",
        _insecure: "file",
    }
    assert setup.chain().find(RF_TOKEN).source.startswith(names[first])


def test_the_variable_of_a_campaign_wins(setup) -> None:
    """Upper case, - as _."""
    setup.environment |= {
        "STCLI_ST_CLIENT_SECRET": "general",
        "STCLI_ST_CLIENT_SECRET__SPRING_HVAC": "special",
    }
    assert setup.chain().find(CLIENT_SECRET).secret == Secret("special")
    other = client_secret("roofing", GRANT)
    assert setup.chain().find(other).secret == Secret("general")


def test_nothing_given_is_never_stored(setup, tmp_path, isolated) -> None:
    """Finding a secret in a variable leaves the stores empty."""
    _variable(setup, RF_TOKEN, tmp_path)
    setup.chain().find(RF_TOKEN)
    assert isolated.entries == {}
    assert not list(tmp_path.rglob("secrets.json"))


def test_stored_secrets_belong_to_their_grant(setup) -> None:
    """Another tenant, environment or client id does not find them."""
    setup.chain().store(CLIENT_SECRET, Secret(VALUE), insecure=False)
    for grant in (
        Grant("integration", 985798691, "cid.1"),
        Grant("production", 1, "cid.1"),
        Grant("production", 985798691, "cid.2"),
    ):
        with pytest.raises(CredentialsMissing):
            setup.chain().find(client_secret("spring-hvac", grant))
    same_grant_other_campaign = client_secret("roofing", GRANT)
    assert setup.chain().find(same_grant_other_campaign).secret == Secret(VALUE)


def test_forgotten_is_forgotten(setup) -> None:
    """From both stores, and a second time is no error."""
    for insecure in (False, True):
        setup.chain().store(RF_TOKEN, Secret(VALUE), insecure=insecure)
    for _ in range(2):
        setup.chain().forget(RF_TOKEN)
    with pytest.raises(CredentialsMissing) as caught:
        setup.chain().find(RF_TOKEN)
    assert caught.value.exit_code is ExitCode.NOT_CONNECTED
    for way in ("STCLI_RF_TOKEN", "_FILE", "systemd", "command", "keyring"):
        assert way in caught.value.hint


def test_an_empty_variable_is_not_set(setup) -> None:
    """As a shell's VAR= leaves it."""
    setup.environment["STCLI_RF_TOKEN"] = ""
    with pytest.raises(CredentialsMissing):
        setup.chain().find(RF_TOKEN)


@pytest.mark.parametrize("content", ["", "two\nlines", "tab\there", "esc\x1b[0m"])
def test_what_cannot_be_a_secret_is_refused_unseen(setup, tmp_path, content) -> None:
    """Empty, or with characters that would break a header; the content is not in the error."""
    path = tmp_path / "bad"
    path.write_text(content, encoding="utf-8")
    setup.environment["STCLI_RF_TOKEN_FILE"] = str(path)
    with pytest.raises(CredentialsUnusable) as caught:
        setup.chain().find(RF_TOKEN)
    assert not content or content not in caught.value.message


def test_a_missing_file_and_a_huge_one_are_named(setup, tmp_path) -> None:
    """The path and the variable are in the message."""
    setup.environment["STCLI_RF_TOKEN_FILE"] = str(tmp_path / "absent")
    with pytest.raises(CredentialsUnusable, match="STCLI_RF_TOKEN_FILE"):
        setup.chain().find(RF_TOKEN)
    (tmp_path / "absent").write_bytes(b"x" * 70_000)
    with pytest.raises(CredentialsUnusable, match="too large"):
        setup.chain().find(RF_TOKEN)


@pytest.mark.parametrize(
    ("words", "told"),
    [
        ([sys.executable, "-c", "import sys; print('s3cret-value'); sys.exit(3)"], "status 3"),
        (["/no/such/program"], "cannot be started"),
        ([sys.executable, "-c", "input()"], "status 1"),
    ],
)
def test_a_command_that_fails_is_told_without_its_output(setup, words, told) -> None:
    """Its program and its status, and no stdin to wait on."""
    setup.commands["rf_token"] = words
    with pytest.raises(CredentialsUnusable) as caught:
        setup.chain().find(RF_TOKEN)
    assert told in caught.value.message
    assert VALUE not in caught.value.message


def test_a_command_that_hangs_is_given_up(setup, monkeypatch) -> None:
    """After its time, with the advice that it has no terminal."""
    monkeypatch.setattr("stcli.credentials.sources.COMMAND_SECONDS", 0.3)
    setup.commands["rf_token"] = [sys.executable, "-c", "import time; time.sleep(30)"]
    started = time.monotonic()
    with pytest.raises(CredentialsUnusable, match="did not end"):
        setup.chain().find(RF_TOKEN)
    assert time.monotonic() - started < 5


def test_an_insecure_file_that_others_can_read_is_refused(setup) -> None:
    """chmod is the next step; written by stcli it is private."""
    setup.chain().store(RF_TOKEN, Secret(VALUE), insecure=True)
    file = next(setup.home.state.rglob("secrets.json"))
    assert file.stat().st_mode & 0o077 == 0
    file.chmod(0o640)
    with pytest.raises(CredentialsUnusable, match="read by others"):
        setup.chain().find(RF_TOKEN)


class _Raises(keyring.backend.KeyringBackend):
    """A backend of the library that refuses everything in one way."""

    priority = 0  # type: ignore[assignment] # the library reads a number here

    def __init__(self, error: Exception) -> None:
        super().__init__()
        self.error = error

    def get_password(self, service: str, username: str) -> str | None:
        raise self.error

    def set_password(self, service: str, username: str, password: str) -> None:
        raise self.error

    def delete_password(self, service: str, username: str) -> None:
        raise self.error


@pytest.mark.parametrize(
    ("error", "told"),
    [
        (keyring.errors.NoKeyringError("x"), "no keyring"),
        (keyring.errors.KeyringLocked("x"), "locked"),
        (RuntimeError(VALUE), "refused (RuntimeError)"),
    ],
)
def test_a_keyring_that_cannot_be_used_is_told_apart(setup, error, told) -> None:
    """Absent, locked, or whatever; before anybody is asked, and never with what it said."""
    setup.backend = lambda: _Raises(error)
    with pytest.raises(CredentialsUnusable) as caught:
        setup.chain().check_storable(insecure=False)
    assert told in caught.value.message
    assert "--insecure-storage" in caught.value.hint
    assert VALUE not in caught.value.message
    with pytest.raises(CredentialsMissing, match=told.split(" (", maxsplit=1)[0]):
        setup.chain().find(RF_TOKEN)
    setup.chain().store(RF_TOKEN, Secret(VALUE), insecure=True)
    assert setup.chain().find(RF_TOKEN).secret == Secret(VALUE)


def test_a_keyring_that_hangs_is_asked_once(setup) -> None:
    """One time limit, not one for each call."""
    asked = []

    class Hangs(_Raises):
        def get_password(self, service: str, username: str) -> str | None:
            asked.append(username)
            time.sleep(5)
            return None

    setup.backend = lambda: Hangs(RuntimeError())
    chain = setup.chain()
    started = time.monotonic()
    for _ in range(3):
        with pytest.raises(CredentialsMissing, match="did not answer"):
            chain.find(RF_TOKEN)
    assert time.monotonic() - started < 2
    assert len(asked) == 1


def test_a_hanging_keyring_does_not_hold_up_the_end() -> None:
    """The process ends at once although the call never returned."""
    code = (
        "import time\n"
        "from stcli.credentials.os_keyring import OsKeyring\n"
        "class Hangs:\n"
        "    def get_password(self, s, u): time.sleep(60)\n"
        "try: OsKeyring(Hangs, 0.2).get('x')\n"
        "except Exception as error: print(type(error).__name__)\n"
    )
    started = time.monotonic()
    ran = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, timeout=20, check=True
    )
    assert ran.stdout.strip() == "CredentialsUnusable"
    assert time.monotonic() - started < 10


def test_a_keyring_of_plain_text_is_no_keyring(setup, tmp_path) -> None:
    """keyrings.alt may stand in for an absent keyring; plain text is never chosen silently."""
    backend = PlaintextKeyring()
    backend.file_path = str(tmp_path / "ring.cfg")
    setup.backend = lambda: backend
    with pytest.raises(CredentialsUnusable, match="plain text"):
        setup.chain().store(APP_KEY, Secret(VALUE), insecure=False)
    assert not (tmp_path / "ring.cfg").exists()


def test_a_secret_shows_itself_to_nobody() -> None:
    """Not in text, not in a format, not by pickling; equal only to the same."""
    import pickle

    secret = Secret(VALUE)
    assert VALUE not in f"{secret} {secret!r} {[secret]}"
    assert secret == Secret(VALUE)
    assert secret != Secret("other")
    with pytest.raises(TypeError):
        pickle.dumps(secret)


def test_a_rotation_into_the_file_is_not_undone_by_the_keyring(setup) -> None:
    """Stored anew in the other store, the old one does not win."""
    setup.chain().store(CLIENT_SECRET, Secret("old"), insecure=False)
    setup.chain().store(CLIENT_SECRET, Secret("new"), insecure=True)
    assert setup.chain().find(CLIENT_SECRET).secret == Secret("new")
    setup.chain().store(CLIENT_SECRET, Secret("newest"), insecure=False)
    assert setup.chain().find(CLIENT_SECRET).secret == Secret("newest")


def test_a_command_may_print_notes_below_the_secret(setup) -> None:
    """As pass show does; and white space around it is dropped, also in a file."""
    setup.commands["rf_token"] = [sys.executable, "-c", "print(' s3cret-value ');print('url: x')"]
    assert setup.chain().find(RF_TOKEN).secret == Secret(VALUE)


def test_white_space_around_a_secret_never_reaches_a_header(setup, tmp_path) -> None:
    """A blank before the line end of a file is no part of the secret."""
    (tmp_path / "f").write_text(f" {VALUE} \n", encoding="utf-8")
    setup.environment["STCLI_RF_TOKEN_FILE"] = str(tmp_path / "f")
    assert setup.chain().find(RF_TOKEN).secret == Secret(VALUE)


def test_a_command_without_end_is_cut_off(setup) -> None:
    """Neither the memory nor the patience is used up."""
    setup.commands["rf_token"] = ["yes", VALUE]
    started = time.monotonic()
    with pytest.raises(CredentialsUnusable) as caught:
        setup.chain().find(RF_TOKEN)
    assert time.monotonic() - started < 5
    assert VALUE not in caught.value.message


@pytest.mark.parametrize("words", [["a\x00b"], ["."]])
def test_a_command_that_is_none_is_told(setup, words) -> None:
    """A null byte or a folder in place of a program: no defect."""
    setup.commands["rf_token"] = words
    with pytest.raises(CredentialsUnusable, match="cannot be started"):
        setup.chain().find(RF_TOKEN)


def test_a_systemd_credential_that_cannot_be_read_is_told(setup, tmp_path) -> None:
    """A folder in its place, as one that is not permitted: no defect and no silent fall-back."""
    (tmp_path / "stcli-rf-token").mkdir()
    setup.environment["CREDENTIALS_DIRECTORY"] = str(tmp_path)
    with pytest.raises(CredentialsUnusable, match="systemd credential"):
        setup.chain().find(RF_TOKEN)


def test_a_keyring_entry_that_cannot_be_a_secret_is_refused_unseen(setup, isolated) -> None:
    """Somebody pasted a line break: it would break the header."""
    isolated.set_password("stcli", RF_TOKEN.stored_as, f"{VALUE}\nmore")
    with pytest.raises(CredentialsUnusable, match="the keyring") as caught:
        setup.chain().find(RF_TOKEN)
    assert VALUE not in caught.value.message


def test_forget_reaches_the_keyring_past_a_refused_file(setup, isolated) -> None:
    """An insecure file that others can read must not keep the keyring's entry alive."""
    setup.chain().store(APP_KEY, Secret(VALUE), insecure=True)
    next(setup.home.state.rglob("secrets.json")).chmod(0o644)
    isolated.set_password("stcli", RF_TOKEN.stored_as, VALUE)
    with pytest.raises(CredentialsUnusable):
        setup.chain().forget(RF_TOKEN)
    assert isolated.entries == {}
