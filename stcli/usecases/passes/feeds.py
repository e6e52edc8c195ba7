"""Bringing a tenant's export feeds up to date, for whichever pass needs them."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine
from datetime import date, timedelta
from typing import Generic, TypeVar

from stcli.domain.records import FeedPage
from stcli.errors import (
    ConfigurationError,
    CredentialsRefused,
    RecordNotFound,
    RecordRejected,
    UnexpectedAnswer,
)
from stcli.store.engine import utc_instant, utc_text
from stcli.store.feeds import Cursor, Feed
from stcli.usecases.passes.context import PassContext

Record = TypeVar("Record")

LIST_MAY_LAG = timedelta(hours=1)
"""How far before its newest change the suppression list is read again, because a change may show
later than another that was made after it."""


async def bookings_up_to_date(context: PassContext, since: date | None) -> None:
    """Read the bookings feed to its end; it reaches back to ``since`` (None: to its beginning)."""
    feeds = context.state.feeds
    cursor = await _opened(context, Feed.BOOKINGS, since)
    await _catch_up(
        context,
        Feed.BOOKINGS,
        cursor,
        context.crm.bookings_feed,
        lambda asked, page: feeds.save_bookings(context.tenant, asked, page, context.now()),
    )


async def jobs_up_to_date(context: PassContext, since: date | None) -> None:
    """Read the jobs feed to its end; it reaches back to ``since``."""
    feeds = context.state.feeds
    cursor = await _opened(context, Feed.JOBS, since)
    await _catch_up(
        context,
        Feed.JOBS,
        cursor,
        context.crm.jobs_feed,
        lambda asked, page: feeds.save_jobs(context.tenant, asked, page, context.now()),
    )


async def history_up_to_date(context: PassContext, since: date) -> None:
    """Read the job-history feed to its end. It need not reach back: the whole history of a job is
    read once when the job becomes known as ours."""
    feeds = context.state.feeds
    cursor = await context.in_state(feeds.cursor, context.tenant, Feed.JOB_HISTORY)
    if cursor is None:
        cursor = await context.in_state(
            feeds.open, context.tenant, Feed.JOB_HISTORY, since, context.now()
        )
    await _catch_up(
        context,
        Feed.JOB_HISTORY,
        cursor,
        context.crm.job_history_feed,
        lambda asked, page: feeds.save_history(context.tenant, asked, page, context.now()),
    )


async def customers_up_to_date(context: PassContext) -> None:
    """Read the feeds of customers and of their contacts to their ends, from the very beginning at
    first. Customers first: a contact of somebody unknown waits for its customer."""
    customers = context.state.customers
    await _catch_up(
        context,
        Feed.CUSTOMERS,
        await _opened(context, Feed.CUSTOMERS, None),
        context.crm.customers_feed,
        lambda asked, page: customers.save_customers(context.tenant, asked, page, context.now()),
    )
    await _catch_up(
        context,
        Feed.CONTACTS,
        await _opened(context, Feed.CONTACTS, None),
        context.crm.contacts_feed,
        lambda asked, page: customers.save_contacts(context.tenant, asked, page, context.now()),
    )


async def customer_jobs_up_to_date(context: PassContext, since: date) -> None:
    """Read the jobs feed to its end for who had a job; it reaches back to ``since``."""
    await _catch_up(
        context,
        Feed.CUSTOMER_JOBS,
        await _opened(context, Feed.CUSTOMER_JOBS, since),
        context.crm.customer_jobs_feed,
        lambda asked, page: context.state.customers.save_customer_jobs(
            context.tenant, asked, page, context.now()
        ),
    )


async def suppressions_up_to_date(context: PassContext) -> None:
    """Read the suppression list, or what changed in it since it was read last.
    ``ConfigurationError``: the grant does not let us read it."""
    feeds, tenant = context.state.feeds, context.tenant
    cursor = await context.in_state(feeds.cursor, tenant, Feed.SUPPRESSIONS)
    if cursor is None:
        cursor = await context.in_state(feeds.open, tenant, Feed.SUPPRESSIONS, None, context.now())
    since = utc_instant(cursor.token) - LIST_MAY_LAG if cursor.token else None
    try:
        found = await context.crm.suppressions(since)
    except CredentialsRefused as error:
        if error.status != 403:
            raise
        raise ConfigurationError(
            "ServiceTitan does not let this app read the suppression list, so nobody can tell who "
            "asked for no marketing",
            "Have the app's grant include marketing suppressions (read); or, if you answer for it, "
            "write consent: {suppressions: ignore} into the campaign file.",
        ) from error
    newest = max((one.modified_on for one in found), default=None)
    mark = cursor.token if newest is None else max(cursor.token, utc_text(newest))
    await context.in_state(
        context.state.customers.save_suppressions,
        tenant,
        cursor.token,
        found,
        mark,
        context.now(),
    )


async def _opened(context: PassContext, feed: Feed, since: date | None) -> Cursor:
    """The feed's cursor; begun again where it does not reach back far enough."""
    feeds = context.state.feeds
    cursor = await context.in_state(feeds.cursor, context.tenant, feed)
    wanted = "" if since is None else since.isoformat()
    if cursor is None or (cursor.opened_from and wanted < cursor.opened_from):
        return await context.in_state(feeds.open, context.tenant, feed, since, context.now())
    return cursor


async def _catch_up(
    context: PassContext,
    feed: Feed,
    cursor: Cursor,
    fetch: Callable[[str], Coroutine[None, None, FeedPage[Record]]],
    save: Callable[[str, FeedPage[Record]], bool],
) -> None:
    ahead = _Ahead(fetch)
    try:
        await _read_to_the_end(context, feed, cursor, ahead, save)
    finally:
        ahead.drop()


async def _read_to_the_end(
    context: PassContext,
    feed: Feed,
    cursor: Cursor,
    ahead: _Ahead[Record],
    save: Callable[[str, FeedPage[Record]], bool],
) -> None:
    has_begun_again = False
    seen: set[str] = set()
    while True:
        context.stop.check()
        try:
            page = await ahead.page(cursor.token)
        except (RecordRejected, RecordNotFound):
            # The server no longer knows the token. Beginning again only repeats what is known.
            if has_begun_again or cursor.token == cursor.opened_from:
                raise
            has_begun_again = True
            since = date.fromisoformat(cursor.opened_from) if cursor.opened_from else None
            cursor = await context.in_state(
                context.state.feeds.open, context.tenant, feed, since, context.now()
            )
            continue
        if page.has_more:
            ahead.begin(page.token)
        is_saved = await context.in_state(save, cursor.token, page)
        context.progress.read(feed.value, len(page.records))
        if is_saved:
            if not page.has_more:
                return
            if page.token in seen:
                raise UnexpectedAnswer(
                    f"ServiceTitan's {feed.value} feed goes in a circle",
                    "Try again later; if it stays so, tell ServiceTitan's support.",
                )
            seen.add(page.token)
        # Saved, or moved on by another process: either way the stored cursor is the newest.
        stored = await context.in_state(context.state.feeds.cursor, context.tenant, feed)
        if stored is None:
            # Somebody reset it: begin where it began.
            since = date.fromisoformat(cursor.opened_from) if cursor.opened_from else None
            stored = await context.in_state(
                context.state.feeds.open, context.tenant, feed, since, context.now()
            )
            seen.clear()
        cursor = stored


class _Ahead(Generic[Record]):
    """Fetches the next page while the one before it is being stored."""

    def __init__(self, fetch: Callable[[str], Coroutine[None, None, FeedPage[Record]]]) -> None:
        self._fetch = fetch
        self._token = ""
        self._task: asyncio.Task[FeedPage[Record]] | None = None

    def begin(self, token: str) -> None:
        self._token = token
        self._task = asyncio.create_task(self._fetch(token))
        # Whether it failed is told to whoever asks for the page; nobody may.
        self._task.add_done_callback(lambda task: task.cancelled() or task.exception())

    async def page(self, token: str) -> FeedPage[Record]:
        """The page at a token; what was begun elsewhere, by a wrong guess, is dropped."""
        if self._task is not None and self._token == token:
            task, self._task = self._task, None
            return await task
        self.drop()
        return await self._fetch(token)

    def drop(self) -> None:
        if self._task is not None:
            self._task.cancel()
            self._task = None
