"""``stcli sync``: customers become referrers, once or ongoing, and links go back to ServiceTitan."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer

from stcli.cli.arguments import (
    AllowMassChange,
    AsJson,
    DryRun,
    Limit,
    OptionalCampaign,
    Yes,
    read_duration,
)
from stcli.cli.output import emit, line, note, pairs, plain, table
from stcli.cli.session import application, chosen_campaign
from stcli.cli.sync_setup import setup
from stcli.errors import ExitCode, UsageError

if TYPE_CHECKING:
    from datetime import date

    from stcli.usecases.sync import SyncOverview

sync = typer.Typer(
    add_completion=False,
    no_args_is_help=True,
    help="Customers become referrers; links and counts go back.",
)
APPS = {"sync": sync}


def _day(text: str) -> date:
    from datetime import date

    try:
        return date.fromisoformat(text)
    except ValueError:
        raise typer.BadParameter(f"{text!r} is no day; write one such as 2026-11-23") from None


sync.command("setup", epilog="Example: stcli sync setup spring-hvac --type ongoing --yes")(setup)


@sync.command(epilog="Example: stcli sync run spring-hvac --dry-run")
def run(
    context: typer.Context,
    campaign: OptionalCampaign = None,
    once: Annotated[
        bool, typer.Option("--once", help="Import once, whatever the file says.")
    ] = False,
    ongoing: Annotated[
        bool, typer.Option("--ongoing", help="Go on from the last time, whatever the file says.")
    ] = False,
    again: Annotated[bool, typer.Option("--again", help="Repeat a one-time import.")] = False,
    every: Annotated[
        float | None,
        typer.Option(
            "--every",
            parser=read_duration,
            metavar="DURATION",
            help="Keep running, a pass every so often (15m, 6h).",
        ),
    ] = None,
    since: Annotated[
        str | None,
        typer.Option("--since", parser=_day, metavar="DAY", help="Only customers made since."),
    ] = None,
    dry_run: DryRun = False,
    limit: Limit = None,
    allow_mass_change: AllowMassChange = False,
    as_json: AsJson = False,
) -> int:
    """Enrol customers as referrers, keep them in step, and write links and counts back."""
    from stcli.cli.repeating import run_repeatedly, run_sync_once
    from stcli.domain.campaign import SyncType
    from stcli.usecases.passes.context import PassOptions

    if once and ongoing:
        raise UsageError("say --once or --ongoing, not both", "See: stcli sync run --help")
    if every is not None and (once or dry_run):
        raise UsageError("--every goes with an ongoing sync only", "Leave --every out.")
    chosen = SyncType.ONE_TIME if once else SyncType.ONGOING if ongoing or every else None
    options = PassOptions(
        limit=limit,
        dry_run=dry_run,
        allow_mass_change=allow_mass_change,
        since=since,  # type: ignore[arg-type] # what the parser made of it
        again=again,
        sync_type=chosen,
    )
    with application(context) as app:
        name = chosen_campaign(app, campaign)
        if every is not None:
            return run_repeatedly(app, name, options, every, as_json=as_json)
        return run_sync_once(app, name, options, as_json=as_json)


@sync.command(epilog="Example: stcli sync show spring-hvac")
def show(context: typer.Context, campaign: OptionalCampaign = None, as_json: AsJson = False) -> int:
    """The settings of the sync, who is enrolled, and who is not and why."""
    from stcli.usecases.sync import overview

    with application(context) as app:
        name = chosen_campaign(app, campaign)
        found = overview(name, app.settings_of(name), app.state)
    emit(found.document(), lambda: _show(found), as_json=as_json)
    return ExitCode.DONE


def _show(found: SyncOverview) -> None:
    from stcli.cli.rule_text import describe_rule

    settings = found.settings
    if settings is None:
        line(f"{found.campaign}: the sync is not set up")
        note(f"Set it up with: stcli sync setup {found.campaign}")
        return
    line(f"{found.campaign}: {settings.type.value.replace('_', '-')} sync")
    table(
        ("FROM SERVICETITAN", "TO REFERRAL FACTORY"),
        [(describe_rule(rule), target) for target, rule in settings.fields.items()],
    )
    if settings.return_fields:
        table(
            ("FROM REFERRAL FACTORY", "TO SERVICETITAN"),
            [(describe_rule(rule), target) for target, rule in settings.return_fields.items()],
        )
    filters = {k: v for k, v in settings.filter.model_dump().items() if v not in (None, ())}
    if filters:
        pairs({f"filter {name}": value for name, value in filters.items()})
    pairs(
        {
            "customers known": found.customers,
            "enrolled": found.enrolled,
            "linked (were in the campaign before)": found.linked,
            "waiting to be enrolled": found.waiting,
            "in doubt": found.in_doubt,
            "refused": found.refused,
        }
    )
    for reason, number in sorted(found.left_out.items()):
        line(f"  left out {number}: {plain(reason)}")
    if found.imported_at is not None:
        line(f"imported completely on {found.imported_at:%Y-%m-%d %H:%M} UTC")
    if not found.has_read:
        note(f"Nothing was read yet. Look first: stcli sync run {found.campaign} --dry-run")


@sync.command(epilog="Example: stcli sync reset spring-hvac --yes")
def reset(
    context: typer.Context,
    campaign: OptionalCampaign = None,
    discard_lost_fields: Annotated[
        bool,
        typer.Option(
            "--discard-lost-fields",
            help="Give up custom fields that a write-back emptied and that cannot be put back.",
        ),
    ] = False,
    yes: Yes = False,
    as_json: AsJson = False,
) -> int:
    """Read all customers again from the beginning next time; who is enrolled stays known."""
    from stcli.cli.prompts import confirm

    with application(context) as app:
        name = chosen_campaign(app, campaign)
        app.settings_of(name)
        confirm(f"Read every customer of {name} again, and write all return fields again?", yes=yes)
        app.reset_sync(name, discard_lost_fields=discard_lost_fields)
    emit(
        {"schema_version": 1, "campaign": name, "reset": True},
        lambda: line(f"{name}: the next sync reads all customers again; nobody is enrolled twice."),
        as_json=as_json,
    )
    return ExitCode.DONE
