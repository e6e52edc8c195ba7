"""Referral Factory's user list, page by page, to its end and never in a circle."""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable

from stcli.domain.ids import UserId
from stcli.domain.records import UserPage
from stcli.errors import UnexpectedAnswer

MOST_PAGES = 100_000
"""25 million users, which takes hours at the account's limit: beyond this a list has no end."""


async def pages_from(
    fetch: Callable[[int], Awaitable[UserPage]], first: int = 1
) -> AsyncIterator[UserPage]:
    """The pages from number ``first`` to the last. ``UnexpectedAnswer``: a page begins as an earlier
    one did while there is said to be more, one is empty in the middle, or there is no end."""
    begun: set[UserId] = set()
    for number in range(first, first + MOST_PAGES):
        page = await fetch(number)
        yield page
        if not page.has_next:
            return
        if not page.people:
            raise _endless("goes on after an empty page")
        if page.people[0].id in begun:
            raise _endless("repeats itself and promises more")
        begun.add(page.people[0].id)
    raise _endless(f"did not end within {MOST_PAGES} pages")


def _endless(what: str) -> UnexpectedAnswer:
    return UnexpectedAnswer(
        f"Referral Factory's user list {what}",
        "Run again later; if it stays so, tell that system's support.",
    )
