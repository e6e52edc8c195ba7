"""The queue's tasks: a tick that gives the campaigns that are due, and the passes of one campaign."""

from __future__ import annotations

import logging
import os
from collections.abc import Awaitable, Callable
from typing import Any

import procrastinate
from procrastinate import exceptions, jobs
from psycopg_pool import AsyncConnectionPool

from stcli.database_address import driver_address
from stcli.worker.children import CameToNothing
from stcli.worker.schema import SCHEMA

PASSES, TICKS = "passes", "ticks"
TICK = "* * * * * */15"
"""Every quarter of a minute (the sixth field counts seconds): a campaign is given so late at most."""
HEARTBEAT_SECONDS = 5.0
STALLED_SECONDS = 30.0
"""A worker without a heartbeat for so long is taken to be dead."""
CONNECT_SECONDS = 5.0
"""How long a connection is waited for before the database counts as lost."""
KEPT_HOURS = 24 * 14
"""How long the queue remembers jobs that failed."""

log = logging.getLogger("stcli.worker")


class Queue:
    """One worker's side of the queue. The tick has an application and a worker of its own, so that
    passes which fill every place do not keep it from being heard."""

    def __init__(self, url: str, host: str) -> None:
        self.connector = procrastinate.PsycopgConnector(
            pool_factory=AsyncConnectionPool,
            conninfo=driver_address(url),
            min_size=1,
            max_size=6,
            timeout=CONNECT_SECONDS,
            kwargs={
                "application_name": f"stcli worker {os.getpid()} {host}"[:63],
                "options": f"-c search_path={SCHEMA}",
                "keepalives_idle": 10,
                "keepalives_interval": 5,
                "keepalives_count": 3,
            },
        )
        self.passes = procrastinate.App(connector=self.connector)
        self.ticks = procrastinate.App(connector=self.connector)

    def register(
        self,
        run: Callable[[str], Awaitable[None]],
        due: Callable[[], Awaitable[list[str]]],
        took: Callable[[str], Awaitable[None]],
        again: Callable[[str], Awaitable[None]],
    ) -> None:
        """``run``: the passes of a campaign; ``due``: campaigns whose turn it is; ``took``: one got
        its turn; ``again``: it was for nothing."""

        @self.passes.task(name="run", queue=PASSES)
        async def run_campaign(campaign: str) -> None:
            try:
                await run(campaign)
            except CameToNothing:
                # Not the queue's own retry: it fails for ever where another job of the campaign waits.
                await again(campaign)

        @self.ticks.periodic(cron=TICK)
        @self.ticks.task(name="tick", queue=TICKS, queueing_lock="tick")
        async def tick(timestamp: int) -> None:  # noqa: ARG001 - what the queue hands over
            await self._bring_back(again)
            for campaign in await due():
                await self._defer(run_campaign, campaign)
                await took(campaign)

    async def _defer(self, task: Any, campaign: str) -> None:
        try:
            # The same lock for all jobs of a campaign: one at a time, and one more in waiting.
            await task.configure(lock=campaign, queueing_lock=campaign).defer_async(
                campaign=campaign
            )
        except exceptions.AlreadyEnqueued:
            log.info("%s still waits for its turn", campaign)

    async def _bring_back(self, again: Callable[[str], Awaitable[None]]) -> None:
        """Campaigns of workers that died get another turn; what is long done is forgotten."""
        manager = self.passes.job_manager
        for job in await manager.get_stalled_jobs(seconds_since_heartbeat=STALLED_SECONDS):
            log.warning("job %s (%s) lost its worker", job.id, job.lock or job.task_name)
            if job.lock is not None:
                # First: a tick that dies in between leaves the job to the next one.
                await again(job.lock)
            await self._drop(job)
        await manager.prune_stalled_workers(STALLED_SECONDS)
        await manager.delete_old_jobs(
            KEPT_HOURS, include_failed=True, include_aborted=True, include_cancelled=True
        )

    async def _drop(self, job: jobs.Job) -> None:
        try:
            await self.passes.job_manager.finish_job(job, jobs.Status.ABORTED, delete_job=True)
        except exceptions.ConnectorException as error:
            log.info("job %s was settled by another host: %s", job.id, error)
