"""``stcli action``: what happens in ServiceTitan when someone joins."""

from __future__ import annotations

from enum import StrEnum
from typing import TYPE_CHECKING, Annotated

import typer

from stcli.cli.arguments import AsJson, Backfill, BookingTabName
from stcli.cli.output import emit, line, note
from stcli.cli.session import application, chosen_campaign
from stcli.errors import ExitCode, UsageError

if TYPE_CHECKING:
    from stcli.domain.ids import CampaignName
    from stcli.wiring import Application

action_app = typer.Typer(add_completion=False)
APPS = {"action": action_app}


class ActionName(StrEnum):
    NOTHING = "nothing"
    CREATE_BOOKING = "create_booking"


@action_app.command("action", epilog="Example: stcli action spring-hvac leads create_booking")
def action(
    context: typer.Context,
    words: Annotated[
        list[str],
        typer.Argument(
            metavar="[CAMPAIGN] leads|referrers [nothing|create_booking]",
            help="Whose joining does what; without the last word it is only shown.",
        ),
    ],
    backfill: Backfill = False,
    as_json: AsJson = False,
) -> int:
    """Show or set what happens in ServiceTitan when someone joins the campaign.

    Switching on concerns those who join from now on; --backfill also those who are there.
    """
    from stcli.domain.campaign import Tab

    campaign, tab, wanted = _action_words(words)
    with application(context) as app:
        name = chosen_campaign(app, campaign)
        before = app.settings_of(name).booking_tab(Tab(tab.value)).action.value
        after = before if wanted is None else wanted.value
        if after != before:
            _switch(app, name, Tab(tab.value), after, backfill=backfill)
    emit(
        {"schema_version": 1, "campaign": name, "tab": tab.value, "action": after},
        lambda: line(f"{name} {tab.value}: {after}"),
        as_json=as_json,
    )
    return ExitCode.DONE


def _action_words(words: list[str]) -> tuple[str | None, BookingTabName, ActionName | None]:
    """``[CAMPAIGN] TAB [ACTION]``, with the campaign left out where the first word is a tab."""
    tabs, actions = list(BookingTabName), list(ActionName)
    rest = list(words)
    campaign = None
    if rest[0] not in tabs or (len(rest) > 1 and rest[1] in tabs):
        campaign = rest.pop(0)
    if (
        not rest
        or rest[0] not in tabs
        or len(rest) > 2
        or (len(rest) == 2 and rest[1] not in actions)
    ):
        raise UsageError(
            f"{' '.join(words)!r} is not [CAMPAIGN] TAB [ACTION]",
            f"TAB is one of {', '.join(tabs)}; ACTION one of {', '.join(actions)}.",
        )
    return campaign, BookingTabName(rest[0]), ActionName(rest[1]) if len(rest) == 2 else None


def _switch(
    app: Application, name: CampaignName, tab: object, action: str, *, backfill: bool
) -> None:
    from stcli.cli import running
    from stcli.domain.campaign import Tab
    from stcli.usecases.mapping import remember_present
    from stcli.usecases.passes.runner import tenant_key

    chosen = Tab(str(tab))
    values: dict[tuple[str | int, ...], object] = {}
    if action == ActionName.CREATE_BOOKING and not backfill:
        config = app.settings_of(name)
        now = app.now()

        async def remember() -> int:
            async with app.open_referral() as referral:
                return await remember_present(
                    name,
                    config.referral_campaign,
                    tenant_key(config),
                    chosen,
                    referral,
                    app.state.ledger,
                    now,
                )

        running.run(lambda _stop: remember())
        values[chosen.value, "since"] = now.date()
        note(
            f"Only those who join from now on are booked (since: {now.date()}). "
            "To book everyone, delete that line and see: stcli leads run --dry-run"
        )
    values[chosen.value, "action"] = action
    diff = app.files.change(name, values)
    note(diff.rstrip())
