"""What can be mapped to what: the booking fields of ServiceTitan and the source fields of
Referral Factory, as data.

``api_name`` is the property of ``CreateBookingRequest`` in ServiceTitan's CRM v2 document that a
target ends up in; ``api_path`` the property of a user or campaign in Referral Factory's API v2 that
a source comes from. A contract test holds both against those documents.
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
    """A field that a mapping writes to."""

    name: str
    api_name: str
    type: TargetType
    label: str
    required: bool = False
    options: tuple[str, ...] = ()
    example: str = ""


@dataclass(frozen=True, slots=True)
class Source:
    """A field that a mapping reads from. A name ending in ``.LABEL`` stands for any label."""

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

_TARGETS = {target.name: target for target in BOOKING_TARGETS}
_LABELLED = tuple(
    source.name.removesuffix("LABEL")
    for source in BOOKING_SOURCES
    if source.name.endswith(".LABEL")
)
_FIXED = frozenset(source.name for source in BOOKING_SOURCES if not source.name.endswith(".LABEL"))


def booking_target(name: str) -> Target | None:
    return _TARGETS.get(name)


def is_booking_source(name: str) -> bool:
    """Whether a mapping of a booking may read ``name``; ``meta.`` wants a label behind it."""
    return name in _FIXED or any(
        name.startswith(prefix) and len(name) > len(prefix) for prefix in _LABELLED
    )


def booking_source_names() -> tuple[str, ...]:
    return tuple(source.name for source in BOOKING_SOURCES)


def booking_target_names() -> tuple[str, ...]:
    return tuple(_TARGETS)


JOB_STATUSES = ("Scheduled", "Dispatched", "InProgress", "Hold", "Completed", "Canceled")
"""ServiceTitan JPM v2, JobStatus."""

UNIQUE_SOURCES = frozenset({"code", "id"})
"""Sources that differ for every person of the account; ``external_id`` needs one of them."""
