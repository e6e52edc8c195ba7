"""``stcli campaigns``: what the account has, and what is configured here."""

from __future__ import annotations

from typing import Annotated

import typer

from stcli.cli.output import emit, table
from stcli.cli.session import application
from stcli.errors import ConfigurationError, ExitCode

campaigns = typer.Typer(add_completion=False)
APPS = {"campaigns": campaigns}


@campaigns.command(epilog="Example: stcli campaigns --json")
def campaigns_command(
    context: typer.Context,
    as_json: Annotated[bool, typer.Option("--json", help="One JSON document on stdout.")] = False,
) -> int:
    """The account's campaigns in Referral Factory, and which are configured here."""
    from stcli.cli import running
    from stcli.usecases.account import list_campaigns

    with application(context) as app:
        found = running.ask(lambda: list_campaigns(app.open_referral()))
        here: dict[str, list[str]] = {}
        for name in app.files.names():
            try:
                here.setdefault(app.settings_of(name).referral_campaign, []).append(name)
            except ConfigurationError as error:
                # One broken file must not hide the others; validate says what is wrong with it.
                from stcli.cli.output import note

                note(f"{error.message}; see: stcli map validate {name}")
    rows = [
        (c.id, c.code, c.name, c.status, [*here.get(c.code, []), *here.get(str(c.id), [])])
        for c in found
    ]
    emit(
        {
            "schema_version": 1,
            "campaigns": [
                {"id": r[0], "code": r[1], "name": r[2], "status": r[3], "configured_as": r[4]}
                for r in rows
            ],
        },
        lambda: table(
            ("ID", "CODE", "NAME", "STATUS", "CONFIGURED AS"),
            [(*row[:4], ", ".join(row[4]) or "-") for row in rows],
        ),
        as_json=as_json,
    )
    return ExitCode.DONE
