"""Arguments and options that several commands take."""

from __future__ import annotations

import os
from enum import StrEnum
from typing import Annotated

import typer

from stcli.errors import StcliError
from stcli.paths import find_home


def complete_campaign(incomplete: str) -> list[str]:
    """The names of this home's campaigns, for a shell that completes."""
    try:
        names = find_home(os.environ).campaign_names()
    except (StcliError, OSError):
        return []
    return [name for name in names if name.startswith(incomplete)]


def filled(value: str | None) -> str | None:
    """Refuse an option that was given with nothing in it, as an unset variable of a script makes it."""
    if value is not None and not value.strip():
        raise typer.BadParameter("is empty. Give a value, or leave the option out.")
    return value


Campaign = Annotated[
    str,
    typer.Argument(
        metavar="CAMPAIGN", help="The campaign's local name.", autocompletion=complete_campaign
    ),
]
OptionalCampaign = Annotated[
    str | None,
    typer.Argument(
        metavar="[CAMPAIGN]",
        help="May be left out where there is only one.",
        autocompletion=complete_campaign,
    ),
]
CampaignAndCode = Annotated[
    list[str],
    typer.Argument(
        metavar="[CAMPAIGN] CODE", help="The lead's referral code; the campaign may be left out."
    ),
]
AsJson = Annotated[bool, typer.Option("--json", help="One JSON document on stdout, nothing else.")]
Yes = Annotated[bool, typer.Option("--yes", help="Do not ask for confirmation.")]
DryRun = Annotated[
    bool, typer.Option("--dry-run", help="Read and map for real, write nothing anywhere.")
]
Limit = Annotated[
    int | None, typer.Option("--limit", min=0, metavar="N", help="Stop after N writes.")
]
AllowMassChange = Annotated[
    bool, typer.Option("--allow-mass-change", help="Go beyond the tab's limits: this once.")
]
Backfill = Annotated[
    bool,
    typer.Option("--backfill", help="Also book everyone who joined before this moment."),
]


def read_duration(text: str) -> float:
    """Seconds of a duration such as 90s, 15m, 6h or 1d."""
    unit = {"s": 1, "m": 60, "h": 3600, "d": 86400}.get(text[-1:])
    number = text[:-1]
    if unit is None or not (number.isascii() and number.isdigit() and int(number[:9]) > 0):
        raise typer.BadParameter(f"{text!r} is no duration; write one such as 90s, 15m, 6h or 1d")
    return float(int(number[:9]) * unit)


class BookingTabName(StrEnum):
    """The tabs whose mappings make bookings."""

    LEADS = "leads"
    REFERRERS = "referrers"


class TabName(StrEnum):
    """All sets of mappings."""

    LEADS = "leads"
    REFERRERS = "referrers"
    SYNC = "sync"
    RETURN = "return"


AnyTab = Annotated[TabName, typer.Option("--tab", help="Which set of mappings.")]
