"""``stcli history``: passes that ran."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer

from stcli.cli.arguments import AsJson, complete_campaign
from stcli.cli.output import emit, line, note, plain, table
from stcli.cli.session import application, chosen_campaign, log_place
from stcli.domain.outcome import PassKind
from stcli.errors import ExitCode, UsageError
from stcli.usecases.report import SCHEMA_VERSION, instant

if TYPE_CHECKING:
    from stcli.store.runs import Run

history = typer.Typer(add_completion=False, no_args_is_help=True, help="Passes that ran.")
APPS = {"history": history}


@history.command("list", epilog="Example: stcli history list spring-hvac --failed")
def list_runs(
    context: typer.Context,
    campaign: Annotated[
        str | None,
        typer.Argument(
            metavar="[CAMPAIGN]", help="Left out: every campaign.", autocompletion=complete_campaign
        ),
    ] = None,
    kind: Annotated[PassKind | None, typer.Option("--pass", help="Only this kind.")] = None,
    failed: Annotated[
        bool, typer.Option("--failed", help="Only what failed, in part too, or was stopped.")
    ] = False,
    limit: Annotated[
        int, typer.Option("--limit", min=1, max=10_000, metavar="N", help="How many to list.")
    ] = 20,
    as_json: AsJson = False,
) -> int:
    """The newest passes, newest first; kept for 400 days, those with nothing to do for 30."""
    with application(context) as app:
        name = None if campaign is None else chosen_campaign(app, campaign)
        found = (
            app.state.runs.newest(
                limit,
                campaign=name,
                kind=None if kind is None else kind.value,
                failed_only=failed,
            )
            if app.has_state
            else []
        )
    emit(
        {"schema_version": SCHEMA_VERSION, "runs": [_entry(run) for run in found]},
        lambda: _list(found),
        as_json=as_json,
    )
    if not found:
        note("No pass ran yet." if not failed else "No pass failed.")
    return ExitCode.DONE


@history.command(epilog="Example: stcli history show 20261124T144900-1a2b3c4d")
def show(
    context: typer.Context,
    run_id: Annotated[
        str | None,
        typer.Argument(metavar="[RUN]", help="Its id, or how it begins; left out: the newest."),
    ] = None,
    as_json: AsJson = False,
) -> int:
    """One pass, whole: counts, who was left out and why, failures, requests."""
    with application(context) as app:
        found = []
        if app.has_state:
            runs = app.state.runs
            found = runs.newest(1) if run_id is None else runs.beginning_with(run_id)
    if not found:
        what = "no pass ran yet" if run_id is None else f"there is no run {run_id!r}"
        raise UsageError(what, "See: stcli history list")
    if len(found) > 1:
        raise UsageError(
            f"several runs begin with {run_id!r}: " + ", ".join(run.run_id for run in found),
            "Give more of the id.",
        )
    run = found[0]
    emit(_entry(run) | dict(run.report), lambda: _show(run), as_json=as_json)
    return ExitCode.DONE


def _entry(run: Run) -> dict[str, object]:
    return {
        "schema_version": SCHEMA_VERSION,
        "run_id": run.run_id,
        "campaign": run.campaign,
        "pass": run.kind,
        "status": run.status,
        "exit_code": run.exit_code,
        "started_at": instant(run.started_at),
        "finished_at": instant(run.finished_at),
        "host": run.host,
        "file_hash": run.file_hash,
        "counts": run.report.get("counts", {}),
    }


def _list(found: list[Run]) -> None:
    if found:
        table(
            ("STARTED (UTC)", "CAMPAIGN", "PASS", "STATUS", "EXIT", "TOOK", "COUNTS", "RUN"),
            [
                (
                    f"{run.started_at:%Y-%m-%d %H:%M}",
                    run.campaign,
                    run.kind,
                    run.status,
                    "" if run.exit_code is None else run.exit_code,
                    _took(run),
                    _counts(run),
                    run.run_id,
                )
                for run in found
            ],
        )


def _show(run: Run) -> None:
    code = "" if run.exit_code is None else f", exit code {run.exit_code}"
    line(f"{run.campaign} {run.kind}: {run.status}{code}")
    line(f"  run {run.run_id}")
    line(f"  started {run.started_at:%Y-%m-%d %H:%M:%S} UTC, took {_took(run) or '?'}")
    line(f"  on {plain(run.host)}, file {run.file_hash[:12] or 'not noted'}")
    nothing = {"succeeded": "nothing to do", "running": "at work"}
    line(f"  {_counts(run) or nothing.get(run.status, 'nothing was done')}")
    for reason, number in _pairs(run, "skipped"):
        line(f"  skipped {number}: {plain(reason)}")
    failures = run.report.get("failures")
    for failure in failures if isinstance(failures, list) else []:
        line(f"  failed {plain(failure['record'])}: {plain(failure['reason'])}")
    for system, number in _pairs(run, "requests"):
        line(f"  requests to {system}: {number}")
    error = run.report.get("error")
    if isinstance(error, dict):
        line(f"  error: {plain(error.get('message', ''))}")
        if error.get("hint"):
            line(f"    {plain(error['hint'])}")
    line(f"  log: {log_place()}")


def _pairs(run: Run, key: str) -> list[tuple[str, object]]:
    found = run.report.get(key)
    return list(found.items()) if isinstance(found, dict) else []


def _counts(run: Run) -> str:
    return ", ".join(f"{n} {what}" for what, n in _pairs(run, "counts") if n and what != "seen")


def _took(run: Run) -> str:
    if run.finished_at is None:
        return ""
    seconds = max((run.finished_at - run.started_at).total_seconds(), 0)
    return f"{seconds:.0f} s" if seconds < 120 else f"{seconds / 60:.0f} min"
