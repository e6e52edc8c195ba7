"""The sandbox's own routes: what happens in the two companies, told by a test or by a person.

Answers are JSON; a wrong request is 400 or 404 with `error`. Properties that a route does not know
are refused, so that a misspelt option cannot pass as a default.
"""

from datetime import date, datetime
from typing import Any

from stcli.sandbox.calls import Answer, Call, Operation, Refusal
from stcli.sandbox.control_input import Fields, read_fields
from stcli.sandbox.control_office import OfficeRoutes
from stcli.sandbox.faults import Fault
from stcli.sandbox.grants import SCOPES, Grant
from stcli.sandbox.records import User
from stcli.sandbox.referralfactory import campaign_body, merge_meta, user_body
from stcli.sandbox.seed import MAIN_CAMPAIGN, add_grant
from stcli.sandbox.world import Unknown, World

CAMPAIGN_STATUSES = ("launched", "draft", "paused")


class ControlApi:
    name = "control"
    prefix = "/sandbox"

    def __init__(self, world: World) -> None:
        self._world = world
        self.operations: tuple[Operation, ...] = (
            Operation("GET", "/state", self._state),
            Operation("GET", "/requests", self._requests),
            Operation("POST", "/requests/reset", self._reset_requests),
            Operation("POST", "/time", self._time),
            Operation("GET", "/qualifications", self._qualifications),
            Operation("POST", "/leads", self._add_lead),
            Operation("POST", "/referrers", self._add_referrer),
            Operation("POST", "/rf/token", self._rotate_token),
            Operation("POST", "/rf/campaigns/{code}", self._change_campaign),
            Operation("GET", "/rf/users", self._users),
            Operation("POST", "/rf/users/{identifier}", self._change_user),
            Operation("POST", "/st/grants", self._grant),
            Operation("POST", "/st/app-keys", self._app_keys),
            Operation("POST", "/st/tokens/expire", self._expire_tokens),
            Operation("GET", "/faults", self._faults),
            Operation("POST", "/faults", self._add_faults),
            Operation("DELETE", "/faults", self._clear_faults),
            *OfficeRoutes(world).operations(),
        )

    def admit(self, operation: Operation | None, call: Call) -> Answer | None:
        del operation, call
        return None

    def perform(self, operation: Operation | None, call: Call) -> Answer:
        try:
            if operation is None:
                return Answer(404, {"error": "there is nothing under this address"})
            return operation.handle(call)
        except Refusal as refusal:
            return Answer(refusal.status, {"error": refusal.title, "errors": refusal.errors})
        except Unknown as unknown:
            return Answer(404, {"error": str(unknown)})
        except ValueError as error:
            return Answer(400, {"error": str(error)})

    def fault_body(self, status: int) -> dict[str, Any]:
        return {"error": str(status)}

    # The sandbox itself

    def _state(self, call: Call) -> Answer:
        del call
        return Answer(200, self._world.state())

    def _requests(self, call: Call) -> Answer:
        del call
        return Answer(200, self._world.traffic.report())

    def _reset_requests(self, call: Call) -> Answer:
        read_fields(call, {})
        self._world.traffic.reset()
        return Answer(200, {})

    def _time(self, call: Call) -> Answer:
        seconds = read_fields(call, {"advance_seconds": float}).number("advance_seconds") or 0
        return Answer(200, {"now": self._world.advance(seconds).isoformat()})

    def _qualifications(self, call: Call) -> Answer:
        del call
        return Answer(200, list(self._world.qualifications))

    # Referral Factory

    def _add_lead(self, call: Call) -> Answer:
        fields = _person(call, referrer=str)
        lead = self._world.add_lead(
            fields.text("first_name", ""),
            fields.text("email", ""),
            campaign=fields.text("campaign", MAIN_CAMPAIGN),
            referrer=fields.optional_text("referrer"),
            source=fields.text("source", "Referred"),
            signed_up_at=_date(fields, "signed_up_at"),
            meta=fields.get("meta"),
        )
        return Answer(201, user_body(lead))

    def _add_referrer(self, call: Call) -> Answer:
        fields = _person(call)
        referrer = self._world.add_referrer(
            fields.text("first_name", ""),
            fields.text("email", ""),
            campaign=fields.text("campaign", MAIN_CAMPAIGN),
            source=fields.text("source", "Direct"),
            signed_up_at=_date(fields, "signed_up_at"),
            meta=fields.get("meta"),
        )
        return Answer(201, user_body(referrer))

    def _rotate_token(self, call: Call) -> Answer:
        read_fields(call, {})
        return Answer(200, {"token": self._world.rotate_rf_token()})

    def _change_campaign(self, call: Call) -> Answer:
        """`ends_at` given as null takes the end back."""
        fields = read_fields(
            call, {"status": str, "ends_at": str, "name": str, "fields": dict, "deleted": bool}
        )
        account = self._world.account
        campaign = account.campaign(call.params["code"])
        if campaign is None:
            raise Unknown(f"no campaign {call.params['code']}")
        if fields.get("deleted"):
            account.delete_campaign(campaign)
            return Answer(200, {"deleted": campaign.code})
        status = fields.text("status", campaign.status)
        if status not in CAMPAIGN_STATUSES:
            raise ValueError(f"status must be one of {', '.join(CAMPAIGN_STATUSES)}")
        campaign.status = status
        if "ends_at" in fields.values:
            campaign.ends_at = _date(fields, "ends_at")
        campaign.name = fields.text("name", campaign.name)
        campaign.fields.update(fields.get("fields") or {})
        return Answer(200, campaign_body(campaign))

    def _users(self, call: Call) -> Answer:
        del call
        return Answer(200, [user_body(user) for user in self._world.account.in_order()])

    def _change_user(self, call: Call) -> Answer:
        fields = read_fields(
            call,
            {
                "qualified": bool,
                "unsubscribed": bool,
                "unsubscribed_at": str,
                "deleted": bool,
                "first_name": str,
                "email": str,
                "source": str,
                "signed_up_at": str,
                "meta": dict,
            },
        )
        account = self._world.account
        user = account.user(call.params["identifier"])
        if user is None:
            raise Unknown(f"no user {call.params['identifier']}")
        if fields.get("deleted"):
            account.delete_user(user)
            return Answer(200, {"deleted": user.id})
        if "qualified" in fields:
            account.qualify(user, qualified=fields.get("qualified"))
        if "unsubscribed" in fields:
            today = self._world.clock.today()
            user.unsubscribed_at = today if fields.get("unsubscribed") else None
        if "unsubscribed_at" in fields:
            user.unsubscribed_at = _date(fields, "unsubscribed_at")
        if "email" in fields:
            account.change_email(user, fields.text("email", ""))
        _change_by_hand(user, fields)
        return Answer(200, user_body(user))

    # ServiceTitan's gate

    def _grant(self, call: Call) -> Answer:
        fields = read_fields(
            call,
            {
                "client_id": str,
                "client_secret": str,
                "tenant_id": int,
                "booking_provider": int,
                "scopes": list,
                "without_scopes": list,
                "granted": bool,
                "deleted": bool,
            },
        )
        credentials = self._world.credentials
        book = self._world.grants
        client_id = fields.text("client_id", credentials.client_id)
        if fields.get("deleted"):
            book.grants.pop(client_id, None)
            return Answer(200, {"deleted": client_id})
        known = book.grants.get(client_id)
        grant = known or Grant(client_id, "", credentials.tenant_id, credentials.booking_provider)
        grant.client_secret = fields.text("client_secret", grant.client_secret)
        if not grant.client_secret:
            raise ValueError("a new grant needs a client_secret")
        grant.tenant_id = fields.get("tenant_id") or grant.tenant_id
        grant.booking_provider = fields.get("booking_provider") or grant.booking_provider
        scopes = frozenset(fields.get("scopes")) if "scopes" in fields else grant.scopes
        without = frozenset(fields.get("without_scopes") or ())
        if not (scopes | without) <= SCOPES:
            raise ValueError(f"scopes are {', '.join(sorted(SCOPES))}")
        grant.scopes = scopes - without
        if "granted" in fields:
            grant.granted = fields.get("granted")
        add_grant(self._world, grant)
        return Answer(200, {"client_id": client_id, "scopes": sorted(grant.scopes)})

    def _app_keys(self, call: Call) -> Answer:
        keys = read_fields(call, {"app_keys": list}).get("app_keys") or []
        self._world.grants.app_keys = set(keys)
        return Answer(200, {"count": len(keys)})

    def _expire_tokens(self, call: Call) -> Answer:
        read_fields(call, {})
        self._world.grants.revoke_tokens()
        return Answer(200, {})

    # Faults

    def _faults(self, call: Call) -> Answer:
        del call
        return Answer(200, [fault.report() for fault in self._world.faults.faults])

    def _add_faults(self, call: Call) -> Answer:
        body = dict(read_fields(call, None).values)
        wanted = body.get("faults", [body])
        added = [Fault.parse(one) for one in wanted]
        for fault in added:
            self._world.faults.add(fault)
        return Answer(201, [fault.report() for fault in added])

    def _clear_faults(self, call: Call) -> Answer:
        del call
        self._world.faults.clear()
        return Answer(200, {})


def _person(call: Call, **more: type) -> Fields:
    fields = read_fields(
        call,
        {
            "first_name": str,
            "email": str,
            "campaign": str,
            "source": str,
            "signed_up_at": str,
            "meta": dict,
            **more,
        },
    )
    if not fields.text("first_name", "") or not fields.text("email", ""):
        raise ValueError("first_name and email are needed")
    return fields


def _date(fields: Fields, name: str) -> date | None:
    text = fields.optional_text(name)
    return None if text is None else datetime.fromisoformat(text).date()


def _change_by_hand(user: User, fields: Fields) -> None:
    user.first_name = fields.text("first_name", user.first_name)
    user.source = fields.text("source", user.source)
    user.signed_up_at = _date(fields, "signed_up_at") or user.signed_up_at
    for label, value in (fields.get("meta") or {}).items():
        merge_meta(user, {"field": label, "value": value})
