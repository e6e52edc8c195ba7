"""Faults on demand: what goes wrong with chosen requests, and how often it did.

An outermost layer, so that a fault may strike before a request is handled, after it was handled and
committed, or instead of it. Kinds: ``status``, ``reset_before``, ``lose_answer``, ``delay``,
``late_commit``, ``truncate``, ``garbage``.
"""

from __future__ import annotations

import asyncio
from dataclasses import dataclass, field
from typing import Any

from starlette.types import ASGIApp, Message, Receive, Scope, Send

KINDS = (
    "status",
    "reset_before",
    "lose_answer",
    "delay",
    "late_commit",
    "truncate",
    "garbage",
)


@dataclass(slots=True)
class Fault:
    """Strikes requests whose method and path fit: the first ``times`` of them, each ``every``-th."""

    kind: str
    method: str = ""
    path: str = ""
    times: int = 1_000_000
    every: int = 1
    seconds: float = 0.0
    later_seconds: float = 0.0
    status: int = 503
    headers: dict[str, str] = field(default_factory=dict)
    body: str = ""
    content_type: str = "application/json"
    matched: int = 0
    applied: int = 0

    def strikes(self, method: str, path: str) -> bool:
        if self.method not in ("", method) or self.path not in path or self.applied >= self.times:
            return False
        self.matched += 1
        if self.matched % self.every:
            return False
        self.applied += 1
        return True


class FaultLayer:
    """An ASGI application around another one."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app
        self.faults: list[Fault] = []
        self._later: set[asyncio.Task[None]] = set()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        fault = self._fault(scope)
        if fault is None:
            await self._app(scope, receive, send)
            return
        body = await _whole_body(receive)

        async def again() -> Message:
            return {"type": "http.request", "body": body, "more_body": False}

        await self._strike(fault, scope, again, send)

    def _fault(self, scope: Scope) -> Fault | None:
        if scope["type"] != "http" or scope["path"].startswith("/sandbox/"):
            return None
        for fault in self.faults:
            if fault.strikes(scope["method"], scope["path"]):
                return fault
        return None

    async def _strike(self, fault: Fault, scope: Scope, receive: Receive, send: Send) -> None:
        match fault.kind:
            case "status":
                await _answer(send, fault.status, fault.body, fault.content_type, fault.headers)
            case "garbage":
                await _answer(send, 200, "<<< not JSON", "application/json", {})
            case "delay":
                await asyncio.sleep(fault.seconds)
                await self._app(scope, receive, send)
            case "reset_before":
                await _drop(send)
            case "lose_answer":
                await self._app(scope, receive, _nowhere)
                await _drop(send)
            case "late_commit":
                await asyncio.sleep(fault.seconds)
                task = asyncio.create_task(self._commit_later(fault, scope, receive))
                self._later.add(task)
                task.add_done_callback(self._later.discard)
                await _drop(send)
            case "truncate":
                await self._app(scope, receive, _half(send))
                await _drop(send)

    async def _commit_later(self, fault: Fault, scope: Scope, receive: Receive) -> None:
        await asyncio.sleep(fault.later_seconds)
        await self._app(scope, receive, _nowhere)


async def _whole_body(receive: Receive) -> bytes:
    body = b""
    while True:
        message = await receive()
        body += bytes(message.get("body", b""))
        if not message.get("more_body", False):
            return body


async def _nowhere(_message: Message) -> None:
    return


def _half(send: Send) -> Send:
    async def half(message: Message) -> None:
        if message["type"] == "http.response.body":
            body = message.get("body", b"")
            message = {**message, "body": body[: len(body) // 2], "more_body": True}
        await send(message)

    return half


async def _answer(
    send: Send, status: int, body: str, content_type: str, headers: dict[str, str]
) -> None:
    content = body.encode()
    sent = {"content-type": content_type, "content-length": str(len(content))} | headers
    await send(
        {
            "type": "http.response.start",
            "status": status,
            "headers": [(name.lower().encode(), value.encode()) for name, value in sent.items()],
        }
    )
    await send({"type": "http.response.body", "body": content})


async def _drop(send: Send) -> None:
    """Cut the connection without an answer: uvicorn's own request object holds the transport."""
    cycle: Any = getattr(send, "__self__", None)
    cycle.transport.abort()
    for _ in range(100):
        if cycle.disconnected:
            return
        await asyncio.sleep(0.001)
