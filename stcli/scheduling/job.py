"""The scheduled command: what is run, in which environment, how often; the same for every scheduler."""

from __future__ import annotations

import hashlib
import os
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path
from typing import Protocol
from urllib.parse import urlsplit

from stcli.database_address import has_password
from stcli.errors import ConfigurationError

CADENCES: dict[str, int] = {
    "1m": 1,
    "5m": 5,
    "10m": 10,
    "15m": 15,
    "20m": 20,
    "30m": 30,
    "1h": 60,
    "2h": 120,
    "3h": 180,
    "4h": 240,
    "6h": 360,
    "8h": 480,
    "12h": 720,
    "1d": 1440,
}
"""How often a schedule may run, in minutes: what divides an hour or a day."""

DEFAULT_CADENCE = "15m"
HOUR = 60

CARRIED = (
    "STCLI_HOME",
    "STCLI_RF_URL",
    "STCLI_ST_API_URL",
    "STCLI_ST_AUTH_URL",
    "STCLI_RF_RATE_PER_MINUTE",
    "STCLI_ST_RATE_PER_SECOND",
    "STCLI_ST_TIMEOUT_SECONDS",
    "STCLI_HOST_ID",
    "STCLI_DATABASE_URL",
    "PGPASSFILE",
    "PGSERVICE",
    "PGSERVICEFILE",
    "PGSSLMODE",
    "PGSSLROOTCERT",
    "PGSSLCERT",
    "PGSSLKEY",
    "XDG_CONFIG_HOME",
    "XDG_STATE_HOME",
    "XDG_DATA_HOME",
    "SSL_CERT_FILE",
    "SSL_CERT_DIR",
    "HTTPS_PROXY",
    "https_proxy",
    "NO_PROXY",
    "no_proxy",
    "ALL_PROXY",
    "all_proxy",
    "PYTHON_KEYRING_BACKEND",
)
"""Variables that a scheduled run needs and that are no secrets; those that name a secret's file
(``STCLI_…_FILE``) go with them."""

_HOME_VARIABLES = ("STCLI_HOME", "XDG_CONFIG_HOME", "XDG_STATE_HOME")
SECRET_VARIABLES = ("STCLI_RF_TOKEN", "STCLI_ST_APP_KEY", "STCLI_ST_CLIENT_SECRET")


@dataclass(frozen=True, slots=True)
class Job:
    """``stcli run …`` as a scheduler is to call it.

    ``name`` tells the schedules of several homes of one user apart. ``cadence`` is a key of
    ``CADENCES``.
    """

    name: str
    home: Path
    program: tuple[str, ...]
    campaigns: tuple[str, ...]
    environment: Mapping[str, str]
    cadence: str = DEFAULT_CADENCE

    @property
    def minutes(self) -> int:
        return CADENCES[self.cadence]

    @property
    def command(self) -> tuple[str, ...]:
        """The program with its arguments; all campaigns where none is named."""
        return (*self.program, "run", *(self.campaigns or ("--all",)))

    @property
    def spread(self) -> int:
        """A number drawn from the home, so that many installations do not call at the same second,
        and the same one gets the same times whenever it is installed."""
        return int.from_bytes(hashlib.sha256(str(self.home).encode()).digest()[8:12], "big")

    @property
    def made_by(self) -> str:
        """The command that makes this schedule; it stands in what is written, and is read back."""
        return f"stcli schedule install --every {self.cadence} " + " ".join(
            self.campaigns or ("--all",)
        )


@dataclass(frozen=True, slots=True)
class Remark:
    """What is to be known of a schedule beside that it is there, and the next step."""

    message: str
    hint: str

    def __str__(self) -> str:
        return f"{self.message}. {self.hint}"


@dataclass(frozen=True, slots=True)
class Installed:
    """A schedule that is there. ``text`` is what stands in its files, to compare it with a job's;
    ``program`` and ``environment`` are read out of it, no program where they cannot be.
    ``surroundings``: variables that stand beside it and hold for it too."""

    scheduler: str
    place: str
    text: str
    program: tuple[str, ...] = ()
    environment: Mapping[str, str] = field(default_factory=dict)
    surroundings: Mapping[str, str] = field(default_factory=dict)
    next_run: datetime | None = None
    remarks: tuple[Remark, ...] = ()

    @property
    def cadence(self) -> str:
        """As it was installed; the default where the text does not tell."""
        found = _MADE_BY.search(self.text)
        return found[1] if found and found[1] in CADENCES else DEFAULT_CADENCE

    @property
    def campaigns(self) -> tuple[str, ...]:
        """As it was installed; none: all."""
        found = _MADE_BY.search(self.text)
        words = tuple(found[2].split()) if found else ()
        return tuple(word for word in words if re.fullmatch(r"[a-z0-9][a-z0-9-]{0,62}", word))


_MADE_BY = re.compile(r"stcli schedule install --every (\w+) ([a-z0-9 -]+)")


class Scheduler(Protocol):
    """Something that calls a job at its times."""

    kind: str

    def unavailable(self) -> str:
        """Why it cannot be used here; empty if it can."""
        ...

    def rendered(self, job: Job) -> dict[str, str]:
        """What ``install`` would write: name of a file, or ``crontab``, and its text."""
        ...

    def installed(self, name: str) -> Installed | None: ...

    def others(self, name: str) -> tuple[Remark, ...]:
        """What else may call ``stcli run`` for the home of this name, or why that is not known."""
        ...

    def install(self, job: Job) -> bool:
        """Answers whether anything had to be changed."""
        ...

    def remove(self, name: str) -> bool:
        """Answers whether there was anything."""
        ...


def schedule_name(home: Path, *, is_default: bool) -> str:
    """``stcli`` for the home that needs no variable, else with a part drawn from its path, links
    followed: however it is spelled, one home has one schedule."""
    place = os.path.realpath(home)
    return "stcli" if is_default else f"stcli-{hashlib.sha256(place.encode()).hexdigest()[:8]}"


def carried(environment: Mapping[str, str], *, with_path: bool = False) -> dict[str, str]:
    """The part of an environment that a scheduled run needs; secrets are refused, not carried.

    ``with_path``: a command that gives a secret is found by its name.
    """
    names = [
        name
        for name in environment
        if (name in CARRIED or (name.startswith("STCLI_") and name.endswith("_FILE")))
        and environment[name]
    ]
    if with_path and environment.get("PATH"):
        names.append("PATH")
    # The keyring's door. Only where systemd keeps it at the same place from login to login.
    if environment.get("DBUS_SESSION_BUS_ADDRESS", "").startswith("unix:path=/run/user/"):
        names.append("DBUS_SESSION_BUS_ADDRESS")
    chosen = {name: environment[name] for name in sorted(names)}
    for name, value in chosen.items():
        if any(ord(character) < 32 or ord(character) == 127 for character in value):
            raise ConfigurationError(
                f"{name} holds a line break or another control character", "Set it anew."
            )
        if name == "STCLI_DATABASE_URL" and has_password(value):
            raise ConfigurationError(
                f"{name} holds a password, which would stand in the schedule for others to read",
                "Leave it out of the address and write it into ~/.pgpass (mode 600).",
            )
        if name.lower().endswith("_proxy") and _has_password(value):
            raise ConfigurationError(
                f"{name} holds a password, which would stand in the schedule for others to read",
                "Let the proxy accept this machine without one, or give it in a file of the "
                "scheduler that only you can read.",
            )
    return chosen


def kept(installed: Installed, environment: Mapping[str, str]) -> dict[str, str]:
    """What an installed schedule carries and this shell does not know of: it may not be the shell
    that it was installed from. A variable that is set here counts, if to nothing; and which home
    this is, only this shell says."""
    return {
        name: value
        for name, value in installed.environment.items()
        if name not in environment and name not in _HOME_VARIABLES
    }


def _has_password(proxy: str) -> bool:
    try:
        return bool(urlsplit(proxy).password)
    except ValueError:
        return False


def secrets_in(environment: Mapping[str, str]) -> list[str]:
    """Variables with secrets: this shell has them, a scheduled run will not."""
    return sorted(
        name
        for name in environment
        if environment[name]
        and not name.endswith("_FILE")
        and any(name == known or name.startswith(f"{known}__") for known in SECRET_VARIABLES)
    )
