"""The ServiceTitan server: who may call, how often, and the error body that refusals take.

The routes themselves are in `servicetitan_bookings`, `_jobs`, `_customers` and `_lists`.
"""

import random
from typing import Any

from stcli.sandbox.calls import Answer, Call, Operation, Refusal
from stcli.sandbox.grants import Grant
from stcli.sandbox.limits import SlidingWindow, retry_after
from stcli.sandbox.servicetitan_bookings import BookingRoutes
from stcli.sandbox.servicetitan_customers import CustomerRoutes
from stcli.sandbox.servicetitan_jobs import JobRoutes
from stcli.sandbox.servicetitan_lists import ListRoutes
from stcli.sandbox.world import World

TITLES = {
    409: "The tenant is suspended for maintenance.",
    429: "Too many requests.",
    500: "Something went wrong on the server.",
    502: "Bad gateway.",
    503: "The service is not available.",
    504: "The server did not answer in time.",
}


class ServiceTitanApi:
    """Order of the checks: app key, token, tenant, rate, scope, then the request itself."""

    name = "st"
    prefix = "/st"

    def __init__(self, world: World) -> None:
        self._world = world
        self._windows: dict[tuple[str, int], SlidingWindow] = {}
        self._random = random.Random(f"traces-{world.settings.seed}")  # noqa: S311 - repeatable
        self.operations: tuple[Operation, ...] = (
            *BookingRoutes(world).operations(),
            *JobRoutes(world).operations(),
            *CustomerRoutes(world).operations(),
            *ListRoutes(world).operations(),
        )

    def admit(self, operation: Operation | None, call: Call) -> Answer | None:
        if operation is None:
            return None
        try:
            self._admit(operation, call)
        except Refusal as refusal:
            return self._refused(refusal)
        return None

    def perform(self, operation: Operation | None, call: Call) -> Answer:
        handle = _nothing_here if operation is None else operation.handle
        try:
            return handle(call)
        except Refusal as refusal:
            return self._refused(refusal)

    def _refused(self, refusal: Refusal) -> Answer:
        body = self._problem(refusal.status, refusal.title, refusal.errors)
        return Answer(refusal.status, body, refusal.headers)

    def fault_body(self, status: int) -> dict[str, Any]:
        return self._problem(status, TITLES.get(status, "The request failed."), {})

    def _admit(self, operation: Operation, call: Call) -> None:
        key = call.app_key()
        if key is None or key not in self._world.grants.app_keys:
            raise Refusal(401, "Unauthorized: the application key is missing or not known.")
        grant = self._world.grants.grant_of(call.bearer())
        if grant is None:
            raise Refusal(401, "Unauthorized: the access token is missing, not known or expired.")
        tenant_id = self._tenant_of(call, grant)
        self._take_slot(key, tenant_id)
        if operation.scope is not None and operation.scope not in grant.scopes:
            raise Refusal(403, f"Forbidden: the app was not given the scope {operation.scope}.")

    def _tenant_of(self, call: Call, grant: Grant) -> int:
        try:
            tenant_id = int(call.params["tenant"])
        except ValueError as error:
            raise Refusal(
                400, "The tenant must be a number.", {"tenant": ["not a number"]}
            ) from error
        if (
            grant.tenant_id != tenant_id
            or not grant.granted
            or tenant_id not in self._world.tenants
        ):
            raise Refusal(403, "Forbidden: the app has no access to this tenant.")
        return tenant_id

    def _take_slot(self, key: str, tenant_id: int) -> None:
        settings = self._world.settings
        window = self._windows.get((key, tenant_id))
        if window is None:
            window = SlidingWindow(settings.st_requests_per_window, settings.st_window_seconds)
            self._windows[key, tenant_id] = window
        wait = window.admit(self._world.clock.seconds())
        if wait is not None:
            headers = {"Retry-After": retry_after(wait, settings.retry_after)}
            raise Refusal(429, TITLES[429], headers=headers)

    def _problem(self, status: int, title: str, errors: dict[str, list[str]]) -> dict[str, Any]:
        return {
            "type": "about:blank",
            "title": title,
            "status": status,
            "traceId": f"00-{self._random.getrandbits(128):032x}-{self._random.getrandbits(64):016x}-00",
            "errors": errors,
            "data": {},
        }


def _nothing_here(call: Call) -> Answer:
    raise Refusal(404, f"There is nothing under {call.path}.")
