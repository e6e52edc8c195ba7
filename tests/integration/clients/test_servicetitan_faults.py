"""The ServiceTitan client against a server that misbehaves, over real HTTP."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

import pytest

from stcli.clients import transport
from stcli.clients.ratelimit import Turn
from stcli.clients.servicetitan.client import ServiceTitanClient
from stcli.domain.ids import BookingId, JobId
from stcli.domain.records import Booking, BookingDraft, FeedPage
from stcli.errors import (
    CredentialsRefused,
    NoAnswer,
    RecordNotFound,
    RecordRejected,
    Unavailable,
    UnexpectedAnswer,
)
from tests.integration.clients.clients_on import (
    NoLimit,
    Waits,
    ask_servicetitan,
    servicetitan,
)
from tests.integration.clients.scripted_server import (
    TOKEN_PATH,
    Reply,
    Request,
    ScriptedServer,
    document,
    in_turn,
    page_of_html,
    with_tokens,
)

DRAFT = BookingDraft(
    source="Referral", name="Ann", summary="New", is_first_time_client=True, external_id="abc"
)
BOOKING = {
    "id": 7,
    "externalId": "abc",
    "bookingProviderId": 4521,
    "status": "New",
    "createdOn": "2026-01-02T03:04:05.1234567Z",
    "modifiedOn": "2026-01-02T03:04:05Z",
}
GOOD = document(BOOKING)
SUSPENDED = document({"title": "Tenant is suspended for maintenance", "status": 409}, 409)


async def read(client: ServiceTitanClient) -> Booking:
    return await client.booking(BookingId(7))


async def write(client: ServiceTitanClient) -> Booking:
    return await client.create_booking(DRAFT)


def run(script: Any, ask: Any, **options: Any) -> tuple[Any, ScriptedServer]:
    return asyncio.run(ask_servicetitan(script, ask, **options))


@pytest.mark.parametrize("ask", [read, write])
def test_throttling_is_waited_out_in_seconds(ask: Any) -> None:
    """A 429 with Retry-After in seconds is waited out exactly, for a write too."""
    waits, limiter = Waits(), NoLimit()
    booking, server = run(
        in_turn(document({}, 429, Retry_After="7"), GOOD), ask, waits=waits, limiter=limiter
    )
    assert booking.id == 7
    assert waits.slept == [7.0]
    assert limiter.pauses == [7.0]
    assert len(server.calls) == 2


def test_throttling_is_waited_out_until_a_date() -> None:
    """A 429 with Retry-After as a date is counted from the server's own clock."""
    waits = Waits()
    throttled = document(
        {},
        429,
        Retry_After="Mon, 05 Jan 2026 10:00:09 GMT",
        Date="Mon, 05 Jan 2026 10:00:00 GMT",
    )
    booking, _ = run(in_turn(throttled, GOOD), read, waits=waits)
    assert booking.id == 7
    assert waits.slept == [9.0]


def test_throttling_without_an_end_is_unavailable() -> None:
    """When the attempts are used up the last 429 ends it, and nothing was sent besides."""
    error, server = run(in_turn(document({}, 429, Retry_After="1")), write)
    assert type(error) is Unavailable
    assert error.definite
    assert len(server.calls) == 4


def test_delay_beyond_the_budget_is_not_waited_for() -> None:
    """A delay longer than the time budget ends it at once; everybody else is told of it."""
    waits, limiter = Waits(), NoLimit()
    error, server = run(
        in_turn(document({}, 429, Retry_After="4000")), read, waits=waits, limiter=limiter
    )
    assert type(error) is Unavailable
    assert waits.slept == []
    assert limiter.pauses == [4000.0]
    assert len(server.calls) == 1


def test_a_delay_of_nothing_is_no_leave_to_go_on_at_once() -> None:
    """``Retry-After: 0`` is waited out as if there were none: longer each time."""
    waits = Waits()
    error, _ = run(in_turn(document({}, 429, Retry_After="0")), read, waits=waits)
    assert type(error) is Unavailable
    assert waits.slept == [0.5, 1.0, 2.0]


@pytest.mark.parametrize("reply", [SUSPENDED, page_of_html(409)], ids=["text", "page"])
@pytest.mark.parametrize("ask", [read, write])
def test_maintenance_is_waited_out(ask: Any, reply: Reply) -> None:
    """Maintenance had no effect, so even a write is sent again after it."""
    booking, server = run(in_turn(reply, reply, GOOD), ask)
    assert booking.id == 7
    assert len(server.calls) == 3


def test_other_conflict_is_a_refusal() -> None:
    """A 409 that is no maintenance refuses this record and is not repeated."""
    error, server = run(in_turn(document({"title": "Conflict"}, 409)), write)
    assert isinstance(error, RecordRejected)
    assert len(server.calls) == 1


@pytest.mark.parametrize(
    "reply",
    [
        page_of_html(503),
        document({}, 500),
        Reply(fault="reset"),
        Reply(200, GOOD.body, fault="cut"),
    ],
    ids=["html503", "500", "reset", "cut"],
)
def test_read_is_repeated_after_a_fault(reply: Reply) -> None:
    """Reads go on after a failing server, a dropped connection and a cut-off answer."""
    booking, server = run(in_turn(reply, reply, GOOD), read)
    assert booking.id == 7
    assert len(server.calls) == 3


@pytest.mark.parametrize(
    "reply",
    [
        page_of_html(503),
        page_of_html(502),
        document({}, 500),
        Reply(fault="reset"),
        Reply(200, GOOD.body, fault="cut"),
        Reply(200, b"{}"),
        Reply(200, b'{"id": 7, "createdOn"'),
        page_of_html(200),
    ],
    ids=["html503", "html502", "500", "reset", "cut", "empty", "truncated", "page"],
)
def test_write_with_a_doubtful_answer_is_never_repeated(reply: Reply) -> None:
    """Whatever may hide an effect ends a write at once, in doubt."""
    error, server = run(in_turn(reply, GOOD), write)
    assert isinstance(error, NoAnswer)
    assert not error.definite
    assert len(server.calls) == 1


def test_late_answer_to_a_write_is_in_doubt() -> None:
    """A write that is not answered in time is in doubt and not repeated."""
    error, server = run(in_turn(Reply(fault="silent")), write, timeout_seconds=1.0)
    assert isinstance(error, NoAnswer)
    assert len(server.calls) == 1


def test_trickling_answer_is_given_up() -> None:
    """The timeout bounds the whole request, not one read of it."""
    error, _ = run(in_turn(Reply(200, b"{}", delay_seconds=2)), write, timeout_seconds=0.2)
    assert isinstance(error, NoAnswer)


def test_late_answers_to_a_read_end_as_unavailable() -> None:
    """Reads that are never answered in time are unavailable, not in doubt."""
    error, server = run(in_turn(Reply(fault="silent")), read, timeout_seconds=1.0)
    assert type(error) is Unavailable
    assert len(server.calls) == 4


def test_write_without_a_connection_is_repeated_and_definite() -> None:
    """Where no connection came about a write was certainly not sent, and may be tried again."""

    async def scenario() -> tuple[Exception | None, int]:
        async with ScriptedServer(in_turn(GOOD)) as server, servicetitan(server.url) as client:
            await client.fresh_token()
            assert server._server is not None
            server._server.close()
            for writer in server._writers:
                writer.transport.abort()
            await asyncio.sleep(0.05)
            try:
                await client.create_booking(DRAFT)
            except Unavailable as error:
                return error, client.requests
        return None, 0

    error, requests = asyncio.run(scenario())
    assert isinstance(error, Unavailable)
    assert not isinstance(error, NoAnswer)
    assert error.definite
    assert requests == 1 + 4


@pytest.mark.parametrize("ask", [read, write])
def test_redirect_is_never_followed(ask: Any) -> None:
    """A redirect is an error that names the host and nothing else; nothing is sent there."""
    target = "https://elsewhere.example.com/steal?who=ann@example.com"
    error, server = run(in_turn(Reply(302, headers={"Location": target})), ask)
    assert isinstance(error, UnexpectedAnswer)
    assert "elsewhere.example.com" in error.message
    assert "steal" not in error.message
    assert len(server.calls) == 1


@pytest.mark.parametrize(
    "reply", [Reply(200, b'{"data": [{"id"'), document([1]), page_of_html(200)]
)
def test_read_of_another_shape_is_unexpected(reply: Reply) -> None:
    """A success that is no document of the promised shape is not read as one."""
    error, server = run(in_turn(reply), read)
    assert isinstance(error, UnexpectedAnswer)
    assert len(server.calls) == 1


def test_answer_beyond_the_bound_is_not_kept(monkeypatch: pytest.MonkeyPatch) -> None:
    """A success that is too big is given up; of an error only a beginning is read."""
    monkeypatch.setattr(transport, "MAX_BODY_BYTES", 1000)
    monkeypatch.setattr(transport, "MAX_ERROR_BODY_BYTES", 1000)
    big = {**BOOKING, "summary": "x" * 2_000_000}
    error, _ = run(in_turn(document(big)), read)
    assert isinstance(error, UnexpectedAnswer)
    error, _ = run(in_turn(document({"title": "big", **big}, 400)), read)
    assert isinstance(error, RecordRejected)
    assert "HTTP 400" in error.message


def test_rejection_tells_title_fields_and_trace_masked() -> None:
    """A refusal repeats the server's words and reference, without an email or a phone number."""
    problem = {
        "title": "Validation failed for ann@example.com",
        "traceId": "00-4bf92f3577b34da6a3ce929d0e0e4736-00",
        "errors": {"contacts[0].value": ["'+1 (555) 123-4567' is no phone number"]},
        "data": {"secret": "hidden"},
    }
    error, _ = run(in_turn(document(problem, 400)), write)
    assert isinstance(error, RecordRejected)
    assert error.definite
    assert "Validation failed for ***" in error.message
    assert "contacts[0].value: '***' is no phone number" in error.message
    assert "00-4bf92f3577b34da6a3ce929d0e0e4736-00" in error.message
    assert error.trace_id == "00-4bf92f3577b34da6a3ce929d0e0e4736-00"
    assert "hidden" not in error.message


def test_a_failure_of_the_server_tells_its_trace() -> None:
    """Its support asks for nothing else."""
    answer = document({"title": "An internal error occurred.", "traceId": "00-abc"}, 500)
    error, _ = run(in_turn(answer), write)
    assert isinstance(error, NoAnswer)
    assert error.trace_id == "00-abc"
    assert error.message == "ServiceTitan failed by itself (HTTP 500) (trace 00-abc)"


def test_refused_token_is_replaced_once() -> None:
    """A 401 is answered with one fresh token and one more try."""

    def script(request: Request) -> Reply:
        stale = request.headers["authorization"] == "Bearer token-1"
        return document({"title": "expired"}, 401) if stale else GOOD

    booking, server = run(with_tokens(script), read)
    assert booking.id == 7
    assert [request.headers["authorization"] for request in server.calls] == [
        "Bearer token-1",
        "Bearer token-2",
    ]


def test_parallel_calls_share_one_token_and_one_replacement() -> None:
    """Twenty calls at once ask for one token, and for one more when it is refused."""

    def script(request: Request) -> Reply:
        stale = request.headers["authorization"] == "Bearer token-1"
        return document({"title": "expired"}, 401) if stale else GOOD

    async def many(client: ServiceTitanClient) -> list[Booking]:
        return list(await asyncio.gather(*(read(client) for _ in range(20))))

    bookings, server = run(with_tokens(script), many)
    assert len(bookings) == 20
    assert len(server.requests) - len(server.calls) == 2


def test_token_refused_twice_is_refused() -> None:
    """After the second 401 the credentials are refused, with exactly two tokens and two tries."""
    error, server = run(in_turn(document({"title": "no"}, 401)), write)
    assert isinstance(error, CredentialsRefused)
    assert error.status == 401
    assert len(server.calls) == 2
    assert len(server.requests) == 4


def test_missing_scope_names_the_endpoint() -> None:
    """A 403 names what the grant lacks, by the path of the documents."""
    error, server = run(in_turn(document({"title": "Forbidden"}, 403)), read)
    assert isinstance(error, CredentialsRefused)
    assert error.status == 403
    assert "/crm/v2/tenant/{tenant}/bookings/{id}" in error.message
    assert len(server.calls) == 1


def test_unknown_record_is_not_found() -> None:
    """A 404 with a document is a record that does not exist."""
    error, _ = run(in_turn(document({"title": "Not found"}, 404)), read)
    assert isinstance(error, RecordNotFound)


@pytest.mark.parametrize("status", [400, 403, 404])
def test_error_page_is_never_taken_for_the_api(status: int) -> None:
    """A page of a proxy is neither a missing record nor a refused one."""
    error, _ = run(in_turn(page_of_html(status)), write)
    assert isinstance(error, UnexpectedAnswer)


def test_refused_grant_says_which_values() -> None:
    """invalid_client names the client id, the secret and the environment, and never the secret."""
    error, server = run(
        lambda _: document({"error": "invalid_client"}, 400),
        lambda client: client.fresh_token(),
    )
    assert isinstance(error, CredentialsRefused)
    assert "client id or the client secret" in error.message
    assert "environment" in error.message
    assert "cs-secret-value" not in f"{error!r}{error.hint}"
    assert len(server.requests) == 1


def test_token_requests_survive_throttling_and_outages() -> None:
    """429, 5xx and dropped connections of the token address are waited out."""
    replies = [
        document({}, 429, Retry_After="3"),
        page_of_html(503),
        Reply(fault="reset"),
        document({"access_token": "t", "expires_in": 900}),
    ]
    waits = Waits()
    result, server = run(lambda _: replies.pop(0), lambda client: client.fresh_token(), waits=waits)
    assert result is None
    assert waits.slept[0] == 3.0
    assert len(server.requests) == 4


def test_secrets_and_headers_are_sent_where_they_belong() -> None:
    """The app key and the token go into headers, the secret into the token request's form only."""
    _, server = run(in_turn(GOOD), read)
    token_request, call = server.requests
    assert token_request.method == "POST"
    assert token_request.path == "/connect/token"
    assert b"client_secret=cs-secret-value" in token_request.body
    assert b"grant_type=client_credentials" in token_request.body
    assert "st-app-key" not in token_request.headers
    assert call.headers["st-app-key"] == "ak-secret-value"
    assert call.headers["authorization"] == "Bearer token-1"
    assert call.headers["user-agent"].startswith("stcli/")


def test_every_request_is_counted() -> None:
    """Retries and token requests count."""

    async def ask(client: ServiceTitanClient) -> int:
        await read(client)
        return client.requests

    count, server = run(in_turn(page_of_html(503), GOOD), ask)
    assert count == len(server.requests) == 3


def test_lists_are_read_to_their_end() -> None:
    """Pages of 500 until hasMore is false."""

    def script(request: Request) -> Reply:
        number = int(request.query["page"])
        return document(
            {"data": [{"id": number, "name": f"N{number}", "active": True}], "hasMore": number < 3}
        )

    names, server = run(with_tokens(script), lambda client: client.business_units())
    assert [option.name for option in names] == ["N1", "N2", "N3"]
    assert {request.query["pageSize"] for request in server.calls} == {"500"}


def test_list_that_repeats_itself_is_unexpected() -> None:
    """A page that repeats the one before while there is said to be more ends the reading."""
    error, server = run(
        in_turn(document({"data": [{"id": 1, "name": "A"}], "hasMore": True})),
        lambda client: client.job_types(),
    )
    assert isinstance(error, UnexpectedAnswer)
    assert len(server.calls) == 2


def test_feed_goes_on_from_its_token() -> None:
    """A feed sends its position and asks for recent changes; an empty one begins at the start."""
    reply = document({"data": [BOOKING], "hasMore": True, "continueFrom": "t2"})

    async def ask(client: ServiceTitanClient) -> list[FeedPage[Booking]]:
        return [await client.bookings_feed(""), await client.bookings_feed("t1")]

    pages, server = run(in_turn(reply), ask)
    assert [request.query for request in server.calls] == [
        {"includeRecentChanges": "true"},
        {"includeRecentChanges": "true", "from": "t1"},
    ]
    assert pages[0].token == "t2"
    assert pages[0].has_more
    assert pages[0].records[0].created_on == datetime(2026, 1, 2, 3, 4, 5, 123457, tzinfo=UTC)


@pytest.mark.parametrize("token", ["t1", None, ""])
def test_feed_that_stays_is_unexpected(token: str | None) -> None:
    """A feed that promises more without moving on would be read for ever."""
    reply = document({"data": [], "hasMore": True, "continueFrom": token})
    error, _ = run(in_turn(reply), lambda client: client.jobs_feed("t1"))
    assert isinstance(error, UnexpectedAnswer)


def test_feed_at_its_end_without_a_token_keeps_its_position() -> None:
    """A missing token at the end does not send the next reader to the beginning."""
    reply = document({"data": [], "hasMore": False, "continueFrom": None})
    page, _ = run(in_turn(reply), lambda client: client.jobs_feed("t1"))
    assert page.token == "t1"


def test_found_bookings_are_checked() -> None:
    """A server that ignores the filter does not make strangers' bookings ours."""
    other = {**BOOKING, "id": 8, "externalId": "ABC"}
    reply = document({"data": [BOOKING, other], "hasMore": False})
    found, server = run(in_turn(reply), lambda client: client.find_bookings("abc"))
    assert [booking.id for booking in found] == [7]
    assert server.calls[0].query["externalId"] == "abc"


def test_filter_that_is_ignored_is_noticed() -> None:
    """A filtered list without an end is given up, because 'none found' would make a second one."""

    def script(request: Request) -> Reply:
        number = int(request.query["page"])
        stranger = {**BOOKING, "id": 100 + number, "externalId": f"x{number}"}
        return document({"data": [stranger], "hasMore": True})

    error, server = run(with_tokens(script), lambda client: client.find_bookings("abc"))
    assert isinstance(error, UnexpectedAnswer)
    assert len(server.calls) == 20


def test_jobs_are_asked_for_fifty_at_a_time() -> None:
    """120 ids are three requests; ids the server does not know are left out, strangers too."""

    def script(request: Request) -> Reply:
        ids = [int(text) for text in request.query["ids"].split(",")]
        assert len(ids) <= 50
        job = {"createdOn": "2026-01-02T03:04:05Z", "jobStatus": "Completed"}
        known = [{**job, "id": number} for number in ids if number % 2]
        return document({"data": [*known, {**job, "id": 9999}], "hasMore": False})

    ids = [JobId(number) for number in range(1, 121)]
    jobs, server = run(with_tokens(script), lambda client: client.jobs(ids))
    assert [job.id for job in jobs] == list(range(1, 121, 2))
    assert len(server.calls) == 3


def test_one_failing_lookup_ends_the_others() -> None:
    """A refusal of one of several parallel requests is raised as itself."""

    def script(request: Request) -> Reply:
        if request.query["ids"].startswith("1,"):
            return document({"title": "bad ids"}, 400)
        return Reply(fault="silent")

    ids = [JobId(number) for number in range(1, 121)]
    error, _ = run(with_tokens(script), lambda client: client.jobs(ids))
    assert isinstance(error, RecordRejected)


def test_cancelled_calls_release_everything() -> None:
    """Cancelled requests give their connections back: more of them than connections harm nobody."""

    async def ask(client: ServiceTitanClient) -> Booking:
        tasks = [asyncio.create_task(write(client)) for _ in range(150)]
        await asyncio.sleep(0.5)
        for task in tasks:
            task.cancel()
        outcomes = await asyncio.gather(*tasks, return_exceptions=True)
        assert all(isinstance(outcome, asyncio.CancelledError) for outcome in outcomes)
        return await read(client)

    def script(request: Request) -> Reply:
        return Reply(fault="silent") if request.method == "POST" else GOOD

    booking, _ = run(with_tokens(script), ask)
    assert booking.id == 7


def test_hundred_parallel_calls_are_in_flight_together() -> None:
    """A hundred calls of 0.3 s each: one after the other they would take half a minute."""
    slow = Reply(200, GOOD.body, delay_seconds=0.3)

    async def ask(client: ServiceTitanClient) -> float:
        await client.fresh_token()
        began = asyncio.get_running_loop().time()
        await asyncio.gather(*(read(client) for _ in range(100)))
        return asyncio.get_running_loop().time() - began

    seconds, _ = run(in_turn(slow), ask)
    assert seconds < 10.0


def test_each_request_confirms_its_turn_before_the_first_byte() -> None:
    """Once for each."""
    limiter = NoLimit()
    result, server = run(in_turn(GOOD), write, limiter=limiter)
    assert isinstance(result, Booking)
    assert limiter.confirmed == limiter.turns == 1
    assert len([one for one in server.requests if one.path != TOKEN_PATH]) == 1


@dataclass
class NoTurn(NoLimit):
    """Gives no second turn to whoever missed the first: a pause began meanwhile."""

    late: int = 1

    async def confirm(self, turn: Turn) -> None:
        await super().confirm(turn)
        if self.confirmed <= self.late:
            await asyncio.sleep(3600)


@pytest.mark.parametrize("ask", [read, write])
def test_who_gets_no_turn_in_time_was_not_sent(monkeypatch, ask: Any) -> None:
    """A write too is tried again: not a byte of it left, and a connection that is kept waiting would
    be closed under it."""
    monkeypatch.setattr(transport, "TURN_SECONDS", 0.05)
    result, server = run(in_turn(GOOD), ask, limiter=NoTurn())
    assert isinstance(result, Booking)
    assert len([one for one in server.requests if one.path != TOKEN_PATH]) == 1


def test_who_never_gets_a_turn_is_told_so(monkeypatch) -> None:
    """And nothing is in doubt."""
    monkeypatch.setattr(transport, "TURN_SECONDS", 0.05)
    result, server = run(in_turn(GOOD), write, limiter=NoTurn(late=100))
    assert isinstance(result, Unavailable)
    assert not isinstance(result, NoAnswer)
    assert [one for one in server.requests if one.path != TOKEN_PATH] == []


def test_an_unknown_course_of_the_library_leaves_a_write_in_doubt(monkeypatch) -> None:
    """Where it no longer says when the first byte leaves, nobody may say that none did."""
    monkeypatch.setattr(transport, "_FIRST_BYTE", ".renamed")
    result, server = run(in_turn(Reply(fault="reset")), write)
    assert isinstance(result, NoAnswer)
    assert len([one for one in server.requests if one.path != TOKEN_PATH]) == 1
