"""Every kind of request that the clients send is one that the vendors' documents describe.

The requests are captured from real HTTP; the documents lie beside the repository.
"""

from __future__ import annotations

import asyncio
import functools
import json
import re
from collections.abc import Awaitable, Callable
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import jsonschema
import pytest
import yaml

from stcli.clients.referralfactory.client import ReferralFactoryClient
from stcli.clients.servicetitan.client import ServiceTitanClient
from stcli.domain.ids import BookingId, CustomerId, JobId, ProviderId, RfCampaignId, UserId
from stcli.domain.records import Address, BookingContact, BookingDraft, ContactType
from tests.integration.clients.clients_on import ask_referral_factory, ask_servicetitan
from tests.integration.clients.scripted_server import Reply, Request, document, with_tokens

REFERENCE = Path(__file__).parents[3] / "shared" / "reference"
pytestmark = pytest.mark.skipif(
    not REFERENCE.is_dir(), reason="the vendors' documents are not beside the repository"
)

SMALL = BookingDraft("Referral", "Ann", "New", True, "abc")
FULL = BookingDraft(
    source="Referral",
    name="Ann",
    summary="New",
    is_first_time_client=False,
    external_id="abc",
    contacts=tuple(BookingContact(kind, "value") for kind in ContactType),
    address=Address("1 Main St", "Town", "CA", "01234", "USA", "2"),
    customer_type="Commercial",
    start=datetime(2026, 1, 2, tzinfo=UTC),
    campaign_id=1,
    business_unit_id=2,
    job_type_id=3,
    priority="High",
    send_confirmation_email=True,
)

SERVICETITAN: dict[str, Callable[[ServiceTitanClient], Awaitable[object]]] = {
    "first_booking": lambda client: client.first_booking(),
    "first_booking_of_provider": lambda client: client.first_booking_of_provider(ProviderId(4521)),
    "booking_provider_tags": lambda client: client.booking_provider_tags(),
    "find_bookings": lambda client: client.find_bookings("abc"),
    "recent_bookings": lambda client: client.recent_bookings(datetime(2026, 11, 23, tzinfo=UTC)),
    "booking": lambda client: client.booking(BookingId(7)),
    "create_booking": lambda client: client.create_booking(SMALL),
    "create_booking_full": lambda client: client.create_booking(FULL),
    "bookings_feed": lambda client: client.bookings_feed(""),
    "bookings_feed_from": lambda client: client.bookings_feed("2026-01-02"),
    "jobs_feed": lambda client: client.jobs_feed("token"),
    "job_history_feed": lambda client: client.job_history_feed("token"),
    "jobs": lambda client: client.jobs([JobId(number) for number in range(1, 60)]),
    "jobs_of_booking": lambda client: client.jobs_of_booking(BookingId(7)),
    "job_history": lambda client: client.job_history(JobId(5)),
    "customers_feed": lambda client: client.customers_feed(""),
    "customers_feed_from": lambda client: client.customers_feed("2026-01-02"),
    "contacts_feed": lambda client: client.contacts_feed(""),
    "contacts_feed_from": lambda client: client.contacts_feed("token"),
    "customer_jobs_feed": lambda client: client.customer_jobs_feed("token"),
    "suppressions": lambda client: client.suppressions(None),
    "suppressions_since": lambda client: client.suppressions(datetime(2026, 11, 23, tzinfo=UTC)),
    "custom_fields": lambda client: client.custom_fields(),
    "customer": lambda client: client.customer(CustomerId(9)),
    "update_custom_fields": lambda client: client.update_custom_fields(
        CustomerId(9), {11: "https://example.com/aB3x9", 12: "3"}
    ),
    "campaigns": lambda client: client.campaigns(),
    "business_units": lambda client: client.business_units(),
    "job_types": lambda client: client.job_types(),
    "tag_types": lambda client: client.tag_types(),
}
REFERRAL_FACTORY: dict[str, Callable[[ReferralFactoryClient], Awaitable[object]]] = {
    "campaigns": lambda client: client.campaigns(),
    "campaign": lambda client: client.campaign("abc"),
    "due_rewards": lambda client: client.due_rewards("amount"),
    "users_page": lambda client: client.users_page(3),
    "users_page_with_counts": lambda client: client.users_page(1, with_counts=True),
    "user": lambda client: client.user("12"),
    "create_referrer": lambda client: client.create_referrer(
        RfCampaignId(7),
        {"first_name": "Ada", "email": "ada@example.com", "meta.Last name": "Lovelace"},
        welcome_mail=False,
    ),
    "update_user": lambda client: client.update_user(
        UserId(12),
        {"first_name": "Ada", "email": "ada@example.org", "meta.Phone": "", "meta.City": "Bath"},
        {"Phone": "555-0100", "Last name": "Lovelace"},
    ),
    "update_user_one_value": lambda client: client.update_user(
        UserId(12), {"first_name": "Ada"}, {"Phone": "555-0100"}
    ),
    "qualify": lambda client: client.qualify(UserId(12), qualified=False),
}
NOT_A_REQUEST = {"requests", "clock_ahead_seconds", "fresh_token", "forget_token"}


@functools.cache
def servicetitan_documents() -> list[tuple[str, dict[str, Any]]]:
    """Each document with the path that its own paths hang under."""
    files = sorted((REFERENCE / "servicetitan").glob("*-v2.json"))
    documents = [json.loads(file.read_text(encoding="utf-8")) for file in files]
    assert documents
    return [(urlsplit(found["servers"][0]["url"]).path, found) for found in documents]


@functools.cache
def referral_factory_documents() -> list[tuple[str, dict[str, Any]]]:
    file = REFERENCE / "referral-factory" / "openapi.yaml"
    found = yaml.safe_load(file.read_text(encoding="utf-8"))
    return [(urlsplit(found["servers"][0]["url"]).path, found)]


def resolved(node: dict[str, Any], root: dict[str, Any]) -> dict[str, Any]:
    """``node``, or what its reference points to."""
    while "$ref" in node:
        place: Any = root
        for part in node["$ref"].removeprefix("#/").split("/"):
            place = place[part]
        node = place
    return node


def operation(
    documents: list[tuple[str, dict[str, Any]]], method: str, path: str
) -> tuple[dict[str, Any], dict[str, Any]]:
    """The documented operation of a request, and its document. A fixed path beats a template."""
    found = []
    for prefix, root in documents:
        for template, operations in root["paths"].items():
            pattern = re.sub(r"\\\{[^/]+?\\\}", "[^/]+", re.escape(prefix + template))
            if re.fullmatch(pattern, path) and method.lower() in operations:
                found.append((template.count("{"), operations[method.lower()], root))
    assert found, f"no document knows {method} {path}"
    _, match, root = min(found, key=lambda entry: entry[0])
    return match, root


def check(documents: list[tuple[str, dict[str, Any]]], request: Request) -> None:
    """Fail unless ``request`` is described: path, query parameters and body."""
    described, root = operation(documents, request.method, request.path)
    listed = [resolved(node, root) for node in described.get("parameters", [])]
    queries = {entry["name"]: entry for entry in listed if entry["in"] == "query"}
    parameters = {name: entry["schema"] for name, entry in queries.items()}
    unknown = set(request.query) - set(parameters)
    assert not unknown, f"unknown query parameters: {unknown}"
    for name, text in request.query.items():
        kind = parameters[name].get("type")
        value: object = text
        if kind == "integer":
            value = int(text)
        elif kind == "boolean":
            value = {"true": True, "false": False}[text]
        jsonschema.validate(value, {**parameters[name], "components": root["components"]})
        if name == "sort":
            fields = queries[name]["description"].partition("Available fields are: ")[2]
            assert text[0] in "+-"
            assert text[1:] in re.findall(r"\w+", fields)
        if name == "ids":
            assert len(text.split(",")) <= 50
        if name == "pageSize":
            assert int(text) <= 5000
    if "requestBody" not in described:
        assert request.body == b""
        return
    assert request.headers["content-type"] == "application/json"
    schema = resolved(described["requestBody"]["content"]["application/json"]["schema"], root)
    closed = {**schema, "additionalProperties": False, "components": root["components"]}
    jsonschema.validate(request.json, closed)


def anything(request: Request) -> Reply:
    """An answer that every call of ServiceTitan understands."""
    return document(
        {
            "id": 7,
            "active": True,
            "createdOn": "2026-01-02T03:04:05Z",
            "data": [],
            "hasMore": False,
            "history": [],
        }
    )


def anything_of_referral_factory(request: Request) -> Reply:
    user = {"id": 1, "campaign_id": 1, "type": "person_invited", "code": "c"}
    is_list = request.method == "GET" and request.path.endswith(
        ("/users", "/campaigns", "/due/amount")
    )
    return document({"data": [] if is_list else user, "links": {"next": None}})


@pytest.mark.parametrize("name", SERVICETITAN)
def test_servicetitan_requests_are_described(name: str) -> None:
    """Path, query and body are those of ServiceTitan's own documents."""
    result, server = asyncio.run(ask_servicetitan(with_tokens(anything), SERVICETITAN[name]))
    assert not isinstance(result, Exception), result
    assert server.calls
    for request in server.calls:
        check(servicetitan_documents(), request)


@pytest.mark.parametrize("name", REFERRAL_FACTORY)
def test_referral_factory_requests_are_described(name: str) -> None:
    """Path, query and body are those of Referral Factory's document."""
    result, server = asyncio.run(
        ask_referral_factory(anything_of_referral_factory, REFERRAL_FACTORY[name])
    )
    assert not isinstance(result, Exception), result
    assert server.calls
    for request in server.calls:
        check(referral_factory_documents(), request)


@pytest.mark.parametrize(
    ("client", "asked"),
    [(ServiceTitanClient, SERVICETITAN), (ReferralFactoryClient, REFERRAL_FACTORY)],
)
def test_no_request_is_forgotten(client: type, asked: dict[str, object]) -> None:
    """Every public method of the clients that sends something is among those above."""
    public = {name for name in vars(client) if not name.startswith("_")}
    assert public - NOT_A_REQUEST == {name for name in asked if name in public}


GOOD_BODY = json.dumps(
    {"source": "s", "name": "n", "summary": "s", "isFirstTimeClient": True, "externalId": "e"}
).encode()
POST = Request(
    "POST",
    "/crm/v2/tenant/1/booking-provider/2/bookings",
    {"content-type": "application/json"},
    GOOD_BODY,
)


def test_the_check_itself_accepts_what_is_described() -> None:
    """The request that the next test spoils is a good one."""
    check(servicetitan_documents(), POST)


@pytest.mark.parametrize(
    "bad",
    [
        replace(POST, raw_path="/crm/v2/tenant/1/booking-provider/2/booking"),
        replace(POST, method="PUT"),
        replace(POST, body=GOOD_BODY.replace(b"externalId", b"externalID")),
        replace(POST, body=GOOD_BODY.replace(b'"source"', b'"memo"')),
        replace(POST, body=GOOD_BODY.replace(b"true", b'"true"')),
        replace(POST, body=b'{"priority": "Soon", ' + GOOD_BODY[1:]),
        Request("GET", "/crm/v2/tenant/1/bookings?external_id=e", {}, b""),
        Request("GET", "/crm/v2/tenant/1/bookings?page=first", {}, b""),
        Request("GET", "/marketing/v2/tenant/1/suppressions?sort=%2BName", {}, b""),
        Request("GET", "/marketing/v2/tenant/1/suppressions?sort=+Id", {}, b""),
        Request("GET", "/marketing/v2/tenant/1/suppressions?active=any", {}, b""),
    ],
)
def test_the_check_itself_can_fail(bad: Request) -> None:
    """Unknown paths, methods, parameters, properties and wrong types are noticed."""
    with pytest.raises((AssertionError, jsonschema.ValidationError, ValueError)):
        check(servicetitan_documents(), bad)
