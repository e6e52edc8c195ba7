"""The way of a request: read it, count it, let a fault have it, answer it.

A dropped connection is a real one: the socket is closed (or reset) under the server, so that a
client sees what it would see of a dying server, and nothing is logged here.
"""

import asyncio
import logging
import math
import os
import random
import socket
import struct
from collections.abc import Callable
from typing import Any
from urllib.parse import parse_qsl

import msgspec
from starlette.types import ASGIApp, Receive, Scope, Send

from stcli.sandbox.alterations import WRONG_JSON, Alterations
from stcli.sandbox.calls import Answer, Api, Call, Operation
from stcli.sandbox.faults import GARBAGE_BODY, HTML_BODY, Fault
from stcli.sandbox.settings import SandboxSettings
from stcli.sandbox.traffic import DROPPED
from stcli.sandbox.world import World

TRANSPORT_KEY = "sandbox.transport"
JSON_TYPE = "application/json; charset=utf-8"
_log = logging.getLogger(__name__)
_encode = msgspec.json.Encoder().encode


P98 = 2.0537489
"""The point of the standard normal distribution that two of a hundred lie above."""


class Latency:
    """How long each answer takes, drawn from the settings' log-normal distribution."""

    def __init__(self, settings: SandboxSettings) -> None:
        self._median = settings.latency_median_seconds
        self._longest = settings.latency_longest_seconds
        # Sample data, no protection.
        self._source = random.Random(f"latency-{settings.seed}")  # noqa: S311 - as said above
        high = settings.latency_p98_seconds
        self._spread = math.log(high / self._median) / P98 if self._median and high else 0.0

    def seconds(self) -> float:
        """The time of the next answer, in seconds."""
        if not self._median:
            return 0.0
        drawn = self._median * math.exp(self._spread * self._source.gauss(0.0, 1.0))
        return min(drawn, self._longest)


class Gateway:
    """Carries calls to one emulated server after the other; owns what is still to be committed."""

    def __init__(self, world: World) -> None:
        self._world = world
        self._late: set[asyncio.Task[None]] = set()
        self._alterations = Alterations(world)
        self._latency = Latency(world.settings)

    def endpoint(self, api: Api, operation: Operation | None) -> ASGIApp:
        """The ASGI application behind one route; None is for routes that do not exist."""
        return _Endpoint(self, api, operation)

    async def carry(
        self, api: Api, operation: Operation | None, call: Call, exchange: "Exchange"
    ) -> None:
        world = self._world
        if api.name == "control":
            await exchange.answer(self._serve(api, operation, call))
            return
        with world.lock:
            world.traffic.arrived(api.name, call, _window_key(call))
            fault = world.faults.take(api.name, call)
            if fault is None:
                answer = self._serve(api, operation, call)
                self._alterations.remember(call, answer)
                world.traffic.answered(api.name, call, answer.status, None)
        if fault is None:
            if seconds := self._latency.seconds():
                await asyncio.sleep(seconds)
            await exchange.answer(answer)
            return
        status = await self._suffer(fault, api, operation, call, exchange)
        with world.lock:
            world.traffic.answered(api.name, call, status, fault.kind)

    async def _suffer(
        self,
        fault: Fault,
        api: Api,
        operation: Operation | None,
        call: Call,
        exchange: "Exchange",
    ) -> int:
        course = fault.course
        answer = Answer(fault.status, api.fault_body(fault.status), fault.answer_headers())
        if course.alteration:
            with self._world.lock:
                call = self._alterations.prepared(course.alteration, call)
                answer = self._alterations.altered(
                    course.alteration, call, self._serve(api, operation, call)
                )
        elif course.effect == "at_once" or (course.effect == "as_asked" and fault.commit):
            done = self._serve(api, operation, call)
            if course.ending in ("answer", "truncate"):
                answer = done
        elif course.effect == "late":
            self._commit_later(fault, api, operation, call)
        if fault.seconds:
            await asyncio.sleep(fault.seconds)
        match course.ending:
            case "answer":
                await exchange.answer(answer)
            case "status":
                await exchange.answer(answer, raw={"html": HTML_BODY, "empty": b""}.get(fault.body))
            case "garbage":
                await exchange.answer(Answer(200), raw=GARBAGE_BODY)
                return 200
            case "wrong" | "error":
                body = WRONG_JSON if course.ending == "wrong" else api.fault_body(500)
                await exchange.answer(Answer(200, body))
                return 200
            case "truncate":
                await exchange.truncate(answer, reset=fault.reset)
                return DROPPED
            case "drop":
                await exchange.drop(reset=fault.reset or fault.kind == "reset_before")
                return DROPPED
        return answer.status

    def _commit_later(
        self, fault: Fault, api: Api, operation: Operation | None, call: Call
    ) -> None:
        """The call is admitted now, when it arrives: limits count arrivals, not what they cause."""
        with self._world.lock:
            refused = api.admit(operation, call) is not None
        if not refused:
            task = asyncio.create_task(self._commit_late(fault, api, operation, call))
            self._late.add(task)
            task.add_done_callback(self._late.discard)

    async def _commit_late(
        self, fault: Fault, api: Api, operation: Operation | None, call: Call
    ) -> None:
        await asyncio.sleep(fault.seconds + fault.commit_after_seconds)
        self._guarded(call, lambda: api.perform(operation, call))

    def _serve(self, api: Api, operation: Operation | None, call: Call) -> Answer:
        return self._guarded(
            call, lambda: api.admit(operation, call) or api.perform(operation, call)
        )

    def _guarded(self, call: Call, act: Callable[[], Answer]) -> Answer:
        try:
            with self._world.lock:
                return act()
        except Exception:  # noqa: BLE001 - a defect of the sandbox must show, not end it
            self._world.traffic.defects += 1
            _log.exception("the sandbox failed to answer %s %s", call.method, call.path)
            return Answer(500, {"sandbox_defect": f"{call.method} {call.template}"})


class _Endpoint:
    # A class, because Starlette takes a function for a handler of its own requests.
    def __init__(self, gateway: Gateway, api: Api, operation: Operation | None) -> None:
        self._gateway = gateway
        self._api = api
        self._operation = operation

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        body = await _read_body(receive)
        if body is not None:
            call = _call(self._api, self._operation, scope, body)
            exchange = Exchange(scope, receive, send)
            await self._gateway.carry(self._api, self._operation, call, exchange)


class Exchange:
    """The network's side of one request: an answer, half of one, or none."""

    def __init__(self, scope: Scope, receive: Receive, send: Send) -> None:
        self._transport: Any = scope.get(TRANSPORT_KEY)
        self._receive = receive
        self._send = send

    async def answer(self, answer: Answer, raw: bytes | None = None) -> None:
        body = _body(answer) if raw is None else raw
        await self._start(answer, body, "text/html" if raw is not None else JSON_TYPE)
        await self._send({"type": "http.response.body", "body": body})

    async def truncate(self, answer: Answer, *, reset: bool) -> None:
        """Announces the whole body, sends half of it, and hangs up once that has left; or resets the
        connection at once."""
        body = _body(answer)
        await self._start(answer, body, JSON_TYPE)
        half = body[: len(body) // 2]
        await self._send({"type": "http.response.body", "body": half, "more_body": True})
        if reset:
            await self.drop(reset=True)
            return
        self._transport.close()
        await self._until_disconnected()

    async def drop(self, *, reset: bool) -> None:
        if reset:
            connection = self._transport.get_extra_info("socket")
            linger_not = struct.pack("hh" if os.name == "nt" else "ii", 1, 0)
            connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, linger_not)
        self._transport.abort()
        await self._until_disconnected()

    async def _start(self, answer: Answer, body: bytes, content_type: str) -> None:
        headers = [(b"content-length", str(len(body)).encode())]
        if body:
            headers.append((b"content-type", content_type.encode()))
        headers.extend((k.lower().encode(), v.encode()) for k, v in answer.headers.items())
        await self._send(
            {"type": "http.response.start", "status": answer.status, "headers": headers}
        )

    async def _until_disconnected(self) -> None:
        # uvicorn complains about an application that returns without an answer, unless it knows
        # that nobody waits for one any more.
        while (await self._receive())["type"] != "http.disconnect":
            pass


def _body(answer: Answer) -> bytes:
    return b"" if answer.body is None else _encode(answer.body)


async def _read_body(receive: Receive) -> bytes | None:
    """The whole body, or None when the client left before it was sent."""
    chunks = []
    while True:
        message = await receive()
        if message["type"] == "http.disconnect":
            return None
        chunks.append(message.get("body", b""))
        if not message.get("more_body", False):
            return b"".join(chunks)


def _call(api: Api, operation: Operation | None, scope: Scope, body: bytes) -> Call:
    headers = {name.decode("latin-1"): value.decode("latin-1") for name, value in scope["headers"]}
    path: str = scope["path"]
    return Call(
        method=scope["method"],
        path=path.removeprefix(api.prefix),
        template="(unknown)" if operation is None else operation.template,
        params=scope.get("path_params", {}),
        query=dict(parse_qsl(scope["query_string"].decode("latin-1"), keep_blank_values=True)),
        headers=headers,
        body=body,
        base_url=f"{scope['scheme']}://{headers.get('host', '127.0.0.1')}{api.prefix}",
    )


def _window_key(call: Call) -> tuple[str | None, str | None]:
    """What a limit is counted by; a client's own key, never written anywhere."""
    return call.app_key(), call.params.get("tenant")
