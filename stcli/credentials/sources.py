"""The sources that are only ever read: variables, files, systemd credentials, commands."""

from __future__ import annotations

import os
import subprocess
import tempfile
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

from stcli.credentials.names import SecretRequest
from stcli.domain.secret import Secret
from stcli.errors import CredentialsUnusable

COMMAND_SECONDS = 10
LOOK_SECONDS = 0.1
"""How often a stop is looked for while a command runs."""
MAX_BYTES = 64 * 1024


def usable(text: str, where: str) -> Secret:
    """``text`` as a secret; one that cannot stand in a header is refused without being shown."""
    if not text:
        raise CredentialsUnusable(f"{where} gives an empty secret", "Put the secret there.")
    if not text.isprintable() or not text.isascii():
        raise CredentialsUnusable(
            f"{where} gives a secret with characters that no secret has (a line break?)",
            "It must be one line of plain characters.",
        )
    return Secret(text)


def from_variable(
    request: SecretRequest, environment: Mapping[str, str]
) -> tuple[Secret, str] | None:
    """An empty variable counts as not set."""
    for name in request.variables:
        if text := environment.get(name):
            return usable(text.strip(), f"the variable {name}"), f"variable {name}"
    return None


def from_named_file(
    request: SecretRequest, environment: Mapping[str, str]
) -> tuple[Secret, str] | None:
    """A variable with ``_FILE`` at its end names a file that holds the secret."""
    for name in request.variables:
        if path := environment.get(f"{name}_FILE"):
            where = f"the file named by {name}_FILE ({path})"
            return usable(_content(Path(path), where) or "", where), f"file {path}"
    return None


def from_systemd(
    request: SecretRequest, environment: Mapping[str, str]
) -> tuple[Secret, str] | None:
    """systemd hands credentials to a unit as files of a folder that only the unit can read."""
    folder = environment.get("CREDENTIALS_DIRECTORY")
    if not folder:
        return None
    for name in request.credentials:
        where = f"the systemd credential {name}"
        content = _content(Path(folder) / name, where, may_be_absent=True)
        if content is not None:
            return usable(content, where), f"systemd credential {name}"
    return None


def _content(path: Path, where: str, *, may_be_absent: bool = False) -> str | None:
    """A file's text without the white space around it, which would end up in a header."""
    try:
        with path.open("rb") as file:
            content = file.read(MAX_BYTES + 1)
    except (OSError, ValueError) as error:
        if may_be_absent and isinstance(error, FileNotFoundError):
            return None
        reason = getattr(error, "strerror", None) or "not a path"
        raise CredentialsUnusable(
            f"{where} cannot be read: {reason}", "Check the path and its permissions."
        ) from None
    if len(content) > MAX_BYTES:
        raise CredentialsUnusable(f"{where} is too large for a secret", "Check the path.")
    return content.decode("utf-8", errors="replace").strip()


def from_command(
    request: SecretRequest,
    commands: Mapping[str, Sequence[str]],
    check_stop: Callable[[], None],
) -> tuple[Secret, str] | None:
    """The first line that a program of ``settings.yaml`` prints (what ``pass`` shows below it are
    notes); no shell, no stdin, ten seconds, and a bound on what is read. ``check_stop`` raises where
    a stop was asked for meanwhile."""
    words = commands.get(request.key)
    if not words:
        return None
    where = f"the command for {request.key} ({words[0]})"
    # A file bounds the output: what a pipe gives would all be kept in memory.
    with tempfile.TemporaryFile() as output:
        try:
            with subprocess.Popen(  # noqa: S603 - the person's own command, as a list of words
                list(words),
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=subprocess.DEVNULL,
                preexec_fn=_bounded_output if os.name == "posix" else None,  # noqa: PLW1509 - one call
            ) as process:
                status = _status(process, check_stop)
        except subprocess.TimeoutExpired:
            raise CredentialsUnusable(
                f"{where} did not end within {COMMAND_SECONDS} s",
                "Make sure that it asks nothing: it has no terminal.",
            ) from None
        except (OSError, ValueError, subprocess.SubprocessError) as error:
            reason = getattr(error, "strerror", None) or "not a command"
            raise CredentialsUnusable(
                f"{where} cannot be started: {reason}", "Check secrets: in settings.yaml."
            ) from None
        if status != 0:
            raise CredentialsUnusable(
                f"{where} ended with status {status}", "Run it by hand to see why."
            )
        output.seek(0)
        text = output.read(MAX_BYTES).decode("utf-8", errors="replace")
    first = next(iter(text.splitlines()), "")
    return usable(first.strip(), where), f"command {words[0]}"


def _status(process: subprocess.Popen[bytes], check_stop: Callable[[], None]) -> int:
    """How a program ended; one that is not waited for any more is killed."""
    give_up_at = time.monotonic() + COMMAND_SECONDS
    try:
        while True:
            try:
                return process.wait(timeout=LOOK_SECONDS)
            except subprocess.TimeoutExpired:
                check_stop()
                if time.monotonic() >= give_up_at:
                    raise
    except BaseException:
        process.kill()
        raise


def _bounded_output() -> None:
    """In the child: a program that never stops printing is ended by the system."""
    import resource

    resource.setrlimit(resource.RLIMIT_FSIZE, (MAX_BYTES, MAX_BYTES))
