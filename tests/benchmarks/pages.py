"""A server that has nothing to do but send pages that a sandbox has made before: what reads them is
what takes the time."""

from __future__ import annotations

import asyncio
import multiprocessing
from collections.abc import Iterator
from contextlib import contextmanager
from multiprocessing.connection import Connection
from urllib.parse import parse_qs, urlsplit

import httpx
import msgspec

from stcli.sandbox.server import RunningSandbox
from stcli.sandbox.settings import SandboxSettings

FEEDS = ("export/customers", "export/customers/contacts")
PAGE = 5000


@contextmanager
def served_pages(customers: int) -> Iterator[tuple[str, int, int, int]]:
    """The address, the tenant, the number of records of both feeds together, and of different ones:
    a feed repeats what changed lately."""
    context = multiprocessing.get_context("spawn")
    here, there = context.Pipe()
    server = context.Process(target=_serve, args=(customers, there), daemon=True)
    server.start()
    try:
        yield here.recv()
    finally:
        server.terminate()
        server.join()


def _serve(customers: int, line: Connection) -> None:
    pages, *numbers = _made(customers)
    asyncio.run(_answer(pages, tuple(numbers), line))


def _made(customers: int) -> tuple[dict[tuple[str, str], bytes], int, int, int]:
    """Every page of both feeds, by its path and position."""
    settings = SandboxSettings(
        customers=customers,
        feed_page_size=PAGE,
        feed_lag_seconds=0.0,
        st_requests_per_window=10**9,
    )
    pages: dict[tuple[str, str], bytes] = {}
    records = 0
    different: set[tuple[str, int]] = set()
    with RunningSandbox(settings) as sandbox:
        known = sandbox.credentials
        with httpx.Client(trust_env=False, timeout=60) as client:
            token = client.post(
                f"{sandbox.st_auth_url}/connect/token",
                data={
                    "grant_type": "client_credentials",
                    "client_id": known.client_id,
                    "client_secret": known.client_secret,
                },
            ).json()["access_token"]
            headers = {"Authorization": f"Bearer {token}", "ST-App-Key": known.app_key}
            for feed in FEEDS:
                path, position, more = f"/crm/v2/tenant/{known.tenant_id}/{feed}", "", True
                while more:
                    query = {
                        "includeRecentChanges": "true",
                        **({"from": position} if position else {}),
                    }
                    answer = client.get(sandbox.st_api_url + path, params=query, headers=headers)
                    body = answer.raise_for_status().content
                    document = msgspec.json.decode(body)
                    pages[path, position] = body
                    records += len(document["data"])
                    different.update((feed, one["id"]) for one in document["data"])
                    position, more = document["continueFrom"], document["hasMore"]
    return pages, known.tenant_id, records, len(different)


async def _answer(
    pages: dict[tuple[str, str], bytes], numbers: tuple[int, ...], line: Connection
) -> None:
    async def answered(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while head := await _head(reader):
            request, length = head
            await reader.readexactly(length)
            method, target, _ = request.split(" ", 2)
            if method == "POST":
                body = b'{"access_token": "t", "expires_in": 900, "token_type": "Bearer"}'
            else:
                parts = urlsplit(target)
                body = pages[parts.path, parse_qs(parts.query).get("from", [""])[0]]
            writer.write(
                b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: %d\r\n\r\n"
                % len(body)
            )
            writer.write(body)
            await writer.drain()
        writer.close()

    server = await asyncio.start_server(answered, "127.0.0.1", 0)
    port = server.sockets[0].getsockname()[1]
    line.send((f"http://127.0.0.1:{port}", *numbers))
    await server.serve_forever()


async def _head(reader: asyncio.StreamReader) -> tuple[str, int] | None:
    """The first line of a request and the length of its body."""
    try:
        head = (await reader.readuntil(b"\r\n\r\n")).decode()
    except asyncio.IncompleteReadError:
        return None
    first, *fields = head.split("\r\n")
    lengths = [f.partition(":")[2] for f in fields if f.lower().startswith("content-length:")]
    return first, int(lengths[0]) if lengths else 0
