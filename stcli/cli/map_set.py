"""``stcli map set`` and ``unset``: one mapping of a campaign file, everything else as it stands."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer

from stcli.cli.arguments import AnyTab, AsJson, TabName
from stcli.cli.output import emit, line, note, plain
from stcli.cli.session import application, campaign_and_word
from stcli.errors import ExitCode, UsageError

if TYPE_CHECKING:
    from stcli.config.load import LoadedCampaign
    from stcli.domain.campaign import Tab
    from stcli.domain.ids import CampaignName
    from stcli.domain.mapping.validate import TabVerdict

CampaignAndTarget = Annotated[
    list[str],
    typer.Argument(
        metavar="[CAMPAIGN] TARGET", help="What is mapped; the campaign may be left out."
    ),
]


def set_rule(
    context: typer.Context,
    words: CampaignAndTarget,
    source: Annotated[
        str | None, typer.Option("--from", metavar="FIELD", help="A field: stcli map fields.")
    ] = None,
    value: Annotated[
        str | None, typer.Option("--value", metavar="TEXT", help="The same text for everyone.")
    ] = None,
    option: Annotated[
        str | None, typer.Option("--select", metavar="OPTION", help="One of the target's options.")
    ] = None,
    template: Annotated[
        str | None,
        typer.Option("--template", metavar="TEXT", help='Text with fields: "{first_name} new".'),
    ] = None,
    transforms: Annotated[
        list[str] | None,
        typer.Option("--transform", metavar="NAME", help="May be repeated; applied in order."),
    ] = None,
    default: Annotated[
        str | None, typer.Option("--default", metavar="TEXT", help="Where the field is empty.")
    ] = None,
    tab: AnyTab = TabName.LEADS,
    as_json: AsJson = False,
) -> int:
    """Map a target; comments, order and spacing of the file stay."""
    from stcli.domain.campaign import Tab
    from stcli.usecases.new_rule import RuleRequest

    rule = RuleRequest(source, value, option, template, transforms or (), default).rule()
    chosen = Tab(tab.value)
    with application(context) as app:
        name, target = campaign_and_word(app, words, "one target, such as: spring-hvac email")
        diff, after = app.files.set_rules(name, chosen, {target: rule})
    _show(name, chosen, target, diff, after, as_json=as_json)
    return ExitCode.DONE


def unset_rule(
    context: typer.Context,
    words: CampaignAndTarget,
    tab: AnyTab = TabName.LEADS,
    as_json: AsJson = False,
) -> int:
    """Take a target's mapping out."""
    from stcli.domain.campaign import Tab
    from stcli.domain.nearest import suggestion

    chosen = Tab(tab.value)
    with application(context) as app:
        name, target = campaign_and_word(app, words, "one target, such as: spring-hvac email")
        mapped = list(app.settings_of(name).rules_of(chosen))
        if target not in mapped:
            raise UsageError(
                f"{chosen.value} of {name} has no mapping of {target!r}",
                suggestion(target, mapped)
                or ("mapped are: " + ", ".join(mapped) if mapped else "Nothing is mapped there."),
            )
        diff, after = app.files.set_rules(name, chosen, {target: None})
    _show(name, chosen, target, diff, after, as_json=as_json)
    return ExitCode.DONE


def _show(
    name: CampaignName, tab: Tab, target: str, diff: str, after: LoadedCampaign, *, as_json: bool
) -> None:
    note(diff.rstrip() or "Nothing changed.")
    verdict = after.verdicts[tab]
    emit(
        {
            "schema_version": 1,
            "campaign": name,
            "tab": tab.value,
            "target": target,
            "changed": bool(diff),
            "difference": diff,
            "ready": verdict.ready,
            "missing": list(verdict.missing),
        },
        lambda: line(setup_line(tab, verdict)),
        as_json=as_json,
    )


def setup_line(tab: Tab, verdict: TabVerdict) -> str:
    """What a tab still lacks, in one line."""
    if verdict.missing:
        missing = plain(", ".join(verdict.missing))
        return f"Setup Required: {tab.value} has no mapping for {missing}"
    lacking = [fault.message for fault in verdict.faults if not fault.is_warning]
    if lacking:
        return f"Setup Required: {plain(lacking[0])}"
    return f"All required fields of {tab.value} are mapped."
