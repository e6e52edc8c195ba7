"""Both clients on a scripted server, with waits that take no time and are written down."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import TypeVar

from stcli.clients.ratelimit import Limit, Turn
from stcli.clients.referralfactory.client import ReferralFactoryClient
from stcli.clients.retry import RetryPolicy
from stcli.clients.servicetitan.client import ServiceTitanClient
from stcli.domain.secret import Secret
from tests.integration.clients.scripted_server import Script, ScriptedServer

TENANT = 985798691
PROVIDER = 4521
Result = TypeVar("Result")


@dataclass
class NoLimit:
    """A limiter that never waits; keeps the pauses it was asked for."""

    pauses: list[float] = field(default_factory=list)
    turns: int = 0
    confirmed: int = 0

    async def acquire(self, limit: Limit) -> Turn:
        self.turns += 1
        return Turn(limit, 0.0, 0.0)

    async def confirm(self, turn: Turn) -> None:
        self.confirmed += 1

    async def pause(self, key: str, seconds: float) -> None:
        self.pauses.append(seconds)


@dataclass
class Waits:
    """A clock that only moves when somebody waits on it."""

    now: float = 1_800_000_000.0
    slept: list[float] = field(default_factory=list)

    def clock(self) -> float:
        return self.now

    async def sleep(self, seconds: float) -> None:
        self.slept.append(seconds)
        self.now += seconds

    def policy(self, attempts: int = 4, total_seconds: float = 300.0) -> RetryPolicy:
        return RetryPolicy(
            attempts=attempts,
            total_seconds=total_seconds,
            monotonic=self.clock,
            sleep=self.sleep,
            random=lambda: 1.0,
        )


def servicetitan(
    url: str,
    *,
    waits: Waits | None = None,
    limiter: NoLimit | None = None,
    tokens_folder: Path | None = None,
    timeout_seconds: float = 5.0,
    provider_id: int | None = PROVIDER,
    attempts: int = 4,
) -> ServiceTitanClient:
    clock = waits or Waits()
    return ServiceTitanClient(
        api_url=url,
        auth_url=url,
        tenant_id=TENANT,
        provider_id=provider_id,
        client_id="cid.test",
        client_secret=Secret("cs-secret-value"),
        app_key=Secret("ak-secret-value"),
        limiter=limiter or NoLimit(),
        tokens_folder=tokens_folder,
        timeout_seconds=timeout_seconds,
        rate_per_second=60,
        retry=clock.policy(attempts),
        clock=clock.clock,
    )


def referral_factory(
    url: str,
    *,
    waits: Waits | None = None,
    limiter: NoLimit | None = None,
    timeout_seconds: float = 5.0,
    attempts: int = 4,
) -> ReferralFactoryClient:
    clock = waits or Waits()
    return ReferralFactoryClient(
        url=f"{url}/api/v2",
        token=Secret("rf-secret-value"),
        limiter=limiter or NoLimit(),
        rate_per_minute=600,
        timeout_seconds=timeout_seconds,
        retry=clock.policy(attempts),
        clock=clock.clock,
    )


async def ask_servicetitan(
    script: Script,
    ask: Callable[[ServiceTitanClient], Awaitable[Result]],
    *,
    waits: Waits | None = None,
    limiter: NoLimit | None = None,
    timeout_seconds: float = 5.0,
) -> tuple[Result | Exception, ScriptedServer]:
    """The outcome of ``ask``, a result or an exception, and the server that was asked."""
    async with (
        ScriptedServer(script) as server,
        servicetitan(
            server.url, waits=waits, limiter=limiter, timeout_seconds=timeout_seconds
        ) as client,
    ):
        try:
            return await ask(client), server
        except Exception as error:  # noqa: BLE001 - handed to the test
            return error, server


async def ask_referral_factory(
    script: Script,
    ask: Callable[[ReferralFactoryClient], Awaitable[Result]],
    *,
    waits: Waits | None = None,
    limiter: NoLimit | None = None,
) -> tuple[Result | Exception, ScriptedServer]:
    """The outcome of ``ask``, a result or an exception, and the server that was asked."""
    async with (
        ScriptedServer(script) as server,
        referral_factory(server.url, waits=waits, limiter=limiter) as client,
    ):
        try:
            return await ask(client), server
        except Exception as error:  # noqa: BLE001 - handed to the test
            return error, server
