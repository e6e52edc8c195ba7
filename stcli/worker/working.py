"""A worker from start to stop."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable
from datetime import timedelta
from functools import partial

import procrastinate
from procrastinate import exceptions
from psycopg_pool import PoolTimeout

from stcli.domain.campaign import WorkerSettings
from stcli.domain.connection import State
from stcli.domain.ids import CampaignName
from stcli.domain.settings_types import duration
from stcli.errors import StcliError
from stcli.usecases.passes.concurrency import StopSignal
from stcli.wiring import Application
from stcli.worker.children import Children, own_program
from stcli.worker.queue import (
    HEARTBEAT_SECONDS,
    PASSES,
    STALLED_SECONDS,
    TICKS,
    Queue,
)
from stcli.worker.schema import make_tables, unreachable

log = logging.getLogger("stcli.worker")


async def work(
    app: Application, stop: StopSignal, *, places: int, tell: Callable[[str], None]
) -> None:
    """Take jobs until ``stop``; ``places``: how many campaigns at once. Raises the stop's reason, or
    ``StateUnreachable`` where the queue was lost."""
    url, host = app.shared_url, app.host
    # Opened here once, and before any thread asks for it.
    await asyncio.to_thread(lambda: app.state)
    await asyncio.to_thread(make_tables, url)
    children = Children(own_program(), tell)
    queue = Queue(url, host)
    queue.register(
        children.run,
        partial(asyncio.to_thread, due_campaigns, app),
        lambda name: asyncio.to_thread(app.state.turns.took, CampaignName(name), app.now()),
        lambda name: asyncio.to_thread(app.state.turns.again, CampaignName(name)),
    )
    try:
        async with queue.passes.open_async():
            tell(f"worker on {host}: up to {places} campaigns at once")
            await _until_stopped(queue, children, stop, places)
    except (exceptions.ConnectorException, PoolTimeout) as error:
        raise unreachable(error.__cause__ or error) from error
    stop.check()
    raise unreachable(ConnectionError("it was lost while working"))


async def _until_stopped(queue: Queue, children: Children, stop: StopSignal, places: int) -> None:
    async def at_work(application: procrastinate.App, name: str, number: int) -> None:
        await application.run_worker_async(
            queues=[name],
            concurrency=number,
            delete_jobs="successful",
            install_signal_handlers=False,
            update_heartbeat_interval=HEARTBEAT_SECONDS,
            stalled_worker_timeout=STALLED_SECONDS,
        )

    workers = [
        asyncio.create_task(at_work(queue.passes, PASSES, places)),
        asyncio.create_task(at_work(queue.ticks, TICKS, 1)),
    ]
    asked = asyncio.create_task(stop.wait())
    try:
        # A worker ends by itself where it loses its database.
        await asyncio.wait({asked, *workers}, return_when=asyncio.FIRST_COMPLETED)
    finally:
        asked.cancel()
        children.stop()
        for worker in workers:
            worker.cancel()
        ends = await asyncio.gather(*workers, return_exceptions=True)
    for end in ends:
        if isinstance(end, Exception):
            raise end


def due_campaigns(app: Application) -> list[str]:
    """Campaigns of this host's files that are connected and whose last turn is long enough ago."""
    every: dict[CampaignName, timedelta] = {}
    for name in app.files.names():
        if app.state.connections.get(name).state is State.CONNECTED:
            every[name] = _interval(app, name)
    return list(app.state.turns.due(every, app.now()))


def _interval(app: Application, name: CampaignName) -> timedelta:
    try:
        settings = app.settings_of(name).worker
    except StcliError as error:
        # The pass itself tells what is wrong with the file, and whom the alarms name.
        log.info("%s: %s", name, error)
        settings = WorkerSettings.model_construct()
    return duration(settings.every)
