"""A block of lines in the user's crontab, between two marks; all other lines stay byte for byte.

cron has no random delay and does not make up for a missed time. The minute and the second are drawn
from the home instead, and a cadence of more than an hour is called every hour and ends at once while
the last good run is young enough (``run --at-most-every``), so a night asleep costs an hour at most.
"""

from __future__ import annotations

import itertools
import re
import shlex
import shutil
from collections.abc import Mapping
from contextlib import suppress
from datetime import datetime, timedelta
from pathlib import Path

from stcli.errors import ConfigurationError, StateError
from stcli.scheduling.job import HOUR, Installed, Job, Remark, schedule_name
from stcli.scheduling.programs import called, complaint

_CLOSED = b"# The line above this block had no end; remove takes away the one that it got.\n"
LONGEST_LINE = 990
"""Debian's cron refuses lines of 1,000 characters and more."""

_HAND_WRITTEN = re.compile(r"\s*[^#\s].*\bstcli\b.*\brun\b")
_ANY_BLOCK = re.compile(rb"^# BEGIN (stcli\S*): .*?^# END \1[ \t]*$", re.MULTILINE | re.DOTALL)
_ASSIGNED = re.compile(r"([A-Za-z_]\w*)=(.*)", re.DOTALL)
_VARIABLE = re.compile(r"""\s*([A-Za-z_]\w*)\s*=\s*(["']?)(.*?)\2\s*""")
"""A line of a crontab that sets a variable for the lines below it (crontab(5))."""


class Crontab:
    """The crontab of this user, read and written through ``crontab``."""

    kind = "cron"

    def __init__(self, environment: Mapping[str, str]) -> None:
        self._environment = environment

    def unavailable(self) -> str:
        if not self._has_command():
            return "there is no crontab command"
        try:
            self._read()
        except StateError as error:
            return error.message  # an administrator may have closed cron to this user
        return ""

    def _has_command(self) -> bool:
        return shutil.which("crontab", path=self._environment.get("PATH")) is not None

    def rendered(self, job: Job) -> dict[str, str]:
        return {"crontab": block(job)}

    def installed(self, name: str) -> Installed | None:
        table = self._read()
        found = _block_of(name, table)
        if found is None:
            return None
        begin, end = found
        text = table[begin:end].replace(_CLOSED, b"").decode("utf-8", "replace")
        program, environment = _called(text)
        return Installed(
            self.kind,
            "your crontab",
            text,
            program,
            environment,
            _set_in(table[:end].decode("utf-8", "replace")),
            next_run=_next(text, datetime.now().astimezone()),
        )

    def others(self, name: str) -> tuple[Remark, ...]:
        """Lines outside the blocks of stcli, which are each for a home of its own."""
        if not self._has_command():
            return ()
        try:
            table = self._read()
        except StateError as error:
            return (Remark(error.message, "Nothing is to be done if no line of it calls stcli."),)
        rest = _ANY_BLOCK.sub(b"", table).decode("utf-8", "replace")
        above: dict[str, str] = {}
        for line in rest.splitlines():
            if given := _VARIABLE.fullmatch(line):
                above[given[1]] = given[3]
            elif _HAND_WRITTEN.match(line):
                home = (above | _assigned(line)).get("STCLI_HOME")
                if not home or schedule_name(Path(home), is_default=False) == name:
                    return (
                        Remark(
                            "another line of your crontab calls stcli run",
                            "One schedule is enough: take the line out with crontab -e",
                        ),
                    )
        return ()

    def install(self, job: Job) -> bool:
        table, text = self._read(), block(job).encode()
        found = _block_of(job.name, table)
        if found is not None:
            begin, end = found
            if _CLOSED in table[begin:end]:
                text = _with_mark(text)
            return self._replace(table, table[:begin] + text + table[end:])
        if table and not table.endswith(b"\n"):
            return self._replace(table, table + b"\n" + _with_mark(text))
        return self._replace(table, table + text)

    def remove(self, name: str) -> bool:
        table = self._read()
        found = _block_of(name, table)
        if found is None:
            return False
        begin, end = found
        if _CLOSED in table[begin:end] and end == len(table):
            # Debian's crontab takes no last line without its end; then ours has to stay.
            with suppress(StateError):
                return self._replace(table, table[: begin - 1])
        return self._replace(table, table[:begin] + table[end:])

    def _read(self) -> bytes:
        ended = called(["crontab", "-l"], environment=self._environment)
        if ended.returncode == 0:
            return ended.stdout
        if b"no crontab" in ended.stderr:
            return b""
        raise StateError(
            f"the crontab cannot be read: {complaint(ended)}",
            "See what this says: crontab -l. cron may be closed to you in /etc/cron.allow.",
        )

    def _replace(self, before: bytes, after: bytes) -> bool:
        if before == after:
            return False
        # Between our two looks somebody may have saved an editor: theirs must not be lost.
        if self._read() != before:
            raise StateError("the crontab was changed meanwhile", "Nothing was written; try again.")
        words = ["crontab", "-r"] if not after else ["crontab", "-"]
        ended = called(words, environment=self._environment, given=after or None)
        if ended.returncode:
            raise StateError(
                f"the crontab cannot be written: {complaint(ended)}",
                "Nothing was changed. See what this says: crontab -e",
            )
        if self._read() != after:
            raise StateError(
                "the crontab does not hold what was written to it", "Look at it: crontab -l"
            )
        return True


def block(job: Job) -> str:
    """The lines of a job, marks included."""
    line = _line(job)
    if len(line.encode()) > LONGEST_LINE:
        raise ConfigurationError(
            f"the schedule's line would have {len(line.encode())} characters, and cron takes "
            f"{LONGEST_LINE}",
            "Use --all instead of naming campaigns, or a shorter path for the home.",
        )
    return f"# BEGIN {job.name}: {job.made_by}\n{line}\n# END {job.name}\n"


def _with_mark(text: bytes) -> bytes:
    first, _, rest = text.partition(b"\n")
    return first + b"\n" + _CLOSED + rest


def _line(job: Job) -> str:
    second = job.spread % HOUR
    words = ["env", *(f"{name}={value}" for name, value in job.environment.items()), *job.command]
    if job.minutes > HOUR:
        words += ["--at-most-every", job.cadence]
    pause = "" if job.minutes == 1 else f"sleep {second}; "
    # cron takes a bare % for the end of the command. Results would be mailed each time, so they are
    # dropped: what went wrong is on stderr, and mailed where MAILTO is set.
    shell = f"{pause}{shlex.join(words)} >/dev/null".replace("%", "\\%")
    return f"{_times(job)} {shell}"


def _times(job: Job) -> str:
    every = min(job.minutes, HOUR)
    if every == 1:
        return "* * * * *"
    first = job.spread // HOUR % every
    return ",".join(str(minute) for minute in range(first, HOUR, every)) + " * * * *"


def _next(text: str, now: datetime) -> datetime | None:
    """When cron calls the line next; where the line is not ours any more, None."""
    found = re.search(r"^([\d,]+|\*) \* \* \* \* (?:sleep (\d+);)?", text, re.MULTILINE)
    if found is None:
        return None
    minutes = range(HOUR) if found[1] == "*" else [int(part) for part in found[1].split(",")]
    second = int(found[2] or 0)
    start = now.replace(second=0, microsecond=0)
    moments = (
        start + timedelta(minutes=ahead, seconds=second)
        for ahead in range(2 * HOUR)
        if (start + timedelta(minutes=ahead)).minute in minutes
    )
    return next((moment for moment in moments if moment > now), None)


def _block_of(name: str, table: bytes) -> tuple[int, int] | None:
    """Where the block of this name begins and ends; damaged marks are told, never guessed at."""
    begins = [
        m.start()
        for m in re.finditer(rb"^# BEGIN %s: [^\n]*$" % name.encode(), table, re.MULTILINE)
    ]
    ends = [
        m.end()
        for m in re.finditer(rb"^# END %s[ \t]*(\n|\Z)" % name.encode(), table, re.MULTILINE)
    ]
    if not begins and not ends:
        return None
    if len(begins) == len(ends) == 1 and begins[0] < ends[0]:
        return begins[0], ends[0]
    raise StateError(
        f"the marks around {name} in the crontab are damaged",
        f"Remove the lines of {name} by hand with crontab -e, then: stcli schedule install",
    )


def _set_in(table: str) -> dict[str, str]:
    """The variables that the lines of a table set for the lines below them."""
    found = (_VARIABLE.fullmatch(line) for line in table.splitlines())
    return {given[1]: given[3] for given in found if given}


def _called(text: str) -> tuple[tuple[str, ...], dict[str, str]]:
    """The program of a block's line, and the variables that it is given: ``_line`` read back."""
    line = next((line for line in text.splitlines() if not line.startswith("#")), "")
    words = _words(line)
    if "env" not in words or "run" not in words:
        return (), {}
    words = words[words.index("env") + 1 : words.index("run")]
    program = itertools.dropwhile(_ASSIGNED.fullmatch, words)
    return tuple(program), _assigned(line)


def _assigned(line: str) -> dict[str, str]:
    """The variables that a line sets for its own command."""
    found = (_ASSIGNED.fullmatch(word) for word in _words(line))
    return {one[1]: one[2] for one in found if one}


def _words(line: str) -> list[str]:
    """The command of a line as a shell reads it; none where it cannot be read."""
    times = 1 if line.lstrip().startswith("@") else 5
    command = re.split(r"(?<!\\)%", "".join(line.split(None, times)[times:]))[0]
    try:
        return shlex.split(command.replace("\\%", "%"))
    except ValueError:
        return []
