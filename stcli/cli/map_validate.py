"""``stcli map validate``: is a campaign ready, by its file alone or by both systems too."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Annotated

import typer

from stcli.cli.arguments import AsJson, OptionalCampaign
from stcli.cli.output import emit, line, note, plain, show_error
from stcli.cli.session import application, chosen_campaign, every_campaign
from stcli.errors import (
    ConfigurationError,
    ExitCode,
    Problem,
    RemoteGone,
    StcliError,
    UsageError,
    worst,
)

if TYPE_CHECKING:
    from stcli.config.load import LoadedCampaign
    from stcli.domain.campaign import CampaignConfig, Tab
    from stcli.domain.ids import CampaignName
    from stcli.usecases.online_check import Finding, OnlineCheck
    from stcli.usecases.readiness import TabStatus
    from stcli.wiring import Application


def validate(
    context: typer.Context,
    campaign: OptionalCampaign = None,
    every: Annotated[bool, typer.Option("--all", help="Every campaign of this home.")] = False,
    online: Annotated[
        bool,
        typer.Option("--online", help="Also ask both systems whether all names and ids exist."),
    ] = False,
    accept: Annotated[
        bool,
        typer.Option(
            "--accept", help="If it is ready, let every host that shares the state run with it."
        ),
    ] = False,
    as_json: AsJson = False,
) -> int:
    """Is the campaign ready? Offline and fast; every problem at once, each with its place."""
    from stcli.usecases.report import SCHEMA_VERSION

    if campaign is not None and every:
        raise UsageError("name a campaign or say --all, not both", "See: stcli map validate --help")
    with application(context) as app:
        names = every_campaign(app) if every else [chosen_campaign(app, campaign)]
        checked = [
            _validated(app, name, online=online, accept=accept, as_json=as_json) for name in names
        ]
        if accept:
            for (document, _), name in zip(checked, names, strict=True):
                _accept(app, name, document, as_json=as_json)
    documents = [document for document, _ in checked]
    single: dict[str, object] = (
        {
            "schema_version": SCHEMA_VERSION,
            "ready": all(document["ready"] for document in documents),
            "campaigns": documents,
        }
        if every
        else documents[0]
    )
    emit(single, lambda: None, as_json=as_json)
    return worst([code for _, code in checked])


def _validated(
    app: Application, name: CampaignName, *, online: bool, accept: bool, as_json: bool
) -> tuple[dict[str, object], ExitCode]:
    """One campaign's document and what the command ends with for it."""
    from stcli.usecases.readiness import tab_status, with_findings
    from stcli.usecases.report import SCHEMA_VERSION, error_value, problem_values

    document: dict[str, object] = {"schema_version": SCHEMA_VERSION, "campaign": name}
    try:
        loaded = app.files.load(name)
    except ConfigurationError as error:
        if not as_json:
            line(f"{name}: not valid")
            _show_problems(error.problems)
        document |= {"ready": False, "tabs": {}, "problems": problem_values(error.problems)}
        return document, ExitCode.CONFIGURATION
    tabs = tab_status(loaded.config, loaded.verdicts)
    problems = [p for tab in tabs for p in loaded.problems(tab)]
    warnings = [p for tab in _used(loaded) for p in loaded.warnings(tab)]
    found: list[Finding] = []
    failed: StcliError | None = None
    if online:
        try:
            check = _online(app, name, loaded.config)
            found, failed = check.findings, check.gone
        except StcliError as error:
            failed = error
        tabs = with_findings(tabs, found)
    seen = [loaded.document.problem(f.path, f.message, f.hint) for f in found if not f.is_warning]
    warnings += [loaded.document.problem(f.path, f.message, f.hint) for f in found if f.is_warning]
    ready = all(tab.ready for tab in tabs.values()) and not seen and failed is None
    if not as_json:
        _show_validated(name, loaded, tabs, ready=ready)
        _show_problems(seen)
        for warning in warnings:
            note(f"Warning: {plain(warning)}")
        if failed is not None and not isinstance(failed, RemoteGone):
            show_error(failed, as_json=False)
    other = app.other_file(name, loaded.file_hash)
    if other is not None and not accept:
        note(
            f"{name}: this is not the file that {plain(other.by)} accepted at "
            f"{other.at:%Y-%m-%d %H:%M} UTC, so it does not run here. If it is meant: "
            f"stcli map validate {name} --accept"
        )
    document |= {
        "file_hash": loaded.file_hash,
        "ready": ready,
        "tabs": {
            tab.value: {"ready": entry.ready, "missing": list(entry.missing)}
            for tab, entry in tabs.items()
        },
        "problems": problem_values([*problems, *seen]),
        "warnings": problem_values(warnings),
    }
    if failed is not None:
        document["error"] = error_value(failed)
    codes = [ExitCode.DONE if ready or failed else ExitCode.CONFIGURATION]
    return document, worst([*codes, *([failed.exit_code] if failed else [])])


def _accept(
    app: Application, name: CampaignName, document: dict[str, object], *, as_json: bool
) -> None:
    """Let every host run with this file, if it is ready."""
    if not document["ready"]:
        note(f"{name}: not accepted, because it is not ready.")
        return
    document["accepted"] = accepted = app.accept_file(name)
    if not accepted:
        note("Only this host uses this state, so there is nothing to accept: its file counts.")
    elif not as_json:
        line(f"{name}: accepted; hosts with another file do not run it until they have this one.")


def _online(app: Application, name: CampaignName, config: CampaignConfig) -> OnlineCheck:
    from stcli.cli import running
    from stcli.usecases.online_check import OnlineCheck

    async def body() -> OnlineCheck:
        async with app.open_referral() as referral, app.crm_for(name, config) as crm:
            check = OnlineCheck(config, referral, crm)
            await check.run()
            return check

    return running.ask(body)


def _used(loaded: LoadedCampaign) -> list[Tab]:
    from stcli.domain.campaign import in_use

    return [tab for tab in in_use(loaded.config) if tab in loaded.verdicts]


def _show_validated(
    name: str, loaded: LoadedCampaign, tabs: Mapping[Tab, TabStatus], *, ready: bool
) -> None:
    line(f"{name}: {'ready' if ready else 'Setup Required'}")
    for tab, entry in tabs.items():
        if entry.action == "nothing":
            line(f"  {tab.value}: not in use")
        elif entry.missing:
            line(f"  {tab.value}: not mapped: {', '.join(entry.missing)}")
        else:
            line(f"  {tab.value}: {'ready' if entry.ready else 'has problems'}")
        _show_problems(loaded.problems(tab))


def _show_problems(problems: Sequence[Problem]) -> None:
    for problem in problems:
        line(f"  {plain(problem)}")
        if problem.hint:
            line(f"      {plain(problem.hint)}")
