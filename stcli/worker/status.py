"""What waits, what runs where, and which workers live."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import datetime

import psycopg

from stcli.worker.queue import PASSES, STALLED_SECONDS
from stcli.worker.schema import SCHEMA, connected, has_tables


@dataclass(frozen=True, slots=True)
class Worker:
    """A worker that is connected now: its host's name, its process there, and where it comes from."""

    host: str
    process: int
    address: str


@dataclass(frozen=True, slots=True)
class Waiting:
    """A campaign in the queue, since when, and as what: ``waiting``, ``running``, ``lost`` (its worker
    is silent, and another one will soon be given it) or ``failed``."""

    campaign: str
    status: str
    since: datetime | None


@dataclass(frozen=True, slots=True)
class QueueStatus:
    workers: list[Worker] = field(default_factory=list)
    jobs: list[Waiting] = field(default_factory=list)


def queue_status(url: str) -> QueueStatus:
    """The queue as it stands; an empty one where no worker ever ran."""
    with connected(url) as sql:
        if not has_tables(sql):
            return QueueStatus()
        sql.execute(f"SET LOCAL search_path TO {SCHEMA}")
        return QueueStatus(_workers(sql), _jobs(sql))


def _workers(sql: psycopg.Connection) -> list[Worker]:
    rows = sql.execute(
        "SELECT DISTINCT split_part(application_name, ' ', 3), "
        "regexp_replace(application_name, '^stcli worker [0-9]+ ', ''), "
        "coalesce(host(client_addr), 'local') FROM pg_stat_activity "
        "WHERE application_name ~ '^stcli worker [0-9]+ ' AND datname = current_database() "
        "ORDER BY 2, 1"
    )
    return [Worker(host, int(process), address) for process, host, address in rows]


def _jobs(sql: psycopg.Connection) -> list[Waiting]:
    rows = sql.execute(
        "SELECT j.args->>'campaign', CASE WHEN j.status = 'todo' THEN 'waiting' "
        "WHEN j.status = 'failed' THEN 'failed' "
        "WHEN w.last_heartbeat > now() - %s * interval '1 s' THEN 'running' ELSE 'lost' END, "
        "(SELECT max(e.at) FROM procrastinate_events e WHERE e.job_id = j.id) "
        "FROM procrastinate_jobs j LEFT JOIN procrastinate_workers w ON w.id = j.worker_id "
        "WHERE j.queue_name = %s AND j.status IN ('todo', 'doing', 'failed') ORDER BY 3, 1",
        (STALLED_SECONDS, PASSES),
    )
    return [Waiting(campaign or "", status, since) for campaign, status, since in rows]
