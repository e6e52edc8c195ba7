"""Telling one record that a system does not answer about from a system that is down."""

from __future__ import annotations

from dataclasses import dataclass

from stcli.errors import Unavailable

SILENT_RECORDS_THAT_STOP = 20
"""After so many records in a row without an answer the system is taken to be down."""


@dataclass(slots=True)
class Silence:
    """Counts records in a row, of one pass, that got no answer."""

    in_a_row: int = 0

    def met(self, error: Unavailable) -> None:
        """One more; raises ``error`` where it is no longer that one record's: the system is down,
        or it asked everybody to wait."""
        self.in_a_row += 1
        if error.status == 429 or self.in_a_row >= SILENT_RECORDS_THAT_STOP:
            raise error

    def ended(self) -> None:
        """A record got its answer."""
        self.in_a_row = 0
