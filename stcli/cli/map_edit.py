"""``stcli map edit``: a tab's mappings as a list to walk through, saved at once or not at all."""

from __future__ import annotations

import typer

from stcli.cli import choosing
from stcli.cli.arguments import AnyTab, AsJson, OptionalCampaign, TabName
from stcli.cli.map_set import setup_line
from stcli.cli.output import emit, line, note
from stcli.cli.session import application, chosen_campaign
from stcli.errors import ConfigurationError, ExitCode, UsageError


def edit_rules(
    context: typer.Context,
    campaign: OptionalCampaign = None,
    tab: AnyTab = TabName.LEADS,
    as_json: AsJson = False,
) -> int:
    """Walk through the mappings of a tab on a terminal: required ones first, choices from the real
    lists of both systems once the campaign is connected. Nothing is written before you save."""
    from stcli.cli.field_lists import real_lists
    from stcli.cli.map_sheet import Sheet
    from stcli.domain.campaign import Tab

    chosen = Tab(tab.value)
    if not choosing.is_possible():
        raise UsageError(
            "map edit asks, and there is no terminal to ask on",
            "Change one mapping with: stcli map set CAMPAIGN TARGET --from FIELD",
        )
    with application(context) as app:
        name = chosen_campaign(app, campaign)
        config = app.settings_of(name)
        if chosen in (Tab.SYNC, Tab.RETURN) and config.sync is None:
            raise ConfigurationError(
                f"{name} has no sync tab yet", f"Begin with: stcli sync setup {name}"
            )
        lists = real_lists(app, name, config, chosen)
        for remark in lists.remarks:
            note(remark)
        sheet = Sheet(name, chosen, lists, dict(config.rules_of(chosen)))
        wants_saved = sheet.walk()
        diff = ""
        if wants_saved and sheet.changes:
            diff, after = app.files.set_rules(name, chosen, sheet.changes)
            note(diff.rstrip())
            note(setup_line(chosen, after.verdicts[chosen]))
    emit(
        {"schema_version": 1, "campaign": name, "changed": bool(diff), "difference": diff},
        lambda: line(f"{name}: saved." if diff else f"{name}: nothing was changed."),
        as_json=as_json,
    )
    return ExitCode.DONE
