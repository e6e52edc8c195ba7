"""Referral Factory's documents as far as they are used, and the way to our records (API v2)."""

from __future__ import annotations

from datetime import date
from typing import Any

import msgspec

from stcli.domain.ids import RfCampaignId, UserId
from stcli.domain.records import Campaign, CampaignField, Person, PersonType


class MetaWire(msgspec.Struct):
    field: str
    value: Any = None


class PromotionWire(msgspec.Struct):
    code: str | None = None


class UserWire(msgspec.Struct):
    """Ids come as numbers, and as text in some answers."""

    id: int | str
    campaign_id: int | str
    type: str
    code: str
    first_name: str | None = None
    email: str | None = None
    url: str | None = None
    source: str | None = None
    referrer_id: int | str | None = None
    signed_up_at: str | None = None
    qualified_at: str | None = None
    unsubscribed_at: str | None = None
    promotion: PromotionWire | None = None
    meta: list[MetaWire] | None = None


class LinksWire(msgspec.Struct):
    next: str | None = None


class PageMetaWire(msgspec.Struct):
    current_page: int | None = None
    last_page: int | None = None
    total: int | None = None


class UserPageWire(msgspec.Struct):
    data: list[UserWire]
    links: LinksWire
    meta: PageMetaWire | None = None


class UserAnswerWire(msgspec.Struct):
    data: UserWire


class FieldWire(msgspec.Struct):
    label: str | None = None
    type: str | None = None
    required: bool | None = None


class FieldsWire(msgspec.Struct):
    person_referring: list[FieldWire] | None = None
    person_invited: list[FieldWire] | None = None


class CampaignWire(msgspec.Struct):
    id: int | str
    name: str
    code: str
    url: str
    status: str
    ends_at: str | None = None
    fields: FieldsWire | None = None


class CampaignPageWire(msgspec.Struct):
    data: list[CampaignWire]
    links: LinksWire = msgspec.field(default_factory=LinksWire)


class CampaignAnswerWire(msgspec.Struct):
    data: CampaignWire


class FieldErrorWire(msgspec.Struct):
    field: str | None = None
    message: str | None = None


class ErrorWire(msgspec.Struct):
    message: str | None = None
    errors: dict[str, list[FieldErrorWire]] | None = None


class QualificationWire(msgspec.Struct):
    """The body of ``PUT /users/qualification``; the user is named by id."""

    id: int
    qualified: bool


USER_PAGE = msgspec.json.Decoder(UserPageWire)
USER = msgspec.json.Decoder(UserAnswerWire)
CAMPAIGN_PAGE = msgspec.json.Decoder(CampaignPageWire)
CAMPAIGN = msgspec.json.Decoder(CampaignAnswerWire)
ERROR = msgspec.json.Decoder(ErrorWire)


def _day(text: str | None) -> date | None:
    """A date as it stands; of a date with a time only the day."""
    return date.fromisoformat(text[:10]) if text else None


def person(wire: UserWire) -> Person:
    return Person(
        id=UserId(int(wire.id)),
        campaign_id=RfCampaignId(int(wire.campaign_id)),
        type=PersonType(wire.type),
        code=wire.code,
        first_name=wire.first_name or "",
        email=wire.email or "",
        url=wire.url or "",
        source=wire.source or "",
        referrer_id=None if wire.referrer_id is None else UserId(int(wire.referrer_id)),
        signed_up_at=_day(wire.signed_up_at),
        qualified_at=_day(wire.qualified_at),
        unsubscribed_at=_day(wire.unsubscribed_at),
        promotion_code=(wire.promotion.code or "") if wire.promotion else "",
        meta={
            item.field: item.value if isinstance(item.value, str) else str(item.value)
            for item in wire.meta or ()
            if item.value is not None
        },
    )


def campaign(wire: CampaignWire) -> Campaign:
    fields = wire.fields or FieldsWire()
    return Campaign(
        id=RfCampaignId(int(wire.id)),
        code=wire.code,
        name=wire.name,
        url=wire.url,
        status=wire.status,
        ends_at=wire.ends_at or "",
        referrer_fields=_fields(fields.person_referring),
        lead_fields=_fields(fields.person_invited),
    )


def _fields(wires: list[FieldWire] | None) -> tuple[CampaignField, ...]:
    return tuple(
        CampaignField(wire.label, wire.type or "input", bool(wire.required))
        for wire in wires or ()
        if wire.label
    )
