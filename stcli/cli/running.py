"""Running the asynchronous part of a command, with Ctrl-C and SIGTERM as a wish to stop cleanly.

The first signal asks the pass to stop at the next clean point; a second Ctrl-C ends at once, which
is safe because everything that matters is committed before it happens. Both are heard also while the
loop itself stands still, because its thread waits for a lock or for a program.
"""

from __future__ import annotations

import asyncio
import os
import signal
from collections.abc import Awaitable, Callable, Coroutine
from typing import TypeVar

from stcli.cli.output import note
from stcli.cli.signals import heeded
from stcli.errors import ExitCode, Interrupted, StcliError, Terminated
from stcli.event_loop import run_loop
from stcli.usecases.passes.concurrency import StopSignal

Result = TypeVar("Result")


def run(body: Callable[[StopSignal], Awaitable[Result]]) -> Result:
    """Run ``body`` in an event loop of its own."""
    stop = StopSignal()

    async def guarded() -> Result:
        loop = asyncio.get_running_loop()
        _on(loop, signal.SIGINT, stop, Interrupted("stopped by Ctrl-C", "Run again to go on."))
        _on(loop, signal.SIGTERM, stop, Terminated("stopped by SIGTERM", "Run again to go on."))
        return await body(stop)

    return _run(guarded(), stop)


def ask(body: Callable[[], Coroutine[None, None, Result]]) -> Result:
    """Run what only asks, and writes to neither system: a signal ends it at once."""
    stop = StopSignal()

    async def guarded() -> Result:
        loop = asyncio.get_running_loop()
        _on(loop, signal.SIGINT, stop, Interrupted("stopped by Ctrl-C"), says=False)
        _on(loop, signal.SIGTERM, stop, Terminated("stopped by SIGTERM"), says=False)
        work = asyncio.ensure_future(body())
        watch = asyncio.ensure_future(stop.wait())
        await asyncio.wait({work, watch}, return_when=asyncio.FIRST_COMPLETED)
        watch.cancel()
        if not work.done():
            work.cancel()
            await asyncio.wait({work})
            stop.check()
        return work.result()

    return _run(guarded(), stop)


def _run(body: Coroutine[None, None, Result], stop: StopSignal) -> Result:
    """Run an event loop to its end. It takes its handlers away then; those from before come back."""
    before = {number: signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        with heeded(stop.check):
            return run_loop(body)
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def _on(
    loop: asyncio.AbstractEventLoop,
    number: signal.Signals,
    stop: StopSignal,
    reason: StcliError,
    *,
    says: bool = True,
) -> None:
    def heard(_number: int, _frame: object) -> None:
        if stop.reason is not None and number is signal.SIGINT:
            os._exit(ExitCode.INTERRUPTED)
        stop.hear(reason)

    def tell() -> None:
        if says and not stop.is_requested:
            note("Stopping at the next clean point; Ctrl-C again ends at once.")
        stop.request(reason)

    try:
        loop.add_signal_handler(number, tell)
    except NotImplementedError:
        # Windows has no loop signal handlers: Ctrl-C then raises KeyboardInterrupt, which is as safe.
        return
    # In the place of asyncio's own handler, which does nothing: the loop is woken all the same.
    signal.signal(number, heard)
