"""``stcli map``: what bookings, referrers and return fields are made of."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import TYPE_CHECKING, Annotated

import typer

from stcli.cli.arguments import AsJson, BookingTabName, OptionalCampaign, TabName
from stcli.cli.output import emit, line, note, plain, table
from stcli.cli.session import application, chosen_campaign
from stcli.errors import ConfigurationError, ExitCode, Problem, UsageError

if TYPE_CHECKING:
    from stcli.config.load import LoadedCampaign
    from stcli.domain.campaign import Tab
    from stcli.domain.catalog import Catalogue
    from stcli.domain.ids import CampaignName
    from stcli.domain.mapping.rules import Rule
    from stcli.wiring import Application

map_app = typer.Typer(
    add_completion=False,
    no_args_is_help=True,
    help="Mappings: what is sent, and where it comes from.",
)
APPS = {"map": map_app}


TabOption = Annotated[BookingTabName, typer.Option("--tab", help="Which set of mappings.")]
AnyTab = Annotated[TabName, typer.Option("--tab", help="Which set of mappings.")]


def _catalogue(tab: Tab) -> Catalogue:
    from stcli.domain import catalog
    from stcli.domain.campaign import Tab

    return {Tab.SYNC: catalog.SYNC, Tab.RETURN: catalog.RETURN}.get(tab, catalog.BOOKINGS)


def _sides(tab: Tab) -> tuple[str, str]:
    """Where the values of a tab come from and go to."""
    from stcli.domain.campaign import Tab

    both = ("Referral Factory", "ServiceTitan")
    return (both[1], both[0]) if tab is Tab.SYNC else both


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
        loaded = app.files.load(chosen_campaign(app, campaign))
    chosen = Tab(tab.value)
    catalogue, (origin, owner) = _catalogue(chosen), _sides(chosen)
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
            "campaign": loaded.document.file,
            "tab": tab.value,
            "fields": [{"type": r[0], "from": r[1], "to": r[2]} for r in rows],
            "missing": list(missing),
        },
        render,
        as_json=as_json,
    )
    return ExitCode.DONE


def describe_rule(rule: Rule) -> str:
    """Where a mapping's value comes from, in one line."""
    from stcli.domain.mapping.rules import Dynamic, ManualInput, ManualSelect

    if isinstance(rule, Dynamic):
        default = f" (else {rule.default!r})" if rule.default else ""
        return " > ".join((rule.source, *rule.transform)) + default
    if isinstance(rule, ManualInput | ManualSelect):
        return f'"{rule.value}"'
    return " > ".join((rule.template, *rule.transform))


@map_app.command(epilog="Example: stcli map fields --tab sync")
def fields(
    _campaign: Annotated[str | None, typer.Argument(metavar="[CAMPAIGN]")] = None,
    tab: AnyTab = TabName.LEADS,
    as_json: AsJson = False,
) -> int:
    """What can be mapped: every source and every target, with type, options and an example."""
    from stcli.domain.campaign import Tab
    from stcli.domain.mapping.transforms import TRANSFORMS

    chosen = Tab(tab.value)
    catalogue, (origin, owner) = _catalogue(chosen), _sides(chosen)

    def render() -> None:
        line(f"From {origin} (dynamic, or in a template):")
        table(
            ("SOURCE", "LABEL", "EXAMPLE"),
            [(s.name, s.label, s.example) for s in catalogue.sources],
        )
        line()
        line(f"To {owner} (* = required):")
        table(
            ("TARGET", "TYPE", "OPTIONS", "EXAMPLE"),
            [
                (
                    f"{t.name} *" if t.required else t.name,
                    t.type.value,
                    ", ".join(t.options) or "-",
                    t.example,
                )
                for t in catalogue.targets
            ],
        )
        line()
        line(f"Transforms: {', '.join(TRANSFORMS)}")

    emit(
        {
            "schema_version": 1,
            "sources": [
                {"name": s.name, "label": s.label, "example": s.example} for s in catalogue.sources
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
                for t in catalogue.targets
            ],
            "transforms": list(TRANSFORMS),
        },
        render,
        as_json=as_json,
    )
    return ExitCode.DONE


@map_app.command(epilog="Example: stcli map validate --all --json")
def validate(
    context: typer.Context,
    campaign: OptionalCampaign = None,
    every: Annotated[bool, typer.Option("--all", help="Every campaign of this home.")] = False,
    as_json: AsJson = False,
) -> int:
    """Is the campaign ready? Offline; every problem at once, each with its place."""
    from stcli.usecases.report import SCHEMA_VERSION

    with application(context) as app:
        names = app.files.names() if every else [chosen_campaign(app, campaign)]
        documents = [_validated(app, name, as_json=as_json) for name in names]
    ready = all(document["ready"] for document in documents)
    single: dict[str, object] = (
        {"schema_version": SCHEMA_VERSION, "ready": ready, "campaigns": documents}
        if every
        else documents[0]
    )
    emit(single, lambda: None, as_json=as_json)
    return ExitCode.DONE if ready else ExitCode.CONFIGURATION


def _validated(app: Application, name: CampaignName, *, as_json: bool) -> dict[str, object]:
    from stcli.usecases.readiness import tab_status
    from stcli.usecases.report import SCHEMA_VERSION, problem_values

    try:
        loaded = app.files.load(name)
    except ConfigurationError as error:
        if not as_json:
            line(f"{name}: not valid")
            _show_problems(error.problems)
        return {
            "schema_version": SCHEMA_VERSION,
            "campaign": name,
            "ready": False,
            "tabs": {},
            "problems": problem_values(error.problems),
        }
    tabs = tab_status(loaded.config, loaded.verdicts)
    problems = [p for tab in tabs for p in loaded.problems(tab)]
    ready = all(tab.ready for tab in tabs.values())
    if not as_json:
        _show_validated(name, loaded, ready=ready)
    return {
        "schema_version": SCHEMA_VERSION,
        "campaign": name,
        "ready": ready,
        "tabs": {
            tab.value: {"ready": entry.ready, "missing": list(entry.missing)}
            for tab, entry in tabs.items()
        },
        "problems": problem_values(problems),
        "warnings": problem_values([p for tab in _used(loaded) for p in loaded.warnings(tab)]),
    }


def _used(loaded: LoadedCampaign) -> list[Tab]:
    from stcli.domain.campaign import in_use

    return [tab for tab in in_use(loaded.config) if tab in loaded.verdicts]


def _show_validated(name: str, loaded: LoadedCampaign, *, ready: bool) -> None:
    from stcli.usecases.readiness import tab_status

    line(f"{name}: {'ready' if ready else 'Setup Required'}")
    for tab, entry in tab_status(loaded.config, loaded.verdicts).items():
        if entry.action == "nothing":
            line(f"  {tab.value}: not in use")
        elif entry.missing:
            line(f"  {tab.value}: not mapped: {', '.join(entry.missing)}")
        else:
            line(f"  {tab.value}: {'ready' if entry.ready else 'has problems'}")
        _show_problems(loaded.problems(tab))
    for tab in _used(loaded):
        for warning in loaded.warnings(tab):
            note(f"Warning: {plain(warning)}")


def _show_problems(problems: Sequence[Problem]) -> None:
    for problem in problems:
        line(f"  {plain(problem)}")
        if problem.hint:
            line(f"      {plain(problem.hint)}")


@map_app.command(epilog="Example: stcli map preview spring-hvac --lead c3f101")
def preview(
    context: typer.Context,
    campaign: OptionalCampaign = None,
    lead: Annotated[str, typer.Option("--lead", metavar="CODE", help="A referral code.")] = "",
    tab: TabOption = BookingTabName.LEADS,
    as_json: AsJson = False,
) -> int:
    """What the mapping makes of one real person: each value, and the exact request. Writes nothing."""
    from stcli.cli import running
    from stcli.domain.campaign import Tab
    from stcli.domain.mapping.apply import Unmappable
    from stcli.usecases.mapping import Preview
    from stcli.usecases.mapping import preview as make_preview

    if not lead:
        raise UsageError("name a person with --lead CODE", "The code is at the end of their link.")
    with application(context) as app:
        name = chosen_campaign(app, campaign)
        loaded = app.files.load(name)
        problems = loaded.problems(Tab(tab.value))
        if problems:
            raise ConfigurationError(
                f"the mapping of {tab.value} has problems", "Mend them first.", problems
            )
        config = loaded.config

        async def body() -> Preview:
            async with app.open_referral() as referral, app.crm_for(name, config) as crm:
                return await make_preview(config, Tab(tab.value), lead, referral, crm)

        made = running.run(lambda _stop: body())
    request = "" if isinstance(made.draft, Unmappable) else app.booking_request_text(made.draft)
    refusal = made.draft.reason if isinstance(made.draft, Unmappable) else ""

    def render() -> None:
        table(
            ("FROM", "VALUE", "TO", "BECOMES"),
            [
                (describe_rule(r.rule), r.source_value or "(blank)", r.target, r.value or "(blank)")
                for r in made.rows
            ],
        )
        line()
        line(f"Cannot be booked: {refusal}" if refusal else f"Request:\n{request}")

    emit(
        {
            "schema_version": 1,
            "campaign": name,
            "record": made.person.code,
            "fields": [
                {
                    "from": describe_rule(r.rule),
                    "source_value": r.source_value,
                    "to": r.target,
                    "value": r.value,
                }
                for r in made.rows
            ],
            "request": json.loads(request) if request else None,
            "problem": refusal,
        },
        render,
        as_json=as_json,
    )
    return ExitCode.SOME_FAILED if refusal else ExitCode.DONE
