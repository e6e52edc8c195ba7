"""An event loop that ends when its work does, also while a name is being looked up.

asyncio looks names up on threads that both the loop's end and the process's end wait for. Where no
name server answers that takes a minute, which no timeout and no Ctrl-C could cut short.
"""

from __future__ import annotations

import asyncio
import socket
import sys
import threading
from collections.abc import Coroutine
from concurrent.futures import Future
from typing import Any, TypeVar

if sys.platform == "win32":
    from asyncio import ProactorEventLoop as UsualLoop
else:
    from asyncio import SelectorEventLoop as UsualLoop

Result = TypeVar("Result")


class _Loop(UsualLoop):
    """Looks names up on daemon threads, one for each, which nobody waits for."""

    async def getaddrinfo(
        self,
        host: bytes | str | None,
        port: bytes | str | int | None,
        *,
        family: int = 0,
        type: int = 0,  # noqa: A002 - as the library calls it
        proto: int = 0,
        flags: int = 0,
    ) -> list[Any]:
        answer: Future[list[Any]] = Future()
        # From here on nobody can cancel it, so that a late answer finds its place.
        answer.set_running_or_notify_cancel()

        def ask() -> None:
            try:
                answer.set_result(socket.getaddrinfo(host, port, family, type, proto, flags))
            except Exception as error:  # noqa: BLE001 - whoever waits for the answer gets it
                answer.set_exception(error)

        threading.Thread(target=ask, name=f"name of {host!r}", daemon=True).start()
        return await asyncio.wrap_future(answer, loop=self)


def run_loop(body: Coroutine[Any, Any, Result]) -> Result:
    """What ``asyncio.run`` does, on such a loop."""
    with asyncio.Runner(loop_factory=_Loop) as runner:
        return runner.run(body)
