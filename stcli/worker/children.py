"""Passes as processes of their own: a worker's heartbeat never waits for one."""

from __future__ import annotations

import asyncio
import os
import signal
from collections.abc import Callable, Sequence
from contextlib import suppress

from stcli.errors import ExitCode

STOP_SECONDS = 20.0
"""A pass ends within five seconds of a SIGTERM; one that does not by then never will."""


class CameToNothing(Exception):
    """The worker ends, or somebody else holds the campaign's lock, who may be dead on another host."""


class PassFailed(Exception):
    """The passes of a campaign ended with an exit code that a person should see."""


FINE = (ExitCode.DONE, ExitCode.SOME_FAILED)
"""Ends of ``stcli run`` after which the queue has nothing to tell: what failed is in the history."""


class Children:
    """Runs ``stcli run CAMPAIGN`` for a worker. ``tell`` is given a line about each."""

    def __init__(self, program: Sequence[str], tell: Callable[[str], None]) -> None:
        self._program = tuple(program)
        self._tell = tell
        self._running: set[asyncio.subprocess.Process] = set()
        self._stopping = asyncio.Event()

    async def run(self, campaign: str) -> None:
        """The passes of one campaign, to their end; ``CameToNothing`` or ``PassFailed``."""
        if self._stopping.is_set():
            raise CameToNothing
        process = await asyncio.create_subprocess_exec(
            *self._program,
            "run",
            campaign,
            stdin=asyncio.subprocess.DEVNULL,
            # Ctrl-C is the worker's to hear, which then lets each end at a clean point.
            start_new_session=True,
        )
        self._running.add(process)
        try:
            if self._stopping.is_set():
                _signal(process, signal.SIGTERM)
            code = await process.wait()
        except asyncio.CancelledError:
            await self._end(process)
            raise
        finally:
            self._running.discard(process)
        if self._stopping.is_set() and code in (ExitCode.TERMINATED, -signal.SIGTERM):
            raise CameToNothing
        self._tell(f"{campaign}: {_meaning(code)}")
        if code == ExitCode.LOCKED:
            raise CameToNothing
        if code not in FINE:
            raise PassFailed(_meaning(code))

    def stop(self) -> None:
        """Ask all of them to end at a clean point, and begin no more."""
        self._stopping.set()
        for process in self._running:
            _signal(process, signal.SIGTERM)

    async def _end(self, process: asyncio.subprocess.Process) -> None:
        _signal(process, signal.SIGTERM)
        try:
            await asyncio.wait_for(process.wait(), STOP_SECONDS)
        except TimeoutError:
            _signal(process, signal.SIGKILL)
            await process.wait()


def _signal(process: asyncio.subprocess.Process, number: signal.Signals) -> None:
    with suppress(ProcessLookupError):
        os.kill(process.pid, number)


def _meaning(code: int) -> str:
    return f"exit code {code}" if code >= 0 else f"killed by {signal.Signals(-code).name}"
