"""Servers that answer, but not what their documents promise: pages that repeat, fields that are new,
a position that is not known any more, a name that changes while it is read.
"""

import random
from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from stcli.sandbox.calls import Answer, Call
from stcli.sandbox.clock import parse_instant
from stcli.sandbox.world import World

REPEATED_RECORDS = 3

WRONG_JSON = {"data": "soon", "hasMore": "perhaps", "access_token": 7}
"""JSON, but of no shape that any route has."""


class Alterations:
    """What the alterations need to know of earlier answers."""

    def __init__(self, world: World) -> None:
        self._world = world
        self._random = random.Random(f"alterations-{world.settings.seed}")  # noqa: S311 - repeatable
        self._pages: dict[str, Answer] = {}

    def remember(self, call: Call, answer: Answer) -> None:
        """The newest page of each list, in case it is to be shown once more."""
        if call.method == "GET" and _records(answer) is not None:
            self._pages[call.path] = answer

    def prepared(self, alteration: str, call: Call) -> Call:
        """The call as the altered server takes it."""
        match alteration:
            case "expire_token":
                self._world.grants.revoke_tokens()
            case "rename_customer":
                self._rename_somebody()
            case "refuse_position" if _is_token(call.query.get("from", "")):
                return replace(call, query={**call.query, "from": "no position of this feed"})
        return call

    def altered(self, alteration: str, call: Call, answer: Answer) -> Answer:
        """The answer as the altered server gives it."""
        earlier = self._pages.get(call.path)
        match alteration:
            case "repeat_page" if earlier is not None and answer.status == 200:
                return earlier
            case "repeat_records" if earlier is not None and answer.status == 200:
                return _with_records(answer, (_records(earlier) or [])[-REPEATED_RECORDS:])
            case "unknown_field":
                return replace(answer, body=_with_news(answer.body))
        return answer

    def _rename_somebody(self) -> None:
        tenant = self._world.tenant
        if tenant.customers:
            customer = tenant.customers[self._random.choice(sorted(tenant.customers))]
            customer.name = f"{customer.name.split(' renamed')[0]} renamed"
            tenant.touch_customer(customer)


def _is_token(position: str) -> bool:
    try:
        parse_instant(position)
    except ValueError:
        return position != ""
    return False


def _records(answer: Answer) -> list[Any] | None:
    body = answer.body
    data = body.get("data") if isinstance(body, dict) else None
    return data if isinstance(data, list) else None


def _with_records(answer: Answer, more: list[Any]) -> Answer:
    known = _records(answer)
    if known is None:
        return answer
    return replace(answer, body={**answer.body, "data": [*more, *known]})


def _with_news(body: Any) -> Any:
    """The same with a property that no document names, in it and in each of its records."""
    if isinstance(body, Mapping):
        told = {key: _with_news(value) for key, value in body.items()}
        return {**told, "addedLastNight": {"reason": ["none", None, 1.5]}}
    if isinstance(body, list):
        return [_with_news(entry) for entry in body]
    return body
