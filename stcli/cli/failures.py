"""``stcli failures``: records that failed, with why."""

from __future__ import annotations

from typing import Annotated

import typer

from stcli.cli.arguments import AsJson, OptionalCampaign
from stcli.cli.output import emit, line, plain, table
from stcli.cli.session import application, campaign_and_ids, chosen_campaign
from stcli.errors import ExitCode, UsageError

failures = typer.Typer(
    add_completion=False, no_args_is_help=True, help="Records that failed, with why."
)
APPS = {"failures": failures}

CampaignAndIds = Annotated[
    list[str] | None,
    typer.Argument(metavar="[CAMPAIGN] [ID]…", help="The numbers of failures list."),
]


@failures.command("list", epilog="Example: stcli failures list spring-hvac")
def list_failures(
    context: typer.Context, campaign: OptionalCampaign = None, as_json: AsJson = False
) -> int:
    """Every failure that is not dismissed: parked ones wait for a change, transient ones for the
    next pass."""
    from stcli.usecases.report import instant

    with application(context) as app:
        name = chosen_campaign(app, campaign)
        found = [f for f in app.state.failures.of(name) if f.is_open]
    emit(
        {
            "schema_version": 1,
            "campaign": name,
            "failures": [
                {
                    "id": f.id,
                    "pass": f.kind,
                    "record": f.record,
                    "state": f.state.value,
                    "reason": f.reason,
                    "trace_id": f.trace_id,
                    "first_at": instant(f.first_at),
                    "last_at": instant(f.last_at),
                }
                for f in found
            ],
        },
        lambda: table(
            ("ID", "PASS", "RECORD", "STATE", "SINCE", "REASON"),
            [
                (f.id, f.kind, f.record, f.state.value, f"{f.first_at:%Y-%m-%d}", f.reason)
                for f in found
            ],
        ),
        as_json=as_json,
    )
    return ExitCode.DONE


@failures.command(epilog="Example: stcli failures show spring-hvac 3")
def show(
    context: typer.Context,
    words: CampaignAndIds = None,
) -> int:
    """One failure, whole."""
    with application(context) as app:
        name, ids = campaign_and_ids(app, words)
        found = next((f for f in app.state.failures.of(name) if f.id in ids), None)
    if found is None:
        raise UsageError(
            f"{name} has no failure {', '.join(map(str, ids)) or 'without a number'}",
            f"See: stcli failures list {name}",
        )
    line(f"{found.kind} {plain(found.record)}: {found.state.value}")
    line(f"  {plain(found.reason)}")
    line(f"  first {found.first_at:%Y-%m-%d %H:%M} UTC, last {found.last_at:%Y-%m-%d %H:%M} UTC")
    return ExitCode.DONE


@failures.command(epilog="Example: stcli failures retry spring-hvac 3")
def retry(context: typer.Context, words: CampaignAndIds = None) -> int:
    """Let the next pass try these again (all of the campaign where no id is given)."""
    with application(context) as app:
        name, ids = campaign_and_ids(app, words)
        number = app.state.failures.retry(name, ids)
    line(f"{number} will be tried again by the next pass.")
    return ExitCode.DONE


@failures.command(epilog="Example: stcli failures dismiss spring-hvac 3")
def dismiss(context: typer.Context, words: CampaignAndIds = None) -> int:
    """Let these go: they are not tried again until the record or its mapping changes."""
    with application(context) as app:
        name, ids = campaign_and_ids(app, words)
        if not ids:
            raise UsageError("name what to dismiss", f"See: stcli failures list {name}")
        number = app.state.failures.dismiss(name, ids)
    line(f"{number} dismissed.")
    return ExitCode.DONE
