"""How a pass stays responsive: a stop that every step looks at, and a thread for the state."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import ParamSpec, TypeVar

from stcli.errors import StcliError

Arguments = ParamSpec("Arguments")
Result = TypeVar("Result")


class StopSignal:
    """Asked to stop, by Ctrl-C or SIGTERM; passes look at it between two steps."""

    def __init__(self) -> None:
        self._reason: StcliError | None = None
        self._event = asyncio.Event()

    def hear(self, reason: StcliError) -> None:
        """Remember why, and no more: what a signal handler may do at any moment. The first reason
        stands; who waits in the loop learns of it with ``request``."""
        self._reason = self._reason or reason

    def request(self, reason: StcliError) -> None:
        """Ask for a stop; the first reason stands."""
        self.hear(reason)
        self._event.set()

    @property
    def is_requested(self) -> bool:
        """Whether those who wait in the loop were told."""
        return self._event.is_set()

    @property
    def reason(self) -> StcliError | None:
        return self._reason

    def check(self) -> None:
        """Raise the reason if a stop was asked for."""
        if self._reason is not None:
            raise self._reason

    async def wait(self, seconds: float | None = None) -> bool:
        """Wait for a stop, at most so long; True if one was asked for."""
        try:
            await asyncio.wait_for(self._event.wait(), seconds)
        except TimeoutError:
            return False
        return True


class StateThread:
    """Runs the synchronous store in one thread of its own, so that the event loop never waits."""

    def __init__(self) -> None:
        self._executor = ThreadPoolExecutor(max_workers=1, thread_name_prefix="state")

    async def __call__(
        self,
        function: Callable[Arguments, Result],
        *args: Arguments.args,
        **kwargs: Arguments.kwargs,
    ) -> Result:
        loop = asyncio.get_running_loop()
        return await loop.run_in_executor(self._executor, lambda: function(*args, **kwargs))

    def close(self) -> None:
        self._executor.shutdown(wait=True)
