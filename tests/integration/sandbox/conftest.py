"""Callers of a running sandbox, as plain as possible: real HTTP, nothing of our own clients."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import ExitStack
from typing import Any

import httpx
import pytest

from stcli.sandbox import RunningSandbox, SandboxSettings

BOOKING = {
    "source": "Spring HVAC",
    "name": "Ann Example",
    "summary": "Referred by Rita",
    "isFirstTimeClient": True,
    "externalId": "CODE1",
}


class Servers:
    """One sandbox, and callers of each of its four sides."""

    def __init__(self, sandbox: RunningSandbox, client: httpx.Client) -> None:
        self.sandbox = sandbox
        self.world = sandbox.world
        self.credentials = sandbox.credentials
        self.client = client
        self._token: str | None = None

    # Tokens

    def ask_token(self, **changes: str) -> httpx.Response:
        form = {
            "grant_type": "client_credentials",
            "client_id": self.credentials.client_id,
            "client_secret": self.credentials.client_secret,
            **changes,
        }
        return self.client.post(f"{self.sandbox.st_auth_url}/connect/token", data=form)

    def token(self) -> str:
        if self._token is None:
            self._token = self.ask_token().json()["access_token"]
        return self._token

    # ServiceTitan

    def st(
        self,
        method: str,
        path: str,
        *,
        tenant: int | None = None,
        headers: dict[str, str] | None = None,
        json: Any = None,
        **query: Any,
    ) -> httpx.Response:
        """`path` begins with the module; {tenant} comes after it."""
        module, _, rest = path.partition("/")
        tenant = tenant or self.credentials.tenant_id
        url = f"{self.sandbox.st_api_url}/{module}/v2/tenant/{tenant}/{rest}"
        if headers is None:
            headers = {
                "Authorization": f"Bearer {self.token()}",
                "ST-App-Key": self.credentials.app_key,
            }
        return self.client.request(method, url, params=query, headers=headers, json=json)

    def book(self, **changes: Any) -> httpx.Response:
        provider = self.credentials.booking_provider
        path = f"crm/booking-provider/{provider}/bookings"
        return self.st("POST", path, json={**BOOKING, **changes})

    def booked(self, **changes: Any) -> int:
        answer = self.book(**changes)
        assert answer.status_code == 200, answer.text
        return int(answer.json()["id"])

    def feed(self, path: str, start: str = "", **query: Any) -> dict[str, Any]:
        answer = self.st("GET", path, **{"from": start}, **query)
        assert answer.status_code == 200, answer.text
        page: dict[str, Any] = answer.json()
        return page

    # Referral Factory

    def rf(
        self, method: str, path: str, *, json: Any = None, token: str | None = None, **query: Any
    ) -> httpx.Response:
        headers = {"Authorization": f"Bearer {token or self.credentials.rf_token}"}
        url = self.sandbox.rf_url + path
        return self.client.request(method, url, params=query or None, headers=headers, json=json)

    # Control

    def control(self, method: str, path: str, /, **body: Any) -> Any:
        answer = self.client.request(method, self.sandbox.control_url + path, json=body)
        assert answer.status_code < 300, answer.text
        return answer.json()

    def refused(self, method: str, path: str, /, **body: Any) -> httpx.Response:
        return self.client.request(method, self.sandbox.control_url + path, json=body)

    def fault(self, kind: str, /, **options: Any) -> None:
        self.control("POST", "/faults", kind=kind, **options)

    def advance(self, seconds: float) -> None:
        self.control("POST", "/time", advance_seconds=seconds)


Start = Callable[..., Servers]


@pytest.fixture
def start() -> Iterator[Start]:
    """Starts a sandbox with these settings; it ends with the test."""
    with ExitStack() as stack:

        def started(**settings: Any) -> Servers:
            sandbox = stack.enter_context(RunningSandbox(SandboxSettings(**settings)))
            client = stack.enter_context(httpx.Client(trust_env=False, verify=False, timeout=5))
            return Servers(sandbox, client)

        yield started


@pytest.fixture
def servers(start: Start) -> Servers:
    return start()
