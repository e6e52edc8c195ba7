"""Bringing a tenant's export feeds up to date, for whichever pass needs them."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from datetime import date
from typing import TypeVar

from stcli.domain.records import FeedPage
from stcli.errors import RecordRejected, UnexpectedAnswer
from stcli.store.feeds import Cursor, Feed
from stcli.usecases.passes.context import PassContext

Record = TypeVar("Record")


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
    fetch: Callable[[str], Awaitable[FeedPage[Record]]],
    save: Callable[[str, FeedPage[Record]], bool],
) -> None:
    has_begun_again = False
    seen: set[str] = set()
    while True:
        context.stop.check()
        try:
            page = await fetch(cursor.token)
        except RecordRejected:
            # The server no longer knows the token. Beginning again only repeats what is known.
            if has_begun_again or cursor.token == cursor.opened_from:
                raise
            has_begun_again = True
            since = date.fromisoformat(cursor.opened_from) if cursor.opened_from else None
            cursor = await context.in_state(
                context.state.feeds.open, context.tenant, feed, since, context.now()
            )
            continue
        if await context.in_state(save, cursor.token, page):
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
        cursor = stored or cursor
