"""Moments as people write them in a mapping."""

from __future__ import annotations

from datetime import UTC, datetime

from stcli.domain.settings_types import DAY

FIXED_INSTANT = (
    rf"^\s*{DAY}"
    r"([T ]([01][0-9]|2[0-3]):[0-5][0-9](:[0-5][0-9](\.[0-9]{1,6})?)?"
    r"(Z|[+-]([01][0-9]|2[0-3]):[0-5][0-9])?)?\s*$"
)
"""How a campaign file writes a day and time; what servers send may be any ISO 8601."""


def read_instant(text: str) -> datetime | None:
    """The instant that an ISO 8601 text names, in UTC (which a text without zone means); None where
    it is none."""
    try:
        instant = datetime.fromisoformat(text)
        return instant.replace(tzinfo=UTC) if instant.tzinfo is None else instant.astimezone(UTC)
    except (ValueError, OverflowError):
        return None
