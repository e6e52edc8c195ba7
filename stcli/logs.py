"""The log file: everything, one run id on each line, personal data masked before it is written.

Lines are text, or JSON objects with the keys ``time``, ``level``, ``logger``, ``run_id``, ``message``
and, for a defect, ``traceback``. ``-v`` shows the same lines on stderr, ``-vv`` each request too.
"""

from __future__ import annotations

import json
import logging
import os
import re
import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from datetime import UTC, datetime
from functools import partial
from io import TextIOWrapper
from logging.handlers import RotatingFileHandler
from pathlib import Path
from typing import Any

from stcli.current_run import current_run
from stcli.paths import private_folder

MAX_BYTES = 5 * 1024 * 1024
KEPT = 3
SHORTEST_PHONE = 9
"""How many digits and signs between them a phone number has at least."""

# Each pattern begins where a word does and never tries a part of it again: what is masked may be a
# megabyte of a damaged file.
_EMAIL = re.compile(
    r"""(?<![^\s@<>"'=:,;()]) [^\s@<>"'=:,;()]++ @ [^\s@<>"'=:,;()]+ \. [^\s@<>"'=:,;()]+""",
    re.VERBOSE,
)
# A tenant's number looks like a phone's, is nobody's, and is the first thing that support asks for.
_PHONE = re.compile(
    r"""(?P<tenant> (?i: tenant(?:[-_\ ]id)?["']?[\s:=/]+ | production: | integration: ) \d+ \b )
    | (?<![\w-])(?!\d{4}-\d\d-\d\d\b)\+?\(?\d[\d\s().-]{8,}+""",
    re.VERBOSE,
)
_PHONE_END = re.compile(r"\d(?![\w-])")
_IN_WORD = re.compile(r"\w")
# Behind the word alone, or a colon as in a sentence, only what cannot be a word: "the token is good".
_TOKEN = re.compile(
    r"""( bearer\s+
        | (?:token|secret|app[-_\ ]key)
          (?: ["']\s*:\s*["']? | \s*=\s*["']? | :?\s+["']?(?=\S*\d|\S{16}) )
    )\S+""",
    re.VERBOSE | re.IGNORECASE,
)
_NETWORK_ADDRESS = re.compile(r"(?:[0-9]{1,3}\.){3}[0-9]{1,3}(?![0-9.-])")


def masked(text: str) -> str:
    """Text without tokens, email addresses and phone numbers."""
    text = _EMAIL.sub("***", _TOKEN.sub(r"\1***", text))
    return _PHONE.sub(_without_phone, text)


def masked_people(text: str) -> str:
    """A message for a person without email addresses and phone numbers. Numbers that can be told from
    a phone's stay: ids of up to nine digits, names of files, network addresses."""
    return _PHONE.sub(partial(_without_phone, keeps_ids=True), _EMAIL.sub("***", text))


def _without_phone(found: re.Match[str], *, keeps_ids: bool = False) -> str:
    """What was found, its phone number masked. That ends with the last digit that ends a word."""
    text = found.group()
    if found["tenant"]:
        return text
    ends = [end.end() for end in _PHONE_END.finditer(found.string, found.start(), found.end())]
    # `finditer` takes the end of what was found for that of a word.
    if ends and ends[-1] == found.end() and _IN_WORD.match(found.string, found.end()):
        ends.pop()
    number = text[: ends[-1] - found.start()] if ends else ""
    if len(number.lstrip("+(")) < SHORTEST_PHONE:
        return text
    if keeps_ids:
        is_in_path = found.string[max(found.start() - 1, 0) : found.start()] == "/"
        is_id = number.isdecimal() and (len(number) < 10 or is_in_path)
        if is_id or _NETWORK_ADDRESS.match(number):
            return text
    return f"***{text[len(number) :]}"


def masked_values(value: Any) -> Any:
    """A document with each text masked by itself, so that it stays a document."""
    if isinstance(value, str):
        return masked(value)
    if isinstance(value, dict):
        return {key: masked_values(one) for key, one in value.items()}
    if isinstance(value, list | tuple):
        return [masked_values(one) for one in value]
    return value


class _Lines(logging.Formatter):
    """A record as a line; what it tells is masked, what we number (time, run) is not."""

    def __init__(self, *, as_json: bool, show_pii: bool) -> None:
        super().__init__()
        self._as_json = as_json
        self._show_pii = show_pii

    def format(self, record: logging.LogRecord) -> str:
        at = datetime.fromtimestamp(record.created, UTC).strftime("%Y-%m-%dT%H:%M:%S.%f")[:-3] + "Z"
        run_id = current_run.get()
        message = self._told(record.getMessage())
        traceback = self._told(self.formatException(record.exc_info)) if record.exc_info else ""
        if self._as_json:
            entry = {
                "time": at,
                "level": record.levelname.lower(),
                "logger": record.name,
                "run_id": run_id,
                "message": message,
            }
            return json.dumps(entry | ({"traceback": traceback} if traceback else {}))
        # One record is one line: a name with a line break in it must not look like another record.
        line = f"{at} {record.levelname} {run_id} {record.name}: " + " ".join(message.split())
        return f"{line}\n{traceback}" if traceback else line

    def _told(self, text: str) -> str:
        return text if self._show_pii else masked(text)


class _PrivateFile(RotatingFileHandler):
    """Makes the file and its folder, private to the user, with the first line that is written.

    Several processes write it at once. Only one of them rotates; the others see that the path names
    another file now and go on there, so that nobody takes what was just rotated for full.
    """

    def _open(self) -> TextIOWrapper:
        path = Path(self.baseFilename)
        private_folder(path.parent)
        path.touch(mode=0o600)
        return super()._open()

    def emit(self, record: logging.LogRecord) -> None:
        self._was_rotated()
        super().emit(record)

    def doRollover(self) -> None:  # noqa: N802 - as the library calls it
        with _alone(Path(self.baseFilename)) as is_alone:
            # Another process may have rotated since this one saw that the file is full.
            if is_alone and not self._was_rotated():
                # Where it cannot be renamed, the lines go on in the full file.
                with suppress(OSError):
                    super().doRollover()

    def _was_rotated(self) -> bool:
        """Whether the path names another file than the open one, which is closed then: the next
        line opens the path anew."""
        stream: TextIOWrapper | None = self.stream
        if stream is None:
            return False
        with suppress(OSError):
            if os.path.samestat(Path(self.baseFilename).stat(), os.fstat(stream.fileno())):
                return False
        self.stream = None
        with suppress(OSError):
            stream.close()
        return True


@contextmanager
def _alone(file: Path) -> Iterator[bool]:
    """Whether no other process rotates this file, nor will for the block. Nobody waits: one that is
    stopped half-way must not hold up the others. On Windows nobody is asked."""
    if sys.platform == "win32":
        yield True
        return
    import fcntl

    try:
        descriptor = os.open(file.with_name(f".{file.name}.lock"), os.O_RDWR | os.O_CREAT, 0o600)
    except OSError:
        yield False
        return
    try:
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            yield False
        else:
            yield True
    finally:
        os.close(descriptor)  # closing releases


LIBRARIES = ("asyncio", "procrastinate", "psycopg")
"""Their warnings go to the log as well: nobody else hears them, and on a terminal they say nothing."""


def set_up_logging(
    file: Path, *, show_pii: bool, verbosity: int = 0, as_json: bool = False
) -> None:
    """Send stcli's log lines to ``file``, replacing an earlier set-up of this process.

    ``verbosity`` 1 shows them on stderr too, 2 and more with every request.
    """
    logger = logging.getLogger("stcli")
    loggers = [logger, *(logging.getLogger(name) for name in LIBRARIES)]
    for handler in list(logger.handlers):
        for each in loggers:
            each.removeHandler(handler)
        handler.close()
    handlers: list[logging.Handler] = [
        _PrivateFile(file, maxBytes=MAX_BYTES, backupCount=KEPT, delay=True, encoding="utf-8")
    ]
    if verbosity:
        handlers.append(logging.StreamHandler())
    for handler in handlers:
        handler.setFormatter(_Lines(as_json=as_json, show_pii=show_pii))
        for each in loggers:
            each.addHandler(handler)
    for each in loggers:
        each.setLevel(logging.WARNING)
        each.propagate = False
    logger.setLevel(logging.DEBUG if verbosity > 1 else logging.INFO)
    # A full disk must not stop a pass for the sake of a log line.
    logging.raiseExceptions = False
