"""The log file: everything, one run id on each line, personal data masked before it is written."""

from __future__ import annotations

import logging
import re
from io import TextIOWrapper
from logging.handlers import RotatingFileHandler
from pathlib import Path

from stcli.paths import private_folder

MAX_BYTES = 5 * 1024 * 1024
KEPT = 3

_EMAIL = re.compile(r"[^\s@<>\"'=:,;()]+@[^\s@<>\"'=:,;()]+\.[^\s@<>\"'=:,;()]+")
_PHONE = re.compile(r"(?<![\w-])\+?\(?\d[\d\s().-]{7,}\d(?![\w-])")
_TOKEN = re.compile(r"(?i)(bearer\s+|token[\"'=: ]+|secret[\"'=: ]+|app-key[\"'=: ]+)\S+")


def masked(text: str) -> str:
    """Text without tokens, email addresses and phone numbers."""
    text = _TOKEN.sub(r"\1***", text)
    return _PHONE.sub("***", _EMAIL.sub("***", text))


class _Masking(logging.Formatter):
    def __init__(self, *, show_pii: bool) -> None:
        super().__init__("%(asctime)s %(levelname)s %(name)s: %(message)s", "%Y-%m-%dT%H:%M:%S%z")
        self._show_pii = show_pii

    def format(self, record: logging.LogRecord) -> str:
        text = super().format(record)
        return text if self._show_pii else masked(text)


class _PrivateFile(RotatingFileHandler):
    """Makes the file and its folder, private to the user, with the first line that is written."""

    def _open(self) -> TextIOWrapper:
        path = Path(self.baseFilename)
        private_folder(path.parent)
        path.touch(mode=0o600)
        return super()._open()


def set_up_logging(file: Path, *, show_pii: bool) -> None:
    """Send stcli's log lines to ``file``, replacing an earlier set-up of this process."""
    logger = logging.getLogger("stcli")
    for handler in list(logger.handlers):
        logger.removeHandler(handler)
        handler.close()
    handler = _PrivateFile(file, maxBytes=MAX_BYTES, backupCount=KEPT, delay=True, encoding="utf-8")
    handler.setFormatter(_Masking(show_pii=show_pii))
    logger.addHandler(handler)
    logger.setLevel(logging.INFO)
    logger.propagate = False
    # A full disk must not stop a pass for the sake of a log line.
    logging.raiseExceptions = False
