"""Of what a person was told, and when, so that nobody hears the same every quarter of an hour."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import datetime

from stcli.store.engine import Database, utc_instant, utc_text


class ToldAlarms:
    def __init__(self, database: Database) -> None:
        self._database = database

    def told(self) -> dict[str, datetime]:
        """When each alarm was told last, by its key."""
        with self._database.read() as sql:
            rows = sql.exec_driver_sql("SELECT alarm, told_at FROM alarms")
            return {row[0]: utc_instant(row[1]) for row in rows}

    def keep(self, current: Iterable[str], campaigns: Iterable[str]) -> None:
        """Forget those of these campaigns that need nobody any more: told at once if they return."""
        needed = set(current)
        with self._database.write() as sql:
            for campaign in campaigns:
                rows = sql.exec_driver_sql(
                    "SELECT alarm FROM alarms WHERE campaign = ?", (campaign,)
                ).all()
                for (alarm,) in rows:
                    if alarm not in needed:
                        sql.exec_driver_sql("DELETE FROM alarms WHERE alarm = ?", (alarm,))

    def remember(self, alarms: Iterable[tuple[str, str]], now: datetime) -> None:
        """These, as key and campaign, were told now."""
        with self._database.write() as sql:
            for alarm, campaign in alarms:
                sql.exec_driver_sql(
                    "INSERT INTO alarms (alarm, campaign, told_at) VALUES (?, ?, ?) "
                    "ON CONFLICT (alarm) DO UPDATE SET told_at = excluded.told_at",
                    (alarm, campaign, utc_text(now)),
                )
