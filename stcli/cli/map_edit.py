"""``stcli map edit``: a tab's mappings as a list to walk through, saved at once or not at all."""

from __future__ import annotations

from typing import TYPE_CHECKING

import typer

from stcli.cli import choosing
from stcli.cli.arguments import AnyTab, AsJson, OptionalCampaign, TabName
from stcli.cli.map_set import setup_line
from stcli.cli.output import emit, line, note, plain, show_error
from stcli.cli.session import application, chosen_campaign
from stcli.errors import ExitCode, StcliError, UsageError

if TYPE_CHECKING:
    from stcli.cli.map_sheet import Sheet
    from stcli.wiring import Application


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
        config.require(chosen)
        lists = real_lists(app, name, config, chosen)
        for remark in lists.remarks:
            note(remark)
        sheet = Sheet(name, chosen, lists, config.rules_of(chosen))
        diff = ""
        while not diff and sheet.walk() and sheet.changes:
            diff = _saved(app, sheet)
    emit(
        {"schema_version": 1, "campaign": name, "changed": bool(diff), "difference": diff},
        lambda: line(f"{name}: saved." if diff else f"{name}: nothing was changed."),
        as_json=as_json,
    )
    return ExitCode.DONE


def _saved(app: Application, sheet: Sheet) -> str:
    """The difference, or nothing where it could not be saved yet: then the sheet is there again
    with all that was done on it."""
    try:
        clashes = sheet.rebase(app.settings_of(sheet.name).rules_of(sheet.tab))
        if clashes:
            names = plain(", ".join(clashes))
            note(f"Changed by somebody else meanwhile: {names}. Save again to put yours there.")
            return ""
        if not sheet.changes:
            note("The file says all of it already.")
            return ""
        diff, after = app.files.set_rules(sheet.name, sheet.tab, sheet.changes)
    except StcliError as error:
        show_error(error, as_json=False)
        return ""
    note(diff.rstrip())
    note(setup_line(sheet.tab, after.verdicts[sheet.tab]))
    return diff
