"""``stcli doctor``: everything a support person would ask."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from stcli.cli.arguments import AsJson, complete_campaign
from stcli.cli.output import emit, line, note, plain
from stcli.cli.schedule import program
from stcli.cli.session import application, chosen_campaign
from stcli.errors import ExitCode, StateError

if TYPE_CHECKING:
    from stcli.usecases.doctor import Examination
    from stcli.wiring import Application

doctor = typer.Typer(add_completion=False)
APPS = {"doctor": doctor}


@doctor.command("doctor", epilog="Example: stcli doctor --as-cron")
def examine(
    context: typer.Context,
    campaign: Annotated[
        str | None,
        typer.Argument(
            metavar="[CAMPAIGN]", help="Left out: every campaign.", autocompletion=complete_campaign
        ),
    ] = None,
    as_cron: Annotated[
        bool,
        typer.Option("--as-cron", help="Prove that the scheduled run finds home and secrets."),
    ] = False,
    bundle: Annotated[
        Path | None,
        typer.Option(
            "--bundle", metavar="FILE", help="Write what support needs: no secrets, no people."
        ),
    ] = None,
    only_secrets: Annotated[bool, typer.Option("--only-secrets", hidden=True)] = False,
    as_json: AsJson = False,
) -> int:
    """Check home, secrets, both systems, schedule and every campaign; nothing is changed.

    Each line says ok, warning or failed, with the next step. The exit code is that of the first
    failure.
    """
    from stcli import checkup
    from stcli.cli import running
    from stcli.usecases.doctor import Examination

    found = Examination()
    with application(context) as app:
        names = checkup.named(app, None if campaign is None else chosen_campaign(app, campaign))
        if only_secrets:
            checkup.check_machine(app, found)
            checkup.check_secrets(app, found, names)
        elif as_cron:
            with found.attempt("as scheduled"):
                _as_scheduled(app, found, campaign)
        else:
            running.ask(lambda: checkup.examine(app, found, names, program()))
        if bundle is not None:
            from stcli.bundle import write_bundle

            write_bundle(app, bundle, found.document(), names)
    emit(found.document(), lambda: _show(found), as_json=as_json)
    if bundle is not None:
        note(f"Written: {bundle}. Look into it before you send it.")
    return found.exit_code


def _as_scheduled(app: Application, found: Examination, campaign: str | None) -> None:
    """Run the checks of home and secrets in the environment of the scheduled run."""
    from stcli.usecases.doctor import Check, Health

    words = ["doctor", "--only-secrets", "--json", *([campaign] if campaign else [])]
    ran = app.as_scheduled(program(), words)
    kind = ran.scheduler
    try:
        document: Any = json.loads(ran.output)
    except ValueError:
        raise StateError(
            f"stcli printed nothing usable as {kind} runs it",
            "Bring the schedule up to date: stcli schedule install",
        ) from None
    if "error" in document:
        error = document["error"]
        raise StateError(f"as {kind} runs it: {error['message']}", error["hint"])
    if ran.remark is None:
        found.ok("scheduler", f"as {kind} runs it")
    else:
        found.warn("scheduler", f"as {kind} would run it: {ran.remark.message}", ran.remark.hint)
    for check in document["checks"]:
        found.checks.append(
            Check(
                check["name"],
                Health(check["status"]),
                check["message"],
                check["hint"],
                ExitCode(check["exit_code"]),
            )
        )


def _show(found: Examination) -> None:
    width = max((len(check.name) for check in found.checks), default=0)
    for check in found.checks:
        line(f"{check.status.value:<8} {check.name:<{width}}  {plain(check.message)}")
        if check.hint and check.status.value != "ok":
            line(f"{'':<8} {'':<{width}}  {plain(check.hint)}")
