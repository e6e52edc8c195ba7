"""``stcli map``: what bookings, referrers and return fields are made of."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Annotated

import typer

from stcli.cli.arguments import AnyTab, AsJson, OptionalCampaign, TabName
from stcli.cli.map_edit import edit_rules
from stcli.cli.map_preview import preview
from stcli.cli.map_set import set_rule, unset_rule
from stcli.cli.map_validate import validate
from stcli.cli.output import emit, line, note, table
from stcli.cli.rule_text import describe_rule, sides
from stcli.cli.session import application, chosen_campaign
from stcli.domain.catalog import catalogue_of
from stcli.errors import ExitCode

if TYPE_CHECKING:
    from stcli.usecases.field_lists import FieldLists

map_app = typer.Typer(
    add_completion=False,
    no_args_is_help=True,
    help="Mappings: what is sent, and where it comes from.",
)
APPS = {"map": map_app}

map_app.command(
    "set", epilog='Example: stcli map set spring-hvac summary --template "From {referrer.email}"'
)(set_rule)
map_app.command("unset", epilog="Example: stcli map unset spring-hvac phone")(unset_rule)
map_app.command("edit", epilog="Example: stcli map edit spring-hvac --tab leads")(edit_rules)
map_app.command(epilog="Example: stcli map validate --all --online --json")(validate)
map_app.command(epilog="Example: stcli map preview spring-hvac --lead c3f101")(preview)


@map_app.command(epilog="Example: stcli map show spring-hvac --tab leads")
def show(
    context: typer.Context,
    campaign: OptionalCampaign = None,
    tab: AnyTab = TabName.LEADS,
    as_json: AsJson = False,
) -> int:
    """The three columns: data type, where a value comes from, where it goes."""
    from stcli.domain.campaign import Tab

    with application(context) as app:
        name = chosen_campaign(app, campaign)
        loaded = app.files.load(name)
    chosen = Tab(tab.value)
    catalogue, (origin, owner) = catalogue_of(chosen.value), sides(chosen)
    verdict = loaded.verdicts.get(chosen)
    missing = () if verdict is None else verdict.missing
    rows = [
        (rule.type, describe_rule(rule), name)
        for name, rule in loaded.config.rules_of(chosen).items()
    ]

    def render() -> None:
        starred = [
            (kind, source, f"{name} *" if (t := catalogue.target(name)) and t.required else name)
            for kind, source, name in rows
        ]
        unmapped = [("-", "not mapped", f"{name} *") for name in missing]
        table(("DATA TYPE", f"FROM {origin.upper()}", f"TO {owner.upper()}"), [*starred, *unmapped])
        if verdict is None:
            line("The sync is not set up. Begin with: stcli sync setup")
        else:
            line(
                f"Setup Required: {', '.join(missing)}"
                if missing
                else "All required fields (*) are mapped."
            )

    emit(
        {
            "schema_version": 1,
            "campaign": name,
            "tab": tab.value,
            "fields": [{"type": r[0], "from": r[1], "to": r[2]} for r in rows],
            "missing": list(missing),
        },
        render,
        as_json=as_json,
    )
    return ExitCode.DONE


@map_app.command(epilog="Example: stcli map fields spring-hvac --tab sync --online")
def fields(
    context: typer.Context,
    campaign: OptionalCampaign = None,
    tab: AnyTab = TabName.LEADS,
    online: Annotated[
        bool, typer.Option("--online", help="With the real fields and names of both systems.")
    ] = False,
    as_json: AsJson = False,
) -> int:
    """What can be mapped: every source and every target, with type, options and an example."""
    from stcli.domain.campaign import Tab
    from stcli.domain.mapping.transforms import TRANSFORMS
    from stcli.usecases.field_lists import catalogue_lists

    chosen = Tab(tab.value)
    lists = catalogue_lists(chosen)
    with application(context) as app:
        # The catalogue is the same for every campaign, and there need not be one yet.
        if online or campaign is not None:
            name = chosen_campaign(app, campaign)
            app.files.existing(name)
        if online:
            from stcli.cli.field_lists import real_lists

            lists = real_lists(app, name, app.settings_of(name), chosen)
    for remark in lists.remarks:
        note(remark)
    emit(
        {
            "schema_version": 1,
            "sources": [
                {"name": s.name, "label": s.label, "example": s.example} for s in lists.sources
            ],
            "targets": [
                {
                    "name": t.name,
                    "label": t.label,
                    "type": t.type.value,
                    "required": t.required,
                    "options": list(t.options),
                    "example": t.example,
                }
                for t in lists.targets
            ],
            "transforms": list(TRANSFORMS),
        },
        lambda: _show_fields(lists, list(TRANSFORMS)),
        as_json=as_json,
    )
    return ExitCode.DONE


def _show_fields(lists: FieldLists, transforms: Sequence[str]) -> None:
    origin, owner = sides(lists.tab)
    line(f"From {origin} (dynamic, or in a template):")
    table(("SOURCE", "LABEL", "EXAMPLE"), [(s.name, s.label, s.example) for s in lists.sources])
    line()
    line(f"To {owner} (* = required):")
    types = {f"custom_field:{field.name}": field.data_type for field in lists.custom_fields}
    table(
        ("TARGET", "TYPE", "OPTIONS", "EXAMPLE"),
        [
            (
                f"{t.name} *" if t.required else t.name,
                types.get(t.name, t.type.value),
                ", ".join(t.options) or "-",
                t.example,
            )
            for t in lists.targets
        ],
    )
    line()
    line(f"Transforms: {', '.join(transforms)}")
