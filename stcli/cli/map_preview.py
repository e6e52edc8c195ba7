"""``stcli map preview``: what a mapping makes of real people, and the request that would be sent."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Annotated

import typer

from stcli.cli.arguments import AsJson, BookingTabName, OptionalCampaign
from stcli.cli.output import emit, line, note, plain, table
from stcli.cli.rule_text import describe_rule
from stcli.cli.session import application, chosen_campaign
from stcli.errors import ConfigurationError, ExitCode

if TYPE_CHECKING:
    from stcli.domain.ids import CampaignName
    from stcli.domain.mapping.apply import MappedField
    from stcli.usecases.mapping import Preview
    from stcli.wiring import Application

TabOption = Annotated[BookingTabName, typer.Option("--tab", help="Which set of mappings.")]


def preview(
    context: typer.Context,
    campaign: OptionalCampaign = None,
    lead: Annotated[
        str | None,
        typer.Option("--lead", metavar="CODE", help="A referral code, at the end of their link."),
    ] = None,
    count: Annotated[
        int, typer.Option("--count", min=1, max=50, help="How many of the newest without --lead.")
    ] = 3,
    tab: TabOption = BookingTabName.LEADS,
    as_json: AsJson = False,
) -> int:
    """What the mapping makes of real people: each value, and the exact request. Writes nothing."""
    from stcli.cli import running
    from stcli.domain.campaign import Tab
    from stcli.usecases import mapping

    chosen = Tab(tab.value)
    with application(context) as app:
        name = chosen_campaign(app, campaign)
        loaded = app.files.load(name)
        config, problems = loaded.config, loaded.problems(chosen)
        if problems:
            raise ConfigurationError(
                f"the mapping of {tab.value} has problems", "Mend them first.", problems
            )

        async def body() -> list[mapping.Preview]:
            async with app.open_referral() as referral, app.crm_for(name, config) as crm:
                if lead is None:
                    return await mapping.preview_some(config, chosen, count, referral, crm)
                return [await mapping.preview(config, chosen, lead, referral, crm)]

        made = running.run(lambda _stop: body())
    if not made:
        note(f"{name} has no {tab.value} yet, so there is nobody to show.")
    shown = [_document(app, name, one) for one in made]

    def render() -> None:
        for one, document in zip(made, shown, strict=True):
            _show(one, document)

    # One person who was asked for by name is the document; a sample is a list.
    document = shown[0] if lead is not None else {"schema_version": 1, "previews": shown}
    emit(document, render, as_json=as_json)
    return ExitCode.SOME_FAILED if any(one["problem"] for one in shown) else ExitCode.DONE


def _document(app: Application, name: CampaignName, made: Preview) -> dict[str, object]:
    from stcli.domain.mapping.apply import Unmappable

    draft = made.draft
    return {
        "schema_version": 1,
        "campaign": name,
        "record": made.person.code,
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
            None if isinstance(draft, Unmappable) else json.loads(app.booking_request_text(draft))
        ),
        "problem": draft.reason if isinstance(draft, Unmappable) else "",
    }


def _remark(row: MappedField) -> str:
    """What catches nobody's eye in a value: that it is blank, a stand-in, or not the whole of it."""
    if not row.value:
        return "blank"
    source = row.source_value.strip()
    if not source:
        return "default"
    return "cut off" if len(row.value) < len(source) else ""


def _show(made: Preview, document: dict[str, object]) -> None:
    line(f"{plain(made.person.code)}:")
    table(
        ("FROM", "VALUE", "TO", "BECOMES", "REMARK"),
        [
            (describe_rule(r.rule), r.source_value or "-", r.target, r.value or "-", _remark(r))
            for r in made.rows
        ],
    )
    line()
    if document["problem"]:
        line(f"Cannot be booked: {document['problem']}")
    else:
        line(f"Request:\n{json.dumps(document['request'], indent=2, ensure_ascii=False)}")
    line()
