"""Sample data, the same for the same settings; only dates follow the day on which it is made.

People live under example.com and telephone numbers between 555-0100 and 555-0199, which are kept
free for examples.
"""

import random
from datetime import date, timedelta
from typing import Any

from stcli.sandbox.account import INVITED, REFERRING
from stcli.sandbox.crowd import FIRST_NAMES, LAST_NAMES
from stcli.sandbox.grants import Grant
from stcli.sandbox.records import CustomFieldType, NamedSetting, ProviderTag, ReferralCampaign
from stcli.sandbox.seed_customers import CUSTOMER_DAYS, fill_customers
from stcli.sandbox.settings import (
    BOOKING_PROVIDER_ID,
    OTHER_BOOKING_PROVIDER_ID,
    SandboxSettings,
)
from stcli.sandbox.tenant import Tenant
from stcli.sandbox.world import World, example_phone

MAIN_CAMPAIGN = "spring-hvac"
OTHER_CAMPAIGN = "autumn-plumbing"
LEAD_DAYS = 20

UNICODE_NAME = "Zoë Łukasiewicz 王"
REFERRERS = (
    ("Rita", "Direct"),
    ("Walt", "Widget"),
    ("Alma", "Added"),
    ("Theo", "Test"),
    ("Pia", "Direct"),
)

BUSINESS_UNITS = ("HVAC Service", "HVAC Installation", "Plumbing Service")
JOB_TYPES = ("Estimate", "Service Call", "Installation", "Maintenance Visit")
CAMPAIGNS = ("Referral Program", "Search Ads", "Yard Signs")
TAG_TYPES = ("VIP", "Referral", "No Reward")
RETIRED = "Retired"
CUSTOM_FIELDS: tuple[tuple[str, str, list[str]], ...] = (
    ("Referral Link", "Text", []),
    ("Referral Code", "Text", []),
    ("Referrals", "Numeric", []),
    ("Converted Referrals", "Numeric", []),
    ("Heard About Us", "Dropdown", ["Friend", "Search", "Sign"]),
)


def build_world(settings: SandboxSettings) -> World:
    world = World(settings)
    source = random.Random(f"people-{settings.seed}")  # noqa: S311 - repeatable on purpose
    _fill_account(world, source)
    tenant = add_tenant(world, world.credentials.tenant_id)
    world.grants.app_keys.add(world.credentials.app_key)
    add_grant(
        world,
        Grant(
            client_id=world.credentials.client_id,
            client_secret=world.credentials.client_secret,
            tenant_id=tenant.id,
            booking_provider=BOOKING_PROVIDER_ID,
        ),
    )
    add_provider_tag(tenant, OTHER_BOOKING_PROVIDER_ID, "Website")
    fill_customers(world, tenant, source)
    world.add_booking(
        {"name": "Iris Example", "externalId": "web-1001"}, provider=OTHER_BOOKING_PROVIDER_ID
    )
    return world


# Referral Factory


def _fill_account(world: World, source: random.Random) -> None:
    main = _add_campaign(world, MAIN_CAMPAIGN, "Spring HVAC", required_of_referrers=())
    other = _add_campaign(world, OTHER_CAMPAIGN, "Autumn Plumbing", ("Last Name",))
    account = world.account
    today = world.clock.today()
    referrers = [
        account.add_user(
            main,
            name,
            f"{name.lower()}.referrer@example.com",
            source=how,
            signed_up_at=today - timedelta(days=LEAD_DAYS + 10 - number),
            meta=[{"field": "Phone", "value": example_phone(number)}],
        )
        for number, (name, how) in enumerate(REFERRERS)
    ]
    # The same person in two campaigns, so that a reader who forgets to filter is found out.
    outsider = account.add_user(
        other,
        "Rita",
        "rita.referrer@example.com",
        source="Direct",
        signed_up_at=today - timedelta(days=LEAD_DAYS + 2),
        meta=[{"field": "Last Name", "value": "Elsewhere"}],
    )
    count = world.settings.leads
    for number in range(count):
        name = UNICODE_NAME if number == 3 else source.choice(FIRST_NAMES)
        is_test = number == 5
        days_ago = 1 + (count - 1 - number) * LEAD_DAYS // max(1, count)
        account.add_user(
            main,
            name,
            f"lead{number + 1}@example.com",
            source="Test" if is_test else "Referred",
            referrer=referrers[number % 3],
            signed_up_at=today - timedelta(days=days_ago),
            meta=_lead_meta(number, source),
        )
        if number % 5 == 2:
            account.add_user(
                other,
                source.choice(FIRST_NAMES),
                f"plumbing{number + 1}@example.com",
                source="Referred",
                referrer=outsider,
                signed_up_at=today - timedelta(days=days_ago),
            )

    for campaign in range(1, world.settings.more_campaigns + 1):
        _fill_another(world, campaign, today)


def _fill_another(world: World, number: int, today: date) -> None:
    """A campaign of one referrer and as many leads as the first one has."""
    account = world.account
    campaign = _add_campaign(world, f"campaign-{number}", f"Campaign {number}", ())
    referrer = account.add_user(
        campaign,
        "Remy",
        f"referrer.campaign{number}@example.com",
        source="Direct",
        signed_up_at=today - timedelta(days=LEAD_DAYS + 1),
    )
    for lead in range(world.settings.leads):
        account.add_user(
            campaign,
            FIRST_NAMES[lead % len(FIRST_NAMES)],
            f"lead{lead + 1}.campaign{number}@example.com",
            source="Referred",
            referrer=referrer,
            signed_up_at=today - timedelta(days=1 + lead % LEAD_DAYS),
        )


def _lead_meta(number: int, source: random.Random) -> list[dict[str, str | None]]:
    last_name: dict[str, str | None] = {"field": "Last Name", "value": source.choice(LAST_NAMES)}
    phone: dict[str, str | None] = {"field": "Phone", "value": example_phone(20 + number)}
    return [last_name] if number % 6 == 4 else [last_name, phone]


def _add_campaign(
    world: World, code: str, name: str, required_of_referrers: tuple[str, ...]
) -> ReferralCampaign:
    account = world.account
    labels = ("First Name", "Email", "Last Name", "Phone")

    def form(required: tuple[str, ...]) -> list[dict[str, Any]]:
        return [
            {
                "id": account.next_id(),
                "type": "input",
                "label": label,
                "value": None,
                "required": label in ("First Name", "Email", *required),
            }
            for label in labels
        ]

    campaign = ReferralCampaign(
        id=account.next_id(),
        code=code,
        name=name,
        url=f"https://refer.example.com/{code}",
        created_at=world.clock.now() - timedelta(days=90),
        fields={REFERRING: form(required_of_referrers), INVITED: form(())},
    )
    account.campaigns[campaign.id] = campaign
    return campaign


# ServiceTitan


def add_tenant(world: World, tenant_id: int) -> Tenant:
    """A tenant with the lists that bookings choose from, and nobody in it yet."""
    tenant = Tenant(tenant_id, world.clock, world.ids)
    world.tenants[tenant_id] = tenant
    when = world.clock.now() - timedelta(days=CUSTOMER_DAYS)
    for names, where in (
        (BUSINESS_UNITS, tenant.business_units),
        (JOB_TYPES, tenant.job_types),
        (CAMPAIGNS, tenant.campaigns),
        (TAG_TYPES, tenant.tag_types),
    ):
        for name in (*names, f"{RETIRED} {names[0]}"):
            number = tenant.next_id()
            where[number] = NamedSetting(
                number, name, when, when, active=not name.startswith(RETIRED)
            )
    for name, data_type, options in CUSTOM_FIELDS:
        number = tenant.next_id()
        tenant.custom_fields[number] = CustomFieldType(number, name, data_type, options, when, when)
    return tenant


def add_grant(world: World, grant: Grant) -> None:
    """Makes the grant known, its tenant and its provider's tag as well."""
    tenant = world.tenants.get(grant.tenant_id) or add_tenant(world, grant.tenant_id)
    if grant.booking_provider not in tenant.provider_tags:
        add_provider_tag(tenant, grant.booking_provider, "Referral Factory")
    world.grants.grants[grant.client_id] = grant


def add_provider_tag(tenant: Tenant, number: int, name: str) -> None:
    now = tenant.clock.now()
    tag = ProviderTag(number, name, f"Bookings made by {name}", now, now)
    tenant.provider_tags[number] = tag
