"""``stcli map preview``: what a mapping makes of real people, and the request that would be sent."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Annotated

import typer

from stcli.cli.arguments import AnyTab, AsJson, OptionalCampaign, TabName
from stcli.cli.output import emit, line, note, plain, table
from stcli.cli.rule_text import describe_rule
from stcli.cli.session import application, chosen_campaign
from stcli.errors import ConfigurationError, ExitCode, UsageError

if TYPE_CHECKING:
    from stcli.domain.campaign import ExistingCustomers
    from stcli.domain.ids import CampaignName
    from stcli.domain.mapping.apply import MappedField
    from stcli.usecases.preview import Preview
    from stcli.wiring import Application


def preview(
    context: typer.Context,
    campaign: OptionalCampaign = None,
    lead: Annotated[
        str | None,
        typer.Option("--lead", metavar="CODE", help="A referral code, at the end of their link."),
    ] = None,
    count: Annotated[
        int | None,
        typer.Option("--count", min=1, max=50, help="How many records without --lead: else 3."),
    ] = None,
    tab: AnyTab = TabName.LEADS,
    as_json: AsJson = False,
) -> int:
    """What the mapping makes of real records: each value, and the exact request. Writes nothing.

    Without --lead the newest people are shown; for the sync tab the first customers that may be
    enrolled (neither the suppression list nor when they had a job is asked). Whether somebody is
    booked already is not looked at: that is what a pass does, also with --dry-run.
    """
    from stcli.cli import running
    from stcli.domain.campaign import Tab
    from stcli.usecases.preview import Previewer

    if lead is not None and count is not None:
        raise UsageError("--lead names one person, and --count asks for several", "Give one.")
    chosen = Tab(tab.value)
    with application(context) as app:
        name = chosen_campaign(app, campaign)
        loaded = app.files.load(name)
        config, problems = loaded.config, loaded.problems(chosen)
        config.require(chosen)
        if not problems and not config.rules_of(chosen):
            raise ConfigurationError(
                f"nothing is mapped in {tab.value} of {name}, so there is nothing to show",
                f"Map a target with: stcli map set {name} TARGET --tab {tab.value} --from FIELD",
            )
        if problems:
            raise ConfigurationError(
                f"the mapping of {tab.value} has problems", "Mend them first.", problems
            )

        async def body() -> list[Preview]:
            async with app.open_referral() as referral, app.crm_for(name, config) as crm:
                previewer = Previewer(name, config, chosen, app.state, referral, crm)
                return await (previewer.of_some(count or 3) if lead is None else previewer.of(lead))

        made = running.ask(body)
    if not made:
        note(f"There is nobody yet whom {tab.value} of {name} concerns.")
    if chosen in (Tab.LEADS, Tab.REFERRERS):
        _note_customers(config.booking_tab(chosen).existing_customers)
    shown = [_document(app, name, one) for one in made]

    def render() -> None:
        for one, document in zip(made, shown, strict=True):
            _show(one, document)

    # One person who was asked for by name is the document; a sample is a list.
    document = shown[0] if lead is not None else {"schema_version": 1, "previews": shown}
    emit(document, render, as_json=as_json)
    has_failed = any(one["problem"] and not one["skipped"] for one in shown)
    return ExitCode.SOME_FAILED if has_failed else ExitCode.DONE


def _note_customers(existing: ExistingCustomers) -> None:
    """What a pass does beside the mapping, and no preview knows."""
    effect = {
        "flag": "a summary that says so, and no first-time client",
        "skip": "no booking",
    }.get(existing.value)
    if effect:
        note(f"Who is a customer already gets {effect}: existing_customers is {existing.value}.")


def _document(app: Application, name: CampaignName, made: Preview) -> dict[str, object]:
    from stcli.domain.mapping.apply import Unmappable

    request = made.request
    return {
        "schema_version": 1,
        "campaign": name,
        "record": made.record,
        "fields": [
            {
                "from": describe_rule(row.rule),
                "source_value": row.source_value,
                "to": row.target,
                "value": row.value,
                "remark": _remark(row),
            }
            for row in made.rows
        ],
        "request": (
            None if isinstance(request, Unmappable) else json.loads(app.request_text(request))
        ),
        "problem": request.reason if isinstance(request, Unmappable) else "",
        "skipped": made.skipped.value if made.skipped else "",
    }


def _remark(row: MappedField) -> str:
    """What catches nobody's eye in a value: that it is blank, a stand-in, or not the whole of it.
    What a transform leaves out is left out on purpose, and FROM names the transform."""
    from stcli.domain.mapping.transforms import apply_transforms

    if not row.value:
        return "blank"
    source = row.source_value.strip()
    if not source:
        return "default"
    wanted = apply_transforms(source, getattr(row.rule, "transform", ())).strip()
    return "blanks taken out" if len(row.value) < len(wanted) else ""


def _show(made: Preview, document: dict[str, object]) -> None:
    line(f"{plain(made.record)}:")
    table(
        ("FROM", "VALUE", "TO", "BECOMES", "REMARK"),
        [
            (describe_rule(r.rule), r.source_value or "-", r.target, r.value or "-", _remark(r))
            for r in made.rows
        ],
    )
    line()
    if document["skipped"]:
        line(f"Would be left alone: {document['skipped']}")
    if document["problem"]:
        line(f"Cannot be sent: {plain(document['problem'])}")
    else:
        line("Request:")
        for row in json.dumps(document["request"], indent=2, ensure_ascii=False).splitlines():
            line(plain(row))
    line()
