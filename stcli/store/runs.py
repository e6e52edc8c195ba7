"""Passes that ran: when, how they ended, what they counted."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from stcli.domain.ids import CampaignName, RunId
from stcli.store.engine import Database, optional_instant, utc_instant, utc_text

KEPT = timedelta(days=400)
"""How long a pass is remembered."""


@dataclass(frozen=True, slots=True)
class Run:
    """One recorded pass; ``status`` is ``running`` until it ended."""

    run_id: RunId
    campaign: CampaignName
    kind: str
    status: str
    exit_code: int | None
    started_at: datetime
    finished_at: datetime | None
    report: Mapping[str, object]
    host: str
    file_hash: str
    """SHA-256 of the campaign file that it ran with; empty of passes from before it was noted."""


class Runs:
    def __init__(self, database: Database) -> None:
        self._database = database

    def start(
        self,
        run_id: RunId,
        campaign: str,
        kind: str,
        now: datetime,
        host: str,
        pid: int,
        file_hash: str = "",
    ) -> None:
        """A pass begins, under its campaign's lock: others of it that never ended have died. Those
        of more than ``KEPT`` ago are forgotten."""
        with self._database.write() as sql:
            sql.execute(
                "UPDATE runs SET status = 'interrupted' WHERE campaign = ? AND status = 'running'",
                (campaign,),
            )
            sql.execute(
                "DELETE FROM runs WHERE campaign = ? AND pass = ? AND started_at < ?",
                (campaign, kind, utc_text(now - KEPT)),
            )
            sql.execute(
                "INSERT INTO runs (run_id, campaign, pass, status, started_at, host, pid, file_hash) "
                "VALUES (?, ?, ?, 'running', ?, ?, ?, ?)",
                (run_id, campaign, kind, utc_text(now), host, pid, file_hash),
            )

    def finish(
        self,
        run_id: RunId,
        status: str,
        exit_code: int,
        now: datetime,
        report: Mapping[str, object],
    ) -> None:
        with self._database.write() as sql:
            sql.execute(
                "UPDATE runs SET status = ?, exit_code = ?, finished_at = ?, report = ? "
                "WHERE run_id = ?",
                (status, exit_code, utc_text(now), json.dumps(report), run_id),
            )

    def knows(self, run_id: RunId) -> bool:
        """Whether this state has seen that run begin."""
        with self._database.read() as sql:
            found = sql.execute("SELECT 1 FROM runs WHERE run_id = ?", (run_id,))
            return found.first() is not None

    def done_since(self, campaign: str, since: datetime, until: datetime) -> set[str]:
        """The kinds of passes that ended well in this time; records that failed are no hindrance."""
        with self._database.read() as sql:
            rows = sql.execute(
                "SELECT DISTINCT pass FROM runs WHERE campaign = ? AND started_at BETWEEN ? AND ? "
                "AND status IN ('succeeded', 'partial')",
                (campaign, utc_text(since), utc_text(until)),
            )
            return {row[0] for row in rows}

    def last(self, campaign: str) -> dict[str, Run]:
        """The newest run of each kind of pass."""
        with self._database.read() as sql:
            rows = sql.execute(
                f"SELECT {_COLUMNS} "
                "FROM runs r WHERE campaign = ? AND started_at = (SELECT max(started_at) FROM runs "
                "WHERE campaign = r.campaign AND pass = r.pass)",
                (campaign,),
            )
            return {row[2]: _run(row) for row in rows}

    def newest(
        self,
        limit: int,
        *,
        campaign: str | None = None,
        kind: str | None = None,
        failed_only: bool = False,
    ) -> list[Run]:
        """The newest first. ``failed_only``: those that did not succeed, or only in part."""
        conditions, values = ["1 = 1"], list[object]()
        for column, value in (("campaign", campaign), ("pass", kind)):
            if value is not None:
                conditions.append(f"{column} = ?")
                values.append(value)
        if failed_only:
            conditions.append("status NOT IN ('succeeded', 'running')")
        with self._database.read() as sql:
            rows = sql.execute(
                f"SELECT {_COLUMNS} FROM runs WHERE {' AND '.join(conditions)} "
                "ORDER BY started_at DESC, run_id DESC LIMIT ?",
                (*values, limit),
            )
            return [_run(row) for row in rows]

    def newest_with(self, campaign: str, counts: Sequence[str]) -> datetime | None:
        """When a pass last counted any of these; without one, when the first pass ran."""
        first: datetime | None = None
        with self._database.read() as sql:
            for started, report in sql.execute(
                "SELECT started_at, report FROM runs WHERE campaign = ? ORDER BY started_at DESC",
                (campaign,),
            ):
                first = utc_instant(started)
                found = json.loads(report).get("counts", {})
                if any(found.get(count, 0) > 0 for count in counts):
                    return first
        return first

    def beginning_with(self, text: str) -> list[Run]:
        """Those whose id begins with ``text``; a handful is enough to tell that it is not one."""
        with self._database.read() as sql:
            rows = sql.execute(
                f"SELECT {_COLUMNS} FROM runs WHERE substr(run_id, 1, ?) = ? "
                "ORDER BY started_at DESC LIMIT 5",
                (len(text), text),
            )
            return [_run(row) for row in rows]


_COLUMNS = (
    "run_id, campaign, pass, status, exit_code, started_at, finished_at, report, host, file_hash"
)


def _run(row: Sequence[Any]) -> Run:
    return Run(
        RunId(row[0]),
        CampaignName(row[1]),
        row[2],
        row[3],
        row[4],
        utc_instant(row[5]),
        optional_instant(row[6]),
        json.loads(row[7]),
        row[8],
        row[9],
    )
