"""The loop's own way of looking names up."""

from __future__ import annotations

import asyncio
import socket

import pytest

from stcli.event_loop import run_loop


def test_a_name_is_looked_up() -> None:
    """As the operating system does it."""

    async def ask() -> list[object]:
        found = await asyncio.get_running_loop().getaddrinfo(
            "127.0.0.1", 80, type=socket.SOCK_STREAM
        )
        return [entry[4] for entry in found]

    assert run_loop(ask()) == [("127.0.0.1", 80)]


def test_a_name_that_there_is_not_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    """The error is that of the lookup."""

    def unknown(*_words: object, **_more: object) -> object:
        raise socket.gaierror(socket.EAI_NONAME, "Name or service not known")

    monkeypatch.setattr(socket, "getaddrinfo", unknown)

    async def ask() -> None:
        await asyncio.get_running_loop().getaddrinfo("nosuch.invalid", 80)

    with pytest.raises(socket.gaierror, match="not known"):
        run_loop(ask())
