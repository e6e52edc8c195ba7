"""Referral Factory's documents, only the fields that stcli uses, and what they become.

Field names from the API v2's OpenAPI document. The vendor's server answers numbers as text at times
and an empty list where an object is empty, so both are read.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from datetime import date
from typing import Any, Generic, TypeVar

import msgspec

from stcli.domain.ids import RfCampaignId, UserId
from stcli.domain.records import (
    Campaign,
    CampaignField,
    DueReward,
    Person,
    PersonType,
    UserPage,
)

Item = TypeVar("Item")

Number = int | str
"""An identifier: a number, or the same as text."""


class One(msgspec.Struct, Generic[Item]):
    """An answer about one thing."""

    data: Item


class Links(msgspec.Struct):
    next: str | None = None


class PageMeta(msgspec.Struct):
    current_page: Number | None = None
    last_page: Number | None = None
    total: Number | None = None


class Page(msgspec.Struct, Generic[Item]):
    """A page of a list; ``links.next`` is null at the end. An answer without ``data``, such as an
    error that came with 200, must never look like an empty list."""

    data: list[Item]
    links: Links | list[Any] | None = None
    meta: PageMeta | list[Any] | None = None

    def has_next(self, page: int, per_page: int) -> bool:
        """Whether another page follows; told by the size where neither links nor meta tell it."""
        if isinstance(self.links, Links):
            return self.links.next is not None
        if isinstance(self.meta, PageMeta) and self.meta.last_page is not None:
            return int(self.meta.current_page or page) < int(self.meta.last_page)
        return len(self.data) >= per_page


class MetaField(msgspec.Struct):
    """A value of a field of the campaign, by the field's label."""

    field: str | None = None
    value: str | int | float | bool | None = None


class Promotion(msgspec.Struct):
    code: str | None = None


class Analytics(msgspec.Struct):
    """What ``with=user.analytics`` adds."""

    referrals: Number | None = None
    qualified_referrals: Number | None = None


class UserDocument(msgspec.Struct):
    """A user: a lead (person_invited) or a referrer (person_referring)."""

    id: Number
    campaign_id: Number
    type: str
    code: str
    first_name: str | None = None
    email: str | None = None
    url: str | None = None
    source: str | None = None
    referrer_id: Number | None = None
    signed_up_at: str | None = None
    qualified_at: str | None = None
    unsubscribed_at: str | None = None
    promotion: Promotion | list[Any] | None = None
    meta: list[MetaField] | None = None
    analytics: Analytics | list[Any] | None = None

    def record(self) -> Person | None:
        """The person; None for a type that is neither lead nor referrer. ``ValueError``: a number
        or a date that is none."""
        if self.type not in _TYPES:
            return None
        referrer = self.referrer_id
        promotion = self.promotion
        counts = self.analytics if isinstance(self.analytics, Analytics) else Analytics()
        return Person(
            id=UserId(_identifier(self.id)),
            campaign_id=RfCampaignId(_identifier(self.campaign_id)),
            type=PersonType(self.type),
            code=self.code,
            first_name=self.first_name or "",
            email=self.email or "",
            url=self.url or "",
            source=self.source or "",
            referrer_id=UserId(_identifier(referrer)) if referrer else None,
            signed_up_at=_day(self.signed_up_at),
            qualified_at=_day(self.qualified_at),
            unsubscribed_at=_day(self.unsubscribed_at),
            promotion_code=(promotion.code or "") if isinstance(promotion, Promotion) else "",
            meta=_meta(self.meta),
            referrals=_count(counts.referrals),
            qualified_referrals=_count(counts.qualified_referrals),
        )


class RewardDocument(msgspec.Struct):
    """A reward that is owed."""

    id: Number
    recipient_id: Number
    reward_id: Number | None = None
    can_be_issued: bool | int | None = None
    coupon: str | None = None
    count: Number | None = None
    total: float | str | None = None

    def record(self, metric: str) -> DueReward:
        """``ValueError``: a number that is none."""
        return DueReward(
            id=_identifier(self.id),
            metric=metric,
            reward_id=None if self.reward_id is None else _identifier(self.reward_id),
            recipient_id=UserId(_identifier(self.recipient_id)),
            can_be_issued=bool(self.can_be_issued),
            coupon=self.coupon or "",
            count=_count(self.count) or 0,
            total=_amount(self.total),
        )


class FieldDocument(msgspec.Struct):
    """A field that a campaign's form asks for."""

    label: str | None = None
    type: str | None = None
    required: bool | int | None = None

    def record(self) -> CampaignField:
        return CampaignField(self.label or "", self.type or "", bool(self.required))


class FieldsDocument(msgspec.Struct):
    person_referring: list[FieldDocument] | None = None
    person_invited: list[FieldDocument] | None = None


class CampaignDocument(msgspec.Struct):
    """A campaign with the fields of its two forms."""

    id: Number
    code: str
    name: str | None = None
    url: str | None = None
    status: str | None = None
    ends_at: str | None = None
    fields: FieldsDocument | list[Any] | None = None

    def record(self) -> Campaign:
        fields = self.fields if isinstance(self.fields, FieldsDocument) else FieldsDocument()
        return Campaign(
            id=RfCampaignId(_identifier(self.id)),
            code=self.code,
            name=self.name or "",
            url=self.url or "",
            status=self.status or "",
            ends_at=self.ends_at or "",
            referrer_fields=tuple(field.record() for field in fields.person_referring or ()),
            lead_fields=tuple(field.record() for field in fields.person_invited or ()),
        )


class _Qualification(msgspec.Struct):
    id: int
    qualified: bool


class _MetaValue(msgspec.Struct):
    field: str
    value: str | None


class _NewUser(msgspec.Struct):
    """``NewUser``: without a referrer, so that a referrer is made."""

    campaign_id: int
    first_name: str
    email: str
    notify: bool
    meta: list[_MetaValue]


class _UserChanges(msgspec.Struct, omit_defaults=True):
    """What ``PUT /users/{identifier}`` takes; what is left out stays as it is."""

    first_name: str | None = None
    email: str | None = None
    meta: list[_MetaValue] | None = None


_ENCODER = msgspec.json.Encoder()
_TYPES = frozenset(PersonType)

USER = msgspec.json.Decoder(One[UserDocument])
USERS = msgspec.json.Decoder(Page[msgspec.Raw])
_LISTED_USER = msgspec.json.Decoder(UserDocument)
_ANY_USER = msgspec.json.Decoder(dict[str, Any])
CAMPAIGN = msgspec.json.Decoder(One[CampaignDocument])
CAMPAIGNS = msgspec.json.Decoder(Page[CampaignDocument])
REWARDS = msgspec.json.Decoder(Page[RewardDocument])


def user_page(document: Page[msgspec.Raw], number: int, per_page: int) -> UserPage:
    """The page that was asked for by ``number``; what its ``meta`` leaves out is derived.

    Without meta ``last_page`` and ``total`` are the least that they can be. An entry that cannot be
    read is told of and keeps nobody else out; ``ValueError`` where that is every one of a page.
    """
    people: list[Person | None] = []
    unreadable: list[str] = []
    for entry in document.data:
        try:
            people.append(_LISTED_USER.decode(entry).record())
        except (msgspec.DecodeError, UnicodeDecodeError, ValueError, OverflowError):
            unreadable.append(_number_of(entry))
    if unreadable and not people:
        raise ValueError("no entry of the page is a user")
    has_next = document.has_next(number, per_page)
    meta = document.meta if isinstance(document.meta, PageMeta) else PageMeta()
    page = int(meta.current_page or number)
    return UserPage(
        people=tuple(person for person in people if person is not None),
        page=page,
        last_page=int(meta.last_page or (page + 1 if has_next else page)),
        total=(
            (page - 1) * per_page + len(people) + len(unreadable)
            if meta.total is None
            else int(meta.total)
        ),
        has_next=has_next,
        unreadable=tuple(unreadable),
    )


def _number_of(entry: msgspec.Raw) -> str:
    """The number of a user whose entry is none, or ``?``."""
    try:
        number = str(_ANY_USER.decode(entry).get("id"))
    except (msgspec.DecodeError, UnicodeDecodeError):
        return "?"
    return number if number.isascii() and number.isdecimal() and len(number) < 20 else "?"


def new_referrer_request(
    campaign: RfCampaignId, values: Mapping[str, str], *, welcome_mail: bool
) -> bytes:
    """The body of ``POST /users``. ``values``: ``first_name``, ``email``, ``meta.LABEL``."""
    return _ENCODER.encode(
        _NewUser(
            campaign_id=campaign,
            first_name=values["first_name"],
            email=values["email"],
            notify=welcome_mail,
            meta=[entry for entry in _meta_values(values) if entry.value is not None],
        )
    )


def changes_request(changes: Mapping[str, str], meta: Mapping[str, str]) -> bytes:
    """The body of ``PUT /users/{identifier}``. ``meta``: what the user has in these fields now; it
    goes along with the changed ones, because nothing says whether a list replaces the old one."""
    changed = _meta_values(changes)
    labels = {entry.field for entry in changed}
    kept = [_MetaValue(label, text) for label, text in meta.items() if label not in labels]
    return _ENCODER.encode(
        _UserChanges(
            first_name=changes.get("first_name"),
            email=changes.get("email"),
            meta=[*kept, *changed] if changed else None,
        )
    )


def _meta_values(values: Mapping[str, str]) -> list[_MetaValue]:
    return [
        _MetaValue(name.removeprefix("meta."), text or None)
        for name, text in values.items()
        if name.startswith("meta.")
    ]


def qualification_request(user: UserId, *, qualified: bool) -> bytes:
    """The body of ``PUT /users/qualification``."""
    return _ENCODER.encode(_Qualification(user, qualified))


def _identifier(value: Number) -> int:
    """``ValueError``: not a number that a database has room for."""
    number = int(value)
    if not 0 <= number < 2**63:
        raise ValueError("not an identifier")
    return number


def _amount(value: float | str | None) -> float:
    amount = float(value or 0)
    if not math.isfinite(amount):
        raise ValueError("an amount that is no number")
    return amount


def _count(value: Number | None) -> int | None:
    return None if value is None else _identifier(value)


def _day(text: str | None) -> date | None:
    """A day; of a time of day that follows it nothing is kept."""
    return date.fromisoformat(text[:10]) if text else None


def _meta(fields: list[MetaField] | None) -> Mapping[str, str]:
    return {
        entry.field: _text(entry.value)
        for entry in fields or ()
        if entry.field is not None and entry.value is not None
    }


def _text(value: str | float | bool) -> str:
    return value if isinstance(value, str) else msgspec.json.encode(value).decode()
