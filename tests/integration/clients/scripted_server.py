"""A small honest HTTP/1.1 server on loopback that answers as a test's script says, faults included.

It runs in the event loop of the test. The script gets every request and returns a reply; replies can
be late, cut off, reset or silent. What was asked is kept in ``requests``.
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from types import TracebackType
from typing import Any, Self
from urllib.parse import parse_qs, unquote, urlsplit

TOKEN_PATH = "/connect/token"


@dataclass(frozen=True)
class Request:
    method: str
    raw_path: str
    headers: Mapping[str, str]
    body: bytes

    @property
    def path(self) -> str:
        return unquote(urlsplit(self.raw_path).path)

    @property
    def query(self) -> dict[str, str]:
        return {name: values[0] for name, values in parse_qs(urlsplit(self.raw_path).query).items()}

    @property
    def json(self) -> Any:
        return json.loads(self.body)


@dataclass(frozen=True)
class Reply:
    """``fault``: "" answers; "reset" drops the connection before an answer; "cut" sends half of the
    body and closes; "silent" never answers."""

    status: int = 200
    body: bytes = b""
    headers: Mapping[str, str] = field(default_factory=dict)
    delay_seconds: float = 0.0
    fault: str = ""


def document(value: object, status: int = 200, **headers: str) -> Reply:
    """A JSON answer; underscores of header names stand for hyphens."""
    named = {name.replace("_", "-"): text for name, text in headers.items()}
    return Reply(status, json.dumps(value).encode(), {"Content-Type": "application/json", **named})


def page_of_html(status: int) -> Reply:
    """What a proxy answers in an outage."""
    return Reply(status, b"<html><body>Sorry</body></html>", {"Content-Type": "text/html"})


Script = Callable[[Request], Reply]


def in_turn(*replies: Reply) -> Script:
    """The replies one after the other; the last one for ever. Tokens are given besides."""
    left = list(replies)

    def script(_: Request) -> Reply:
        return left.pop(0) if len(left) > 1 else left[0]

    return with_tokens(script)


def with_tokens(script: Script) -> Script:
    """``script`` behind a token address that gives token-1, token-2 and so on."""
    given = 0

    def both(request: Request) -> Reply:
        nonlocal given
        if request.path != TOKEN_PATH:
            return script(request)
        given += 1
        return document({"access_token": f"token-{given}", "expires_in": 900})

    return both


class ScriptedServer:
    """Serves ``script`` between ``async with`` and its end."""

    def __init__(self, script: Script) -> None:
        self._script = script
        self.requests: list[Request] = []
        self.url = ""
        self._server: asyncio.Server | None = None
        self._writers: set[asyncio.StreamWriter] = set()
        self._tasks: set[asyncio.Task[None]] = set()

    @property
    def calls(self) -> list[Request]:
        """The requests other than those for tokens."""
        return [request for request in self.requests if request.path != TOKEN_PATH]

    async def __aenter__(self) -> Self:
        self._server = await asyncio.start_server(self._connected, "127.0.0.1", 0)
        port = self._server.sockets[0].getsockname()[1]
        self.url = f"http://127.0.0.1:{port}"
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        assert self._server is not None
        self._server.close()
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        for writer in self._writers:
            writer.transport.abort()

    async def _connected(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        self._tasks.add(task)
        self._writers.add(writer)
        try:
            while await self._serve_one(reader, writer):
                pass
        except (asyncio.IncompleteReadError, ConnectionError, asyncio.CancelledError):
            pass
        finally:
            self._tasks.discard(task)
            writer.transport.abort()

    async def _serve_one(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> bool:
        head = (await reader.readuntil(b"\r\n\r\n")).decode("latin-1").split("\r\n")
        method, raw_path, _ = head[0].split(" ", 2)
        pairs = (line.split(":", 1) for line in head[1:] if line)
        headers = {name.strip().lower(): value.strip() for name, value in pairs}
        body = await reader.readexactly(int(headers.get("content-length", "0")))
        request = Request(method, raw_path, headers, body)
        self.requests.append(request)
        reply = self._script(request)
        await asyncio.sleep(reply.delay_seconds)
        if reply.fault == "silent":
            await asyncio.sleep(3600)
        if reply.fault == "reset":
            return False
        lines = [f"HTTP/1.1 {reply.status} Scripted", f"Content-Length: {len(reply.body)}"]
        lines += [f"{name}: {value}" for name, value in reply.headers.items()]
        writer.write("\r\n".join([*lines, "", ""]).encode())
        cut = reply.fault == "cut"
        writer.write(reply.body[: len(reply.body) // 2] if cut else reply.body)
        await writer.drain()
        return not cut
