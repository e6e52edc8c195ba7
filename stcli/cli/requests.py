"""``stcli requests``: the side of the ServiceTitan app's owner."""

from __future__ import annotations

from typing import Annotated

import typer

from stcli.cli.arguments import AsJson, OptionalCampaign, Yes
from stcli.cli.output import emit, line, note, table
from stcli.cli.session import application, chosen_campaign
from stcli.errors import ExitCode

requests = typer.Typer(
    add_completion=False,
    no_args_is_help=True,
    help="The reviewing side: list, approve and reject requests.",
)
APPS = {"requests": requests}

WHERE_THE_VALUES_ARE = """\
In ServiceTitan, as an administrator of tenant {tenant}:
  1. Settings > Integrations > API Application Access > Connect New App, choose the app, Connect.
  2. Select the booking provider under "Restriction by 'booking_provider' for Bookings",
     then Allow Access.
  3. The Application Details page shows the three values:
       Client ID               Copy
       Client Secret           Generate, then Copy
       Booking Provider Value  "Allowed 'booking_provider' value", Copy
Then: stcli finalize {campaign}"""


@requests.command("list", epilog="Example: stcli requests list")
def list_requests(context: typer.Context, as_json: AsJson = False) -> int:
    """Every request with its state and age."""
    from stcli.domain.connection import business_days
    from stcli.usecases.connection import waiting_text
    from stcli.usecases.report import instant

    with application(context) as app:
        found = [c for c in app.state.connections.all() if c.requested_at is not None]
        now = app.now()
    rows = [
        {
            "campaign": c.campaign,
            "tenant_id": c.tenant_id,
            "environment": c.environment.value,
            "connection": c.shown_state.value,
            "requested_at": instant(c.requested_at),
            "business_days": business_days(c.requested_at, now) if c.requested_at else 0,
            "decided_by": c.decided_by,
            "reason": c.reason,
            "note": waiting_text(c, now),
        }
        for c in found
    ]
    emit(
        {"schema_version": 1, "requests": rows},
        lambda: table(
            ("CAMPAIGN", "TENANT", "STATE", "REQUESTED", "NOTE"),
            [
                (
                    r["campaign"],
                    r["tenant_id"],
                    r["connection"],
                    r["requested_at"],
                    r["note"] or r["reason"],
                )
                for r in rows
            ],
        ),
        as_json=as_json,
    )
    return ExitCode.DONE


@requests.command(epilog="Example: stcli requests approve spring-hvac")
def approve(
    context: typer.Context,
    campaign: OptionalCampaign = None,
    yes: Yes = False,
    as_json: AsJson = False,
) -> int:
    """Approve a request, after the tenant was added to the app in the developer portal."""
    import sys

    from stcli.cli.prompts import confirm
    from stcli.domain.connection import Step
    from stcli.usecases.connection import decide, refuse_unless

    with application(context) as app:
        name = chosen_campaign(app, campaign)
        connection = app.state.connections.get(name)
        refuse_unless(connection, Step.APPROVE)
        note(
            f"No API does this step: add tenant {connection.tenant_id} to the app in "
            "ServiceTitan's developer portal first."
        )
        # A script that approves has no terminal, and nothing to answer.
        confirm("Is the tenant added?", yes=yes or not sys.stdin.isatty())
        decided = decide(
            name,
            Step.APPROVE,
            reason="",
            connections=app.state.connections,
            actor=app.actor,
            now=app.now(),
        )
    if not as_json:
        note(WHERE_THE_VALUES_ARE.format(tenant=decided.tenant_id, campaign=name))
    emit(
        {"schema_version": 1, "campaign": name, "connection": decided.state.value},
        lambda: line(f"{name}: approved, waiting for finalize."),
        as_json=as_json,
    )
    return ExitCode.DONE


@requests.command(epilog='Example: stcli requests reject spring-hvac --reason "wrong tenant"')
def reject(
    context: typer.Context,
    campaign: OptionalCampaign = None,
    reason: Annotated[
        str, typer.Option("--reason", metavar="TEXT", help="Shown to who asked.")
    ] = "",
    as_json: AsJson = False,
) -> int:
    """Reject a request with a reason."""
    from stcli.domain.connection import Step
    from stcli.errors import UsageError
    from stcli.usecases.connection import decide

    if not reason.strip():
        raise UsageError("the reason is missing", 'Say why: --reason "…"')
    with application(context) as app:
        name = chosen_campaign(app, campaign)
        decided = decide(
            name,
            Step.REJECT,
            reason=reason.strip(),
            connections=app.state.connections,
            actor=app.actor,
            now=app.now(),
        )
    emit(
        {
            "schema_version": 1,
            "campaign": name,
            "connection": decided.state.value,
            "reason": decided.reason,
        },
        lambda: line(f"{name}: rejected."),
        as_json=as_json,
    )
    return ExitCode.DONE
