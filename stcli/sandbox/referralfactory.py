"""The Referral Factory server: one account, one access token, a list that knows no filter.

Refusals carry code, message and, for fields, the messages by field. Calls beyond the limit are
abuses, and after a few of them everything is refused for a while.
"""

from collections.abc import Callable, Sequence
from typing import Any, TypeVar
from urllib.parse import urlencode

from stcli.sandbox.account import INVITED, REFERRING
from stcli.sandbox.calls import Answer, Call, Operation, Refusal, read_json_object
from stcli.sandbox.limits import SlidingWindow, retry_after
from stcli.sandbox.records import DueReward, ReferralCampaign, User
from stcli.sandbox.referralfactory_input import (
    bad_field,
    read_changes,
    read_new_user,
    read_qualification,
)
from stcli.sandbox.world import World

T = TypeVar("T")
DEFAULT_PER_PAGE = 25
MAX_PER_PAGE = 250
METRICS = ("amount", "commission", "coupon", "custom")
USER_ANALYTICS = "user.analytics"
MESSAGES = {
    401: "Unauthenticated.",
    404: "Not found.",
    409: "Conflict.",
    429: "Too many requests.",
    500: "Server error.",
    502: "Bad gateway.",
    503: "Service unavailable.",
}


class ReferralFactoryApi:
    name = "rf"
    prefix = "/rf/api/v2"

    def __init__(self, world: World) -> None:
        self._world = world
        self._windows: dict[str | None, SlidingWindow] = {}
        self.operations: tuple[Operation, ...] = (
            Operation("GET", "/campaigns", self._campaigns),
            Operation("GET", "/campaigns/{identifier}", self._campaign),
            Operation("GET", "/users", self._users),
            Operation("POST", "/users", self._create),
            Operation("PUT", "/users/qualification", self._qualify),
            Operation("GET", "/users/{identifier}", self._user),
            Operation("PUT", "/users/{identifier}", self._update),
            Operation("DELETE", "/users/{identifier}", self._delete),
            Operation("GET", "/rewards/due/{metric}", self._rewards),
        )

    def admit(self, operation: Operation | None, call: Call) -> Answer | None:
        del operation
        try:
            self._admit(call)
        except Refusal as refusal:
            return _refused(refusal)
        return None

    def perform(self, operation: Operation | None, call: Call) -> Answer:
        try:
            handle = _nothing_here if operation is None else operation.handle
            return handle(call)
        except Refusal as refusal:
            return _refused(refusal)

    def fault_body(self, status: int) -> dict[str, Any]:
        return {"code": status, "message": MESSAGES.get(status, "The request failed.")}

    def _admit(self, call: Call) -> None:
        now = self._world.clock.seconds()
        settings = self._world.settings
        blocked = self._world.rf_watch.blocked_for(now)
        if blocked is not None:
            headers = {"Retry-After": retry_after(blocked, settings.retry_after)}
            raise Refusal(429, "Blocked for too many requests.", headers=headers)
        token = call.bearer()
        window = self._windows.get(token)
        if window is None:
            window = SlidingWindow(settings.rf_requests_per_window, settings.rf_window_seconds)
            self._windows[token] = window
        wait = window.admit(now)
        if wait is not None:
            self._world.rf_watch.abuse(now)
            headers = {"Retry-After": retry_after(wait, settings.retry_after)}
            raise Refusal(429, MESSAGES[429], headers=headers)
        if token != self._world.rf_token:
            raise Refusal(401, MESSAGES[401])

    # Campaigns

    def _campaigns(self, call: Call) -> Answer:
        campaigns = list(self._world.account.campaigns.values())
        return Answer(200, _page(call, campaigns, campaign_body))

    def _campaign(self, call: Call) -> Answer:
        found = self._world.account.campaign(call.params["identifier"])
        if found is None:
            raise Refusal(404, "There is no such campaign.")
        return Answer(200, {"data": campaign_body(found)})

    # Users

    def _users(self, call: Call) -> Answer:
        users = self._world.account.in_order()
        newest_first = self._world.settings.rf_users_order == "newest"
        return Answer(200, _page(call, users, self._shower(call), newest_first=newest_first))

    def _user(self, call: Call) -> Answer:
        return Answer(200, {"data": self._shower(call)(self._named(call.params["identifier"]))})

    def _create(self, call: Call) -> Answer:
        account = self._world.account
        wanted = read_new_user(read_json_object(call), account)
        user = account.add_user(
            wanted.campaign,
            wanted.first_name,
            wanted.email,
            source="Api",
            referrer=wanted.referrer,
            meta=wanted.meta,
        )
        return Answer(201, {"data": user_body(user)})

    def _update(self, call: Call) -> Answer:
        account = self._world.account
        user = self._named(call.params["identifier"])
        changes = read_changes(read_json_object(call), user, account)
        if changes.first_name is not None:
            user.first_name = changes.first_name
        if changes.email is not None:
            account.change_email(user, changes.email)
        for item in changes.meta:
            merge_meta(user, item)
        return Answer(200, {"data": user_body(user)})

    def _delete(self, call: Call) -> Answer:
        self._world.account.delete_user(self._named(call.params["identifier"]))
        return Answer(200, {"message": "The user was deleted."})

    def _qualify(self, call: Call) -> Answer:
        body: dict[str, Any] = {}
        status = 400
        user_id: int | None = None
        try:
            body = read_json_object(call)
            user, qualified = read_qualification(body, self._world.account)
            user_id = user.id
            self._world.account.qualify(user, qualified=qualified)
            status = 200
        except Refusal as refusal:
            status = refusal.status
            raise
        finally:
            self._world.qualifications.append(
                {
                    "at": self._world.clock.now().isoformat(),
                    "request": body,
                    "user_id": user_id,
                    "qualified": body.get("qualified"),
                    "status": status,
                }
            )
        return Answer(200, {"data": user_body(user)})

    def _named(self, identifier: str) -> User:
        user = self._world.account.user(identifier)
        if user is None:
            raise Refusal(404, "There is no such user.")
        return user

    def _shower(self, call: Call) -> Callable[[User], dict[str, Any]]:
        if call.query.get("with") != USER_ANALYTICS:
            return user_body
        analytics = self._world.account.analytics
        return lambda user: {**user_body(user), "analytics": analytics(user)}

    # Rewards

    def _rewards(self, call: Call) -> Answer:
        metric = call.params["metric"]
        if metric not in METRICS:
            raise Refusal(404, "There is no such metric.")
        rewards = list(self._world.account.rewards.values()) if metric == "amount" else []
        return Answer(200, _page(call, rewards, _reward_body))


def _nothing_here(call: Call) -> Answer:
    raise Refusal(404, f"There is nothing under {call.path}.")


def merge_meta(user: User, item: dict[str, str | None]) -> None:
    """A label that the user has gets the new value, another label is added."""
    for own in user.meta:
        if own["field"] == item["field"]:
            own["value"] = item["value"]
            return
    user.meta.append(item)


def _page(
    call: Call,
    records: Sequence[T],
    show: Callable[[T], dict[str, Any]],
    *,
    newest_first: bool = False,
) -> dict[str, Any]:
    """One page; one past the end is empty. The links carry the other parameters along."""
    number = _positive(call, "page", 1)
    size = _positive(call, "per_page", DEFAULT_PER_PAGE)
    if size > MAX_PER_PAGE:
        raise bad_field("per_page", f"may be {MAX_PER_PAGE} at most")
    last = max(1, -(-len(records) // size))
    start = (number - 1) * size
    if newest_first:
        end = max(0, len(records) - start)
        found = records[max(0, end - size) : end][::-1]
    else:
        found = records[start : start + size]

    def link(page: int) -> str:
        return f"{call.base_url}{call.path}?{urlencode({**call.query, 'page': page})}"

    return {
        "data": [show(record) for record in found],
        "links": {
            "first": link(1),
            "last": link(last),
            "prev": link(number - 1) if number > 1 else None,
            "next": link(number + 1) if number < last else None,
        },
        "meta": {
            "current_page": number,
            "per_page": size,
            "last_page": last,
            "total": len(records),
        },
    }


def _positive(call: Call, name: str, default: int) -> int:
    text = call.query.get(name, "")
    if not text:
        return default
    if not text.isdecimal() or int(text) < 1:
        raise bad_field(name, "must be a whole number from 1")
    return int(text)


def campaign_body(campaign: ReferralCampaign) -> dict[str, Any]:
    return {
        "id": campaign.id,
        "name": campaign.name,
        "code": campaign.code,
        "lang": "en",
        "url": campaign.url,
        "reach": 0,
        "status": campaign.status,
        "starts_at": None,
        "ends_at": _date(campaign.ends_at),
        "created_at": campaign.created_at.strftime("%Y-%m-%d %H:%M:%S"),
        "fields": {kind: campaign.fields.get(kind, []) for kind in (REFERRING, INVITED)},
    }


def user_body(user: User) -> dict[str, Any]:
    return {
        "id": user.id,
        "campaign_id": user.campaign_id,
        "referrer_id": user.referrer_id,
        "first_name": user.first_name,
        "email": user.email,
        "code": user.code,
        "reach": user.reach,
        "source": user.source,
        "type": user.type,
        "ip": None,
        "url": user.url,
        "promotion": None if user.promotion_code is None else {"code": user.promotion_code},
        "qr": {"src": f"{user.url}/qr.png", "download": f"{user.url}/qr"},
        "signed_up_at": _date(user.signed_up_at),
        "qualified_at": _date(user.qualified_at),
        "unsubscribed_at": _date(user.unsubscribed_at),
        "meta": user.meta,
        "sharing": None,
    }


def _date(value: Any) -> str | None:
    return None if value is None else value.isoformat()


def _reward_body(reward: DueReward) -> dict[str, Any]:
    return {
        "id": reward.id,
        "reward_id": reward.reward_id,
        "recipient_id": reward.recipient_id,
        "can_be_issued": True,
        "coupon": "",
        "count": 1,
        "total": reward.total,
    }


def _refused(refusal: Refusal) -> Answer:
    return Answer(refusal.status, _error_body(refusal), refusal.headers)


def _error_body(refusal: Refusal) -> dict[str, Any]:
    body: dict[str, Any] = {"code": refusal.status, "message": refusal.title}
    if refusal.errors:
        body["errors"] = {
            field: [{"field": field, "message": message} for message in messages]
            for field, messages in refusal.errors.items()
        }
    return body
