"""Customers, suppressions and custom fields of ServiceTitan over real HTTP that misbehaves."""

from __future__ import annotations

import asyncio
from datetime import UTC, datetime
from typing import Any

import pytest

from stcli.clients.servicetitan.client import LARGEST_PAGE, ServiceTitanClient
from stcli.domain.ids import CustomerId
from stcli.domain.records import Customer
from stcli.errors import (
    CredentialsRefused,
    NoAnswer,
    RecordNotFound,
    RecordRejected,
    Unavailable,
    UnexpectedAnswer,
)
from tests.integration.clients.clients_on import NoLimit, Waits, ask_servicetitan, servicetitan
from tests.integration.clients.scripted_server import (
    Reply,
    Request,
    ScriptedServer,
    document,
    in_turn,
    page_of_html,
    with_tokens,
)

TIME = "2026-01-02T03:04:05Z"
CUSTOMER = {
    "id": 9,
    "active": True,
    "name": "Lovelace, Ada",
    "createdOn": TIME,
    "customFields": [{"typeId": 11, "value": "link"}],
}
GOOD = document(CUSTOMER)
DENIED = document({"title": "Scope is missing", "traceId": "00-1"}, 403)


async def write(client: ServiceTitanClient) -> Customer:
    return await client.update_custom_fields(CustomerId(9), {11: "link"})


def run(script: Any, ask: Any, **options: Any) -> tuple[Any, ScriptedServer]:
    return asyncio.run(ask_servicetitan(script, ask, **options))


def test_custom_fields_are_set_by_number() -> None:
    """One PATCH of that customer with those fields; the answer is the customer as it is then."""
    customer, server = run(in_turn(GOOD), write)
    assert customer.custom_fields == {11: "link"}
    (call,) = server.calls
    assert (call.method, call.path) == ("PATCH", "/crm/v2/tenant/985798691/customers/9")
    assert call.json == {"customFields": [{"typeId": 11, "value": "link"}]}


@pytest.mark.parametrize(
    "reply",
    [
        page_of_html(503),
        document({}, 500),
        document({}, 408),
        Reply(fault="reset"),
        Reply(200, GOOD.body, fault="cut"),
    ],
    ids=["html503", "500", "408", "reset", "cut"],
)
def test_a_lost_answer_is_asked_for_again(reply: Reply) -> None:
    """Setting values twice is setting them once: the same body is sent until an answer comes."""
    customer, server = run(in_turn(reply, reply, GOOD), write)
    assert customer.id == 9
    assert len(server.calls) == 3
    assert len({call.body for call in server.calls}) == 1


@pytest.mark.parametrize("reply", [document({}, 429, Retry_After="7"), page_of_html(409)])
def test_throttling_and_maintenance_are_waited_out(reply: Reply) -> None:
    """As with every other request."""
    customer, server = run(in_turn(reply, GOOD), write)
    assert customer.id == 9
    assert len(server.calls) == 2


@pytest.mark.parametrize(
    "reply",
    [
        page_of_html(503),
        document({}, 502),
        Reply(fault="reset"),
        Reply(200, GOOD.body, fault="cut"),
    ],
    ids=["html503", "502", "reset", "cut"],
)
def test_a_write_that_is_never_answered_stays_in_doubt(reply: Reply) -> None:
    """When the attempts are used up it may have been done: never a success, never a refusal."""
    error, server = run(in_turn(reply), write)
    assert isinstance(error, NoAnswer)
    assert not error.definite
    assert len(server.calls) == 4


def test_silence_stays_in_doubt() -> None:
    """Answers that take too long are as good as none."""
    error, server = run(in_turn(Reply(fault="silent")), write, timeout_seconds=1.0)
    assert isinstance(error, NoAnswer)
    assert len(server.calls) == 4


def test_a_doubt_is_not_undone_by_what_comes_later() -> None:
    """First an answer gets lost, then the server only throttles: still in doubt."""
    error, server = run(
        in_turn(Reply(fault="reset"), document({}, 429, Retry_After="1")), write, waits=Waits()
    )
    assert isinstance(error, NoAnswer)
    assert len(server.calls) == 4


def test_only_throttling_is_no_doubt() -> None:
    """What was certainly not done is not in doubt."""
    error, _ = run(in_turn(document({}, 429, Retry_After="1")), write)
    assert type(error) is Unavailable
    assert error.definite


@pytest.mark.parametrize(
    "reply",
    [Reply(200), Reply(200, b"{}"), document([1]), page_of_html(200), Reply(204)],
    ids=["blank", "empty", "list", "page", "204"],
)
def test_an_answer_that_is_no_customer_is_no_success(reply: Reply) -> None:
    """Whether the values were taken is not known then."""
    error, server = run(in_turn(reply), write)
    assert isinstance(error, NoAnswer)
    assert len(server.calls) == 1


@pytest.mark.parametrize(
    ("status", "expected"),
    [
        (400, RecordRejected),
        (409, RecordRejected),
        (422, RecordRejected),
        (404, RecordNotFound),
        (403, CredentialsRefused),
    ],
)
def test_refusals_are_not_repeated(status: int, expected: type[Exception]) -> None:
    """A refused record, a missing one and a missing scope are told apart."""
    error, server = run(in_turn(document({"title": "no"}, status)), write)
    assert type(error) is expected
    assert error.status == status
    assert len(server.calls) == 1


def test_a_refused_token_is_replaced_for_a_write_too() -> None:
    """One fresh token; the second 401 is the app key's."""
    customer, server = run(in_turn(document({}, 401), GOOD), write)
    assert customer.id == 9
    assert [call.headers["authorization"] for call in server.calls] == [
        "Bearer token-1",
        "Bearer token-2",
    ]
    error, _ = run(in_turn(document({}, 401)), write)
    assert isinstance(error, CredentialsRefused)


def test_a_write_without_a_connection_is_definite() -> None:
    """Where no connection came about nothing was done, however often it was tried."""

    async def scenario() -> tuple[Exception | None, int]:
        async with ScriptedServer(in_turn(GOOD)) as server, servicetitan(server.url) as client:
            await client.fresh_token()
            assert server._server is not None
            server._server.close()
            for writer in server._writers:
                writer.transport.abort()
            await asyncio.sleep(0.05)
            try:
                await write(client)
            except Unavailable as error:
                return error, client.requests
        return None, 0

    error, requests = asyncio.run(scenario())
    assert type(error) is not NoAnswer
    assert isinstance(error, Unavailable)
    assert error.definite
    assert requests == 1 + 4


def test_every_attempt_waits_for_its_turn() -> None:
    """Repeats of a write count at the limiter like first attempts."""
    limiter = NoLimit()
    run(in_turn(page_of_html(503), page_of_html(503), GOOD), write, limiter=limiter)
    assert limiter.turns == 3


# Suppressions


def test_a_missing_scope_of_suppressions_is_told_by_its_status() -> None:
    """What to do about it is another matter than a refused token: 403, not 401."""
    error, server = run(in_turn(DENIED), lambda client: client.suppressions(None))
    assert isinstance(error, CredentialsRefused)
    assert (error.status, error.trace_id) == (403, "00-1")
    assert "suppressions" in error.message
    assert len(server.calls) == 1


def test_a_page_of_a_proxy_is_not_a_missing_scope() -> None:
    """An outage in front of ServiceTitan must not make a pass ask for consent."""
    error, _ = run(in_turn(page_of_html(403)), lambda client: client.suppressions(None))
    assert isinstance(error, UnexpectedAnswer)


def test_suppressions_are_read_to_their_end() -> None:
    """In the largest pages, in a fixed order, those that are no longer active too."""

    def script(request: Request) -> Reply:
        number = int(request.query["page"])
        entry = {"email": f"{number}@example.com", "active": number > 1, "modifiedOn": TIME}
        return document({"data": [entry], "hasMore": number < 3})

    found, server = run(with_tokens(script), lambda client: client.suppressions(None))
    assert [(one.email, one.active) for one in found] == [
        ("1@example.com", False),
        ("2@example.com", True),
        ("3@example.com", True),
    ]
    assert server.calls[0].query == {
        "active": "Any",
        "sort": "+Id",
        "page": "1",
        "pageSize": str(LARGEST_PAGE),
    }


def test_suppressions_since_an_instant() -> None:
    """Only what changed, from that second on."""
    since = datetime(2026, 11, 23, 4, 5, 6, 999999, tzinfo=UTC)
    _, server = run(
        in_turn(document({"data": [], "hasMore": False})), lambda client: client.suppressions(since)
    )
    assert server.calls[0].query["modifiedOnOrAfter"] == "2026-11-23T04:05:06Z"


def test_an_outage_half_way_gives_no_half_list() -> None:
    """Whoever is on a page that was not read would be written to."""

    def script(request: Request) -> Reply:
        if request.query["page"] == "2":
            return page_of_html(503)
        entry = {"email": "1@example.com", "active": True, "modifiedOn": TIME}
        return document({"data": [entry], "hasMore": True})

    error, _ = run(with_tokens(script), lambda client: client.suppressions(None))
    assert type(error) is Unavailable


# Feeds and lists


@pytest.mark.parametrize(
    ("name", "path", "entry"),
    [
        ("customers_feed", "/crm/v2/tenant/985798691/export/customers", CUSTOMER),
        (
            "contacts_feed",
            "/crm/v2/tenant/985798691/export/customers/contacts",
            {"id": 1, "customerId": 9, "active": True, "modifiedOn": TIME, "preferences": None},
        ),
        (
            "customer_jobs_feed",
            "/jpm/v2/tenant/985798691/export/jobs",
            {"id": 1, "customerId": 9, "createdOn": TIME},
        ),
    ],
)
def test_feeds_go_on_from_their_token(name: str, path: str, entry: dict[str, Any]) -> None:
    """From the beginning without a position, then from the token, recent changes included."""
    reply = document({"data": [entry], "hasMore": True, "continueFrom": "t2"})

    async def ask(client: ServiceTitanClient) -> list[Any]:
        feed = getattr(client, name)
        return [await feed(""), await feed("t1")]

    pages, server = run(in_turn(reply), ask)
    assert [(call.path, call.query) for call in server.calls] == [
        (path, {"includeRecentChanges": "true"}),
        (path, {"includeRecentChanges": "true", "from": "t1"}),
    ]
    assert [(len(page.records), page.token, page.has_more) for page in pages] == [
        (1, "t2", True),
        (1, "t2", True),
    ]


def test_one_bad_customer_does_not_go_by_unseen() -> None:
    """A feed with an entry of another shape is not read as if it were complete."""
    reply = document({"data": [CUSTOMER, {"id": 10}], "hasMore": False, "continueFrom": "t"})
    error, _ = run(in_turn(reply), lambda client: client.customers_feed(""))
    assert isinstance(error, UnexpectedAnswer)


def test_canceled_jobs_move_the_feed_on() -> None:
    """A page of nothing but canceled jobs is an empty one with a token."""
    job = {"id": 1, "customerId": 9, "createdOn": TIME, "jobStatus": "Canceled"}
    reply = document({"data": [job], "hasMore": True, "continueFrom": "t2"})
    page, _ = run(in_turn(reply), lambda client: client.customer_jobs_feed("t1"))
    assert (page.records, page.token, page.has_more) == ((), "t2", True)


def test_custom_fields_are_read_to_their_end() -> None:
    """A field on the second page is one too."""

    def script(request: Request) -> Reply:
        number = int(request.query["page"])
        entry = {"id": number, "name": f"F{number}", "dataType": "Text"}
        return document({"data": [entry], "hasMore": number < 2})

    found, server = run(with_tokens(script), lambda client: client.custom_fields())
    assert [(one.id, one.name) for one in found] == [(1, "F1"), (2, "F2")]
    assert {call.path for call in server.calls} == {
        "/crm/v2/tenant/985798691/customers/custom-fields"
    }


def test_one_customer() -> None:
    """Read by its number; a missing one is not found."""
    customer, server = run(in_turn(GOOD), lambda client: client.customer(CustomerId(9)))
    assert customer.name == "Lovelace, Ada"
    assert server.calls[0].path == "/crm/v2/tenant/985798691/customers/9"
    error, _ = run(
        in_turn(document({"title": "no"}, 404)), lambda client: client.customer(CustomerId(9))
    )
    assert isinstance(error, RecordNotFound)
