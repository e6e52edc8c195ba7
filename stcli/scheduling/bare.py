"""Run a command as a scheduler would: its environment and nothing of this shell's."""

from __future__ import annotations

import subprocess
from collections.abc import Mapping, Sequence
from pathlib import Path

from stcli.errors import StateError
from stcli.scheduling.job import Job
from stcli.scheduling.programs import called

SECONDS = 120.0
_CREDENTIALS = (
    "LoadCredential",
    "LoadCredentialEncrypted",
    "SetCredential",
    "SetCredentialEncrypted",
)


def as_cron(job: Job, words: Sequence[str], environment: Mapping[str, str]) -> bytes:
    """What the command prints in the environment that cron gives (crontab(5)) and the job's own."""
    home = environment.get("HOME") or str(Path.home())
    bare = {
        "HOME": home,
        "LOGNAME": environment.get("LOGNAME") or environment.get("USER") or "",
        "SHELL": "/bin/sh",
        "PATH": "/usr/bin:/bin",
        **job.environment,
    }
    return _output([*job.program, *words], bare, cwd=home)


def as_service(job: Job, words: Sequence[str], environment: Mapping[str, str]) -> bytes:
    """What the command prints as a transient service with the environment and the credentials of
    the installed one, drop-ins included."""
    properties = [f"Environment={name}={value}" for name, value in job.environment.items()]
    asked = [part for name in _CREDENTIALS for part in ("--property", name)]
    shown = called(
        [
            "systemctl",
            "--user",
            "show",
            f"{job.name}.service",
            "--property=EnvironmentFiles",
            *asked,
        ],
        environment=environment,
    )
    for line in shown.stdout.decode("utf-8", "replace").splitlines():
        name, _, value = line.partition("=")
        if not value:
            continue
        if name == "EnvironmentFiles":
            value = value.partition(" (")[0]
            properties.append(f"EnvironmentFile={value}")
        elif name in _CREDENTIALS:
            properties += [f"{name}={one}" for one in value.split()]
    command = ["systemd-run", "--user", "--quiet", "--wait", "--pipe", "--collect"]
    for one in properties:
        command += ["--property", one]
    return _output([*command, "--", *job.program, *words], dict(environment), cwd="/")


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
