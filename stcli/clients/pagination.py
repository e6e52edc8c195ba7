"""Reading lists to their end, without going in circles.

A server that repeats itself would otherwise keep a pass busy for ever and fill the memory.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from typing import TypeVar

from stcli.errors import UnexpectedAnswer

Record = TypeVar("Record")

FetchPage = Callable[[int], Awaitable[tuple[Sequence[Record], bool]]]
"""From a page number, counted from 1, to its records and whether there are more behind them."""


async def all_pages(fetch: FetchPage[Record], what: str, *, most_pages: int = 1000) -> list[Record]:
    """The records of all pages. ``UnexpectedAnswer``: a page that repeats the one before while
    there is said to be more, or no end within ``most_pages``."""
    records: list[Record] = []
    before: Sequence[Record] | None = None
    for number in range(1, most_pages + 1):
        page, has_more = await fetch(number)
        records.extend(page)
        if not has_more:
            return records
        if before is not None and list(page) == list(before):
            raise _circle(what)
        before = page
    raise UnexpectedAnswer(
        f"{what} did not end within {most_pages} pages",
        "Tell the support of that system; nothing of the list was used.",
    )


def next_position(position: str, token: str | None, has_more: bool, what: str) -> str:
    """Where an export feed goes on; ``UnexpectedAnswer`` where it promises more but stays.

    Without a token at the feed's end the position stays, so that the feed is not read anew.
    """
    if has_more and (not token or token == position):
        raise _circle(what)
    return token or position


def _circle(what: str) -> UnexpectedAnswer:
    return UnexpectedAnswer(
        f"{what} goes in a circle: the server repeats itself and promises more",
        "Run again later; if it stays so, tell the support of that system.",
    )
