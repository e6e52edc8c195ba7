"""The token endpoint of ServiceTitan: client credentials in, a short-lived access token out."""

from typing import Any
from urllib.parse import parse_qs

from stcli.sandbox.calls import Answer, Call, Operation
from stcli.sandbox.limits import SlidingWindow, retry_after
from stcli.sandbox.world import World


class TokenApi:
    """Errors are OAuth's: 400 with `error`; too many requests of one client are 429."""

    name = "auth"
    prefix = "/auth"

    def __init__(self, world: World) -> None:
        self._world = world
        self._windows: dict[str, SlidingWindow] = {}
        self.operations: tuple[Operation, ...] = (Operation("POST", "/connect/token", self._token),)

    def admit(self, operation: Operation | None, call: Call) -> Answer | None:
        if operation is None:
            return None
        client_id = _form(call).get("client_id", "")
        wait = self._window(client_id).admit(self._world.clock.seconds())
        if wait is None:
            return None
        headers = {"Retry-After": retry_after(wait, self._world.settings.retry_after)}
        return Answer(429, {"error": "slow_down"}, headers)

    def perform(self, operation: Operation | None, call: Call) -> Answer:
        return Answer(404) if operation is None else operation.handle(call)

    def fault_body(self, status: int) -> dict[str, Any]:
        if status in (400, 401):
            # As after the tenant has revoked the secret.
            return {"error": "invalid_client"}
        return {"error": "server_error" if status >= 500 else "temporarily_unavailable"}

    def _token(self, call: Call) -> Answer:
        form = _form(call)
        client_id = form.get("client_id", "")
        kind = call.headers.get("content-type", "").partition(";")[0].strip().lower()
        if kind != "application/x-www-form-urlencoded":
            return Answer(400, {"error": "invalid_request"})
        if form.get("grant_type") != "client_credentials":
            return Answer(400, {"error": "unsupported_grant_type"})
        token = self._world.grants.issue(client_id, form.get("client_secret", ""))
        if token is None:
            return Answer(400, {"error": "invalid_client"})
        return Answer(
            200,
            {
                "access_token": token.value,
                "expires_in": self._world.settings.token_lifetime_seconds,
                "token_type": "Bearer",
                "scope": " ".join(sorted(self._world.grants.grants[client_id].scopes)),
            },
            {"Cache-Control": "no-store"},
        )

    def _window(self, client_id: str) -> SlidingWindow:
        settings = self._world.settings
        return self._windows.setdefault(
            client_id,
            SlidingWindow(settings.token_requests_per_window, settings.token_window_seconds),
        )


def _form(call: Call) -> dict[str, str]:
    return {name: found[0] for name, found in parse_qs(call.body.decode("latin-1")).items()}
