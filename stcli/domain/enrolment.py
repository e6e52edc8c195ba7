"""Which customer is which referrer; who may become one, and if not, why. Pure.

The email address is the valid, permitted, active email contact with the lowest id. Marketing
preferences are those of the contact; what the tenant's suppression list has is never written to.
"""

from __future__ import annotations

from collections.abc import Container, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, date, datetime
from enum import StrEnum

from stcli.domain.ids import CustomerId, UserId
from stcli.domain.matching import email_key, is_email
from stcli.domain.outcome import SkipReason
from stcli.domain.records import Customer, CustomerContact


class EnrolmentState(StrEnum):
    """``planned``: to be asked for. ``intent``: asked for; whether it exists is not certain.
    ``refused``: Referral Factory refused it. ``linked``: was in the campaign before. ``gone``:
    deleted in Referral Factory, and not to be enrolled again."""

    SKIPPED = "skipped"
    PLANNED = "planned"
    INTENT = "intent"
    REFUSED = "refused"
    ENROLLED = "enrolled"
    LINKED = "linked"
    GONE = "gone"


REFERRERS = (EnrolmentState.ENROLLED, EnrolmentState.LINKED)
"""States with a person in Referral Factory."""


@dataclass(frozen=True, slots=True)
class Enrolment:
    """One customer in one campaign. ``reason``: why not enrolled, or why left alone since.
    ``sent``: the values that Referral Factory was given last, by target. ``returned``: what was
    written to ServiceTitan last, by custom field id."""

    customer_id: CustomerId
    state: EnrolmentState
    reason: str = ""
    email_key: str = ""
    user_id: UserId | None = None
    sent: Mapping[str, str] = field(default_factory=dict)
    update_due: bool = False
    returned: Mapping[int, str] = field(default_factory=dict)
    return_due: int = 0

    @property
    def is_referrer(self) -> bool:
        return self.state in REFERRERS


EMAIL = "Email"
PHONE = "Phone"
MOBILE_PHONE = "MobilePhone"


@dataclass(frozen=True, slots=True)
class KnownCustomer:
    """A customer with all known contacts; ``last_job_at``: the newest job, where that was asked."""

    customer: Customer
    contacts: Sequence[CustomerContact] = ()
    last_job_at: datetime | None = None

    @property
    def created_day(self) -> date:
        """The day on which the customer was made, in UTC."""
        return utc_day(self.customer.created_on)


@dataclass(frozen=True, slots=True)
class Filter:
    """Who is wanted at all; names are numbers by now. Empty parts let everybody through."""

    customer_type: str = ""
    tags: frozenset[int] = frozenset()
    created_since: date | None = None
    has_job_since: date | None = None

    def admits(self, known: KnownCustomer) -> bool:
        """Whether all parts hold; of several tags one is enough."""
        customer, job = known.customer, known.last_job_at
        return (
            self.customer_type in ("", customer.type)
            and (not self.tags or not self.tags.isdisjoint(customer.tag_type_ids))
            and (self.created_since is None or known.created_day >= self.created_since)
            and (
                self.has_job_since is None
                or (job is not None and utc_day(job) >= self.has_job_since)
            )
        )


def utc_day(at: datetime) -> date:
    """The day of an instant, in UTC."""
    return at.astimezone(UTC).date()


def allowed_email(known: KnownCustomer, suppressed: Container[str]) -> CustomerContact | SkipReason:
    """The contact to write to, or the first reason why there is none. ``suppressed`` holds email
    keys."""
    customer = known.customer
    if not customer.active:
        return SkipReason.INACTIVE
    if customer.merged_to_id is not None:
        return SkipReason.MERGED
    if not customer.name.strip():
        return SkipReason.NO_NAME
    emails = _active(known.contacts, EMAIL)
    if not emails:
        return SkipReason.NO_EMAIL
    valid = [contact for contact in emails if is_email(contact.value)]
    if not valid:
        return SkipReason.INVALID_EMAIL
    if customer.do_not_mail:
        return SkipReason.DO_NOT_MAIL
    if customer.do_not_service:
        return SkipReason.DO_NOT_SERVICE
    agreed = [contact for contact in valid if contact.marketing]
    if not agreed:
        return SkipReason.MARKETING_OFF
    permitted = [contact for contact in agreed if email_key(contact.value) not in suppressed]
    if not permitted:
        return SkipReason.SUPPRESSED
    return permitted[0]


def _active(contacts: Iterable[CustomerContact], kind: str) -> list[CustomerContact]:
    """The active contacts of a kind that say something, lowest id first."""
    found = [c for c in contacts if c.type == kind and c.active and c.value.strip()]
    return sorted(found, key=lambda contact: contact.id)


def has_left_address(known: KnownCustomer, key: str, suppressed: Container[str]) -> bool:
    """Whether the address that a referrer is enrolled with asked for no marketing: that is a wish,
    not a change of address, so no other address takes its place."""
    contacts = [c for c in _active(known.contacts, EMAIL) if email_key(c.value) == key]
    return key in suppressed or (bool(contacts) and not any(c.marketing for c in contacts))


def may_not_be_told(known: KnownCustomer, key: str, suppressed: Container[str]) -> bool:
    """Whether nothing is written back to a referrer's customer any more."""
    customer = known.customer
    return (
        not customer.active
        or customer.merged_to_id is not None
        or customer.do_not_mail
        or customer.do_not_service
        or has_left_address(known, key, suppressed)
    )


OPTED_OUT = frozenset({SkipReason.DO_NOT_MAIL, SkipReason.MARKETING_OFF, SkipReason.SUPPRESSED})
"""Reasons that are a customer's own wish: after the enrolment they count as ``opted_out``."""


def after_enrolment(reason: SkipReason) -> SkipReason:
    """How a reason is called once the customer is a referrer."""
    return SkipReason.OPTED_OUT if reason in OPTED_OUT else reason


@dataclass(frozen=True, slots=True)
class CustomerSubject:
    """All that a mapping of the ``sync`` tab can read from. ``custom_fields``: ids by name."""

    known: KnownCustomer
    email: str
    custom_fields: Mapping[str, int]

    def value(self, source: str) -> str:
        """The text behind a source name; empty where there is none."""
        customer = self.known.customer
        if source.startswith("custom_field:"):
            number = self.custom_fields.get(source.removeprefix("custom_field:"))
            return "" if number is None else customer.custom_fields.get(number, "")
        if source.startswith("address."):
            return customer.address.get(source.removeprefix("address."), "")
        match source:
            case "email":
                return self.email
            case "phone":
                return self._number(PHONE)
            case "mobile_phone":
                return self._number(MOBILE_PHONE)
            case "created_on":
                return self.known.created_day.isoformat()
            case _:
                return str(getattr(customer, source))

    def _number(self, kind: str) -> str:
        found = _active(self.known.contacts, kind)
        return found[0].value if found else ""
