"""The sandbox against the vendors' documents: every operation, its answers, refusals and rules.

The documents lie beside the repository and are not part of it; without them nothing is checked.
"""

from __future__ import annotations

import copy
import json
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import date, datetime
from functools import cache
from pathlib import Path
from typing import Any

import httpx
import jsonschema
import pytest
import yaml

from stcli.sandbox import RunningSandbox, SandboxSettings
from stcli.sandbox.referralfactory import ReferralFactoryApi
from stcli.sandbox.servicetitan import ServiceTitanApi
from stcli.sandbox.servicetitan_bookings import CONTACT_RULES, CREATE_RULES, UPDATE_RULES
from stcli.sandbox.servicetitan_customers import UPDATE_RULES as CUSTOMER_RULES
from stcli.sandbox.validation import Rule

REFERENCE = Path(__file__).parents[3] / "shared" / "reference"
MODULES = ("crm", "jpm", "settings", "marketing")
BOOKING = {
    "source": "Spring HVAC",
    "name": "Zoë 王",
    "summary": "Referred by Rita",
    "isFirstTimeClient": True,
    "externalId": "CODE1",
}
ADDRESS = {"street": "1 St", "city": "Town", "state": "IL", "zip": "01234", "country": "USA"}
FORMATS = jsonschema.FormatChecker(())

pytestmark = pytest.mark.skipif(
    not REFERENCE.is_dir(), reason="the vendors' documents are not beside the repository"
)


@FORMATS.checks("date-time", raises=ValueError)
def _is_instant(value: object) -> bool:
    return not isinstance(value, str) or datetime.fromisoformat(value).tzinfo is not None


@FORMATS.checks("date", raises=ValueError)
def _is_date(value: object) -> bool:
    return not isinstance(value, str) or date.fromisoformat(value).isoformat() == value


# The documents


@cache
def servicetitan(module: str) -> dict[str, Any]:
    text = (REFERENCE / "servicetitan" / f"{module}-v2.json").read_text(encoding="utf-8")
    document: dict[str, Any] = json.loads(text)
    for schema in document["components"]["schemas"].values():
        _spell_out_null(schema)
    for operations in document["paths"].values():
        _spell_out_null(operations)
    return document


@cache
def referral_factory() -> dict[str, Any]:
    text = (REFERENCE / "referral-factory" / "openapi.yaml").read_text(encoding="utf-8")
    document: dict[str, Any] = yaml.safe_load(text)
    return document


def _spell_out_null(node: Any) -> None:
    """OpenAPI 3.0's `nullable` in the words of JSON Schema, in place and all the way down."""
    if isinstance(node, list):
        for item in node:
            _spell_out_null(item)
        return
    if not isinstance(node, dict):
        return
    for item in list(node.values()):
        _spell_out_null(item)
    if node.get("nullable") is True:
        rest = {key: value for key, value in node.items() if key != "nullable"}
        node.clear()
        node["anyOf"] = [rest, {"type": "null"}]


def faults_of(instance: Any, schema: dict[str, Any], document: dict[str, Any]) -> list[str]:
    """What is wrong with the instance, one line each."""
    whole = {**copy.deepcopy(schema), "components": document["components"]}
    validator = jsonschema.Draft202012Validator(whole, format_checker=FORMATS)
    return [
        f"{'/'.join(str(step) for step in error.absolute_path)}: {error.message}"
        for error in validator.iter_errors(instance)
    ]


# What was asked and answered


@dataclass(frozen=True)
class Exchange:
    method: str
    template: str
    status: int
    body: Any
    empty: bool

    def __str__(self) -> str:
        return f"{self.method} {self.template} -> {self.status}"


class Recorder:
    """Asks a sandbox and keeps every answer with the operation it belongs to."""

    def __init__(self, sandbox: RunningSandbox, client: httpx.Client) -> None:
        self.exchanges: list[Exchange] = []
        self._client = client
        self._sandbox = sandbox
        given = sandbox.credentials
        answer = client.post(
            f"{sandbox.st_auth_url}/connect/token",
            data={
                "grant_type": "client_credentials",
                "client_id": given.client_id,
                "client_secret": given.client_secret,
            },
        )
        self.st_headers = {
            "Authorization": f"Bearer {answer.json()['access_token']}",
            "ST-App-Key": given.app_key,
        }
        self.rf_headers = {"Authorization": f"Bearer {given.rf_token}"}

    def st(self, method: str, template: str, json: Any = None, **options: Any) -> Any:
        """`options` fill the template; `query` and `headers` are what they say."""
        given = self._sandbox.credentials
        query = options.pop("query", None)
        headers = options.pop("headers", self.st_headers)
        values = {
            "tenant": given.tenant_id,
            "booking_provider": given.booking_provider,
            **options,
        }
        url = self._sandbox.st_api_url + template.format(**values)
        return self._ask(method, template, url, params=query, headers=headers, json=json)

    def rf(self, method: str, template: str, json: Any = None, **options: Any) -> Any:
        query = options.pop("query", None)
        headers = options.pop("headers", self.rf_headers)
        url = self._sandbox.rf_url + template.format(**options)
        return self._ask(method, template, url, params=query, headers=headers, json=json)

    def control(self, path: str, **body: Any) -> Any:
        answer = self._client.post(self._sandbox.control_url + path, json=body)
        return answer.raise_for_status().json()

    def _ask(self, method: str, template: str, url: str, **request: Any) -> Any:
        answer = self._client.request(method, url, **request)
        body = answer.json() if answer.content else None
        self.exchanges.append(
            Exchange(method, template, answer.status_code, body, not answer.content)
        )
        return body


CRM = "/crm/v2/tenant/{tenant}"
JPM = "/jpm/v2/tenant/{tenant}"
SETTINGS = "/settings/v2/tenant/{tenant}"
MARKETING = "/marketing/v2/tenant/{tenant}"
OF_PROVIDER = CRM + "/booking-provider/{booking_provider}/bookings"


def _use_bookings(ask: Recorder) -> None:
    unit = ask.st("GET", SETTINGS + "/business-units")["data"][0]["id"]
    full = {
        **BOOKING,
        "address": ADDRESS,
        "contacts": [{"type": "MobilePhone", "value": "217-555-0100", "memo": None}],
        "customerType": "Residential",
        "start": "2026-05-01T10:00:00Z",
        "businessUnitId": unit,
        "priority": "Urgent",
        "uploadedImages": [],
        "isSendConfirmationEmail": True,
    }
    made = ask.st("POST", OF_PROVIDER, json=full)["id"]
    gone = ask.st("POST", OF_PROVIDER, json=BOOKING)["id"]
    ask.st("POST", OF_PROVIDER + "/{id}/contacts", {"type": "Email", "value": "x@y.zz"}, id=made)
    ask.st("POST", OF_PROVIDER + "/{id}/dismiss", {}, id=gone)
    job = ask.control(f"/bookings/{made}/convert", total=12.5)
    for status in ("InProgress", "Completed"):
        ask.control(f"/jobs/{job['id']}/status", status=status)
    ask.st("PATCH", OF_PROVIDER + "/{id}", {"name": "x"}, id=made)
    open_one = ask.st("POST", OF_PROVIDER, json=BOOKING)["id"]
    ask.st("PATCH", OF_PROVIDER + "/{id}", {"name": "x", "customerType": "Commercial"}, id=open_one)
    for base in (CRM + "/bookings", OF_PROVIDER):
        ask.st("GET", base, query={"includeTotal": "true", "pageSize": 2})
        for number in (made, 1):
            ask.st("GET", base + "/{id}", id=number)
            ask.st("GET", base + "/{id}/contacts", id=number)
    ask.st("GET", CRM + "/export/bookings", query={"includeRecentChanges": "true"})
    ask.st("GET", CRM + "/booking-provider-tags")
    for number in (7788, 1):
        ask.st("GET", CRM + "/booking-provider-tags/{id}", id=number)
    for number in (job["id"], 1):
        ask.st("GET", JPM + "/jobs/{id}", id=number)
        ask.st("GET", JPM + "/jobs/{id}/history", id=number)
    ask.st("GET", JPM + "/jobs", query={"includeTotal": "true"})
    for feed in ("jobs", "job-history"):
        ask.st("GET", JPM + "/export/" + feed, query={"includeRecentChanges": "true"})


def _use_lists(ask: Recorder) -> None:
    for path in (
        SETTINGS + "/business-units",
        SETTINGS + "/tag-types",
        JPM + "/job-types",
        MARKETING + "/campaigns",
        MARKETING + "/suppressions",
        CRM + "/customers/custom-fields",
    ):
        ask.st("GET", path, query={"active": "Any", "includeTotal": "true"})
    for path in (SETTINGS + "/business-units", JPM + "/job-types"):
        known = ask.st("GET", path)["data"][0]["id"]
        for number in (known, 1):
            ask.st("GET", path + "/{id}", id=number)


def _use_customers(ask: Recorder) -> None:
    listed = ask.st("GET", CRM + "/customers", query={"active": "Any"})["data"]
    fields = ask.st("GET", CRM + "/customers/custom-fields")["data"]
    values = [{"typeId": fields[0]["id"], "value": "https://refer.example.com/x"}]
    data = {"applicationGuid": "g", "externalData": [{"key": "k", "value": "v"}]}
    body = {"customFields": values, "externalData": data}
    ask.control(f"/customers/{listed[1]['id']}/contacts", value="x@y.zz", marketing_enabled=False)
    for number in (listed[1]["id"], 1):
        ask.st("PATCH", CRM + "/customers/{id}", body, id=number)
        ask.st("GET", CRM + "/customers/{id}", id=number)
        ask.st("GET", CRM + "/customers/{id}/contacts", id=number)
    ask.st("GET", CRM + "/customers/contacts", query={"modifiedOnOrAfter": "2020-01-01"})
    for feed in ("customers", "customers/contacts"):
        ask.st("GET", CRM + "/export/" + feed, query={"includeRecentChanges": "true"})


def _be_refused(ask: Recorder, operations: list[tuple[str, str]]) -> None:
    """Each operation without a key, for a foreign tenant, with an unreadable id, page or body."""
    for method, template in operations:
        json = {"nonsense": 1} if method in ("POST", "PATCH") else None
        named = {"id": 1} if "{id}" in template else {}
        ask.st(method, template, json, headers={}, **named)
        ask.st(method, template, json, **{**named, "tenant": 5})
        if "/export/" in template:
            ask.st(method, template, query={"from": "nonsense"})
        elif named:
            ask.st(method, template, json, id="x")
        else:
            ask.st(method, template, json, query={"page": 0})
    ask.control("/faults", kind="status", api="st", status=429)
    ask.st("GET", CRM + "/bookings")


def _use_referral_factory(ask: Recorder) -> None:
    campaigns = ask.rf("GET", "/campaigns")["data"]
    for name in (campaigns[0]["code"], campaigns[0]["id"], "nothing"):
        ask.rf("GET", "/campaigns/{identifier}", identifier=name)
    users = ask.rf("GET", "/users", query={"with": "user.analytics", "per_page": 250})["data"]
    ask.rf("GET", "/users", query={"page": 99})
    ask.rf("GET", "/users", query={"page": 0})
    ask.rf("GET", "/users", headers={})
    new = {"campaign_id": campaigns[0]["id"], "first_name": "Nia", "email": "nia@example.com"}
    made = ask.rf("POST", "/users", json=new)["data"]
    ask.rf("POST", "/users", json=new)
    ask.rf("PUT", "/users/{identifier}", {"first_name": "Mia"}, identifier=made["id"])
    ask.rf("PUT", "/users/{identifier}", {"email": "x"}, identifier=made["id"])
    lead = next(user for user in users if user["referrer_id"])
    ask.rf("PUT", "/users/qualification", json={"id": lead["id"], "qualified": True})
    ask.rf("PUT", "/users/qualification", json={"id": lead["id"]})
    for name in (lead["id"], lead["code"], "NOBODY"):
        ask.rf("GET", "/users/{identifier}", identifier=name)
    ask.rf("DELETE", "/users/{identifier}", identifier=made["id"])
    ask.rf("DELETE", "/users/{identifier}", identifier=made["id"])
    for metric in ("amount", "coupon", "gold"):
        ask.rf("GET", "/rewards/due/{metric}", metric=metric)
    ask.control("/faults", kind="status", api="rf", status=429)
    ask.rf("GET", "/users")


@pytest.fixture(scope="module")
def story() -> Iterator[tuple[list[Exchange], list[Exchange], RunningSandbox]]:
    """Everything the sandbox can do, done once: ServiceTitan's answers, Referral Factory's."""
    settings = SandboxSettings(st_requests_per_window=10_000)
    with RunningSandbox(settings) as sandbox, httpx.Client(trust_env=False, verify=False) as client:
        ask = Recorder(sandbox, client)
        _use_bookings(ask)
        _use_lists(ask)
        _use_customers(ask)
        _be_refused(ask, served(sandbox))
        of_servicetitan = list(ask.exchanges)
        ask.exchanges.clear()
        _use_referral_factory(ask)
        yield of_servicetitan, list(ask.exchanges), sandbox
        assert sandbox.world.traffic.defects == 0


def served(sandbox: RunningSandbox) -> list[tuple[str, str]]:
    return [(o.method, o.template) for o in ServiceTitanApi(sandbox.world).operations]


def documented(template: str) -> tuple[str, str]:
    """The module and the path that the vendor's document knows an operation by."""
    _, module, _, rest = template.split("/", 3)
    return module, "/" + rest


def servicetitan_schema(exchange: Exchange) -> tuple[dict[str, Any] | None, dict[str, Any]]:
    """The schema of this answer, or None where the document promises no body."""
    module, path = documented(exchange.template)
    document = servicetitan(module)
    responses = document["paths"][path][exchange.method.lower()]["responses"]
    if exchange.status >= 400:
        return {"$ref": "#/components/schemas/ApiErrorResponse"}, document
    content = responses[str(exchange.status)].get("content", {})
    return content.get("application/json", {}).get("schema"), document


# The tests


def test_every_servicetitan_operation_is_documented(story) -> None:
    """No route, and no method on it, is an invention of the sandbox."""
    for method, template in served(story[2]):
        module, path = documented(template)
        assert method.lower() in servicetitan(module)["paths"][path], (method, template)


def test_every_servicetitan_operation_answered_well_and_badly(story) -> None:
    """The story leaves no operation out, neither its success nor its refusals."""
    wanted = set(served(story[2]))
    well = {(e.method, e.template) for e in story[0] if e.status == 200}
    badly = {(e.method, e.template) for e in story[0] if e.status >= 400}
    assert well == wanted
    assert badly == wanted
    assert {e.status for e in story[0]} == {200, 400, 401, 403, 404, 409, 429}


def test_servicetitan_answers_match_their_schemas(story) -> None:
    """Each body has every required property, no unknown one, and null only where it may be."""
    for exchange in story[0]:
        schema, document = servicetitan_schema(exchange)
        if schema is None:
            assert exchange.empty, f"{exchange}: a body where none is promised"
        else:
            faults = faults_of(exchange.body, schema, document)
            assert not faults, f"{exchange}: {faults[:3]}"


def test_servicetitan_lists_and_feeds_held_records(story) -> None:
    """An empty list matches every schema, so each list and feed must have shown something."""
    shown = {
        e.template
        for e in story[0]
        if e.status == 200 and isinstance(e.body, dict) and e.body.get("data")
    }
    paged = {
        t
        for method, t in served(story[2])
        if method == "GET" and ("/export/" in t or not t.endswith(("{id}", "/history")))
    }
    assert paged <= shown, paged - shown


def test_servicetitan_refuses_with_documented_statuses(story) -> None:
    """Beside the gate's own 401, 403 and 429, only what the document lists for the operation."""
    for exchange in story[0]:
        module, path = documented(exchange.template)
        operation = servicetitan(module)["paths"][path][exchange.method.lower()]
        allowed = {*operation["responses"], "401", "403", "429"}
        assert str(exchange.status) in allowed, str(exchange)


def test_every_referral_factory_operation_was_used(story) -> None:
    """The sandbox serves exactly the documented operations, and the story used each one."""
    document = referral_factory()
    described = {
        (method.upper(), path)
        for path, operations in document["paths"].items()
        for method in operations
    }
    own = {(o.method, o.template) for o in ReferralFactoryApi(story[2].world).operations}
    assert own == described
    assert {(e.method, e.template) for e in story[1] if e.status < 400} == described


def test_referral_factory_answers_match_their_schemas(story) -> None:
    """Successes by operation, refusals by the shared error body."""
    document = referral_factory()
    error = document["components"]["responses"]["Error"]["content"]["application/json"]["schema"]
    for exchange in story[1]:
        responses = document["paths"][exchange.template][exchange.method.lower()]["responses"]
        schema = error
        if exchange.status < 400:
            content = responses[str(exchange.status)].get("content", {})
            schema = content.get("application/json", {}).get("schema", {})
        faults = faults_of(exchange.body, schema, document)
        assert not faults, f"{exchange}: {faults[:3]}"


def test_referral_factory_shows_documented_properties_only(story) -> None:
    """The document forbids no extra property, so this does: nothing may come to rely on one."""
    schemas = referral_factory()["components"]["schemas"]
    for exchange in story[1]:
        if exchange.status >= 400 or not isinstance(exchange.body.get("data"), list | dict):
            continue
        data = exchange.body["data"]
        kind = exchange.template.split("/")[1]
        name = {"campaigns": "Campaign", "users": "User", "rewards": "DueReward"}[kind]
        for record in data if isinstance(data, list) else [data]:
            assert set(record) <= set(schemas[name]["properties"]), str(exchange)


@pytest.mark.parametrize(
    ("rules", "schema"),
    [
        (CREATE_RULES, "Crm.V2.CreateBookingRequest"),
        (UPDATE_RULES, "Crm.V2.UpdateBookingRequest"),
        (CONTACT_RULES, "Crm.V2.BookingContactModel"),
        (CREATE_RULES["address"].fields, "Crm.V2.AddressModel"),
        (UPDATE_RULES["address"].fields, "Crm.V2.AddressPatchModel"),
        (CUSTOMER_RULES, "Crm.V2.Customers.UpdateCustomerRequest"),
        (CUSTOMER_RULES["address"].fields, "Crm.V2.Customers.UpdateCustomerAddress"),
    ],
)
def test_request_rules_are_the_documents(rules: dict[str, Rule], schema: str) -> None:
    """Names, required, nullable, types and enumerations of each body are the vendor's."""
    raw = json.loads((REFERENCE / "servicetitan" / "crm-v2.json").read_text(encoding="utf-8"))
    schemas = raw["components"]["schemas"]
    wanted = schemas[schema]
    assert set(rules) == set(wanted["properties"])
    assert {name for name, rule in rules.items() if rule.required} == set(
        wanted.get("required", ())
    )
    for name, described in wanted["properties"].items():
        resolved = _resolved(described, schemas)
        rule = rules[name]
        assert rule.nullable == described.get("nullable", False), name
        assert _kind(resolved) == rule.kind, name
        if "enum" in resolved:
            assert set(rule.choices) == set(resolved["enum"]), name


def _resolved(schema: dict[str, Any], schemas: dict[str, Any]) -> dict[str, Any]:
    if "oneOf" in schema:
        return _resolved(schema["oneOf"][0], schemas)
    if "$ref" in schema:
        return _resolved(schemas[schema["$ref"].rsplit("/", 1)[-1]], schemas)
    return schema


def _kind(schema: dict[str, Any]) -> str:
    if schema.get("format") == "date-time":
        return "instant"
    return {"array": "list"}.get(schema["type"], schema["type"])


@pytest.mark.parametrize(
    ("change", "complaint"),
    [
        ({"jobId": "5"}, "jobId"),
        ({"status": "new"}, "status"),
        ({"source": None}, "source"),
        ({"modifiedOn": "yesterday"}, "modifiedOn"),
        ({"extra": 1}, "extra"),
        ({"address": {"street": "1 St"}}, "address"),
    ],
)
def test_the_check_itself_can_fail(story, change: dict[str, Any], complaint: str) -> None:
    """A booking that is spoilt in one way no longer matches its schema."""
    good = next(e for e in story[0] if e.template == CRM + "/bookings/{id}" and e.status == 200)
    schema, document = servicetitan_schema(good)
    assert schema is not None
    assert faults_of(good.body, schema, document) == []
    faults = faults_of({**good.body, **change}, schema, document)
    assert any(complaint in fault for fault in faults)
