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
    from stcli.domain.campaign import Tab
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
    if backfill and wanted is not ActionName.CREATE_BOOKING:
        raise UsageError("--backfill goes with create_booking", "See: stcli action --help")
    with application(context) as app:
        name = chosen_campaign(app, campaign)
        before = app.settings_of(name).booking_tab(Tab(tab.value)).action.value
        after = before if wanted is None else wanted.value
        if after != before or (backfill and after == ActionName.CREATE_BOOKING):
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


def _switch(app: Application, name: CampaignName, tab: Tab, action: str, *, backfill: bool) -> None:
    from stcli.cli import running
    from stcli.usecases.passes.subject import tenant_key
    from stcli.usecases.switching import Switching

    config = app.settings_of(name)
    switching = Switching(name, config, tenant_key(config), tab)
    values: dict[tuple[str | int, ...], object] = {(tab.value, "action"): action}
    removed: list[tuple[str | int, ...]] = []
    now = app.now()
    # Referral Factory's day is that of the account, which nothing tells: the earlier one of here
    # and of UTC loses nobody, because those who are there already are remembered one by one.
    since = min(now.date(), now.astimezone().date())

    async def remember() -> int:
        async with app.open_referral() as referral:
            if backfill:
                return await switching.forget_present(referral, app.state.ledger)
            return await switching.remember_present(since, referral, app.state.ledger, now)

    if action == ActionName.CREATE_BOOKING:
        running.ask(remember)
        if backfill:
            removed.append((tab.value, "since"))
            note(
                "The next pass books everyone. See the plan first: "
                f"stcli {tab.value} run {name} --dry-run"
            )
        else:
            values[tab.value, "since"] = since
            note(
                f"Only those who join from now on are booked (since: {since}). To book everyone: "
                f"stcli action {name} {tab.value} create_booking --backfill"
            )
    diff = app.files.change(name, values, removed)
    note(diff.rstrip())
