"""What passes between the network and the emulated servers: one call in, one answer out.

Handlers are plain functions of a call, so that a fault can run one now, later or not at all.
"""

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, Protocol

APP_KEY_PARAMETER = "servicetitanapplicationkey"


@dataclass(frozen=True, slots=True)
class Call:
    """One request, as far as the emulated servers look at it."""

    method: str
    path: str
    template: str
    params: Mapping[str, str]
    query: Mapping[str, str]
    headers: Mapping[str, str]
    body: bytes
    base_url: str

    def bearer(self) -> str | None:
        kind, _, token = self.headers.get("authorization", "").partition(" ")
        return token.strip() if kind.lower() == "bearer" and token.strip() else None

    def app_key(self) -> str | None:
        return self.headers.get("st-app-key") or self.query.get(APP_KEY_PARAMETER)


@dataclass(frozen=True, slots=True)
class Answer:
    """A status with a JSON body; `body=None` is an answer without one."""

    status: int
    body: Any = None
    headers: Mapping[str, str] = field(default_factory=dict)


class Refusal(Exception):
    """A handler's way to say no; each API words it in its own error body."""

    def __init__(
        self,
        status: int,
        title: str,
        errors: Mapping[str, list[str]] | None = None,
        headers: Mapping[str, str] | None = None,
    ) -> None:
        super().__init__(title)
        self.status = status
        self.title = title
        self.errors = dict(errors or {})
        self.headers = dict(headers or {})


Handler = Callable[[Call], Answer]


@dataclass(frozen=True, slots=True)
class Operation:
    """One method on one route, what it does, and the scope it asks for (ServiceTitan only)."""

    method: str
    template: str
    handle: Handler
    scope: str | None = None


class Api(Protocol):
    """One emulated server."""

    name: str
    prefix: str
    operations: tuple[Operation, ...]

    def admit(self, operation: Operation | None, call: Call) -> Answer | None:
        """Checks who calls and counts the call, once for each arrival; an answer is a refusal.

        An operation of None is a route that does not exist.
        """

    def perform(self, operation: Operation | None, call: Call) -> Answer:
        """What an admitted call does, whenever it comes to that."""

    def fault_body(self, status: int) -> dict[str, Any]:
        """The error body that a scripted failure of this server shows."""


def read_json_object(call: Call) -> dict[str, Any]:
    """The call's JSON object, or a 400 that says what is wrong with it."""
    try:
        found = json.loads(call.body)
    except ValueError as error:
        raise Refusal(400, "The body is not valid JSON.", {"": [str(error)]}) from error
    if not isinstance(found, dict):
        raise Refusal(400, "The body must be a JSON object.", {"": ["not an object"]})
    return found
