"""``stcli leads`` and ``referrers``: bookings."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer

from stcli.cli.arguments import (
    AllowMassChange,
    AsJson,
    CampaignAndCode,
    DryRun,
    Limit,
    OptionalCampaign,
)
from stcli.cli.masking import masked_error
from stcli.cli.output import emit, line, note, note_error, plain
from stcli.cli.session import application, campaign_and_code, chosen_campaign, log_place
from stcli.domain.outcome import PassKind, PassResult
from stcli.errors import ExitCode, UsageError
from stcli.usecases.report import pass_document

if TYPE_CHECKING:
    from stcli.usecases.passes.context import PassOptions

leads = typer.Typer(add_completion=False, no_args_is_help=True, help="Leads become bookings.")
referrers = typer.Typer(
    add_completion=False, no_args_is_help=True, help="Referrers become bookings."
)
LARGEST_ID = 2**63 - 1
"""The largest number that ServiceTitan and the state have room for (int64)."""
SAMPLE_LINES = 20
"""How much of a dry run's plan people are shown."""

APPS = {"leads": leads, "referrers": referrers}


def one_pass(
    context: typer.Context,
    kind: PassKind,
    campaign: str | None,
    options: PassOptions,
    *,
    as_json: bool,
) -> int:
    """Run one pass and show what it did."""
    from stcli.cli import running

    results: list[PassResult] = []
    with application(context) as app:
        subject = app.subject(chosen_campaign(app, campaign))
        running.run(
            lambda stop: app.run_passes(
                [(kind, subject)], options, stop, results.append, keep_going=False
            )
        )
    result = results[0]
    emit(pass_document(result), lambda: show_result(result), as_json=as_json)
    return result.exit_code


def show_result(result: PassResult) -> None:
    """A pass as text: one line of counts, then what needs attention."""
    tally = result.tally
    would = " (dry run, nothing was written)" if result.dry_run else ""
    line(f"{result.campaign} {result.kind.value}: {result.status.value}{would}: {result.in_words}")
    for reason, number in sorted(tally.skipped.items()):
        line(f"  skipped {number}: {reason.value}")
    if result.dry_run:
        _show_sample(result)
    for failure in tally.failures:
        note(f"  failed {plain(failure.record)}: {plain(failure.reason)}")
    for remark in tally.notes:
        note(f"  {remark}")
    if result.error is not None:
        note_error(result.error)
        if result.error.hint:
            note(f"  {masked_error(plain(result.error.hint))}")
    if result.error is not None or tally.failures:
        note(f"  log: {log_place()}, run {result.run_id}")


def _show_sample(result: PassResult) -> None:
    """The first lines of what a dry run would have done."""
    planned = [action for action in result.tally.plan if action.action != "skip"]
    for action in planned[:SAMPLE_LINES]:
        line(f"  would {action.action} {plain(action.record)} {plain(action.reason)}".rstrip())
    if len(planned) > SAMPLE_LINES:
        line("  … and more; --json lists the first 1,000")


@leads.command("run", epilog="Example: stcli leads run spring-hvac --dry-run")
def run_leads(
    context: typer.Context,
    campaign: OptionalCampaign = None,
    dry_run: DryRun = False,
    limit: Limit = None,
    allow_mass_change: AllowMassChange = False,
    as_json: AsJson = False,
) -> int:
    """Turn new leads into bookings: exactly one for each person."""
    from stcli.usecases.passes.context import PassOptions

    options = PassOptions(limit, dry_run, allow_mass_change)
    return one_pass(context, PassKind.LEADS, campaign, options, as_json=as_json)


@referrers.command("run", epilog="Example: stcli referrers run spring-hvac --dry-run")
def run_referrers(
    context: typer.Context,
    campaign: OptionalCampaign = None,
    dry_run: DryRun = False,
    limit: Limit = None,
    allow_mass_change: AllowMassChange = False,
    as_json: AsJson = False,
) -> int:
    """Turn new referrers into bookings: exactly one for each person."""
    from stcli.usecases.passes.context import PassOptions

    options = PassOptions(limit, dry_run, allow_mass_change)
    return one_pass(context, PassKind.REFERRERS, campaign, options, as_json=as_json)


# A group of one command would lose the word "run": this callback keeps it.
@referrers.callback()
def _referrers() -> None:
    """Referrers become bookings."""


@leads.command(epilog="Example: stcli leads resend spring-hvac c3f101")
def resend(
    context: typer.Context,
    words: CampaignAndCode,
    as_json: AsJson = False,
) -> int:
    """Ask for one more booking of a lead whose booking the office dismissed."""
    from stcli.cli import running
    from stcli.usecases.evidence import alone, lead_of
    from stcli.usecases.evidence import resend as resend_lead

    with application(context) as app:
        name, code = campaign_and_code(app, words)
        config = app.settings_of(name)

        async def body() -> str:
            async with app.open_referral() as referral, app.crm_for(name, config) as crm:
                lead = await lead_of(name, config, code, app.state, referral)
                with alone(lead, app.locks):
                    return await resend_lead(lead, app.state, crm, app.now())

        text = running.ask(body)
    emit(
        {"schema_version": 1, "campaign": name, "code": code, "result": text},
        lambda: line(text),
        as_json=as_json,
    )
    return ExitCode.DONE


@leads.command(epilog="Example: stcli leads link spring-hvac c3f101 --booking 70000012")
def link(
    context: typer.Context,
    words: CampaignAndCode,
    booking: Annotated[
        int | None,
        typer.Option("--booking", min=1, max=LARGEST_ID, metavar="ID", help="The lead's booking."),
    ] = None,
    job: Annotated[
        int | None,
        typer.Option("--job", min=1, max=LARGEST_ID, metavar="ID", help="The lead's job."),
    ] = None,
    as_json: AsJson = False,
) -> int:
    """Bind a booking or a job to a lead by hand."""
    from stcli.cli import running
    from stcli.usecases.evidence import alone, lead_of
    from stcli.usecases.evidence import link as link_lead

    if (booking is None) == (job is None):
        raise UsageError("give either --booking ID or --job ID", "See: stcli leads link --help")
    with application(context) as app:
        name, code = campaign_and_code(app, words)
        config = app.settings_of(name)

        async def body() -> str:
            async with app.open_referral() as referral, app.crm_for(name, config) as crm:
                lead = await lead_of(name, config, code, app.state, referral)
                with alone(lead, app.locks):
                    return await link_lead(lead, booking, job, app.state, crm, app.now())

        text = running.ask(body)
    emit(
        {"schema_version": 1, "campaign": name, "code": code, "result": text},
        lambda: line(text),
        as_json=as_json,
    )
    return ExitCode.DONE
