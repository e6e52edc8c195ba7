"""Reads what callers send to Referral Factory; whatever does not fit is a 422 naming the field."""

import re
from dataclasses import dataclass, field
from typing import Any

from stcli.sandbox.account import INVITED, REFERRING, Account
from stcli.sandbox.calls import Refusal
from stcli.sandbox.records import ReferralCampaign, User

INVALID = "The given data was invalid."
EMAIL = re.compile(r"[^@\s,;<>]+@[^@\s,;<>]+\.[^@\s,;<>.]+")
# Fields of a campaign's form that are properties of their own in a request.
OWN_LABELS = frozenset({"first name", "email"})

Meta = list[dict[str, str | None]]


@dataclass(frozen=True, slots=True)
class NewUser:
    campaign: ReferralCampaign
    first_name: str
    email: str
    referrer: User | None
    meta: Meta


@dataclass(frozen=True, slots=True)
class UserChanges:
    first_name: str | None
    email: str | None
    meta: Meta = field(default_factory=list)


def bad_field(name: str, complaint: str) -> Refusal:
    return Refusal(422, INVALID, {name: [f"The {name} field {complaint}."]})


def read_new_user(body: dict[str, Any], account: Account) -> NewUser:
    campaign = account.campaigns.get(_integer(body, "campaign_id"))
    if campaign is None:
        raise bad_field("campaign_id", "names no campaign")
    first_name = _text(body, "first_name")
    email = _email(body)
    meta = _meta(body)
    referrer = _referrer(body, campaign, account)
    for name in ("notify", "promotion"):
        if not isinstance(body.get(name, False), bool):
            raise bad_field(name, "must be true or false")
    _check_required(campaign, REFERRING if referrer is None else INVITED, meta)
    if account.user_by_email(campaign.id, email) is not None:
        raise bad_field("email", "has been taken in this campaign")
    return NewUser(campaign, first_name, email, referrer, meta)


def read_changes(body: dict[str, Any], user: User, account: Account) -> UserChanges:
    email = _email(body) if "email" in body else None
    if email is not None:
        other = account.user_by_email(user.campaign_id, email)
        if other is not None and other.id != user.id:
            raise bad_field("email", "has been taken in this campaign")
    first_name = _text(body, "first_name") if "first_name" in body else None
    return UserChanges(first_name, email, _meta(body))


def read_qualification(body: dict[str, Any], account: Account) -> tuple[User, bool]:
    """The user named by id, by code, or by email with campaign_id."""
    qualified = body.get("qualified")
    if not isinstance(qualified, bool):
        raise bad_field("qualified", "must be true or false")
    user: User | None
    if body.get("id") is not None:
        user = account.users.get(_integer(body, "id"))
    elif body.get("code") is not None:
        code = _text(body, "code")
        user = account.user(code)
        user = user if user is not None and user.code == code else None
    elif body.get("email") is not None:
        user = account.user_by_email(_integer(body, "campaign_id"), _email(body))
    else:
        raise bad_field("id", "is required without a code or an email")
    if user is None:
        raise Refusal(404, "There is no such user.")
    return user, qualified


def _referrer(body: dict[str, Any], campaign: ReferralCampaign, account: Account) -> User | None:
    named = body.get("referrer")
    if named is None:
        return None
    if not isinstance(named, dict) or named.get("field") not in ("id", "code", "email"):
        raise bad_field("referrer", "needs a field (id, code or email) and a value")
    value = named.get("value")
    if not isinstance(value, str):
        raise bad_field("referrer", "needs a value that is text")
    if named["field"] == "email":
        found = account.user_by_email(campaign.id, value)
    else:
        found = account.user(value)
    if found is None or found.campaign_id != campaign.id:
        raise bad_field("referrer", "names nobody in this campaign")
    return found


def _check_required(campaign: ReferralCampaign, kind: str, meta: Meta) -> None:
    given = {item["field"]: item["value"] for item in meta}
    for wanted in campaign.fields.get(kind, ()):
        label = wanted["label"]
        if wanted["required"] and label.lower() not in OWN_LABELS and not given.get(label):
            raise Refusal(422, INVALID, {"meta": [f"The field {label} is required."]})


def _integer(body: dict[str, Any], name: str) -> int:
    value = body.get(name)
    if isinstance(value, bool) or not isinstance(value, int):
        raise bad_field(name, "must be a whole number")
    return value


def _text(body: dict[str, Any], name: str) -> str:
    value = body.get(name)
    if not isinstance(value, str) or not value.strip():
        raise bad_field(name, "is required")
    return value


def _email(body: dict[str, Any]) -> str:
    email = _text(body, "email")
    if not EMAIL.fullmatch(email):
        raise bad_field("email", "must be a valid email address")
    return email


def _meta(body: dict[str, Any]) -> Meta:
    items = body.get("meta")
    if items is None:
        return []
    if not isinstance(items, list):
        raise bad_field("meta", "must be a list")
    meta: Meta = []
    for item in items:
        if not isinstance(item, dict) or not isinstance(item.get("field"), str):
            raise bad_field("meta", "must hold objects with a field and a value")
        value = item.get("value")
        if value is not None and not isinstance(value, str):
            raise bad_field("meta", "must hold values that are text")
        meta.append({"field": item["field"], "value": value})
    return meta
