"""A systemd user timer and its service, in the user's own folder of units."""

from __future__ import annotations

import re
import shlex
import shutil
import subprocess
from collections.abc import Mapping, Sequence
from contextlib import suppress
from datetime import datetime
from pathlib import Path

from stcli.errors import ConfigurationError, StateError
from stcli.paths import write_private
from stcli.scheduling.job import HOUR, Installed, Job, Remark, schedule_name
from stcli.scheduling.programs import called, complaint

BOOTED = Path("/run/systemd/system")
"""There if and only if systemd runs this machine (sd_booted(3))."""

_MOST_DELAY_SECONDS = 300
_OURS = re.compile(r"stcli(-[0-9a-f]{8})?(-check-\d+)?\.service")
_HAND_WRITTEN = re.compile(r"^ExecStart=.*\bstcli\b.*\brun\b", re.MULTILINE)


class SystemdUser:
    """The user's own instance of systemd, told through ``systemctl --user``."""

    kind = "systemd"

    def __init__(self, environment: Mapping[str, str], user: str, booted: Path = BOOTED) -> None:
        self._environment = environment
        self._user = user
        self._booted = booted

    @property
    def folder(self) -> Path:
        return self._base("XDG_CONFIG_HOME", ".config") / "systemd" / "user"

    @property
    def _data(self) -> Path:
        return self._base("XDG_DATA_HOME", ".local/share")

    def _base(self, variable: str, below_home: str) -> Path:
        chosen = self._environment.get(variable)
        home = self._environment.get("HOME")
        return Path(chosen) if chosen else Path(home or "~").expanduser() / below_home

    def unavailable(self) -> str:
        if not self._booted.is_dir():
            return "systemd does not run this machine"
        if shutil.which("systemctl", path=self._environment.get("PATH")) is None:
            return "there is no systemctl command"
        ended = self._systemctl("show-environment")
        if ended.returncode:
            return f"systemd does not answer for this user ({complaint(ended)})"
        return ""

    def rendered(self, job: Job) -> dict[str, str]:
        return units(job)

    def installed(self, name: str) -> Installed | None:
        texts = {file.name: _text(file) for file in self._files(name) if _exists(file)}
        if not texts:
            return None
        remarks = []
        next_run = None
        if self.unavailable():
            remarks.append(
                Remark(
                    f"the timer does not run: {self.unavailable()}",
                    "Log in as this user so that systemd serves it, or: stcli schedule remove",
                )
            )
        else:
            if self._systemctl("is-active", f"{name}.timer").returncode:
                remarks.append(Remark("the timer does not run", "Run: stcli schedule install"))
            next_run = self._next(name)
            remarks += self._lingering()
        service = texts.get(f"{name}.service", "")
        return Installed(
            self.kind,
            str(self.folder),
            _joined(texts),
            _program(service),
            environment_of(service),
            next_run=next_run,
            remarks=tuple(remarks),
        )

    def others(self, name: str) -> tuple[Remark, ...]:
        """Services of the user's own; those of stcli are each for a home of its own."""
        return tuple(
            Remark(
                f"another service calls stcli run: {file}",
                "One schedule is enough: disable its timer.",
            )
            for file in sorted(self.folder.glob("*.service"))
            if not _OURS.fullmatch(file.name) and _exists(file) and _calls_us(_text(file), name)
        )

    def install(self, job: Job) -> bool:
        wanted = units(job)
        changed = False
        for name, text in wanted.items():
            file = self.folder / name
            if not _exists(file) or _text(file) != text:
                write_private(file, text)
                changed = True
        is_active = not self._systemctl("is-active", f"{job.name}.timer").returncode
        is_enabled = not self._systemctl("is-enabled", f"{job.name}.timer").returncode
        if changed or not (is_active and is_enabled):
            self._must("daemon-reload")
            self._must("enable", f"{job.name}.timer")
            self._must("restart", f"{job.name}.timer")
            return True
        return False

    def remove(self, name: str) -> bool:
        files = [file for file in self._files(name) if _exists(file)]
        if not files:
            return False
        is_usable = not self.unavailable()
        if is_usable:
            self._must("disable", "--now", f"{name}.timer")
            # When it last ran, which systemd keeps to make up for what was missed.
            self._systemctl("clean", "--what=state", f"{name}.timer")
        else:
            for left in (
                self.folder / "timers.target.wants" / f"{name}.timer",
                self._data / "systemd" / "timers" / f"stamp-{name}.timer",
            ):
                with suppress(OSError):
                    left.unlink()
        for file in files:
            try:
                file.unlink()
            except OSError as error:
                raise StateError(
                    f"{file} cannot be removed: {error.strerror or error}", "Remove it by hand."
                ) from error
        if is_usable:
            self._must("daemon-reload")
        return True

    def _files(self, name: str) -> list[Path]:
        return [self.folder / f"{name}.service", self.folder / f"{name}.timer"]

    def _next(self, name: str) -> datetime | None:
        ended = self._systemctl("show", f"{name}.timer", "--property=NextElapseUSecRealtime")
        found = re.search(rb"(\d{4}-\d\d-\d\d \d\d:\d\d:\d\d) UTC\s*$", ended.stdout)
        return datetime.fromisoformat(f"{found[1].decode()}+00:00") if found else None

    def _lingering(self) -> list[Remark]:
        if shutil.which("loginctl", path=self._environment.get("PATH")) is None:
            return []
        ended = called(
            ["loginctl", "show-user", self._user, "--property=Linger"],
            environment=self._environment,
        )
        if ended.returncode == 0 and ended.stdout.strip() == b"Linger=no":
            remedy = f"Keep it running with: loginctl enable-linger {self._user}"
            return [Remark("it runs only while you are logged in", remedy)]
        return []

    def _must(self, *words: str) -> None:
        ended = self._systemctl(*words)
        if ended.returncode:
            raise StateError(
                f"systemctl --user {words[0]} failed: {complaint(ended)}",
                f"See: systemctl --user status {words[-1]}",
            )

    def _systemctl(self, *words: str) -> subprocess.CompletedProcess[bytes]:
        # Times are shown in the zone of whoever asks.
        environment = {**self._environment, "TZ": "UTC"}
        return called(["systemctl", "--user", "--no-pager", *words], environment=environment)


def units(job: Job) -> dict[str, str]:
    """The two files of a job, by name."""
    environment = "".join(
        f"Environment={_quoted(f'{name}={value}')}\n" for name, value in job.environment.items()
    )
    command = command_line(job.command)
    delay = min(job.minutes * 60 // 5, _MOST_DELAY_SECONDS)
    subject = "every campaign" if not job.campaigns else " ".join(job.campaigns)
    return {
        f"{job.name}.service": f"""\
# Written by: {job.made_by}
# What you add belongs beside it: systemctl --user edit {job.name}.service
[Unit]
Description=Referral Factory and ServiceTitan: {subject} in step

[Service]
Type=oneshot
{environment}ExecStart={command}
# 7: another run is still at work, which is as good.
SuccessExitStatus=7
UMask=0077
StandardOutput=null
TimeoutStopSec=20
""",
        f"{job.name}.timer": f"""\
# Written by: {job.made_by}
[Unit]
Description=Runs {job.name}.service every {job.cadence}

[Timer]
OnCalendar={_calendar(job)}
RandomizedDelaySec={delay}
AccuracySec=1s
Persistent=true

[Install]
WantedBy=timers.target
""",
    }


def command_line(words: Sequence[str]) -> str:
    """Words as ``ExecStart=`` takes them."""
    return " ".join(_quoted(word).replace("$", "$$") for word in words)


def _calendar(job: Job) -> str:
    minute = job.spread // HOUR % min(job.minutes, HOUR)
    if job.minutes == HOUR:
        return f"*-*-* *:{minute:02d}:00"
    if job.minutes < HOUR:
        return f"*-*-* *:{minute:02d}/{job.minutes}:00"
    if job.minutes == 24 * HOUR:
        return f"*-*-* {job.spread // HOUR**2 % 6:02d}:{minute:02d}:00"
    return f"*-*-* 00/{job.minutes // HOUR}:{minute:02d}:00"


def _quoted(word: str) -> str:
    """A word of a unit file: quoted, and without the % that systemd would take for a specifier."""
    if any(ord(character) < 32 or ord(character) == 127 for character in word):
        raise ConfigurationError("a path holds a line break", "Use a folder without one.")
    escaped = word.replace("\\", "\\\\").replace('"', '\\"').replace("%", "%%")
    return f'"{escaped}"'


def _joined(texts: Mapping[str, str]) -> str:
    return "\n".join(f"# {name}\n{text}" for name, text in sorted(texts.items()))


def _calls_us(service: str, name: str) -> bool:
    """Whether a service that stcli did not write calls ``stcli run``, and not for another home."""
    home = environment_of(service).get("STCLI_HOME")
    is_ours = not home or schedule_name(Path(home), is_default=False) == name
    return is_ours and bool(_HAND_WRITTEN.search(service))


def _program(service: str) -> tuple[str, ...]:
    """What a service calls to run stcli: ``command_line`` read back."""
    words = [word for line in _values("ExecStart", service) for word in _unquoted(line)]
    if "run" not in words:
        return ()
    return tuple(word.replace("$$", "$") for word in words[: words.index("run")])


def environment_of(service: str) -> dict[str, str]:
    """The variables that the text of a service sets."""
    words = [word for line in _values("Environment", service) for word in _unquoted(line)]
    return dict(word.split("=", 1) for word in words if "=" in word)


def _values(setting: str, service: str) -> list[str]:
    return re.findall(rf"^{setting}=(.*)$", service, re.MULTILINE)


def _unquoted(line: str) -> list[str]:
    """The reverse of ``_quoted``, for each word of a line; nothing of one that is no such line."""
    try:
        return [word.replace("%%", "%") for word in shlex.split(line)]
    except ValueError:
        return []


def _exists(file: Path) -> bool:
    return file.is_file()


def _text(file: Path) -> str:
    try:
        return file.read_text(encoding="utf-8", errors="replace")
    except OSError as error:
        raise StateError(
            f"{file} cannot be read: {error.strerror or error}", "Check its permissions."
        ) from error
