"""The Referral Factory client against a server that misbehaves, over real HTTP."""

from __future__ import annotations

import asyncio
from datetime import date
from typing import Any

import pytest

from stcli.clients.referralfactory.client import ReferralFactoryClient
from stcli.domain.ids import UserId
from stcli.domain.records import Person, PersonType, UserPage
from stcli.errors import (
    CredentialsRefused,
    NoAnswer,
    RecordNotFound,
    RecordRejected,
    Unavailable,
    UnexpectedAnswer,
)
from tests.integration.clients.clients_on import NoLimit, Waits, ask_referral_factory
from tests.integration.clients.scripted_server import (
    Reply,
    Request,
    ScriptedServer,
    document,
    in_turn,
    page_of_html,
)

USER = {
    "id": "12",
    "campaign_id": 3,
    "referrer_id": "11",
    "first_name": "Ann",
    "email": "ann@example.com",
    "code": "ann12",
    "source": "Referred",
    "type": "person_invited",
    "url": "https://example.com/ann12",
    "promotion": None,
    "signed_up_at": "2026-01-02",
    "qualified_at": None,
    "unsubscribed_at": None,
    "meta": [{"field": "Last Name", "value": "Lee"}, {"field": "Phone", "value": None}],
}
GOOD = document({"data": USER})


async def read(client: ReferralFactoryClient) -> Person:
    return await client.user("ann12")


async def write(client: ReferralFactoryClient) -> Person:
    return await client.qualify(UserId(12), qualified=True)


def run(script: Any, ask: Any, **options: Any) -> tuple[Any, ScriptedServer]:
    return asyncio.run(ask_referral_factory(script, ask, **options))


def test_user_becomes_a_person() -> None:
    """Numbers sent as text and empty values are read; the token goes into the header."""
    person, server = run(in_turn(GOOD), read)
    assert (person.id, person.campaign_id, person.referrer_id) == (12, 3, 11)
    assert person.type is PersonType.LEAD
    assert person.signed_up_at == date(2026, 1, 2)
    assert person.meta == {"Last Name": "Lee"}
    assert server.calls[0].path == "/api/v2/users/ann12"
    assert server.calls[0].headers["authorization"] == "Bearer rf-secret-value"


def test_first_throttling_holds_back_everybody() -> None:
    """A 429 pauses the account for the server's delay, else a minute, and the call goes on."""
    limiter = NoLimit()
    person, _ = run(
        in_turn(document({}, 429, Retry_After="9"), document({}, 429), GOOD), read, limiter=limiter
    )
    assert person.id == 12
    assert limiter.pauses == [9.0, 60.0]


def test_third_throttling_ends_the_pass() -> None:
    """The third 429 ends every call of this client, because the address may get blocked."""

    async def ask(client: ReferralFactoryClient) -> list[Exception]:
        errors = []
        for _ in range(2):
            try:
                await read(client)
            except Unavailable as error:
                errors.append(error)
        return errors

    errors, server = run(in_turn(document({}, 429)), ask)
    assert [type(error) for error in errors] == [Unavailable, Unavailable]
    assert "blocked" in errors[0].message
    assert len(server.calls) == 3


def test_newer_token_elsewhere_is_named() -> None:
    """A 401 says that a newer token may have been made elsewhere, and what to do."""
    error, server = run(in_turn(document({"message": "Unauthenticated."}, 401)), read)
    assert isinstance(error, CredentialsRefused)
    assert "newer one may have been made elsewhere" in error.message
    assert "stcli auth login" in error.hint
    assert len(server.calls) == 1


@pytest.mark.parametrize("ask", [read, write])
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
def test_repeatable_calls_go_on_after_a_fault(ask: Any, reply: Reply) -> None:
    """Reads, and the qualification that sets a value, are repeated after any fault."""
    person, server = run(in_turn(reply, GOOD), ask)
    assert person.id == 12
    assert len(server.calls) == 2


def test_outage_of_a_read_is_unavailable() -> None:
    """A read that never gets through is not in doubt."""
    error, server = run(in_turn(page_of_html(503)), read)
    assert type(error) is Unavailable
    assert len(server.calls) == 4


def test_outage_of_a_write_leaves_doubt() -> None:
    """A qualification that may have been taken is in doubt, whatever the last attempt said."""
    waits = Waits()
    error, server = run(
        in_turn(document({}, 500), document({}, 429, Retry_After="9000")), write, waits=waits
    )
    assert isinstance(error, NoAnswer)
    assert not error.definite
    assert len(server.calls) == 4


def test_refusal_tells_fields_masked() -> None:
    """A 422 repeats message and fields without an email."""
    body = {
        "code": 422,
        "message": "The given data was invalid.",
        "errors": {"user": [{"field": "email", "message": "ann@example.com is taken"}]},
    }
    error, server = run(in_turn(document(body, 422)), write)
    assert isinstance(error, RecordRejected)
    assert "The given data was invalid.; email: *** is taken" in error.message
    assert len(server.calls) == 1


def test_unknown_user_and_unusable_names_are_not_found() -> None:
    """404 is not found; a name that would be another path is not even asked for."""
    error, _ = run(in_turn(document({"message": "Not found"}, 404)), read)
    assert isinstance(error, RecordNotFound)
    for name in ("", ".", ".."):
        error, server = run(in_turn(GOOD), lambda client, name=name: client.user(name))
        assert isinstance(error, RecordNotFound)
        assert server.calls == []


def test_identifiers_are_quoted() -> None:
    """A code with a slash or a question mark stays one part of the path."""
    _, server = run(in_turn(GOOD), lambda client: client.user("a/b?c=%41"))
    assert server.calls[0].raw_path == "/api/v2/users/a%2Fb%3Fc%3D%2541"


def test_error_page_is_not_a_missing_user() -> None:
    """A page of a proxy with 404 must not make a lead gone."""
    error, _ = run(in_turn(page_of_html(404)), read)
    assert isinstance(error, UnexpectedAnswer)


@pytest.mark.parametrize(
    ("document_of_page", "expected"),
    [
        (
            {
                "data": [USER],
                "links": {"next": "https://x/?page=3"},
                "meta": {"current_page": 2, "last_page": 5, "total": 1200},
            },
            (2, 5, 1200, True),
        ),
        ({"data": [USER], "links": {"next": None}}, (2, 2, 251, False)),
        ({"data": [USER], "links": {"next": "x"}}, (2, 3, 251, True)),
        ({"data": [USER], "meta": {"current_page": 2, "last_page": 3}}, (2, 3, 251, True)),
        ({"data": [USER] * 250}, (2, 3, 500, True)),
        ({"data": [], "links": {"next": None}, "meta": {}}, (2, 2, 250, False)),
    ],
)
def test_user_pages(document_of_page: Any, expected: Any) -> None:
    """links.next ends the list; what meta leaves out is derived."""
    page, server = run(in_turn(document(document_of_page)), lambda client: client.users_page(2))
    assert isinstance(page, UserPage)
    assert (page.page, page.last_page, page.total, page.has_next) == expected
    assert server.calls[0].query == {"page": "2", "per_page": "250"}


def test_campaigns_are_read_to_their_end() -> None:
    """All pages of the campaigns, with the fields of both forms."""

    def script(request: Request) -> Reply:
        number = int(request.query["page"])
        fields = {"person_referring": [{"type": "input", "label": "Phone", "required": True}]}
        campaign = {
            "id": number,
            "name": f"C{number}",
            "code": f"c{number}",
            "url": "u",
            "status": "launched",
            "fields": fields if number == 1 else [],
        }
        return document({"data": [campaign], "links": {"next": "x" if number < 2 else None}})

    campaigns, _ = run(script, lambda client: client.campaigns())
    assert [campaign.id for campaign in campaigns] == [1, 2]
    assert campaigns[0].referrer_fields[0].label == "Phone"
    assert campaigns[1].lead_fields == ()


def test_damaged_values_are_unexpected() -> None:
    """A date that is none is not taken for 'never'."""
    error, _ = run(in_turn(document({"data": {**USER, "qualified_at": "soon"}})), read)
    assert isinstance(error, UnexpectedAnswer)
    error, _ = run(in_turn(document({"data": {**USER, "id": "twelve"}})), write)
    assert isinstance(error, NoAnswer)


def test_people_of_unknown_type_are_left_out() -> None:
    """Somebody who is neither lead nor referrer does not stop the list."""
    stranger = {**USER, "id": 13, "type": "person_watching"}
    page, _ = run(
        in_turn(document({"data": [USER, stranger], "links": {"next": None}})),
        lambda client: client.users_page(1),
    )
    assert [person.id for person in page.people] == [12]


@pytest.mark.parametrize(
    ("damage", "number"),
    [
        ({"signed_up_at": "soon"}, "13"),
        ({"code": None}, "13"),
        ({"id": "twelve"}, "?"),
        ({"id": None}, "?"),
        ({"campaign_id": 10**30}, "13"),
    ],
)
def test_an_entry_that_is_none_is_told_of(damage: Any, number: str) -> None:
    """By its number where it has one; everyone else is read."""
    damaged = {**USER, "id": 13, **damage}
    page, _ = run(
        in_turn(document({"data": [USER, damaged], "links": {"next": None}})),
        lambda client: client.users_page(1),
    )
    assert [person.id for person in page.people] == [12]
    assert page.unreadable == (number,)


def test_a_page_of_nothing_but_damage_is_unexpected() -> None:
    """Then it is the answer that is wrong, not an entry."""
    error, _ = run(
        in_turn(document({"data": [{**USER, "code": None}], "links": {"next": None}})),
        lambda client: client.users_page(1),
    )
    assert isinstance(error, UnexpectedAnswer)


def test_a_meta_entry_without_a_field_is_left_out() -> None:
    """The others of that user are read."""
    meta = [{"value": "x"}, {"field": "Phone", "value": "y"}]
    person, _ = run(in_turn(document({"data": {**USER, "meta": meta}})), read)
    assert person.meta == {"Phone": "y"}
