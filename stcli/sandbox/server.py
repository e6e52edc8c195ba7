"""Puts the emulated servers together and runs them, on this machine only.

The sandbox has no secrets worth keeping and takes anyone's commands under /sandbox, so it refuses
to listen on an address that another machine could reach.
"""

import asyncio
import contextlib
import gc
import os
import signal
import socket
import threading
from collections.abc import Callable, Iterator
from types import TracebackType
from typing import Any, Self, cast

import uvicorn
from starlette.applications import Starlette
from starlette.routing import BaseRoute, Route
from starlette.types import Receive, Scope, Send

from stcli.sandbox.auth import TokenApi
from stcli.sandbox.calls import Api
from stcli.sandbox.control import ControlApi
from stcli.sandbox.gateway import TRANSPORT_KEY, Gateway
from stcli.sandbox.referralfactory import ReferralFactoryApi
from stcli.sandbox.seed import build_world
from stcli.sandbox.servicetitan import ServiceTitanApi
from stcli.sandbox.settings import Credentials, SandboxSettings
from stcli.sandbox.world import World

LOOPBACK_HOSTS = ("127.0.0.1", "::1", "localhost")
METHODS = ["GET", "POST", "PUT", "PATCH", "DELETE", "HEAD", "OPTIONS"]


class SandboxApp(Starlette):
    """A Starlette application that knows the connection below it, so that it can cut it."""

    def __init__(self, world: World, routes: list[BaseRoute]) -> None:
        super().__init__(routes=routes)
        self.world = world

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        # uvicorn's `send` is a method of the object that holds the transport; every wrapper that
        # Starlette puts around it would hide that.
        scope[TRANSPORT_KEY] = getattr(getattr(send, "__self__", None), "transport", None)
        await super().__call__(scope, receive, send)


def create_app(settings: SandboxSettings | None = None) -> SandboxApp:
    """The application over a freshly seeded world, which is its `world`."""
    world = build_world(settings or SandboxSettings())
    gateway = Gateway(world)
    apis: tuple[Api, ...] = (
        ReferralFactoryApi(world),
        ServiceTitanApi(world),
        TokenApi(world),
        ControlApi(world),
    )
    routes: list[BaseRoute] = []
    for api in apis:
        routes.extend(
            Route(
                api.prefix + operation.template,
                gateway.endpoint(api, operation),
                methods=[operation.method],
            )
            for operation in api.operations
        )
        routes.append(
            Route(api.prefix + "/{rest:path}", gateway.endpoint(api, None), methods=METHODS)
        )
    return SandboxApp(world, routes)


def serve(
    settings: SandboxSettings,
    host: str = "127.0.0.1",
    port: int = 0,
    on_ready: Callable[["Addresses"], None] | None = None,
) -> signal.Signals | None:
    """Runs until SIGINT or SIGTERM, which it returns; `on_ready` hears where it listens.

    ValueError for a host that is not this machine, OSError for a port that cannot be had. Call it
    from the main thread: nobody else hears signals.
    """
    with bind(host, port) as listener:
        addresses = Addresses.of(listener)
        app = create_app(settings)
        # A hundred thousand customers that stay until the end: a collection would look at each of
        # them while every caller waits.
        gc.freeze()
        server = _QuietServer(_config(app))
        if on_ready is not None:
            ready = on_ready
            server.when_started = lambda: ready(addresses)
        return _until_signalled(server, listener)


def _until_signalled(server: "_QuietServer", listener: socket.socket) -> signal.Signals | None:
    received: list[signal.Signals] = []

    def stop(number: int, frame: object) -> None:
        del frame
        received.append(signal.Signals(number))
        server.stop()

    # Not the loop's own handlers: Windows has none.
    before = {number: signal.signal(number, stop) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        asyncio.run(server.serve(sockets=[listener]))
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
    return received[0] if received else None


class Addresses:
    """Where a running sandbox is found, in the shape that the tool's variables take."""

    def __init__(self, base_url: str) -> None:
        self.base_url = base_url
        self.rf_url = f"{base_url}/rf/api/v2"
        self.st_api_url = f"{base_url}/st"
        self.st_auth_url = f"{base_url}/auth"
        self.control_url = f"{base_url}/sandbox"

    def environment(self) -> dict[str, str]:
        """The variables that point the tool here."""
        return {
            "STCLI_RF_URL": self.rf_url,
            "STCLI_ST_API_URL": self.st_api_url,
            "STCLI_ST_AUTH_URL": self.st_auth_url,
        }

    @classmethod
    def of(cls, listener: socket.socket) -> "Addresses":
        host, port = listener.getsockname()[:2]
        return cls(f"http://[{host}]:{port}" if ":" in host else f"http://{host}:{port}")


class RunningSandbox(Addresses):
    """A sandbox on a thread of its own for as long as the `with` block lasts."""

    def __init__(
        self, settings: SandboxSettings | None = None, *, host: str = "127.0.0.1", port: int = 0
    ) -> None:
        self.settings = settings or SandboxSettings()
        app = create_app(self.settings)
        self.world: World = app.world
        self.credentials: Credentials = app.world.credentials
        # Bound before anything runs: the address is known, and nobody else can take the port.
        self._listener = bind(host, port)
        super().__init__(Addresses.of(self._listener).base_url)
        self._server = _QuietServer(_config(app))
        self._thread = threading.Thread(target=self._run, name="sandbox", daemon=True)

    def __enter__(self) -> Self:
        started = threading.Event()
        self._server.when_started = started.set
        self._thread.start()
        if not started.wait(timeout=10):
            raise RuntimeError("the sandbox did not start within 10 s")
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self._server.stop()
        self._thread.join(timeout=10)
        self._listener.close()

    def _run(self) -> None:
        asyncio.run(self._server.serve(sockets=[self._listener]))


def bind(host: str, port: int) -> socket.socket:
    """A listening socket on this machine; ValueError for any address that is not loopback."""
    if host not in LOOPBACK_HOSTS:
        raise ValueError(f"the sandbox listens on {', '.join(LOOPBACK_HOSTS)} only, not on {host}")
    family = socket.AF_INET6 if host == "::1" else socket.AF_INET
    # The protocol is named because asyncio switches Nagle's delay off only where it is: without,
    # every answer to a kept connection would take 40 ms.
    listener = socket.socket(family, socket.SOCK_STREAM, socket.IPPROTO_TCP)
    try:
        if os.name == "posix":  # elsewhere this would let two programs share the port
            listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listener.bind(("127.0.0.1" if host == "localhost" else host, port))
        listener.listen(512)
    except OSError:
        listener.close()
        raise
    return listener


class _QuietServer(uvicorn.Server):
    """uvicorn without its own ideas about signals, with a word when it is ready, and a quick end.

    A thousand tests start and stop one of these: it wakes up to stop instead of noticing a tenth
    of a second later, and waits for nobody's kept connection.
    """

    def __init__(self, config: uvicorn.Config) -> None:
        super().__init__(config)
        self.when_started: Callable[[], object] | None = None
        self._loop: asyncio.AbstractEventLoop | None = None
        self._wake = asyncio.Event()

    def stop(self) -> None:
        """From any thread."""
        self.should_exit = True
        if self._loop is not None:
            with contextlib.suppress(RuntimeError):  # it ended by itself
                self._loop.call_soon_threadsafe(self._wake.set)

    async def main_loop(self) -> None:
        self._loop = asyncio.get_running_loop()
        counter = 0
        while not await self.on_tick(counter):
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(self._wake.wait(), timeout=0.1)
            counter = (counter + 1) % 864_000

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        for server in self.servers:
            server.close()
        for listener in sockets or []:
            listener.close()
        for connection in list(self.server_state.connections):
            connection.shutdown()
        for task in list(self.server_state.tasks):
            task.cancel()
        # Closed transports say goodbye to their sockets in the next rounds of the loop.
        for _ in range(3):
            await asyncio.sleep(0)

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        await super().startup(sockets=sockets)
        if self.when_started is not None:
            self.when_started()

    @contextlib.contextmanager
    def capture_signals(self) -> Iterator[None]:
        yield


def _config(app: SandboxApp) -> uvicorn.Config:
    return uvicorn.Config(
        cast("Any", app),
        loop="asyncio",
        http="h11",
        ws="none",
        lifespan="off",
        interface="asgi3",
        access_log=False,
        log_config=None,
        log_level="critical",
        proxy_headers=False,
        server_header=False,
        timeout_keep_alive=75,
    )
