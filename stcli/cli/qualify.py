"""``stcli qualify``: the rule, the pass, and why a lead is or is not qualified."""

from __future__ import annotations

from collections.abc import Sequence
from enum import StrEnum
from typing import Annotated

import typer

from stcli.cli.arguments import (
    AllowMassChange,
    AsJson,
    CampaignAndCode,
    DryRun,
    Limit,
    OptionalCampaign,
)
from stcli.cli.output import emit, line, note, plain, table
from stcli.cli.session import application, campaign_and_code, chosen_campaign
from stcli.domain.outcome import PassKind
from stcli.errors import ExitCode, UsageError

qualify = typer.Typer(
    add_completion=False,
    no_args_is_help=True,
    help="Qualification rules, and the qualification pass.",
)
APPS = {"qualify": qualify}


class MethodName(StrEnum):
    DO_NOT_QUALIFY = "do_not_qualify"
    BOOKING_BECOMES_JOB = "booking_becomes_job"
    REACHES = "booking_becomes_job_and_reaches"


class StatusName(StrEnum):
    SCHEDULED = "Scheduled"
    DISPATCHED = "Dispatched"
    IN_PROGRESS = "InProgress"
    HOLD = "Hold"
    COMPLETED = "Completed"
    CANCELED = "Canceled"


class PropertyName(StrEnum):
    JOB_STATUS = "job_status"


class ExcludedName(StrEnum):
    RECALL = "recall"
    WARRANTY = "warranty"
    NO_CHARGE = "no_charge"


class OnCancelName(StrEnum):
    KEEP = "keep"
    UNQUALIFY = "unqualify"


@qualify.command(epilog="Example: stcli qualify show spring-hvac")
def show(context: typer.Context, campaign: OptionalCampaign = None, as_json: AsJson = False) -> int:
    """The rule by which leads are qualified."""
    with application(context) as app:
        name = chosen_campaign(app, campaign)
        rule = app.settings_of(name).qualification
    values = rule.model_dump(mode="json", exclude_none=True)

    def render() -> None:
        for key, value in values.items():
            inner = value.items() if isinstance(value, dict) else [("", value)]
            for name, one in inner:
                if one not in ([], {}, None):
                    shown = ", ".join(map(str, one)) if isinstance(one, list) else one
                    line(f"{key}.{name}: {shown}" if name else f"{key}: {shown}")

    emit({"schema_version": 1, "campaign": name, "qualification": values}, render, as_json=as_json)
    return ExitCode.DONE


@qualify.command(
    "set",
    epilog="Example: stcli qualify set spring-hvac --method booking_becomes_job_and_reaches "
    "--value Completed",
)
def set_rule(
    context: typer.Context,
    campaign: OptionalCampaign = None,
    method: Annotated[MethodName | None, typer.Option("--method", help="When to qualify.")] = None,
    prop: Annotated[
        PropertyName | None, typer.Option("--property", help="What of the job has to be reached.")
    ] = None,
    value: Annotated[
        StatusName | None, typer.Option("--value", help="The job status that has to be reached.")
    ] = None,
    hold_days: Annotated[
        int | None, typer.Option("--hold-days", min=0, help="Wait so many days, then test again.")
    ] = None,
    on_cancel: Annotated[
        OnCancelName | None, typer.Option("--on-cancel", help="What a canceled job changes.")
    ] = None,
    job_types: Annotated[
        list[str] | None,
        typer.Option("--job-type", metavar="NAME", help="Only jobs of these; may be repeated."),
    ] = None,
    business_units: Annotated[
        list[str] | None,
        typer.Option("--business-unit", metavar="NAME", help="Only jobs of these units."),
    ] = None,
    tags: Annotated[
        list[str] | None, typer.Option("--tag", metavar="NAME", help="Only jobs with one of these.")
    ] = None,
    minimum_total: Annotated[
        float | None, typer.Option("--minimum-total", min=0, help="Only jobs of so much or more.")
    ] = None,
    exclude: Annotated[
        list[ExcludedName] | None,
        typer.Option("--exclude", help="Kinds of job that do not count; may be repeated."),
    ] = None,
    max_qualifies: Annotated[
        int | None,
        typer.Option(
            "--max-qualifies", min=0, metavar="N", help="A brake: never more in one pass."
        ),
    ] = None,
    no_conditions: Annotated[
        bool, typer.Option("--no-conditions", help="Take all conditions out; others may follow.")
    ] = False,
    as_json: AsJson = False,
) -> int:
    """Set the rule in the campaign file; everything else in the file stays as it is.

    All conditions must hold: job type, business unit, tag, minimum total, kinds left out.
    """
    values: dict[tuple[str | int, ...], object] = {}
    if value is not None or prop is not None:
        values["qualification", "property"] = "job_status"
    if value is not None:
        values["qualification", "value"] = value.value
    for condition, wanted in (
        ("job_type", _once(job_types)),
        ("business_unit", _once(business_units)),
        ("tag", _once(tags)),
        ("exclude", _once(exclude)),
        ("minimum_total", _plain_number(minimum_total)),
    ):
        if wanted is not None:
            values["qualification", "conditions", condition] = wanted
    if max_qualifies is not None:
        values["qualification", "limits", "max_qualifies"] = max_qualifies
    if method is not None:
        values["qualification", "method"] = method.value
    if hold_days is not None:
        values["qualification", "hold_days"] = hold_days
    if on_cancel is not None:
        values["qualification", "on_cancel"] = on_cancel.value
    removed = [("qualification", "conditions")] if no_conditions else []
    if not values and not removed:
        raise UsageError("nothing to set", "See: stcli qualify set --help")
    with application(context) as app:
        name = chosen_campaign(app, campaign)
        known = app.settings_of(name).qualification
        chosen = (method or known.method).value
        if chosen != MethodName.REACHES.value and (value is not None or prop is not None):
            raise UsageError(
                f"{chosen} looks at no job status, so --value and --property have no effect",
                f"Add --method {MethodName.REACHES.value}, or leave them out.",
            )
        if method is MethodName.REACHES and value is None and known.value is None:
            raise UsageError(f"{method.value} needs --value", "Such as --value Completed.")
        diff = app.files.change(name, values, removed)
    note(diff.rstrip() or "Nothing changed.")
    emit({"schema_version": 1, "campaign": name, "diff": diff}, lambda: None, as_json=as_json)
    return ExitCode.DONE


def _once(words: Sequence[str] | None) -> list[str] | None:
    """The same flag twice says it once."""
    return [str(word) for word in dict.fromkeys(words)] if words else None


def _plain_number(number: float | None) -> float | int | None:
    """``500`` rather than ``500.0``; what is too large stays short enough to be told so."""
    if number is None or not number.is_integer() or number >= 10**15:
        return number
    return int(number)


@qualify.command("run", epilog="Example: stcli qualify run spring-hvac --dry-run")
def run_qualify(
    context: typer.Context,
    campaign: OptionalCampaign = None,
    dry_run: DryRun = False,
    limit: Limit = None,
    allow_mass_change: AllowMassChange = False,
    as_json: AsJson = False,
) -> int:
    """Qualify referrals from what became of their bookings and jobs."""
    from stcli.cli.passes import one_pass
    from stcli.usecases.passes.context import PassOptions

    options = PassOptions(limit, dry_run, allow_mass_change)
    return one_pass(context, PassKind.QUALIFY, campaign, options, as_json=as_json)


@qualify.command(epilog="Example: stcli qualify explain spring-hvac c3f101")
def explain(
    context: typer.Context,
    words: CampaignAndCode,
    as_json: AsJson = False,
) -> int:
    """Each condition, the value that was seen, when and where; as of the last pass."""
    from stcli.cli import running
    from stcli.usecases.explain import Explanation
    from stcli.usecases.explain import explain as make_explanation

    with application(context) as app:
        name, code = campaign_and_code(app, words)
        config = app.settings_of(name)

        async def body() -> Explanation:
            if not Explanation.needs_names(config):
                return await make_explanation(name, config, code, app.state, None, app.now())
            async with app.crm_for(name, config) as crm:
                return await make_explanation(name, config, code, app.state, crm, app.now())

        made = running.ask(body)

    def render() -> None:
        line(f"{plain(code)}: {made.summary}")
        table(
            ("HOLDS", "CONDITION", "SEEN", "WHEN", "WHERE"),
            [
                (
                    "yes" if c.holds else "no",
                    c.condition,
                    c.seen,
                    f"{c.at:%Y-%m-%d %H:%M}" if c.at else "-",
                    c.seen_in or "-",
                )
                for c in made.checks
            ],
        )
        for event in made.events:
            status = event.status or "names no status, counts for nothing"
            line(f"  {event.at:%Y-%m-%d %H:%M} {plain(event.event_type)}: {status}")

    emit(made.document(), render, as_json=as_json)
    return ExitCode.DONE
