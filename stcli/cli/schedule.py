"""``stcli schedule``: what calls ``stcli run`` unattended."""

from __future__ import annotations

import shutil
import sys
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from stcli.cli.arguments import AsJson, complete_campaign
from stcli.cli.output import emit, line, note, plain
from stcli.cli.session import application, chosen_campaign
from stcli.errors import ExitCode, UsageError
from stcli.own_program import own_program
from stcli.usecases.report import instant

if TYPE_CHECKING:
    from stcli.scheduling.job import Installed, Job
    from stcli.wiring import Application

schedule = typer.Typer(
    add_completion=False,
    no_args_is_help=True,
    help="What runs every pass in use, unattended: cron or a systemd user timer.",
)
APPS = {"schedule": schedule}


class Cadence(StrEnum):
    """How often; what divides an hour or a day."""

    M1 = "1m"
    M5 = "5m"
    M10 = "10m"
    M15 = "15m"
    M20 = "20m"
    M30 = "30m"
    H1 = "1h"
    H2 = "2h"
    H3 = "3h"
    H4 = "4h"
    H6 = "6h"
    H8 = "8h"
    H12 = "12h"
    D1 = "1d"


Campaigns = Annotated[
    list[str] | None,
    typer.Argument(
        metavar="[CAMPAIGN]…", help="Which campaigns; else all.", autocompletion=complete_campaign
    ),
]
All = Annotated[bool, typer.Option("--all", help="Every campaign of this home, later ones too.")]
Every = Annotated[
    Cadence | None,
    typer.Option("--every", help="How often; 15m where nothing is installed yet."),
]
Cron = Annotated[bool, typer.Option("--cron", help="In your crontab.")]
Systemd = Annotated[bool, typer.Option("--systemd", help="As a systemd user timer.")]


def program() -> tuple[str, ...]:
    """How this very stcli is called from anywhere; the console script, not what it links to, so that
    the schedule survives an upgrade that pipx or uv make behind the link."""
    started = Path(sys.argv[0])
    if started.name == "stcli":
        found = shutil.which(sys.argv[0])
        if found is not None:
            return (str(Path(found).absolute()),)
    return own_program()


def _kind(*, cron: bool, systemd: bool) -> str | None:
    if cron and systemd:
        raise UsageError("choose --cron or --systemd, not both", "See: stcli schedule --help")
    return "cron" if cron else "systemd" if systemd else None


def _job(
    app: Application,
    campaigns: list[str] | None,
    every: Cadence | None,
    *,
    for_all: bool,
) -> tuple[Job, list[str]]:
    """What is to be called, and which variables it keeps of the schedule that is there."""
    if campaigns and for_all:
        raise UsageError("name campaigns or say --all, not both", "See: stcli schedule --help")
    for name in campaigns or ():
        app.settings_of(chosen_campaign(app, name))
    there = app.schedules.installed(app.schedule_name)
    chosen = tuple(dict.fromkeys(campaigns or ()))
    if not chosen and not for_all and there:
        chosen = there[0].campaigns
    cadence = every.value if every is not None else there[0].cadence if there else None
    before = there[0] if there else None
    job = app.scheduled_job(program(), chosen, cadence, before)
    return job, sorted(app.kept_variables(before).keys() & job.environment.keys())


@schedule.command(epilog="Example: stcli schedule show --cron --every 1h")
def show(
    context: typer.Context,
    campaigns: Campaigns = None,
    for_all: All = False,
    every: Every = None,
    cron: Cron = False,
    systemd: Systemd = False,
    as_json: AsJson = False,
) -> int:
    """Show what would be installed, and change nothing."""
    kind = _kind(cron=cron, systemd=systemd)
    with application(context) as app:
        job, _ = _job(app, campaigns, every, for_all=for_all)
        scheduler = (
            app.schedules.of(kind) if kind else app.schedules.chosen(None, app.schedule_name)
        )
        texts = scheduler.rendered(job)

    def render() -> None:
        for name, text in texts.items():
            if len(texts) > 1:
                line(f"# {name}")
            line(text.rstrip("\n"))

    emit(
        {
            "schema_version": 1,
            "scheduler": scheduler.kind,
            "every": job.cadence,
            "command": list(job.command),
            "files": texts,
        },
        render,
        as_json=as_json,
    )
    return ExitCode.DONE


@schedule.command(epilog="Example: stcli schedule install --all --every 15m")
def install(
    context: typer.Context,
    campaigns: Campaigns = None,
    for_all: All = False,
    every: Every = None,
    cron: Cron = False,
    systemd: Systemd = False,
    as_json: AsJson = False,
) -> int:
    """Install the schedule, or bring it up to date. Doing it twice is doing it once.

    systemd is used where it runs, else cron. Nothing but stcli's own lines and files is touched.
    """
    kind = _kind(cron=cron, systemd=systemd)
    with application(context) as app:
        job, kept = _job(app, campaigns, every, for_all=for_all)
        scheduler = app.schedules.chosen(kind, app.schedule_name)
        is_changed = app.schedules.install(scheduler, job)
        there = app.schedules.installed(app.schedule_name)
        missing = app.secrets_in_this_shell
        remarks = [str(remark) for one in there for remark in one.remarks]
    document = {
        "schema_version": 1,
        "scheduler": scheduler.kind,
        "every": job.cadence,
        "changed": is_changed,
        "kept": kept,
        "remarks": remarks,
    }
    done = "installed" if is_changed else "was installed already"
    emit(
        document,
        lambda: line(f"{done}: every {job.cadence}, {scheduler.kind} ({there[0].place})"),
        as_json=as_json,
    )
    for remark in remarks:
        note(f"warning: {remark}")
    if kept:
        note(
            f"Kept as it was installed, for this shell does not set it: {', '.join(kept)}. To leave "
            "it out: stcli schedule remove, then install."
        )
    if missing:
        note(
            f"warning: {', '.join(missing)} is set in this shell only, and the scheduled run will "
            "not have it. Give it in a file, by a command or a systemd credential: SECURITY.md."
        )
    note("Prove that it will find everything: stcli doctor --as-cron")
    return ExitCode.DONE


@schedule.command(epilog="Example: stcli schedule remove")
def remove(context: typer.Context, as_json: AsJson = False) -> int:
    """Take away what install added, and nothing else."""
    with application(context) as app:
        places = app.schedules.remove(app.schedule_name)
        remarks = app.schedules.others(app.schedule_name)
    emit(
        {"schema_version": 1, "removed": places},
        lambda: line(
            "removed from: " + ", ".join(places) if places else "there was no schedule of this home"
        ),
        as_json=as_json,
    )
    for remark in remarks:
        note(f"warning: {remark}")
    return ExitCode.DONE


@schedule.command(epilog="Example: stcli schedule status --json")
def status(context: typer.Context, as_json: AsJson = False) -> int:
    """Tell which schedule there is, whether it is up to date, and when it runs next."""
    with application(context) as app:
        there = app.schedules.installed(app.schedule_name)
        entries = [(one, _differences(app, one)) for one in there]
        others = () if there else app.schedules.others(app.schedule_name)
    emit(
        {
            "schema_version": 1,
            "schedules": [
                {
                    "scheduler": one.scheduler,
                    "place": one.place,
                    "every": one.cadence,
                    "campaigns": list(one.campaigns) or None,
                    "current": not changed,
                    "differences": changed,
                    "next_run": instant(one.next_run),
                    "remarks": [str(remark) for remark in one.remarks],
                }
                for one, changed in entries
            ],
        },
        lambda: _show(entries),
        as_json=as_json,
    )
    for remark in others:
        note(f"warning: {remark}")
    return ExitCode.DONE


def _differences(app: Application, one: Installed) -> list[str]:
    job = app.scheduled_job(program(), one.campaigns, one.cadence, one)
    return app.schedules.differences(one, job)


def _show(entries: list[tuple[Installed, list[str]]]) -> None:
    if not entries:
        line("no schedule; install one with: stcli schedule install")
    for one, changed in entries:
        subject = " ".join(one.campaigns) or "all campaigns"
        after = f", next at {one.next_run.astimezone():%Y-%m-%d %H:%M %Z}" if one.next_run else ""
        line(f"{one.scheduler}: {subject} every {one.cadence} ({one.place}){after}")
        if changed:
            line(f"  not as stcli would write it now; this differs: {', '.join(changed)}")
            line("  where this shell has it right, bring it up to date: stcli schedule install")
        for remark in one.remarks:
            line(f"  {plain(str(remark))}")
    if len(entries) > 1:
        line("  two schedules of one home: remove both and install one: stcli schedule remove")
