"""Reading Referral Factory's user list as seldom and as little as its API allows.

The list holds all campaigns of the account, has no filter, and nothing tells what changed. So one
read serves every pass and campaign of a run; a complete read happens once a day, and in between only
the end at which new people appear is read. Which end that is, is seen in the last complete read. Of
several processes, on whatever hosts, one reads it whole; the others wait and have it too.
"""

from __future__ import annotations

import logging
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import ExitStack, asynccontextmanager
from dataclasses import replace
from datetime import datetime, timedelta

from stcli.domain.ids import UserId
from stcli.domain.records import Person, UserPage
from stcli.errors import Locked
from stcli.store.locks import Locks
from stcli.store.people import CompleteRead, People
from stcli.usecases.passes.concurrency import StateThread, StopSignal
from stcli.usecases.ports import ReferralGateway
from stcli.usecases.user_list import pages_from

COMPLETE_EVERY = timedelta(days=1)
WAIT_SECONDS = 2.0
"""How often it is looked whether another process has read the list to its end."""


log = logging.getLogger("stcli.passes")


class PeopleReader:
    """Brings the known people up to date, at most once in its life."""

    def __init__(
        self,
        referral: ReferralGateway,
        people: People,
        account: str,
        in_state: StateThread,
        stop: StopSignal,
        now: Callable[[], datetime],
        locks: Locks,
        counts_max_age: timedelta | None = None,
    ) -> None:
        """``counts_max_age``: how old everybody's number of referrals may be; None: not needed."""
        self._counts_max_age = counts_max_age
        self._referral = referral
        self._people = people
        self._account = account
        self._in_state = in_state
        self._stop = stop
        self._now = now
        self._locks = locks
        self._is_fresh = False
        self._is_complete = False
        self._unreadable: dict[str, None] = {}

    def take_unreadable(self) -> list[str]:
        """Users whose entry could not be read since this was asked last, by number."""
        taken, self._unreadable = list(self._unreadable), {}
        return taken

    async def refresh(self, *, completely: bool = False) -> None:
        """Read what may be new, or everybody; does nothing when this run has read it already."""
        if self._is_complete or (self._is_fresh and not completely):
            return
        asked = self._now()
        last = await self._in_state(self._people.complete_read, self._account)
        if last is None or completely or self._is_old(last):
            async with self._alone():
                last = await self._in_state(self._people.complete_read, self._account)
                if last is None or self._is_old(last) or (completely and last.completed_at < asked):
                    await self._read_all(last)
            self._is_complete = True
        else:
            await self._read_newest(last)
        self._is_fresh = True

    @asynccontextmanager
    async def _alone(self) -> AsyncIterator[None]:
        """While no other process reads the list whole."""
        name = f"user list of the {self._account}"
        with ExitStack() as held:
            while True:
                try:
                    held.enter_context(self._locks.hold(name, "reading"))
                except Locked as locked:
                    log.info("%s", locked)
                    if await self._stop.wait(WAIT_SECONDS):
                        self._stop.check()
                else:
                    break
            yield

    async def look_again(self) -> None:
        """Read the end at which new people appear once more, for what was just written."""
        last = await self._in_state(self._people.complete_read, self._account)
        if last is not None:
            await self._read_newest(last)

    def _is_old(self, last: CompleteRead) -> bool:
        now, counts = self._now(), self._counts_max_age
        if not timedelta(0) <= now - last.completed_at < COMPLETE_EVERY:
            return True
        if counts is None:
            return False
        return last.counts_at is None or not timedelta(0) <= now - last.counts_at < counts

    async def _read_newest(self, last: CompleteRead) -> None:
        if last.newest_first:
            await self._read_from_the_front()
        else:
            await self._read_from_the_back(last)

    async def _page(self, number: int, *, with_counts: bool = False) -> UserPage:
        self._stop.check()
        page = await self._referral.users_page(number, with_counts=with_counts)
        self._unreadable.update(dict.fromkeys(page.unreadable))
        return page

    async def _read_all(self, before: CompleteRead | None) -> None:
        started = self._now()
        with_counts = self._counts_max_age is not None
        counts_at = started if with_counts else None if before is None else before.counts_at
        number, highest, first, last = 0, 0, 0, 0
        async for page in pages_from(lambda page: self._page(page, with_counts=with_counts)):
            number += 1
            await self._in_state(self._people.save, page.people)
            if page.people:
                first = first or page.people[0].id
                last = page.people[-1].id
                highest = max(highest, *(person.id for person in page.people))
        await self._in_state(
            self._people.remember_read,
            self._account,
            CompleteRead(
                self._now(),
                newest_first=first > last,
                last_page=number,
                highest_id=highest,
                counts_at=counts_at,
            ),
        )

    async def _read_from_the_front(self) -> None:
        """Until somebody appears whom the list has shown before. Nobody counts as shown before this
        has come so far: a read that is cut short would hide who stands behind its pages."""
        shown: list[UserId] = []
        async for page in pages_from(self._page):
            ids = [person.id for person in page.people]
            met_known = bool(await self._in_state(self._people.known, ids))
            await self._in_state(self._people.save, page.people, listed=False)
            shown += ids
            if met_known:
                break
        await self._in_state(self._people.mark_listed, shown)

    async def _read_from_the_back(self, last: CompleteRead) -> None:
        """From the page that was last, to the end; then backwards until somebody known appears,
        because deleted users move everyone behind them forward."""
        page = await self._page(last.last_page)
        if not page.people and page.last_page < last.last_page:
            page = await self._page(max(page.last_page, 1))
        start, number = page.page, page.page
        met_known = await self._keep(page.people)
        if page.has_next:
            async for behind in pages_from(self._page, number + 1):
                number += 1
                await self._keep(behind.people)
        while not met_known and start > 1:
            start -= 1
            met_known = await self._keep((await self._page(start)).people)
        if number != last.last_page:
            await self._in_state(
                self._people.remember_read,
                self._account,
                replace(last, last_page=number),
            )

    async def _keep(self, people: Sequence[Person]) -> bool:
        """Save these; whether any of them was known before."""
        known = await self._in_state(self._people.known, [person.id for person in people])
        await self._in_state(self._people.save, people)
        return bool(known)
