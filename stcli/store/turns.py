"""When workers were last given a campaign to run."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime, timedelta

from stcli.domain.ids import CampaignName
from stcli.store.engine import Database, utc_instant, utc_text


class Turns:
    """One moment for each campaign, whichever host gave it."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def last(self) -> dict[CampaignName, datetime]:
        with self._database.read() as sql:
            rows = sql.execute("SELECT campaign, deferred_at FROM worker_turns")
            return {CampaignName(row[0]): utc_instant(row[1]) for row in rows}

    def due(self, every: Mapping[CampaignName, timedelta], now: datetime) -> list[CampaignName]:
        """Campaigns whose last turn is that long ago, the longest waiting first. A turn in the future
        was noted by a wrong clock and does not count."""
        last = self.last()
        early = datetime.min.replace(tzinfo=now.tzinfo)
        found = [
            name
            for name, interval in every.items()
            if not now - interval < last.get(name, early) <= now + interval
        ]
        return sorted(found, key=lambda name: (last.get(name, early), name))

    def again(self, campaign: CampaignName) -> None:
        """Its turn came to nothing: the next tick gives it another one."""
        with self._database.write() as sql:
            sql.execute("DELETE FROM worker_turns WHERE campaign = ?", (campaign,))

    def took(self, campaign: CampaignName, now: datetime) -> None:
        with self._database.write() as sql:
            sql.execute(
                "INSERT INTO worker_turns VALUES (?, ?) ON CONFLICT (campaign) DO UPDATE SET "
                "deferred_at = excluded.deferred_at",
                (campaign, utc_text(now)),
            )
