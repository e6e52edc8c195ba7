"""ServiceTitan's side: token, checks of each call, lists, export feeds, bookings and jobs.

Written from the vendor's documents CRM v2, JPM v2, Settings v2 and Marketing v2. What a real server
ignores (unknown filters) is ignored here too, what it refuses (unknown properties) is refused.
"""

from __future__ import annotations

import hashlib
import json
import uuid
from collections.abc import Callable, Iterable
from datetime import datetime
from typing import Any
from urllib.parse import parse_qsl

from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from stcli.sandbox_own.feeds import BadToken
from stcli.sandbox_own.limits import Window
from stcli.sandbox_own.world import GrantRecord, Record, World

MAX_PAGE = 5000
MAX_IDS = 50

_TEXT = (str,)
_BOOKING_FIELDS: dict[str, tuple[type, ...]] = {
    "source": _TEXT,
    "name": _TEXT,
    "address": (dict, type(None)),
    "contacts": (list, type(None)),
    "customerType": (str, type(None)),
    "start": (str, type(None)),
    "summary": _TEXT,
    "campaignId": (int, type(None)),
    "businessUnitId": (int, type(None)),
    "jobTypeId": (int, type(None)),
    "priority": (str, type(None)),
    "isFirstTimeClient": (bool,),
    "uploadedImages": (list, type(None)),
    "isSendConfirmationEmail": (bool, type(None)),
    "externalId": _TEXT,
}
_REQUIRED = ("source", "name", "summary", "isFirstTimeClient", "externalId")
_ADDRESS = ("street", "city", "state", "zip", "country")
_CONTACT_TYPES = ("Phone", "Email", "Fax", "MobilePhone")
_PRIORITIES = ("Low", "Normal", "High", "Urgent")
_CUSTOMER_TYPES = ("Residential", "Commercial")


def problem(status: int, title: str, errors: dict[str, list[str]] | None = None) -> JSONResponse:
    """The vendor's error body (ApiErrorResponse)."""
    return JSONResponse(
        {
            "type": f"https://httpstatuses.io/{status}",
            "title": title,
            "status": status,
            "traceId": uuid.uuid4().hex,
            "errors": errors or {},
            "data": {},
        },
        status_code=status,
    )


class ServiceTitanApi:
    """The routes, over one world."""

    def __init__(self, world: World) -> None:
        self.world = world
        self.windows: dict[str, Window] = {}
        self.token_window = Window(10, 60, world.now)

    def auth_routes(self) -> list[Route]:
        return [Route("/connect/token", self._token, methods=["POST"])]

    def routes(self) -> list[Route]:
        crm, jpm = "/crm/v2/tenant/{tenant:int}", "/jpm/v2/tenant/{tenant:int}"
        settings, marketing = (
            "/settings/v2/tenant/{tenant:int}",
            "/marketing/v2/tenant/{tenant:int}",
        )
        provider = crm + "/booking-provider/{provider:int}/bookings"
        world = self.world
        return [
            self._get(f"{crm}/export/bookings", "crm", self._export_bookings),
            self._get(f"{jpm}/export/jobs", "jpm", self._export_jobs),
            self._get(f"{jpm}/export/job-history", "jpm", self._export_history),
            self._get(provider, "crm", self._provider_bookings),
            Route(provider, self._checked("crm", self._create_booking), methods=["POST"]),
            self._get(f"{crm}/bookings", "crm", self._tenant_bookings),
            self._get(crm + "/bookings/{id:int}", "crm", self._booking),
            self._get(crm + "/bookings/{id:int}/contacts", "crm", self._contacts),
            self._get(f"{jpm}/jobs", "jpm", self._jobs),
            self._get(jpm + "/jobs/{id:int}", "jpm", self._job),
            self._get(jpm + "/jobs/{id:int}/history", "jpm", self._history),
            self._named(f"{crm}/booking-provider-tags", "crm", lambda: world.booking_provider_tags),
            self._named(f"{settings}/business-units", "settings", lambda: world.business_units),
            self._named(f"{settings}/tag-types", "settings", lambda: world.tag_types),
            self._named(f"{jpm}/job-types", "jpm", lambda: world.job_types),
            self._named(f"{marketing}/campaigns", "marketing", lambda: world.marketing_campaigns),
        ]

    async def _token(self, request: Request) -> Response:
        form = dict(parse_qsl((await request.body()).decode()))
        world = self.world
        if not self.token_window.allow():
            return JSONResponse(
                {"error": "throttled"},
                status_code=429,
                headers={"Retry-After": str(self.token_window.wait())},
            )
        grant = world.grants.get(form.get("client_id", ""))
        if (
            form.get("grant_type") != "client_credentials"
            or grant is None
            or form.get("client_secret") != grant.client_secret
        ):
            return JSONResponse({"error": "invalid_client"}, status_code=400)
        token = uuid.uuid4().hex
        world.tokens[token] = (grant.client_id, world.now() + world.settings.token_seconds)
        return JSONResponse(
            {
                "access_token": token,
                "expires_in": int(world.settings.token_seconds),
                "token_type": "Bearer",
                "scope": " ".join(sorted(grant.scopes)),
            }
        )

    def _get(self, path: str, scope: str, handler: Callable[[Request], Response]) -> Route:
        return Route(path, self._checked(scope, handler), methods=["GET"])

    def _named(self, path: str, scope: str, records: Callable[[], list[Record]]) -> Route:
        return self._get(path, scope, lambda request: self._named_list(request, records()))

    def _checked(self, scope: str, handler: Callable[..., Any]) -> Callable[[Request], Any]:
        """A handler behind the checks that every call goes through, in the server's order."""

        async def checked(request: Request) -> Response:
            refusal = self._refusal(request, scope)
            if refusal is not None:
                return refusal
            try:
                if request.method == "POST":
                    return handler(request, await request.body())  # type: ignore[no-any-return] # a handler's
                return handler(request)  # type: ignore[no-any-return] # a handler's own Response
            except _BadQueryError as error:
                return problem(400, "One or more validation errors occurred.", error.errors)

        return checked

    def _refusal(self, request: Request, scope: str) -> Response | None:
        world = self.world
        tenant = int(request.path_params["tenant"])
        app_key = request.headers.get("st-app-key", "")
        window = self._window(app_key, tenant)
        if not window.allow():
            response = problem(429, "Rate limit is exceeded.")
            response.headers["Retry-After"] = str(window.wait())
            return response
        if app_key != world.app_key:
            return problem(401, "Invalid application key.")
        scheme, _, token = request.headers.get("authorization", "").partition(" ")
        client_id, expires = world.tokens.get(token, ("", 0.0))
        if scheme != "Bearer" or expires <= world.now():
            return problem(401, "The access token is missing, unknown or expired.")
        grant = world.grants.get(client_id)
        if grant is None or not grant.is_granted or grant.tenant_id != tenant:
            return problem(403, "The application has no access to this tenant.")
        if scope not in grant.scopes:
            return problem(403, "The application lacks a scope for this resource.")
        request.state.grant = grant
        return None

    def _window(self, app_key: str, tenant: int) -> Window:
        key = hashlib.sha256(f"{app_key} {tenant}".encode()).hexdigest()
        if key not in self.windows:
            self.windows[key] = Window(self.world.settings.st_per_second, 1.0, self.world.now)
        return self.windows[key]

    # Export feeds

    def _export(self, request: Request, name: str, record: Callable[[int], Record]) -> Response:
        settings = self.world.settings
        try:
            ids, has_more, token = self.world.feeds[name].page(
                request.query_params.get("from", ""),
                size=settings.feed_page,
                now=self.world.now(),
                lag=settings.feed_lag_seconds,
                recent=request.query_params.get("includeRecentChanges", "").lower() == "true",
            )
        except BadToken:
            raise _BadQueryError("from", "The continuation token is not valid.") from None
        return JSONResponse(
            {"hasMore": has_more, "continueFrom": token, "data": [record(number) for number in ids]}
        )

    def _export_bookings(self, request: Request) -> Response:
        bookings = self.world.bookings
        return self._export(request, "bookings", lambda number: bookings[number] | {"active": True})

    def _export_jobs(self, request: Request) -> Response:
        jobs = self.world.jobs
        return self._export(request, "jobs", lambda number: jobs[number] | {"active": True})

    def _export_history(self, request: Request) -> Response:
        history = self.world.history
        return self._export(
            request, "job-history", lambda number: {"jobId": number, "history": history[number]}
        )

    # Bookings

    def _provider_bookings(self, request: Request) -> Response:
        provider = int(request.path_params["provider"])
        refusal = self._foreign_provider(request, provider)
        if refusal is not None:
            return refusal
        return self._bookings(request, provider)

    def _foreign_provider(self, request: Request, provider: int) -> Response | None:
        grant: GrantRecord = request.state.grant
        if provider == grant.booking_provider:
            return None
        return problem(
            400,
            "One or more validation errors occurred.",
            {"booking_provider": ["The application may not use this booking provider."]},
        )

    def _tenant_bookings(self, request: Request) -> Response:
        return self._bookings(request, None)

    def _bookings(self, request: Request, provider: int | None) -> Response:
        world, query = self.world, request.query_params
        found: Iterable[Record] = world.bookings.values()
        if "externalId" in query:
            ids = world.bookings_by_external_id.get(query["externalId"], ())
            found = [world.bookings[number] for number in ids]
        if "ids" in query:
            wanted = _ids(query["ids"])
            found = [booking for booking in found if booking["id"] in wanted]
        if provider is not None:
            found = [booking for booking in found if booking["bookingProviderId"] == provider]
        return _page(request, list(_dated(request, found)))

    def _booking(self, request: Request) -> Response:
        found = self.world.bookings.get(request.path_params["id"])
        return JSONResponse(found) if found else problem(404, "Booking not found.")

    def _contacts(self, request: Request) -> Response:
        number = request.path_params["id"]
        if number not in self.world.bookings:
            return problem(404, "Booking not found.")
        stamp = self.world.bookings[number]["createdOn"]
        contacts = [
            {
                "id": number * 10 + index,
                "type": contact["type"],
                "value": contact["value"],
                "memo": contact.get("memo") or "",
                "modifiedOn": stamp,
            }
            for index, contact in enumerate(self.world.booking_contacts[number])
        ]
        return _page(request, contacts)

    def _create_booking(self, request: Request, body: bytes) -> Response:
        provider = int(request.path_params["provider"])
        refusal = self._foreign_provider(request, provider)
        if refusal is not None:
            return refusal
        try:
            document = json.loads(body)
        except ValueError:
            return problem(400, "The request body is not valid JSON.")
        errors = self._booking_errors(document)
        if errors:
            return problem(400, "One or more validation errors occurred.", errors)
        return JSONResponse(self.world.add_booking(document, provider))

    def _booking_errors(self, body: Any) -> dict[str, list[str]]:
        if not isinstance(body, dict):
            return {"": ["An object is expected."]}
        errors: dict[str, list[str]] = {}
        for name in body:
            if name not in _BOOKING_FIELDS:
                errors[str(name)] = ["The property is not known."]
        for name in _REQUIRED:
            if body.get(name) is None or body.get(name) == "":
                errors[name] = [f"The {name} field is required."]
        for name, types in _BOOKING_FIELDS.items():
            value = body.get(name)
            wrong_bool = isinstance(value, bool) and bool not in types
            if name in body and name not in errors and (wrong_bool or not isinstance(value, types)):
                errors[name] = ["The value has the wrong type."]
        errors |= self._value_errors(body)
        return errors

    def _value_errors(self, body: Record) -> dict[str, list[str]]:
        errors: dict[str, list[str]] = {}
        address = body.get("address")
        if isinstance(address, dict):
            for name in _ADDRESS:
                if not isinstance(address.get(name), str) or not address[name]:
                    errors[f"address.{name}"] = ["The field is required."]
            for name in address:
                if name not in (*_ADDRESS, "unit"):
                    errors[f"address.{name}"] = ["The property is not known."]
        for index, contact in enumerate(body.get("contacts") or ()):
            if not isinstance(contact, dict) or not isinstance(contact.get("value"), str):
                errors[f"contacts[{index}]"] = ["A type and a value are required."]
            elif contact.get("type") not in _CONTACT_TYPES:
                errors[f"contacts[{index}].type"] = ["The value is not allowed."]
            elif contact["type"] == "Email" and "@" not in contact["value"]:
                errors[f"contacts[{index}].value"] = ["The value is not an email address."]
        for name, allowed in (("priority", _PRIORITIES), ("customerType", _CUSTOMER_TYPES)):
            if body.get(name) is not None and body[name] not in allowed:
                errors[name] = ["The value is not allowed."]
        if isinstance(body.get("start"), str) and _instant(body["start"]) is None:
            errors["start"] = ["The value is not a date and time."]
        for name, records in (
            ("campaignId", self.world.marketing_campaigns),
            ("businessUnitId", self.world.business_units),
            ("jobTypeId", self.world.job_types),
        ):
            value = body.get(name)
            if value is not None and all(record["id"] != value for record in records):
                errors[name] = ["There is no such record."]
        return errors

    # Jobs and lists

    def _jobs(self, request: Request) -> Response:
        world, query = self.world, request.query_params
        found: Iterable[Record] = world.jobs.values()
        if "bookingId" in query:
            numbers = world.jobs_by_booking.get(_number("bookingId", query["bookingId"]), ())
            found = [world.jobs[number] for number in numbers]
        if "ids" in query:
            wanted = _ids(query["ids"])
            found = [world.jobs[number] for number in sorted(wanted) if number in world.jobs]
        if "jobStatus" in query:
            found = [job for job in found if job["jobStatus"] == query["jobStatus"]]
        return _page(request, list(_dated(request, found)))

    def _job(self, request: Request) -> Response:
        found = self.world.jobs.get(request.path_params["id"])
        return JSONResponse(found) if found else problem(404, "Job not found.")

    def _history(self, request: Request) -> Response:
        number = request.path_params["id"]
        if number not in self.world.jobs:
            return problem(404, "Job not found.")
        entries = [entry | {"memo": ""} for entry in self.world.history[number]]
        return JSONResponse({"history": entries})

    def _named_list(self, request: Request, records: list[Record]) -> Response:
        query = request.query_params
        active = query.get("active", "True").lower()
        if active not in ("true", "false", "any"):
            raise _BadQueryError("active", "The value is not allowed.")
        found = [r for r in records if active == "any" or r["active"] == (active == "true")]
        if "name" in query:
            wanted = query["name"].casefold()
            found = [record for record in found if wanted in str(record.get("name", "")).casefold()]
        return _page(request, list(_dated(request, found)))


class _BadQueryError(Exception):
    def __init__(self, name: str, message: str) -> None:
        super().__init__(message)
        self.errors = {name: [message]}


def _number(name: str, text: str) -> int:
    if not (text.isascii() and text.isdigit()):
        raise _BadQueryError(name, "A number is expected.")
    return int(text)


def _ids(text: str) -> set[int]:
    parts = [part.strip() for part in text.split(",") if part.strip()]
    if len(parts) > MAX_IDS:
        raise _BadQueryError("ids", f"At most {MAX_IDS} ids are allowed.")
    return {_number("ids", part) for part in parts}


def _instant(text: str) -> datetime | None:
    try:
        return datetime.fromisoformat(text)
    except ValueError:
        return None


def _dated(request: Request, records: Iterable[Record]) -> Iterable[Record]:
    """The four date filters that every list has."""
    query = request.query_params
    for name, key, after in (
        ("createdOnOrAfter", "createdOn", True),
        ("createdBefore", "createdOn", False),
        ("modifiedOnOrAfter", "modifiedOn", True),
        ("modifiedBefore", "modifiedOn", False),
    ):
        if name not in query:
            continue
        wanted = query[name][:19]
        if _instant(wanted) is None:
            raise _BadQueryError(name, "A date and time is expected.")
        records = [r for r in records if (r[key][:19] >= wanted) is after]
    return records


def _page(request: Request, records: list[Record]) -> Response:
    query = request.query_params
    page = _number("page", query.get("page", "1"))
    size = _number("pageSize", query.get("pageSize", "50"))
    if not (page >= 1 and 1 <= size <= MAX_PAGE):
        raise _BadQueryError("pageSize", f"The page size is from 1 to {MAX_PAGE}.")
    start = (page - 1) * size
    total = len(records) if query.get("includeTotal", "").lower() == "true" else None
    return JSONResponse(
        {
            "page": page,
            "pageSize": size,
            "hasMore": start + size < len(records),
            "totalCount": total,
            "data": records[start : start + size],
        }
    )
