"""What can be mapped to what, as data: bookings of ServiceTitan from people of Referral Factory,
referrers from customers, and fields of customers from referrers.

``api_name`` is the property that a target ends up in, ``api_path`` the one that a source comes from:
of ``CreateBookingRequest``, ``ExportCustomerResponse`` and ``ExportCustomerContactResponse`` in
ServiceTitan's CRM v2 document, of a user or campaign in Referral Factory's API v2. A contract test
holds both against those documents.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum


class TargetType(StrEnum):
    TEXT = "text"
    EMAIL = "email"
    PHONE = "phone"
    YES_NO = "yes or no"
    OPTION = "one of the options"
    NAME_OR_ID = "id or exact name"
    INSTANT = "date and time"


@dataclass(frozen=True, slots=True)
class Target:
    """A field that a mapping writes to. Some stand for any name: ``open_prefix``."""

    name: str
    api_name: str
    type: TargetType
    label: str
    required: bool = False
    options: tuple[str, ...] = ()
    example: str = ""


@dataclass(frozen=True, slots=True)
class Source:
    """A field that a mapping reads from. Some stand for any name: ``open_prefix``."""

    name: str
    api_path: str
    label: str
    example: str


YES_NO = ("Yes", "No")

BOOKING_TARGETS: tuple[Target, ...] = (
    Target("source", "source", TargetType.TEXT, "Source", required=True, example="Spring HVAC"),
    Target("name", "name", TargetType.TEXT, "Name", required=True, example="Ada Lovelace"),
    Target(
        "email", "contacts", TargetType.EMAIL, "Email", required=True, example="ada@example.com"
    ),
    Target("summary", "summary", TargetType.TEXT, "Summary", required=True, example="Referral"),
    Target(
        "is_first_time_client",
        "isFirstTimeClient",
        TargetType.YES_NO,
        "Is First Time Client",
        required=True,
        options=YES_NO,
        example="Yes",
    ),
    Target(
        "external_id", "externalId", TargetType.TEXT, "External Id", required=True, example="aB3x9"
    ),
    Target("phone", "contacts", TargetType.PHONE, "Phone", example="555-0100"),
    Target("mobile_phone", "contacts", TargetType.PHONE, "Mobile Phone", example="555-0101"),
    Target("address.street", "address.street", TargetType.TEXT, "Street", example="1 Main St"),
    Target("address.unit", "address.unit", TargetType.TEXT, "Unit", example="Apt 4"),
    Target("address.city", "address.city", TargetType.TEXT, "City", example="Springfield"),
    Target("address.state", "address.state", TargetType.TEXT, "State", example="IL"),
    Target("address.zip", "address.zip", TargetType.TEXT, "Zip", example="01234"),
    Target("address.country", "address.country", TargetType.TEXT, "Country", example="USA"),
    Target(
        "customer_type",
        "customerType",
        TargetType.OPTION,
        "Customer Type",
        options=("Residential", "Commercial"),
        example="Residential",
    ),
    Target("start", "start", TargetType.INSTANT, "Start", example="2026-12-01T15:00:00Z"),
    Target("campaign", "campaignId", TargetType.NAME_OR_ID, "Campaign", example="Referrals"),
    Target(
        "business_unit", "businessUnitId", TargetType.NAME_OR_ID, "Business Unit", example="HVAC"
    ),
    Target("job_type", "jobTypeId", TargetType.NAME_OR_ID, "Job Type", example="Estimate"),
    Target(
        "priority",
        "priority",
        TargetType.OPTION,
        "Priority",
        options=("Low", "Normal", "High", "Urgent"),
        example="Normal",
    ),
    Target(
        "send_confirmation_email",
        "isSendConfirmationEmail",
        TargetType.YES_NO,
        "Send Confirmation Email",
        options=YES_NO,
        example="No",
    ),
)

ADDRESS_TOGETHER = (
    "address.street",
    "address.city",
    "address.state",
    "address.zip",
    "address.country",
)
"""ServiceTitan takes an address only with all five (CRM v2, AddressModel)."""

BOOKING_SOURCES: tuple[Source, ...] = (
    Source("first_name", "first_name", "First Name", "Ada"),
    Source("email", "email", "Email", "ada@example.com"),
    Source("code", "code", "Referral Code", "aB3x9"),
    Source("id", "id", "Id", "1001"),
    Source("url", "url", "Referral Link", "https://example.com/aB3x9"),
    Source("source", "source", "Sign-up Source", "Referred"),
    Source("signed_up_at", "signed_up_at", "Signed Up", "2026-11-23"),
    Source("meta.LABEL", "meta", "Form field, by its label", "555-0100"),
    Source("campaign.name", "campaign.name", "Campaign Name", "Spring HVAC"),
    Source("campaign.code", "campaign.code", "Campaign Code", "spring-hvac"),
    Source("campaign.url", "campaign.url", "Campaign Link", "https://example.com/spring"),
    Source("campaign.id", "campaign.id", "Campaign Id", "7"),
    Source("referrer.first_name", "first_name", "Referrer's First Name", "Grace"),
    Source("referrer.email", "email", "Referrer's Email", "grace@example.com"),
    Source("referrer.code", "code", "Referrer's Code", "gH7k2"),
    Source("referrer.url", "url", "Referrer's Link", "https://example.com/gH7k2"),
    Source("referrer.meta.LABEL", "meta", "Referrer's form field", "Gold member"),
    Source("promotion.code", "promotion.code", "Promotion Code", "SAVE20"),
)


SYNC_TARGETS: tuple[Target, ...] = (
    Target("first_name", "first_name", TargetType.TEXT, "First Name", required=True, example="Ada"),
    Target("email", "email", TargetType.EMAIL, "Email", required=True, example="ada@example.com"),
    Target("meta.LABEL", "meta", TargetType.TEXT, "Form field, by its label", example="Lovelace"),
)

SYNC_SOURCES: tuple[Source, ...] = (
    Source("name", "name", "Name", "Lovelace, Ada"),
    Source("email", "value", "Email", "ada@example.com"),
    Source("phone", "value", "Phone", "555-0100"),
    Source("mobile_phone", "value", "Mobile Phone", "555-0101"),
    Source("type", "type", "Customer Type", "Residential"),
    Source("address.street", "address.street", "Street", "1 Main St"),
    Source("address.unit", "address.unit", "Unit", "Apt 4"),
    Source("address.city", "address.city", "City", "Springfield"),
    Source("address.state", "address.state", "State", "IL"),
    Source("address.zip", "address.zip", "Zip", "01234"),
    Source("address.country", "address.country", "Country", "USA"),
    Source("created_on", "createdOn", "Customer Since", "2024-05-01"),
    Source("custom_field:NAME", "customFields", "Custom field, by its name", "Gold"),
)

RETURN_TARGETS: tuple[Target, ...] = (
    Target(
        "custom_field:NAME",
        "customFields",
        TargetType.TEXT,
        "Custom field, by its name or as #ID",
        example="https://example.com/aB3x9",
    ),
)

RETURN_SOURCES: tuple[Source, ...] = (
    Source("referral_link", "url", "Referral Link", "https://example.com/aB3x9"),
    Source("referral_code", "code", "Referral Code", "aB3x9"),
    Source("referrals_count", "analytics.referrals", "Referrals Count", "3"),
    Source(
        "converted_referrals_count",
        "analytics.qualified_referrals",
        "Converted Referrals Count",
        "1",
    ),
)
COUNT_SOURCES = frozenset({"referrals_count", "converted_referrals_count"})


@dataclass(frozen=True, slots=True)
class Catalogue:
    """The fields of one direction. ``owner`` and ``origin`` name the two sides in messages."""

    owner: str
    targets: tuple[Target, ...]
    origin: str
    sources: tuple[Source, ...]

    def target(self, name: str) -> Target | None:
        """The target of this name, also where the name has a label of its own in it."""
        for target in self.targets:
            if _stands_for(target.name, name):
                return target
        return None

    def has_source(self, name: str) -> bool:
        """Whether a mapping may read ``name``; ``meta.`` wants a label behind it."""
        return any(_stands_for(source.name, name) for source in self.sources)

    @property
    def target_names(self) -> tuple[str, ...]:
        return tuple(target.name for target in self.targets)

    @property
    def source_names(self) -> tuple[str, ...]:
        return tuple(source.name for source in self.sources)


_ANY = {
    "meta.LABEL": "meta.",
    "referrer.meta.LABEL": "referrer.meta.",
    "custom_field:NAME": "custom_field:",
}
"""Entries that stand for any name, each with what goes before that name."""


def open_prefix(name: str) -> str:
    """What goes before the name that an entry leaves open; blank where it leaves none open."""
    return _ANY.get(name, "")


def _stands_for(pattern: str, name: str) -> bool:
    prefix = open_prefix(pattern)
    if prefix:
        return name.startswith(prefix) and bool(name.removeprefix(prefix).strip())
    return name == pattern


BOOKINGS = Catalogue(
    "ServiceTitan's bookings", BOOKING_TARGETS, "Referral Factory", BOOKING_SOURCES
)
SYNC = Catalogue(
    "Referral Factory's referrers", SYNC_TARGETS, "ServiceTitan's customers", SYNC_SOURCES
)
RETURN = Catalogue(
    "ServiceTitan's customers", RETURN_TARGETS, "Referral Factory's referrers", RETURN_SOURCES
)


def catalogue_of(tab: str) -> Catalogue:
    """The fields of a tab of the campaign file."""
    return {"sync": SYNC, "return": RETURN}.get(tab, BOOKINGS)


JOB_STATUSES = ("Scheduled", "Dispatched", "InProgress", "Hold", "Completed", "Canceled")
"""ServiceTitan JPM v2, JobStatus."""

UNIQUE_SOURCES = frozenset({"code", "id"})
"""Sources that differ for every person of the account; ``external_id`` needs one of them."""
