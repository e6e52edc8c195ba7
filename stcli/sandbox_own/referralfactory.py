"""Referral Factory's side: campaigns, users of all campaigns in one list, qualification, rewards."""

from __future__ import annotations

import json
import re
from collections.abc import Awaitable, Callable
from typing import Any

from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from stcli.sandbox_own.limits import Window
from stcli.sandbox_own.world import Record, World

MAX_PER_PAGE = 250
ABUSES_THAT_BLOCK = 3
BLOCKED_SECONDS = 600.0

_EMAIL = re.compile(r"[^@\s]+@[^@\s]+\.[^@\s]+")


def refused(status: int, message: str, errors: dict[str, str] | None = None) -> JSONResponse:
    """The vendor's error body."""
    body: Record = {"code": status, "message": message}
    if errors:
        body["errors"] = {name: [{"field": name, "message": text}] for name, text in errors.items()}
    return JSONResponse(body, status_code=status)


class ReferralFactoryApi:
    """The routes, over one world."""

    def __init__(self, world: World) -> None:
        self.world = world
        self.window = Window(world.settings.rf_per_minute, 60.0, world.now)
        self._abuses = 0
        self._blocked_until = 0.0

    def routes(self) -> list[Route]:
        return [
            Route("/campaigns", self._checked(self._campaigns), methods=["GET"]),
            Route("/campaigns/{identifier}", self._checked(self._campaign), methods=["GET"]),
            Route("/users", self._checked(self._users), methods=["GET"]),
            Route("/users", self._checked(self._create), methods=["POST"]),
            Route("/users/qualification", self._checked(self._qualify), methods=["PUT"]),
            Route("/users/{identifier}", self._checked(self._user), methods=["GET"]),
            Route("/users/{identifier}", self._checked(self._update), methods=["PUT"]),
            Route("/users/{identifier}", self._checked(self._delete), methods=["DELETE"]),
            Route("/rewards/due/{metric}", self._checked(self._rewards), methods=["GET"]),
        ]

    def _checked(
        self, handler: Callable[[Request, Any], Response]
    ) -> Callable[[Request], Awaitable[Response]]:
        async def checked(request: Request) -> Response:
            refusal = self._refusal(request)
            if refusal is not None:
                return refusal
            body: Any = None
            if request.method in ("POST", "PUT"):
                try:
                    body = json.loads(await request.body())
                except ValueError:
                    return refused(400, "The body is not valid JSON.")
                if not isinstance(body, dict):
                    return refused(400, "An object is expected.")
            return handler(request, body)

        return checked

    def _refusal(self, request: Request) -> Response | None:
        now = self.world.now()
        if now < self._blocked_until:
            return refused(429, "This address is blocked for a while.")
        if not self.window.allow():
            self._abuses += 1
            if self._abuses >= ABUSES_THAT_BLOCK:
                self._blocked_until = now + BLOCKED_SECONDS
                self._abuses = 0
            response = refused(429, "Too many requests.")
            response.headers["Retry-After"] = str(self.window.wait())
            return response
        if request.headers.get("authorization") != f"Bearer {self.world.rf_token}":
            return refused(401, "Unauthenticated.")
        return None

    def _campaigns(self, request: Request, _body: Any) -> Response:
        return self._page(request, list(self.world.campaigns.values()))

    def _campaign(self, request: Request, _body: Any) -> Response:
        found = self.world.campaign(request.path_params["identifier"])
        return JSONResponse({"data": found}) if found else refused(404, "Campaign not found.")

    def _users(self, request: Request, _body: Any) -> Response:
        # A campaign_id parameter is ignored, as was observed of the real server.
        users = list(self.world.users.values())
        if self.world.settings.newest_first:
            users.reverse()
        return self._page(request, users)

    def _page(self, request: Request, records: list[Record]) -> Response:
        query = request.query_params
        page, size = query.get("page", "1"), query.get("per_page", "25")
        if not (page.isdigit() and size.isdigit() and int(page) >= 1):
            return refused(422, "The given data was invalid.", {"page": "A number is expected."})
        if not 1 <= int(size) <= MAX_PER_PAGE:
            return refused(
                422, "The given data was invalid.", {"per_page": f"At most {MAX_PER_PAGE}."}
            )
        number, per_page = int(page), int(size)
        last = max(1, -(-len(records) // per_page))
        start = (number - 1) * per_page

        def link(target: int) -> str | None:
            if not 1 <= target <= last:
                return None
            return str(request.url.include_query_params(page=target, per_page=per_page))

        data = records[start : start + per_page]
        if query.get("with") == "user.analytics":
            data = [record | {"analytics": self._analytics(record)} for record in data]
        return JSONResponse(
            {
                "data": data,
                "links": {
                    "first": link(1),
                    "last": link(last),
                    "prev": link(number - 1),
                    "next": link(number + 1),
                },
                "meta": {
                    "current_page": number,
                    "per_page": per_page,
                    "last_page": last,
                    "total": len(records),
                },
            }
        )

    def _analytics(self, user: Record) -> Record:
        referred = [u for u in self.world.users.values() if u["referrer_id"] == user["id"]]
        qualified = [u for u in referred if u["qualified_at"] is not None]
        return {"reach": 0, "referrals": len(referred), "qualified_referrals": len(qualified)}

    def _user(self, request: Request, _body: Any) -> Response:
        found = self.world.user(request.path_params["identifier"])
        return JSONResponse({"data": found}) if found else refused(404, "User not found.")

    def _create(self, _request: Request, body: Record) -> Response:
        errors: dict[str, str] = {}
        campaign = self.world.campaigns.get(body.get("campaign_id", 0))
        if campaign is None:
            errors["campaign_id"] = "There is no such campaign."
        if not isinstance(body.get("first_name"), str) or not body["first_name"].strip():
            errors["first_name"] = "The first name is required."
        email = body.get("email")
        if not isinstance(email, str) or not _EMAIL.fullmatch(email):
            errors["email"] = "The email must be a valid email address."
        elif campaign is not None and self._taken(email, campaign["id"]):
            errors["email"] = "The email has already been taken."
        referrer = None
        if "referrer" in body:
            referrer = self.world.user(str((body["referrer"] or {}).get("value", "")))
            if referrer is None:
                errors["referrer"] = "There is no such referrer."
        if errors or campaign is None:
            return refused(422, "The given data was invalid.", errors)
        user = self.world.add_user(
            {
                "campaign_id": campaign["id"],
                "first_name": body["first_name"],
                "email": email,
                "source": "Api",
                "referrer_id": referrer["id"] if referrer else None,
                "meta": body.get("meta", []),
            }
        )
        return JSONResponse({"data": user}, status_code=201)

    def _taken(self, email: str, campaign: int, besides: int | None = None) -> bool:
        return any(
            user["campaign_id"] == campaign
            and user["email"].casefold() == email.casefold()
            and user["id"] != besides
            for user in self.world.users.values()
        )

    def _update(self, request: Request, body: Record) -> Response:
        user = self.world.user(request.path_params["identifier"])
        if user is None:
            return refused(404, "User not found.")
        email = body.get("email")
        if email is not None and self._taken(email, user["campaign_id"], user["id"]):
            return refused(
                422, "The given data was invalid.", {"email": "The email has already been taken."}
            )
        user.update({name: body[name] for name in ("first_name", "email", "meta") if name in body})
        return JSONResponse({"data": user})

    def _delete(self, request: Request, _body: Any) -> Response:
        user = self.world.user(request.path_params["identifier"])
        if user is None:
            return refused(404, "User not found.")
        self.world.remove_user(user)
        return JSONResponse({"data": None})

    def _qualify(self, _request: Request, body: Record) -> Response:
        if not isinstance(body.get("qualified"), bool):
            return refused(
                422, "The given data was invalid.", {"qualified": "True or false is required."}
            )
        user = None
        if "id" in body or "code" in body:
            user = self.world.user(str(body.get("id", body.get("code"))))
        elif "email" in body:
            user = next(
                (
                    u
                    for u in self.world.users.values()
                    if u["email"] == body["email"] and u["campaign_id"] == body.get("campaign_id")
                ),
                None,
            )
        if user is None:
            return refused(404, "User not found.")
        self.world.qualifications.append({"id": user["id"], "qualified": body["qualified"]})
        self.world.qualify(user, qualified=body["qualified"])
        return JSONResponse({"data": user})

    def _rewards(self, request: Request, _body: Any) -> Response:
        if request.path_params["metric"] not in ("amount", "commission", "coupon", "custom"):
            return refused(404, "There is no such metric.")
        due = [
            {
                "id": user["id"],
                "reward_id": 1,
                "recipient_id": user["referrer_id"],
                "can_be_issued": True,
                "coupon": "",
                "count": 1,
                "total": 25,
            }
            for user in self.world.users.values()
            if user["qualified_at"] is not None and user["referrer_id"] is not None
        ]
        return self._page(request, due if request.path_params["metric"] == "amount" else [])
