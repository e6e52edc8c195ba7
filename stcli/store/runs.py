"""Passes that ran: when, how they ended, what they counted."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from stcli.domain.ids import CampaignName, RunId
from stcli.domain.outcome import PassKind
from stcli.store.engine import Database, optional_instant, utc_instant, utc_text

KEPT = timedelta(days=400)
"""How long a pass is remembered."""
QUIET_KEPT = timedelta(days=30)
"""How long one that ended well and did nothing is: of hundreds of campaigns with a pass of each kind
every few minutes these would soon be all that a state holds."""


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
        of more than ``KEPT`` ago are forgotten, those that did nothing after ``QUIET_KEPT``; but for
        the first of all and the newest of each sort, which tell since when there has been nothing."""
        with self._database.write() as sql:
            sql.execute(
                "UPDATE runs SET status = 'interrupted' WHERE campaign = ? AND status = 'running'",
                (campaign,),
            )
            for eventful, kept in ((1, KEPT), (0, QUIET_KEPT)):
                sql.execute(
                    "DELETE FROM runs WHERE campaign = ? AND pass = ? AND eventful = ? "
                    "AND started_at < ? "
                    "AND started_at > (SELECT min(started_at) FROM runs r "
                    "WHERE r.campaign = ? AND r.pass = ?) "
                    "AND started_at < (SELECT max(started_at) FROM runs r "
                    "WHERE r.campaign = ? AND r.pass = ? AND r.eventful = ?)",
                    (campaign, kind, eventful, utc_text(now - kept))
                    + 2 * (campaign, kind)
                    + (eventful,),
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
        *,
        eventful: bool = True,
    ) -> None:
        """``eventful``: whether it did something, or did not end well."""
        with self._database.write() as sql:
            sql.execute(
                "UPDATE runs SET status = ?, exit_code = ?, finished_at = ?, report = ?, eventful = ? "
                "WHERE run_id = ?",
                (status, exit_code, utc_text(now), json.dumps(report), int(eventful), run_id),
            )

    def knows(self, run_id: RunId) -> bool:
        """Whether this state has seen that run begin."""
        with self._database.read() as sql:
            found = sql.execute("SELECT 1 FROM runs WHERE run_id = ?", (run_id,))
            return found.first() is not None

    def done_since(self, campaign: str, since: datetime, until: datetime) -> set[str]:
        """The kinds of passes that ended well in this time; records that failed are no hindrance."""
        with self._database.read() as sql:
            return {
                kind.value
                for kind in PassKind
                if sql.execute(
                    "SELECT 1 FROM runs WHERE campaign = ? AND pass = ? "
                    "AND started_at BETWEEN ? AND ? AND status IN ('succeeded', 'partial') LIMIT 1",
                    (campaign, kind.value, utc_text(since), utc_text(until)),
                ).first()
            }

    def last(self, campaign: str) -> dict[str, Run]:
        """The newest run of each kind of pass."""
        newest: dict[str, Run] = {}
        with self._database.read() as sql:
            for kind in PassKind:
                row = sql.execute(
                    f"SELECT {_COLUMNS} FROM runs WHERE campaign = ? AND pass = ? "
                    "ORDER BY started_at DESC LIMIT 1",
                    (campaign, kind.value),
                ).first()
                if row is not None:
                    newest[kind.value] = _run(row)
        return newest

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
        with self._database.read() as sql:
            for started, report in sql.execute(
                "SELECT started_at, report FROM runs WHERE campaign = ? AND eventful = 1 "
                "ORDER BY started_at DESC",
                (campaign,),
            ):
                found = json.loads(report).get("counts", {})
                if any(found.get(count, 0) > 0 for count in counts):
                    return utc_instant(started)
            first = sql.execute(
                "SELECT min(started_at) FROM runs WHERE campaign = ?", (campaign,)
            ).scalar_one()
            return optional_instant(first)

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
