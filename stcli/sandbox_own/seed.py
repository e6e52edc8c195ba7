"""Sample data, the same for the same seed except for dates, which are near today."""

from __future__ import annotations

import random
from datetime import UTC, datetime, timedelta

from stcli.sandbox_own.settings import SandboxSettings
from stcli.sandbox_own.world import World, text_of

_FIRST = (
    "Ada Grace Alan Edsger Barbara Donald Katherine Linus Margaret Dennis Radia Ken Frances Tim "
    "Adele John Jean Niklaus Annie Bjarne".split()
)
_SOURCES = ("Direct", "Widget", "Added", "Popup")


def make_world(settings: SandboxSettings) -> World:
    """A world with two campaigns, people in both, and a tenant that can take bookings."""
    world = World(settings)
    _tenant(world)
    _campaigns(world)
    _people(world, random.Random(settings.seed))  # noqa: S311 - sample data, not a secret
    return world


def _tenant(world: World) -> None:
    stamp = text_of(world.now() - 86_400 * 365)
    dated = {"createdOn": stamp, "modifiedOn": stamp, "active": True}
    provider = world.settings.credentials.booking_provider
    world.booking_provider_tags = [
        {"id": provider, "tagName": "Referral Factory", "description": "", "type": "V2Api"} | dated,
        {"id": provider + 1, "tagName": "Website", "description": "", "type": "V2Api"} | dated,
    ]
    world.business_units = [
        {"id": 101, "name": "HVAC"} | dated,
        {"id": 102, "name": "Plumbing"} | dated,
        {"id": 103, "name": "Electrical"} | dated | {"active": False},
    ]
    names = ("Estimate", "Repair", "Repair", "Maintenance")
    world.job_types = [
        {
            "id": 201 + index,
            "name": name,
            "businessUnitIds": [101],
            "skills": [],
            "tagTypeIds": [],
            "priority": "Normal",
            "duration": 3600,
            "soldThreshold": 0,
            "class": "",
            "summary": "",
            "noCharge": False,
            "enforceRecurringServiceEventSelection": False,
            "invoiceSignaturesRequired": False,
            "externalData": [],
            "isSmartDispatched": False,
        }
        | dated
        for index, name in enumerate(names)
    ]
    world.marketing_campaigns = [
        {"id": 301, "name": "Referrals"} | dated,
        {"id": 302, "name": "Radio"} | dated,
    ]
    world.tag_types = [
        {
            "id": 401,
            "name": "VIP",
            "color": "#00ff00",
            "codeImportance": None,
            "importance": "Low",
            "isConversionOpportunity": False,
        }
        | dated
    ]
    other = {
        "source": "Website",
        "name": "Walter Walk-in",
        "summary": "Asked for a quote",
        "isFirstTimeClient": True,
        "externalId": "web-1",
    }
    world.add_booking(other, provider + 1, at=world.now() - 86_400 * 2)


def _campaigns(world: World) -> None:
    for number, code, name in (
        (7, "spring-hvac", "Spring HVAC"),
        (8, "roofing", "Roofing Friends"),
    ):
        world.campaigns[number] = {
            "id": number,
            "name": name,
            "code": code,
            "lang": "en",
            "url": f"https://refer.example.com/{code}",
            "reach": 0,
            "status": "launched",
            "starts_at": None,
            "ends_at": None,
            "created_at": "2026-01-05",
            "fields": {
                "person_referring": [
                    {"id": 1, "type": "input", "label": "Phone", "value": None, "required": False}
                ],
                "person_invited": [
                    {"id": 2, "type": "input", "label": "Phone", "value": None, "required": True},
                    {"id": 3, "type": "input", "label": "Zip", "value": None, "required": False},
                ],
            },
        }


def _people(world: World, chance: random.Random) -> None:
    settings = world.settings
    today = datetime.fromtimestamp(world.now(), UTC).date()
    referrers = []
    for index in range(settings.referrers):
        name = _FIRST[index % len(_FIRST)]
        referrers.append(
            world.add_user(
                {
                    "campaign_id": 7 if index % 3 else 8,
                    "first_name": name,
                    "email": f"{name.lower()}.{index}@example.com",
                    "source": _SOURCES[index % len(_SOURCES)],
                    "signed_up_at": (today - timedelta(days=20)).isoformat(),
                    "meta": [{"field": "Phone", "value": f"555-01{index:02d}"}],
                }
            )
        )
    ours = [user["id"] for user in referrers if user["campaign_id"] == 7]
    for index in range(settings.leads):
        name = "Zoë" if index == 1 else chance.choice(_FIRST)
        world.add_user(
            {
                "campaign_id": 7,
                "referrer_id": chance.choice(ours),
                "first_name": name,
                "email": f"lead.{index}@example.com",
                "source": "Test" if index == 3 else "Referred",
                "signed_up_at": (today - timedelta(days=index % 5)).isoformat(),
                "meta": [
                    {"field": "Phone", "value": f"555-01{(index * 7) % 100:02d}"},
                    {"field": "Zip", "value": "01234"},
                ],
            }
        )
