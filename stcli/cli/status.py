"""``stcli status``: one screen that says where everything stands."""

from __future__ import annotations

import sys
import time
from datetime import datetime
from typing import TYPE_CHECKING, Annotated

import typer

from stcli.cli.arguments import AsJson, OptionalCampaign
from stcli.cli.output import emit, line, note, plain
from stcli.cli.session import application, chosen_campaign
from stcli.errors import ExitCode, StcliError, UsageError
from stcli.usecases.status import (
    CampaignStatus,
    ScheduleStatus,
    campaign_status,
    status_document,
)

if TYPE_CHECKING:
    from collections.abc import Sequence

    from stcli.wiring import Application

status = typer.Typer(add_completion=False)
APPS = {"status": status}

WATCH_SECONDS = 2.0


@status.command("status", epilog="Example: stcli status --json")
def show_status(
    context: typer.Context,
    campaign: OptionalCampaign = None,
    watch: Annotated[
        bool, typer.Option("--watch", help="Keep the screen up to date until Ctrl-C.")
    ] = False,
    as_json: AsJson = False,
) -> int:
    """Is it connected, is it ready, did it run and when next, what is stuck, what is due."""
    if watch and (as_json or not sys.stdout.isatty()):
        raise UsageError(
            "--watch draws on a terminal, and this is none", "Leave it out, or use --json."
        )
    with application(context) as app:
        if watch:
            _watch(app, campaign)
        found, schedule = _look(app, campaign)
    if not found:
        note("There is no campaign here yet. Begin with: stcli connect NAME --tenant-id ID")

    def render() -> None:
        for text in status_lines(found, schedule):
            line(text)

    emit(status_document(found, schedule), render, as_json=as_json)
    return ExitCode.DONE


def _look(app: Application, campaign: str | None) -> tuple[list[CampaignStatus], ScheduleStatus]:
    from stcli.domain.ids import CampaignName

    state = app.state if app.has_state else None
    if campaign is not None:
        names = [chosen_campaign(app, campaign)]
    else:
        known = {c.campaign for c in state.connections.all()} if state else set()
        names = [CampaignName(name) for name in sorted({*app.files.names(), *known})]
    found = [campaign_status(name, app.files.load, state, app.now(), app.worker) for name in names]
    return found, _schedule(app)


def _schedule(app: Application) -> ScheduleStatus:
    """What calls the passes; that it cannot be told must not keep the rest from being shown."""
    try:
        there = app.schedules.installed(app.schedule_name)
    except StcliError as error:
        return ScheduleStatus(problem=error.message)
    if not there:
        others = app.schedules.others(app.schedule_name)
        return ScheduleStatus(problem="; ".join(one.message for one in others))
    one = there[0]
    subject = " ".join(one.campaigns) or "all campaigns"
    return ScheduleStatus(f"{subject} every {one.cadence} ({one.scheduler})", one.next_run)


def _watch(app: Application, campaign: str | None) -> None:
    """Draw again and again, until Ctrl-C."""
    from rich.console import Console
    from rich.live import Live
    from rich.text import Text

    console = Console()
    with Live(console=console, screen=True, auto_refresh=False) as live:
        while True:
            found, schedule = _look(app, campaign)
            at = datetime.now().astimezone()
            lines = [f"{at:%Y-%m-%d %H:%M:%S %Z}, Ctrl-C ends", *status_lines(found, schedule)]
            live.update(Text("\n".join(lines)), refresh=True)
            time.sleep(WATCH_SECONDS)


def status_lines(found: Sequence[CampaignStatus], schedule: ScheduleStatus) -> list[str]:
    """The screen as text."""
    lines = [text for one in found for text in _campaign_lines(one)]
    if schedule.problem:
        lines.append(f"schedule: {plain(schedule.problem)}")
    elif not schedule.text:
        if found:
            lines.append("schedule: none of stcli's; install one with: stcli schedule install")
    else:
        at = schedule.next_run
        lines.append(
            f"schedule: {schedule.text}"
            + (f", next at {at.astimezone():%Y-%m-%d %H:%M %Z}" if at is not None else "")
        )
    return lines


def _campaign_lines(campaign: CampaignStatus) -> list[str]:
    connection = campaign.connection
    tenant = f" to tenant {connection.tenant_id}" if connection.tenant_id else ""
    state = connection.shown_state.value.replace("_", " ")
    lines = [f"{campaign.name}: {state}{tenant} ({connection.environment.value})"]
    if campaign.advice:
        lines.append(f"  next: {plain(campaign.advice)}")
    if campaign.other_file is not None:
        lines.append(
            f"  file: not the one that {plain(campaign.other_file.by)} accepted at "
            f"{campaign.other_file.at:%Y-%m-%d %H:%M} UTC, so nothing runs here; "
            f"stcli map validate {campaign.name} --accept makes this one count"
        )
    if campaign.problem:
        lines.append(f"  file: {plain(campaign.problem)}")
    for tab, entry in campaign.tabs.items():
        if entry.action == "nothing":
            verdict = "not in use"
        elif entry.missing:
            verdict = f"Setup Required: {', '.join(entry.missing)}"
        elif entry.faults:
            verdict = f"{entry.faults} problems: stcli map validate {campaign.name}"
        else:
            verdict = "ready"
        lines.append(f"  {tab.value}: {entry.action}, {verdict}")
    return lines + _work_lines(campaign)


def _work_lines(campaign: CampaignStatus) -> list[str]:
    """What ran, what runs, what is stuck and what is due."""
    lines: list[str] = []
    for kind, run in campaign.last_runs.items():
        counts = run.report.get("counts")
        shown = (
            ", ".join(f"{n} {what}" for what, n in counts.items() if n and what != "seen")
            if isinstance(counts, dict)
            else ""
        )
        lines.append(
            f"  last {kind}: {run.started_at:%Y-%m-%d %H:%M} UTC, {run.status} {shown}".rstrip()
        )
        skipped = run.report.get("skipped")
        if isinstance(skipped, dict) and skipped:
            reasons = ", ".join(f"{number} {reason}" for reason, number in skipped.items())
            lines.append(f"    left out: {reasons}")
    if campaign.working is not None:
        who, since = campaign.working
        lines.append(f"  running: {plain(who)} since {since:%Y-%m-%d %H:%M} UTC")
    if campaign.in_doubt:
        lines.append(
            f"  in doubt: {campaign.in_doubt} bookings without an answer; the next run finds out"
        )
    if campaign.held and campaign.held_until is not None:
        lines.append(
            f"  due later: {campaign.held} qualifications wait for their time, the first until "
            f"{campaign.held_until:%Y-%m-%d %H:%M} UTC"
        )
    if campaign.open_failures:
        lines.append(
            f"  open failures: {campaign.open_failures}; see: stcli failures list {campaign.name}"
        )
    return lines
