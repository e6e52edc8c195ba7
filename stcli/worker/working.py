"""A worker from start to stop."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable
from datetime import timedelta
from functools import partial
from pathlib import Path

import procrastinate
from procrastinate import exceptions
from psycopg import errors
from psycopg_pool import PoolTimeout

from stcli.domain.campaign import WorkerSettings
from stcli.domain.connection import State
from stcli.domain.ids import CampaignName
from stcli.domain.settings_types import duration
from stcli.errors import StcliError
from stcli.own_program import own_program
from stcli.usecases.passes.concurrency import StopSignal
from stcli.wiring import Application
from stcli.worker.children import Children
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
    intervals = Intervals(app)
    while True:
        children = Children(own_program(), tell)
        queue = Queue(url, host)
        queue.register(
            children.run,
            partial(asyncio.to_thread, intervals.due),
            lambda name: asyncio.to_thread(app.state.turns.took, CampaignName(name), app.now()),
            lambda name: asyncio.to_thread(app.state.turns.again, CampaignName(name)),
        )
        try:
            async with queue.passes.open_async():
                tell(f"worker on {host}: up to {places} campaigns at once")
                await _until_stopped(queue, children, stop, places)
        except (exceptions.ConnectorException, PoolTimeout) as error:
            if not _is_forgotten(error):
                raise unreachable(error.__cause__ or error) from error
            stop.check()
            tell("this host stood still, and the others took this worker for dead: it begins anew")
            continue
        stop.check()
        raise unreachable(ConnectionError("it was lost while working"))


def _is_forgotten(error: Exception) -> bool:
    """Whether the queue knows this worker no more: nothing can be given to it."""
    violated = error.__cause__
    return (
        isinstance(violated, errors.ForeignKeyViolation)
        and violated.diag.constraint_name == "procrastinate_jobs_worker_id_fkey"
    )


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


class Intervals:
    """Which campaigns of this host's files are due. A file is read again where it changed: a tick
    comes four times a minute, and a host has hundreds."""

    def __init__(self, app: Application) -> None:
        self._app = app
        self._known: dict[CampaignName, tuple[object, timedelta]] = {}

    def due(self) -> list[str]:
        """Those that are connected and whose last turn is long enough ago."""
        app = self._app
        here = set(app.files.names())
        every = {
            one.campaign: self._interval(one.campaign)
            for one in app.state.connections.all()
            if one.state is State.CONNECTED and one.campaign in here
        }
        return list(app.state.turns.due(every, app.now()))

    def _interval(self, name: CampaignName) -> timedelta:
        version = _version(Path(self._app.files.path(name)))
        known = self._known.get(name)
        if known is not None and known[0] == version:
            return known[1]
        try:
            every = duration(self._app.settings_of(name).worker.every)
        except StcliError as error:
            # The pass itself tells what is wrong with the file, and whom the alarms name.
            log.info("%s: %s", name, error)
            return duration(WorkerSettings.model_construct().every)
        self._known[name] = version, every
        return every


def _version(file: Path) -> object:
    """What differs where the file was written since; None: it cannot be looked at."""
    try:
        found = file.stat()
    except OSError:
        return None
    return found.st_mtime_ns, found.st_ctime_ns, found.st_size, found.st_ino
