"""Of what each receiver was told, and when, so that nobody hears the same every quarter of an hour.

A file of its own beside the database: that the database is damaged is told once, too.
"""

from __future__ import annotations

import json
from collections.abc import Collection, Iterable
from datetime import UTC, datetime
from pathlib import Path

from stcli.paths import write_private


class Told:
    """The needs that were told, by receiver and key; a key begins with its campaign and a slash.

    Each change reads the file anew, so that runs at the same time lose next to nothing of each other.
    """

    def __init__(self, file: Path) -> None:
        self._file = file

    def to(self, receiver: str) -> dict[str, datetime]:
        """When each need was last told to this receiver."""
        return self._read().get(receiver, {})

    def remember(self, receiver: str, keys: Iterable[str], now: datetime) -> None:
        """The receiver took these now. ``StateError`` where that cannot be written."""
        told = self._read()
        told[receiver] = told.get(receiver, {}) | dict.fromkeys(keys, now)
        self._write(told)

    def forget(self, campaigns: Collection[str], needed: Collection[str]) -> None:
        """What of these campaigns needs nobody any more: it is told at once if it returns."""
        told = self._read()
        kept = {
            receiver: {
                key: at
                for key, at in entries.items()
                if key in needed or key.partition("/")[0] not in campaigns
            }
            for receiver, entries in told.items()
        }
        if kept != told:
            self._write(kept)

    def _read(self) -> dict[str, dict[str, datetime]]:
        try:
            document = json.loads(self._file.read_text(encoding="utf-8"))
            return {
                receiver: {
                    key: datetime.fromisoformat(at).astimezone(UTC) for key, at in entries.items()
                }
                for receiver, entries in document.items()
            }
        except (OSError, ValueError, TypeError, AttributeError):
            # Absent or damaged: who was told is told once more.
            return {}

    def _write(self, told: dict[str, dict[str, datetime]]) -> None:
        document = {
            receiver: {key: at.isoformat() for key, at in entries.items()}
            for receiver, entries in told.items()
        }
        write_private(self._file, json.dumps(document, indent=2) + "\n")
