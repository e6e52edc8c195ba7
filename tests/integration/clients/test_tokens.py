"""Tokens are fetched once for all calls, all clients and all processes, and never left readable."""

from __future__ import annotations

import asyncio
import json
import os
import stat
import sys
from pathlib import Path

import pytest

from stcli.clients.servicetitan.token_cache import TokenCache
from stcli.domain.ids import BookingId
from stcli.domain.secret import Secret
from tests.integration.clients.clients_on import Waits, servicetitan
from tests.integration.clients.scripted_server import (
    TOKEN_PATH,
    Reply,
    Request,
    ScriptedServer,
    document,
    with_tokens,
)

OPEN_FILES = Path("/proc/self/fd")
GOOD = document({"id": 7, "createdOn": "2026-01-02T03:04:05Z"})


def good(_: Request) -> Reply:
    return GOOD


def files(folder: Path) -> list[Path]:
    """What is in ``folder``; nothing where there is none."""
    return sorted(folder.iterdir()) if folder.is_dir() else []


def tokens_asked(server: ScriptedServer) -> int:
    return len(server.requests) - len(server.calls)


def read_with_new_clients(
    folder: Path | None, count: int, *, waits: Waits | None = None, seconds_between: float = 0
) -> ScriptedServer:
    async def scenario() -> ScriptedServer:
        async with ScriptedServer(with_tokens(good)) as server:
            for _ in range(count):
                async with servicetitan(server.url, tokens_folder=folder, waits=waits) as client:
                    await client.booking(BookingId(7))
                if waits is not None:
                    waits.now += seconds_between
        return server

    return asyncio.run(scenario())


def test_next_process_uses_the_cached_token(tmp_path: Path) -> None:
    """A second client of the same grant asks for no token."""
    assert tokens_asked(read_with_new_clients(tmp_path / "tokens", 3)) == 1


def test_cache_is_private_and_named_by_a_hash(tmp_path: Path) -> None:
    """Mode 600 in a folder of mode 700; neither name nor content tells the secret."""
    folder = tmp_path / "tokens"
    read_with_new_clients(folder, 1)
    (file,) = folder.glob("*.json")
    assert stat.S_IMODE(file.stat().st_mode) == 0o600
    assert stat.S_IMODE(folder.stat().st_mode) == 0o700
    assert set(json.loads(file.read_text())) == {"access_token", "expires_at"}
    assert "cid.test" not in file.name
    assert "cs-secret-value" not in file.read_text()


def test_without_a_folder_nothing_is_kept(tmp_path: Path) -> None:
    """Finalize and doctor neither use nor leave a cached token."""
    before = set(tmp_path.rglob("*"))
    assert tokens_asked(read_with_new_clients(None, 2)) == 2
    assert set(tmp_path.rglob("*")) == before


@pytest.mark.parametrize(("seconds", "asked"), [(839, 1), (841, 2)])
def test_token_is_renewed_a_minute_before_its_end(tmp_path: Path, seconds: int, asked: int) -> None:
    """Of the 900 s the last 60 are not used."""
    server = read_with_new_clients(tmp_path, 2, waits=Waits(), seconds_between=seconds)
    assert tokens_asked(server) == asked


@pytest.mark.parametrize(
    "content",
    [
        "",
        "{",
        "[]",
        '{"access_token": 5, "expires_at": 1}',
        '{"access_token": "x"}',
        '{"access_token": "a b", "expires_at": 1e18}',
    ],
)
def test_damaged_cache_is_replaced(tmp_path: Path, content: str) -> None:
    """A file that is no token counts as none and is written anew."""

    async def scenario() -> int:
        async with ScriptedServer(with_tokens(good)) as server:
            cache = TokenCache(tmp_path, server.url, "cid.test", Secret("cs-secret-value"))
            cache._file.write_text(content)
            async with servicetitan(server.url, tokens_folder=tmp_path) as client:
                await client.booking(BookingId(7))
            assert cache.read() is not None
            return tokens_asked(server)

    assert asyncio.run(scenario()) == 1


def test_refused_cached_token_is_replaced_for_all(tmp_path: Path) -> None:
    """A 401 to a cached token fetches a new one and keeps it for the others."""

    def script(request: Request) -> Reply:
        stale = request.headers["authorization"] == "Bearer token-1"
        return document({}, 401) if stale else GOOD

    async def scenario() -> int:
        async with ScriptedServer(with_tokens(script)) as server:
            for _ in range(3):
                async with servicetitan(server.url, tokens_folder=tmp_path) as client:
                    await client.booking(BookingId(7))
            return tokens_asked(server)

    assert asyncio.run(scenario()) == 2


def test_forgotten_token_is_gone(tmp_path: Path) -> None:
    """Forgetting removes every file of the grant, and twice does no harm."""

    folder = tmp_path / "tokens"

    async def scenario() -> list[Path]:
        async with (
            ScriptedServer(with_tokens(good)) as server,
            servicetitan(server.url, tokens_folder=folder) as client,
        ):
            await client.booking(BookingId(7))
            kept = files(folder)
            client.forget_token()
            client.forget_token()
            return kept

    assert asyncio.run(scenario())
    assert files(folder) == []


def test_another_secret_has_another_token(tmp_path: Path) -> None:
    """Every part of a grant makes another file."""
    names = {
        TokenCache(tmp_path, url, client, Secret(secret))._file.name
        for url in ("https://a", "https://b")
        for client in ("c", "d")
        for secret in ("s", "t")
    }
    assert len(names) == 8


def test_short_lived_token_is_not_fetched_for_every_call() -> None:
    """A token that lives 40 s is used for half of that."""

    def script(request: Request) -> Reply:
        if request.path == TOKEN_PATH:
            return document({"access_token": "short", "expires_in": 40})
        return GOOD

    async def scenario() -> int:
        waits = Waits()
        async with (
            ScriptedServer(script) as server,
            servicetitan(server.url, waits=waits) as client,
        ):
            for _ in range(5):
                await client.booking(BookingId(7))
                waits.now += 6
            return tokens_asked(server)

    assert asyncio.run(scenario()) == 2


READER = """
import asyncio, sys, time
from pathlib import Path
from stcli.domain.ids import BookingId
from tests.integration.clients.clients_on import Waits, servicetitan

async def main():
    waits = Waits(now=time.time())
    async with servicetitan(sys.argv[1], tokens_folder=Path(sys.argv[2]), waits=waits) as client:
        await client.booking(BookingId(7))

asyncio.run(main())
"""


def test_processes_that_start_together_share_one_token(tmp_path: Path) -> None:
    """Of four processes one fetches while the others wait for its result."""
    root = Path(__file__).parents[3]

    def script(request: Request) -> Reply:
        if request.path == TOKEN_PATH:
            body = json.dumps({"access_token": "shared", "expires_in": 900}).encode()
            return Reply(200, body, delay_seconds=1.0)
        return GOOD

    async def scenario() -> tuple[list[int], int]:
        async with ScriptedServer(script) as server:
            readers = [
                await asyncio.create_subprocess_exec(
                    sys.executable,
                    "-c",
                    READER,
                    server.url,
                    str(tmp_path),
                    cwd=root,
                    env={**os.environ, "PYTHONPATH": str(root)},
                )
                for _ in range(4)
            ]
            codes = [await asyncio.wait_for(reader.wait(), 60) for reader in readers]
            return codes, tokens_asked(server)

    assert asyncio.run(scenario()) == ([0, 0, 0, 0], 1)


def test_waiting_for_the_lock_can_be_cancelled(tmp_path: Path) -> None:
    """Who gives up while another process fetches leaves no lock and no open file behind."""

    async def scenario() -> tuple[int, int]:
        cache = TokenCache(tmp_path, "https://a", "c", Secret("s"))
        async with cache.locked():
            waiting = asyncio.create_task(cache.locked().__aenter__())
            await asyncio.sleep(0.1)
            before = len(files(OPEN_FILES))
            waiting.cancel()
            await asyncio.gather(waiting, return_exceptions=True)
            after = len(files(OPEN_FILES))
        async with asyncio.timeout(1), cache.locked():
            return before, after

    before, after = asyncio.run(scenario())
    assert before == 0 or after < before  # 0: this platform does not list open files
