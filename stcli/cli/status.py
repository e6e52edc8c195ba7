"""``stcli status``: one screen that says where everything stands."""

from __future__ import annotations

import typer

from stcli.cli.arguments import AsJson, OptionalCampaign
from stcli.cli.output import emit, line, note, plain
from stcli.cli.session import application, chosen_campaign
from stcli.errors import ExitCode
from stcli.usecases.status import CampaignStatus, campaign_status, status_document

status = typer.Typer(add_completion=False)
APPS = {"status": status}


@status.command("status", epilog="Example: stcli status --json")
def show_status(
    context: typer.Context, campaign: OptionalCampaign = None, as_json: AsJson = False
) -> int:
    """Connection, Setup Required or ready for each tab, last passes, open failures."""
    from stcli.domain.ids import CampaignName

    with application(context) as app:
        state = app.state if app.has_state else None
        if campaign is not None:
            names = [chosen_campaign(app, campaign)]
        else:
            known = {c.campaign for c in state.connections.all()} if state else set()
            names = [CampaignName(name) for name in sorted({*app.files.names(), *known})]
        found = [campaign_status(name, app.checked_settings_of, state, app.now()) for name in names]
    if not found:
        note("There is no campaign here yet. Begin with: stcli connect NAME --tenant-id ID")

    def render() -> None:
        for status_of_one in found:
            _show(status_of_one)

    emit(status_document(found), render, as_json=as_json)
    return ExitCode.DONE


def _show(campaign: CampaignStatus) -> None:
    connection = campaign.connection
    tenant = f" to tenant {connection.tenant_id}" if connection.tenant_id else ""
    state = connection.shown_state.value.replace("_", " ")
    line(f"{campaign.name}: {state}{tenant} ({connection.environment.value})")
    if campaign.advice:
        line(f"  next: {plain(campaign.advice)}")
    if campaign.problem:
        line(f"  file: {plain(campaign.problem)}")
    for tab, entry in campaign.tabs.items():
        if entry.action == "nothing":
            verdict = "not in use"
        elif entry.missing:
            verdict = f"Setup Required: {', '.join(entry.missing)}"
        elif entry.faults:
            verdict = f"{entry.faults} problems: stcli map validate {campaign.name}"
        else:
            verdict = "ready"
        line(f"  {tab.value}: {entry.action}, {verdict}")
    for kind, run in campaign.last_runs.items():
        counts = run.report.get("counts")
        shown = (
            ", ".join(f"{n} {what}" for what, n in counts.items() if n and what != "seen")
            if isinstance(counts, dict)
            else ""
        )
        line(f"  last {kind}: {run.started_at:%Y-%m-%d %H:%M} UTC, {run.status} {shown}".rstrip())
        skipped = run.report.get("skipped")
        if isinstance(skipped, dict) and skipped:
            reasons = ", ".join(f"{number} {reason}" for reason, number in skipped.items())
            line(f"    left out: {reasons}")
    if campaign.open_failures:
        line(f"  open failures: {campaign.open_failures}; see: stcli failures list {campaign.name}")
