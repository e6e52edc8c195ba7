"""What the route groups of the ServiceTitan server share: whose data, and how a feed is answered."""

from collections.abc import Callable
from datetime import timedelta
from typing import Any

from stcli.sandbox.calls import Answer, Call, Refusal
from stcli.sandbox.feed import ChangeFeed, UnknownPosition
from stcli.sandbox.tenant import Tenant
from stcli.sandbox.validation import INVALID, Query
from stcli.sandbox.world import World

DATED_FIELDS = {"Id": "id", "ModifiedOn": "modified_on", "CreatedOn": "created_on"}


class Routes:
    """A group of routes over one world. Callers were admitted before a handler runs."""

    def __init__(self, world: World) -> None:
        self.world = world

    def tenant(self, call: Call) -> Tenant:
        return self.world.tenants[int(call.params["tenant"])]

    def feed_page(
        self,
        call: Call,
        feed: ChangeFeed,
        show: Callable[[int], dict[str, Any]],
    ) -> Answer:
        query = Query(call.query)
        settings = self.world.settings
        settled = self.world.clock.now() - timedelta(seconds=settings.feed_lag_seconds)
        try:
            page = feed.read(
                call.query.get("from", ""),
                settled,
                settings.feed_page_size,
                recent=query.boolean("includeRecentChanges") or False,
            )
        except UnknownPosition as error:
            raise Refusal(400, INVALID, {"from": ["This is no position of this feed."]}) from error
        return Answer(
            200,
            {
                "hasMore": page.has_more,
                "continueFrom": page.continue_from,
                "data": [show(key) for key in page.keys],
            },
        )


def path_id(call: Call, name: str = "id") -> int:
    """A number in the path; anything else cannot be an id."""
    try:
        return int(call.params[name])
    except ValueError as error:
        raise Refusal(400, INVALID, {name: ["This must be a number."]}) from error


def not_found(what: str, number: int) -> Refusal:
    return Refusal(404, f"There is no {what} {number}.")
