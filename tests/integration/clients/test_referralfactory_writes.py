"""Making and changing referrers over real HTTP that misbehaves: never made twice."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from stcli.clients.referralfactory.client import ReferralFactoryClient
from stcli.domain.ids import RfCampaignId, UserId
from stcli.domain.records import Person
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
    ask_referral_factory,
    referral_factory,
)
from tests.integration.clients.scripted_server import (
    Reply,
    ScriptedServer,
    document,
    in_turn,
    page_of_html,
)

USER = {
    "id": 12,
    "campaign_id": 3,
    "first_name": "Ada",
    "email": "ada@example.com",
    "code": "ada12",
    "source": "Api",
    "type": "person_referring",
    "url": "https://example.com/ada12",
}
GOOD = document({"data": USER}, 201)
VALUES = {"first_name": "Ada", "email": "ada@example.com", "meta.Last name": "Lovelace"}
TAKEN = document(
    {
        "message": "The given data was invalid.",
        "errors": {"user": [{"field": "email", "message": "ada@example.com has been taken"}]},
    },
    422,
)
LOST = {
    "html503": page_of_html(503),
    "500": document({}, 500),
    "408": document({}, 408),
    "reset": Reply(fault="reset"),
    "cut": Reply(201, GOOD.body, fault="cut"),
}
UNREADABLE = {
    "blank": Reply(201),
    "empty": Reply(201, b"{}"),
    "list": document({"data": []}, 201),
    "truncated": Reply(201, b'{"data": {"id"'),
    "page": page_of_html(200),
    "id": document({"data": {**USER, "id": "twelve"}}, 201),
    "date": document({"data": {**USER, "signed_up_at": "soon"}}, 201),
}


async def create(client: ReferralFactoryClient) -> Person:
    return await client.create_referrer(RfCampaignId(3), VALUES, welcome_mail=False)


async def change(client: ReferralFactoryClient) -> Person:
    return await client.update_user(UserId(12), {"first_name": "Ada"}, {})


def run(script: Any, ask: Any, **options: Any) -> tuple[Any, ScriptedServer]:
    return asyncio.run(ask_referral_factory(script, ask, **options))


def test_a_referrer_is_made() -> None:
    """One POST without a referrer and without a welcome mail; the answer is the person."""
    person, server = run(in_turn(GOOD), create)
    assert (person.id, person.url) == (12, "https://example.com/ada12")
    (call,) = server.calls
    assert (call.method, call.path) == ("POST", "/api/v2/users")
    assert call.json == {
        "campaign_id": 3,
        "first_name": "Ada",
        "email": "ada@example.com",
        "notify": False,
        "meta": [{"field": "Last name", "value": "Lovelace"}],
    }


@pytest.mark.parametrize("reply", (LOST | UNREADABLE).values(), ids=LOST | UNREADABLE)
def test_a_lost_answer_is_never_followed_by_a_second_post(reply: Reply) -> None:
    """Whoever may have been made is in doubt, and not made again."""
    error, server = run(in_turn(reply, GOOD), create)
    assert isinstance(error, NoAnswer)
    assert not error.definite
    assert len(server.calls) == 1


def test_a_person_of_unknown_type_was_made_all_the_same() -> None:
    """A success whose person is neither lead nor referrer leaves a doubt."""
    error, server = run(in_turn(document({"data": {**USER, "type": "person_new"}}, 201)), create)
    assert len(server.calls) == 1
    assert isinstance(error, NoAnswer)


def test_a_late_answer_is_never_followed_by_a_second_post() -> None:
    """A request that was not answered in time may still take effect."""

    async def scenario() -> tuple[Exception | None, int]:
        async with (
            ScriptedServer(in_turn(Reply(fault="silent"))) as server,
            referral_factory(server.url, timeout_seconds=1.0) as client,
        ):
            try:
                await create(client)
            except NoAnswer as error:
                return error, len(server.calls)
        return None, 0

    error, calls = asyncio.run(scenario())
    assert isinstance(error, NoAnswer)
    assert calls == 1


def test_throttling_is_waited_out_and_repeated() -> None:
    """A 429 certainly made nobody."""
    limiter = NoLimit()
    person, server = run(
        in_turn(document({}, 429, Retry_After="9"), document({}, 429), GOOD),
        create,
        limiter=limiter,
    )
    assert person.id == 12
    assert len(server.calls) == 3
    assert limiter.pauses == [9.0, 60.0]


def test_throttling_without_an_end_is_definite() -> None:
    """The third 429 ends it, and nobody was made."""
    error, server = run(in_turn(document({}, 429, Retry_After="1")), create)
    assert type(error) is Unavailable
    assert error.definite
    assert len(server.calls) == 3


def test_a_doubt_after_throttling_is_a_doubt() -> None:
    """Once let in, the answer got lost: no further POST."""
    error, server = run(in_turn(document({}, 429), Reply(fault="reset"), GOOD), create)
    assert isinstance(error, NoAnswer)
    assert len(server.calls) == 2


@pytest.mark.parametrize("ask", [create, change])
def test_without_a_connection_it_is_repeated_and_definite(ask: Any) -> None:
    """Where no connection came about nothing was sent, so it may be tried again."""

    async def scenario() -> tuple[Exception | None, int]:
        async with ScriptedServer(in_turn(GOOD)) as server, referral_factory(server.url) as client:
            assert server._server is not None
            server._server.close()
            await server._server.wait_closed()
            try:
                await ask(client)
            except Unavailable as error:
                return error, client.requests
        return None, 0

    error, requests = asyncio.run(scenario())
    assert isinstance(error, Unavailable)
    assert not isinstance(error, NoAnswer)
    assert error.definite
    assert requests == 4


@pytest.mark.parametrize("ask", [create, change])
@pytest.mark.parametrize("status", [400, 409, 422])
def test_a_refusal_is_this_records_own(ask: Any, status: int) -> None:
    """An address that is taken, a value that does not fit: told without the address, once."""
    error, server = run(in_turn(Reply(status, TAKEN.body, TAKEN.headers)), ask)
    assert type(error) is RecordRejected
    assert (error.status, error.definite) == (status, True)
    assert "email: *** has been taken" in error.message
    assert "ada@example.com" not in error.message
    assert len(server.calls) == 1


@pytest.mark.parametrize(
    ("reply", "expected"),
    [
        (document({"message": "Not found"}, 404), RecordNotFound),
        (document({"message": "Unauthenticated."}, 401), CredentialsRefused),
        (document({"message": "Plan"}, 403), CredentialsRefused),
        (page_of_html(404), UnexpectedAnswer),
        (Reply(302, headers={"Location": "https://elsewhere.example.com/"}), UnexpectedAnswer),
    ],
    ids=["404", "401", "403", "page404", "302"],
)
@pytest.mark.parametrize("ask", [create, change])
def test_other_refusals_are_not_repeated(ask: Any, reply: Reply, expected: Any) -> None:
    """A campaign or user that is gone, a refused token, a proxy's page: each as itself."""
    error, server = run(in_turn(reply), ask)
    assert type(error) is expected
    assert len(server.calls) == 1


# Changes


def test_only_changed_values_are_sent() -> None:
    """What is left out stays as it is; form fields are left alone where none changed."""
    _, server = run(
        in_turn(GOOD),
        lambda client: client.update_user(
            UserId(12), {"email": "ada@example.org"}, {"Phone": "555-0100"}
        ),
    )
    (call,) = server.calls
    assert (call.method, call.path) == ("PUT", "/api/v2/users/12")
    assert call.json == {"email": "ada@example.org"}


def test_other_form_fields_go_along_with_a_changed_one() -> None:
    """A list may replace the old one: the referrer's own entries must survive that."""
    _, server = run(
        in_turn(GOOD),
        lambda client: client.update_user(
            UserId(12),
            {"meta.City": "Bath", "meta.Street": ""},
            {"Phone": "555-0100", "City": "York", "Street": "1 Main St", "Pet": "Dog"},
        ),
    )
    (body,) = [call.json for call in server.calls]
    assert set(body) == {"meta"}
    assert {entry["field"]: entry["value"] for entry in body["meta"]} == {
        "Phone": "555-0100",
        "Pet": "Dog",
        "City": "Bath",
        "Street": None,
    }
    assert len(body["meta"]) == 4


@pytest.mark.parametrize("reply", LOST.values(), ids=LOST)
def test_a_change_is_repeated_after_a_lost_answer(reply: Reply) -> None:
    """Setting values twice is setting them once."""
    person, server = run(in_turn(reply, GOOD), change)
    assert person.id == 12
    assert len({call.body for call in server.calls}) == 1
    assert len(server.calls) == 2


def test_a_change_that_is_never_answered_stays_in_doubt() -> None:
    """Also where the last attempts were certainly not taken."""
    error, server = run(in_turn(document({}, 500)), change)
    assert isinstance(error, NoAnswer)
    assert len(server.calls) == 4
    error, server = run(in_turn(Reply(fault="reset"), document({}, 429)), change)
    assert isinstance(error, NoAnswer)
    assert len(server.calls) == 4


@pytest.mark.parametrize("reply", UNREADABLE.values(), ids=UNREADABLE)
def test_an_unreadable_answer_to_a_change_is_no_success(reply: Reply) -> None:
    """Whether it was taken is not known then."""
    error, _ = run(in_turn(reply), change)
    assert isinstance(error, NoAnswer)


# Counts


def test_counts_are_asked_for_only_where_they_are_wanted() -> None:
    """They cost the server something; without them they are not known."""

    async def ask(client: ReferralFactoryClient) -> list[Any]:
        return [await client.users_page(1), await client.users_page(2, with_counts=True)]

    counted = {**USER, "analytics": {"referrals": 3, "qualified_referrals": 1}}
    bare = {**USER, "id": "13", "campaign_id": "3", "analytics": []}
    pages, server = run(in_turn(document({"data": [counted, bare], "links": {"next": None}})), ask)
    assert [call.query for call in server.calls] == [
        {"page": "1", "per_page": "250"},
        {"page": "2", "per_page": "250", "with": "user.analytics"},
    ]
    assert [(p.id, p.referrals, p.qualified_referrals) for p in pages[1].people] == [
        (12, 3, 1),
        (13, None, None),
    ]


def test_a_page_whose_numbers_are_text_is_read() -> None:
    """What an id may be, the number of a page may be too."""
    meta = {"current_page": "2", "last_page": "5", "total": "1200"}
    page, _ = run(
        in_turn(document({"data": [USER], "links": {"next": "x"}, "meta": meta})),
        lambda client: client.users_page(2),
    )
    assert (page.page, page.last_page, page.total, page.has_next) == (2, 5, 1200, True)
