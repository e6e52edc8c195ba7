"""Run a command as a scheduler would: its environment and nothing of this shell's."""

from __future__ import annotations

import os
import shlex
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path

from stcli.errors import StateError
from stcli.scheduling.programs import called
from stcli.scheduling.systemd_units import command_line

SECONDS = 120.0


def as_cron(program: Sequence[str], words: Sequence[str], variables: Mapping[str, str]) -> bytes:
    """What the command prints in the environment that cron gives (crontab(5)) and these variables."""
    user, home = _account()
    bare = {"HOME": home, "SHELL": "/bin/sh", "PATH": "/usr/bin:/bin", **variables, "LOGNAME": user}
    return _output([*program, *words], bare, cwd=bare["HOME"])


def as_service(
    name: str, program: Sequence[str], words: Sequence[str], environment: Mapping[str, str]
) -> bytes:
    """What the command prints as a service that differs from the installed one by its command only:
    its file and every drop-in are copied to a unit of this session's, which is removed again."""
    runtime = environment.get("XDG_RUNTIME_DIR") or f"/run/user/{os.getuid()}"
    folder = Path(runtime) / "systemd" / "user"
    unit = f"{name}-check-{os.getpid()}.service"
    changes = folder / f"{unit}.d"
    try:
        folder.mkdir(parents=True, exist_ok=True)
        changes.mkdir()
        with tempfile.TemporaryDirectory(prefix="stcli-check-", dir=runtime) as kept:
            result = Path(kept) / "result.json"
            for number, text in enumerate(_parts_of(f"{name}.service", environment)):
                file = folder / unit if number == 0 else changes / f"{number:03d}.conf"
                file.write_text(text, encoding="utf-8")
            command = command_line((*program, *words))
            (changes / "999.conf").write_text(
                f"[Service]\nExecStart=\nExecStart={command}\nStandardOutput=truncate:{result}\n",
                encoding="utf-8",
            )
            _systemctl(environment, "daemon-reload")
            # It ends as the checks do, so how it ended says nothing; what it printed does.
            _systemctl(environment, "start", unit)
            return result.read_bytes() if result.exists() else b""
    except OSError as error:
        raise StateError(
            f"the check cannot be run as a service: {error.strerror or error}",
            f"Look at the service itself: systemctl --user status {name}.service",
        ) from error
    finally:
        shutil.rmtree(changes, ignore_errors=True)
        (folder / unit).unlink(missing_ok=True)
        _systemctl(environment, "daemon-reload")


def _account() -> tuple[str, str]:
    """This user's name and folder as the system knows them, which is what cron goes by; the shell's
    own variables may say otherwise."""
    if sys.platform == "win32":
        raise StateError("nothing is scheduled on Windows", "Let its own scheduler call stcli run.")
    import pwd

    try:
        account = pwd.getpwuid(os.getuid())
    except KeyError:
        raise StateError(
            f"the system knows no user {os.getuid()}, so cron runs nothing for it",
            "Let another scheduler call: stcli run --all",
        ) from None
    return account.pw_name, account.pw_dir


def _parts_of(unit: str, environment: Mapping[str, str]) -> list[str]:
    """The text of a unit's file, and of its drop-ins in their order."""
    shown = _systemctl(environment, "show", unit, "--property=FragmentPath,DropInPaths")
    told = dict(line.split("=", 1) for line in shown.splitlines() if "=" in line)
    paths = [told.get("FragmentPath", ""), *shlex.split(told.get("DropInPaths", ""))]
    return [Path(path).read_text(encoding="utf-8") for path in paths]


def _systemctl(environment: Mapping[str, str], *words: str) -> str:
    ended = called(
        ["systemctl", "--user", "--no-pager", *words], environment=environment, seconds=SECONDS
    )
    return ended.stdout.decode("utf-8", "replace")


def _output(words: Sequence[str], environment: Mapping[str, str], *, cwd: str) -> bytes:
    try:
        ended = subprocess.run(  # noqa: S603 - the words are ours, and no shell is involved
            list(words),
            env=dict(environment),
            cwd=cwd if Path(cwd).is_dir() else "/",
            stdin=subprocess.DEVNULL,
            capture_output=True,
            timeout=SECONDS,
            start_new_session=True,  # no terminal, as under a scheduler
            check=False,
        )
    except subprocess.TimeoutExpired:
        raise StateError(
            f"the scheduled run did not end within {SECONDS:.0f} s", "Run it by hand to see why."
        ) from None
    except OSError as error:
        raise StateError(
            f"{words[0]} cannot be run: {error.strerror or error}",
            "Bring the schedule up to date: stcli schedule install",
        ) from error
    return ended.stdout
