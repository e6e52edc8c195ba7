"""Counts requests by method and route, for tests of what a pass costs."""

from __future__ import annotations

from collections import Counter
from typing import Any

from starlette.types import ASGIApp, Receive, Scope, Send


class Traffic:
    """An ASGI layer; numbers and codes in a path are counted as one."""

    def __init__(self) -> None:
        self.counts: Counter[str] = Counter()

    def around(self, app: ASGIApp) -> ASGIApp:
        async def counted(scope: Scope, receive: Receive, send: Send) -> None:
            if scope["type"] == "http" and not scope["path"].startswith("/sandbox/"):
                self.counts[f"{scope['method']} {_template(scope)}"] += 1
            await app(scope, receive, send)

        return counted


def _template(scope: Any) -> str:
    parts = scope["path"].split("/")
    kept = []
    for before, part in zip(["", *parts], parts, strict=False):
        is_code = before in ("users", "campaigns") and part != "qualification"
        kept.append("{}" if part.isdigit() or is_code else part)
    return "/".join(kept)
