"""Routes that move the world on: what the office, a technician or time would do."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import asdict, fields
from typing import Any

from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from stcli.sandbox_own.faults import KINDS, Fault, FaultLayer
from stcli.sandbox_own.referralfactory import ReferralFactoryApi
from stcli.sandbox_own.servicetitan import ServiceTitanApi
from stcli.sandbox_own.traffic import Traffic
from stcli.sandbox_own.world import GrantRecord, Record, World

_STATUSES = ("Scheduled", "Dispatched", "InProgress", "Hold", "Completed", "Canceled")


class Control:
    """The routes under ``/sandbox``."""

    def __init__(
        self,
        world: World,
        st: ServiceTitanApi,
        rf: ReferralFactoryApi,
        traffic: Traffic,
    ) -> None:
        self.world = world
        self.st = st
        self.rf = rf
        self.traffic = traffic
        self.layer: FaultLayer | None = None

    def routes(self) -> list[Route]:
        post, get = ["POST"], ["GET"]
        return [
            Route("/state", self._with_body(self._state), methods=get),
            Route("/requests", self._with_body(self._requests), methods=get),
            Route("/requests/reset", self._with_body(self._reset), methods=post),
            Route("/leads", self._with_body(self._add_lead), methods=post),
            Route("/referrers", self._with_body(self._add_referrer), methods=post),
            Route("/users/{id:int}", self._with_body(self._change_user), methods=post),
            Route("/users", self._with_body(self._users), methods=get),
            Route("/jobs", self._with_body(self._jobs), methods=get),
            Route("/campaigns/{code}", self._with_body(self._change_campaign), methods=post),
            Route("/bookings", self._with_body(self._bookings), methods=get),
            Route("/bookings", self._with_body(self._add_booking), methods=post),
            Route("/bookings/{id:int}/convert", self._with_body(self._convert), methods=post),
            Route("/bookings/{id:int}/dismiss", self._with_body(self._dismiss), methods=post),
            Route("/jobs/{id:int}", self._with_body(self._change_job), methods=post),
            Route("/jobs/{id:int}/status", self._with_body(self._status), methods=post),
            Route("/jobs/{id:int}/history", self._with_body(self._event), methods=post),
            Route("/time", self._with_body(self._advance), methods=post),
            Route("/rf-token", self._with_body(self._rotate), methods=post),
            Route("/grants", self._with_body(self._grant), methods=post),
            Route("/tokens/revoke", self._with_body(self._revoke), methods=post),
            Route("/qualifications", self._with_body(self._qualifications), methods=get),
            Route("/faults", self._with_body(self._faults), methods=get),
            Route("/faults", self._with_body(self._add_fault), methods=post),
            Route("/faults", self._with_body(self._clear_faults), methods=["DELETE"]),
        ]

    def _with_body(
        self, handler: Callable[[Request, Record], object]
    ) -> Callable[[Request], Awaitable[Response]]:
        async def handled(request: Request) -> Response:
            raw = await request.body()
            try:
                body = await request.json() if raw else {}
                return JSONResponse(handler(request, body))
            except (KeyError, ValueError, TypeError) as error:
                message = f"{type(error).__name__}: {error}"
                return JSONResponse({"error": message}, status_code=400)

        return handled

    def _state(self, _request: Request, _body: Record) -> object:
        world = self.world
        return {
            "users": len(world.users),
            "leads": sum(u["type"] == "person_invited" for u in world.users.values()),
            "bookings": len(world.bookings),
            "jobs": len(world.jobs),
            "qualified": sum(u["qualified_at"] is not None for u in world.users.values()),
        }

    def _requests(self, _request: Request, _body: Record) -> object:
        windows = self.st.windows.values()
        return {
            "counts": self.traffic.counts,
            "servicetitan": {
                "most_in_a_second": max((w.most for w in windows), default=0),
                "refused": sum(w.refused for w in windows),
            },
            "referral_factory": {
                "most_in_a_minute": self.rf.window.most,
                "refused": self.rf.window.refused,
            },
        }

    def _reset(self, _request: Request, _body: Record) -> object:
        self.traffic.counts.clear()
        return {}

    def _add_lead(self, _request: Request, body: Record) -> object:
        referrer = self.world.user(str(body["referrer"]))
        if referrer is None:
            raise ValueError("no such referrer")
        return self.world.add_user(
            {"campaign_id": referrer["campaign_id"], **body, "referrer_id": referrer["id"]}
        )

    def _add_referrer(self, _request: Request, body: Record) -> object:
        campaign = self.world.campaign(str(body.get("campaign", "spring-hvac")))
        if campaign is None:
            raise ValueError("no such campaign")
        return self.world.add_user({**body, "campaign_id": campaign["id"]})

    def _users(self, _request: Request, _body: Record) -> object:
        return list(self.world.users.values())

    def _jobs(self, _request: Request, _body: Record) -> object:
        return list(self.world.jobs.values())

    def _change_user(self, request: Request, body: Record) -> object:
        user = self.world.users[request.path_params["id"]]
        if body.get("deleted"):
            self.world.remove_user(user)
        else:
            user.update(body)
        return user

    def _change_campaign(self, request: Request, body: Record) -> object:
        campaign = self.world.campaign(request.path_params["code"])
        if campaign is None:
            raise ValueError("no such campaign")
        if body.get("deleted"):
            del self.world.campaigns[campaign["id"]]
        else:
            campaign.update(body)
        return campaign

    def _bookings(self, request: Request, _body: Record) -> object:
        wanted = request.query_params.get("external_id")
        return [
            booking | {"contacts": self.world.booking_contacts[number]}
            for number, booking in self.world.bookings.items()
            if wanted is None or booking["externalId"] == wanted
        ]

    def _add_booking(self, _request: Request, body: Record) -> object:
        body = {"source": "Other", "name": "Other", "isFirstTimeClient": True, **body}
        provider = int(body.pop("provider", self.world.settings.credentials.booking_provider + 1))
        return self.world.add_booking(body, provider)

    def _convert(self, request: Request, body: Record) -> object:
        return self.world.convert(request.path_params["id"], body)

    def _dismiss(self, request: Request, _body: Record) -> object:
        return self.world.change_booking(
            request.path_params["id"], status="Dismissed", dismissingReasonId=1
        )

    def _change_job(self, request: Request, body: Record) -> object:
        return self.world.change_job(request.path_params["id"], **body)

    def _status(self, request: Request, body: Record) -> object:
        if body["status"] not in _STATUSES:
            raise ValueError(f"status is one of {', '.join(_STATUSES)}")
        return self.world.set_job_status(request.path_params["id"], body["status"])

    def _event(self, request: Request, body: Record) -> object:
        self.world.add_event(request.path_params["id"], str(body["event_type"]))
        return {}

    def _advance(self, _request: Request, body: Record) -> object:
        self.world.advanced += float(body["advance_seconds"])
        return {"now": self.world.now_text()}

    def _rotate(self, _request: Request, body: Record) -> object:
        self.world.rf_token = str(body["token"])
        return {}

    def _grant(self, _request: Request, body: Record) -> object:
        credentials = self.world.settings.credentials
        client_id = str(body.get("client_id", credentials.client_id))
        grant = self.world.grants.setdefault(
            client_id, GrantRecord(client_id, "", credentials.tenant_id, 0)
        )
        for name in ("client_secret", "tenant_id", "booking_provider", "is_granted"):
            if name in body:
                setattr(grant, name, body[name])
        if "scopes" in body:
            grant.scopes = set(body["scopes"])
        return {"client_id": client_id, "scopes": sorted(grant.scopes)}

    def _revoke(self, _request: Request, _body: Record) -> object:
        self.world.tokens.clear()
        return {}

    def _qualifications(self, _request: Request, _body: Record) -> object:
        return self.world.qualifications

    def _faults(self, _request: Request, _body: Record) -> object:
        return [asdict(fault) for fault in self._layer.faults]

    def _add_fault(self, _request: Request, body: dict[str, Any]) -> object:
        known = {item.name for item in fields(Fault)}
        if body.get("kind") not in KINDS or not known.issuperset(body):
            raise ValueError(f"a fault has a kind ({', '.join(KINDS)}) and {', '.join(known)}")
        self._layer.faults.append(Fault(**body))
        return {}

    def _clear_faults(self, _request: Request, _body: Record) -> object:
        self._layer.faults.clear()
        return {}

    @property
    def _layer(self) -> FaultLayer:
        if self.layer is None:
            raise ValueError("this sandbox has no fault layer")
        return self.layer
