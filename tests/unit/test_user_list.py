"""The user list is read to its end, and never in a circle."""

from __future__ import annotations

import asyncio
from dataclasses import replace

import pytest

from stcli.domain.ids import RfCampaignId, UserId
from stcli.domain.records import Person, PersonType, UserPage
from stcli.errors import UnexpectedAnswer
from stcli.usecases import user_list
from stcli.usecases.user_list import pages_from

ANN = Person(
    id=UserId(1),
    campaign_id=RfCampaignId(7),
    type=PersonType.LEAD,
    code="a",
    first_name="Ann",
    email="",
    url="",
    source="",
    referrer_id=None,
    signed_up_at=None,
    qualified_at=None,
    unsubscribed_at=None,
    promotion_code="",
    meta={},
)


def _page(number: int, *ids: int, has_next: bool = True) -> UserPage:
    people = tuple(replace(ANN, id=UserId(user)) for user in ids)
    return UserPage(people, number, number, 0, has_next)


def _read(pages: dict[int, UserPage], first: int = 1) -> list[int]:
    async def fetch(number: int) -> UserPage:
        return pages[number]

    async def read() -> list[int]:
        return [page.page async for page in pages_from(fetch, first)]

    return asyncio.run(read())


def test_it_ends_where_the_list_ends() -> None:
    """From the page that was asked for to the last."""
    pages = {1: _page(1, 9), 2: _page(2, 8), 3: _page(3, 7, has_next=False)}
    assert _read(pages) == [1, 2, 3]
    assert _read(pages, 3) == [3]


def test_an_empty_list_is_a_list() -> None:
    assert _read({1: _page(1, has_next=False)}) == [1]


@pytest.mark.parametrize(
    ("pages", "what"),
    [
        ({1: _page(1, 9, 8), 2: _page(2, 9, 8)}, "repeats itself"),
        ({1: _page(1, 9), 2: _page(2, 8), 3: _page(3, 9)}, "repeats itself"),
        ({1: _page(1, 9), 2: _page(2)}, "empty page"),
    ],
)
def test_a_list_without_an_end_is_refused(pages: dict[int, UserPage], what: str) -> None:
    """Whichever way it goes on."""
    with pytest.raises(UnexpectedAnswer, match=what):
        _read(pages)


def test_a_list_that_only_grows_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    """Always somebody new: beyond all that an account can hold."""
    monkeypatch.setattr(user_list, "MOST_PAGES", 3)
    with pytest.raises(UnexpectedAnswer, match="did not end"):
        _read({number: _page(number, number) for number in range(1, 9)})
