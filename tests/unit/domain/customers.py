"""Customers, contacts and people as tests need them: everything in order unless said otherwise."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any

from pydantic import TypeAdapter

from stcli.domain.enrolment import Filter, KnownCustomer
from stcli.domain.enrolment_plan import EnrolmentRules
from stcli.domain.ids import ContactId, CustomerId, RfCampaignId, UserId
from stcli.domain.mapping.rules import Rule
from stcli.domain.records import Customer, CustomerContact, Person, PersonType

WHEN = datetime(2026, 11, 23, 12, tzinfo=UTC)
RULES: TypeAdapter[dict[str, Rule]] = TypeAdapter(dict[str, Rule])
FIELDS: dict[str, Any] = {
    "first_name": {"type": "dynamic", "from": "name", "transform": ["first_name"]},
    "email": {"type": "dynamic", "from": "email"},
}


def customer(number: int = 1, **facts: Any) -> Customer:
    given: dict[str, Any] = {
        "name": "Lovelace, Ada",
        "type": "Residential",
        "active": True,
        "created_on": WHEN,
        "modified_on": WHEN,
    }
    return Customer(id=CustomerId(number), **{**given, **facts})


def contact(number: int, value: str, kind: str = "Email", **facts: Any) -> CustomerContact:
    given: dict[str, Any] = {"customer_id": CustomerId(1), "active": True, "modified_on": WHEN}
    return CustomerContact(id=ContactId(number), type=kind, value=value, **{**given, **facts})


def known(
    number: int = 1, *emails: str, last_job_at: datetime | None = None, **facts: Any
) -> KnownCustomer:
    """A customer with these addresses; with one of its own where none is named."""
    addresses = emails or (f"c{number}@example.com",)
    contacts = [
        contact(number * 10 + at, address, customer_id=CustomerId(number))
        for at, address in enumerate(addresses)
    ]
    return KnownCustomer(customer(number, **facts), contacts, last_job_at)


def person(number: int, email: str, **facts: Any) -> Person:
    given: dict[str, Any] = {
        "campaign_id": RfCampaignId(7),
        "type": PersonType.REFERRER,
        "code": f"code{number}",
        "first_name": "Ada",
        "url": f"https://example.com/code{number}",
        "source": "Api",
    }
    return Person(id=UserId(number), email=email, **{**given, **facts})


def rules(
    fields: Mapping[str, Any] | None = None,
    *,
    required: tuple[str, ...] = ("first_name", "email"),
    custom_fields: Mapping[str, int] | None = None,
    wanted: Filter | None = None,
) -> EnrolmentRules:
    """The settings of a ``sync`` tab; ``fields`` come on top of the two that are required."""
    return EnrolmentRules(
        fields=RULES.validate_python({**FIELDS, **(fields or {})}),
        required=required,
        custom_fields=custom_fields or {},
        filter=wanted or Filter(),
        fingerprint="rule",
    )
