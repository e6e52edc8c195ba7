"""The sandbox as a server: one port, loopback only.

``/rf/api/v2`` is Referral Factory, ``/st`` ServiceTitan, ``/auth`` its token server, ``/sandbox`` the
routes that move the world on.
"""

from __future__ import annotations

import socket
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from types import TracebackType
from typing import Self

import uvicorn
from starlette.applications import Starlette
from starlette.routing import Mount
from starlette.types import ASGIApp

from stcli.sandbox_own.control import Control
from stcli.sandbox_own.faults import FaultLayer
from stcli.sandbox_own.referralfactory import ReferralFactoryApi
from stcli.sandbox_own.seed import make_world
from stcli.sandbox_own.servicetitan import ServiceTitanApi
from stcli.sandbox_own.settings import Credentials, SandboxSettings
from stcli.sandbox_own.traffic import Traffic
from stcli.sandbox_own.world import World

LOOPBACK = ("127.0.0.1", "::1", "localhost")


@dataclass(frozen=True, slots=True)
class Urls:
    """What the three variables of stcli are set to, and where the control routes are."""

    rf: str
    st_api: str
    st_auth: str
    control: str


def urls(host: str, port: int) -> Urls:
    shown = f"[{host}]" if ":" in host else host
    base = f"http://{shown}:{port}"
    return Urls(f"{base}/rf/api/v2", f"{base}/st", f"{base}/auth", f"{base}/sandbox")


def create_app(settings: SandboxSettings) -> tuple[ASGIApp, World]:
    """The application and the world behind it."""
    world = make_world(settings)
    st, rf, traffic = ServiceTitanApi(world), ReferralFactoryApi(world), Traffic()
    control = Control(world, st, rf, traffic)
    app = Starlette(
        routes=[
            Mount("/rf/api/v2", routes=rf.routes()),
            Mount("/st", routes=st.routes()),
            Mount("/auth", routes=st.auth_routes()),
            Mount("/sandbox", routes=control.routes()),
        ]
    )
    control.layer = FaultLayer(app)
    return traffic.around(control.layer), world


def _server(app: ASGIApp) -> uvicorn.Server:
    # Nobody waits for a browser that keeps its connection open.
    config = uvicorn.Config(
        app, log_level="critical", access_log=False, lifespan="off", timeout_graceful_shutdown=1
    )
    return uvicorn.Server(config)


def _bound(host: str, port: int) -> socket.socket:
    if host not in LOOPBACK:
        raise ValueError(f"the sandbox serves this machine only ({', '.join(LOOPBACK)})")
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    bound = socket.socket(family, socket.SOCK_STREAM)
    bound.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    bound.bind((host, port))
    bound.listen(512)
    return bound


def serve(
    settings: SandboxSettings, host: str, port: int, on_ready: Callable[[Urls], None]
) -> None:
    """Serve until Ctrl-C or SIGTERM. Raises ``OSError`` where the port is taken, ``ValueError`` for
    a host that is not this machine."""
    bound = _bound(host, port)
    on_ready(urls(host, bound.getsockname()[1]))
    _server(create_app(settings)[0]).run(sockets=[bound])


class RunningSandbox:
    """A sandbox on a free port, in a thread of its own, for the length of a ``with`` block."""

    def __init__(self, settings: SandboxSettings | None = None) -> None:
        self.settings = settings or SandboxSettings()
        app, self.world = create_app(self.settings)
        self._socket = _bound("127.0.0.1", 0)
        self.urls = urls("127.0.0.1", self._socket.getsockname()[1])
        self._server = _server(app)
        self._thread = threading.Thread(
            target=self._server.run, kwargs={"sockets": [self._socket]}, daemon=True
        )

    @property
    def credentials(self) -> Credentials:
        return self.settings.credentials

    def environment(self) -> dict[str, str]:
        """The variables that point stcli at this sandbox."""
        return {
            "STCLI_RF_URL": self.urls.rf,
            "STCLI_ST_API_URL": self.urls.st_api,
            "STCLI_ST_AUTH_URL": self.urls.st_auth,
        }

    def __enter__(self) -> Self:
        self._thread.start()
        deadline = time.monotonic() + 10
        while not self._server.started:
            if time.monotonic() > deadline:
                raise TimeoutError("the sandbox did not start")
            time.sleep(0.005)
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._server.should_exit = True
        self._server.force_exit = True
        self._thread.join(timeout=10)
        self._socket.close()
