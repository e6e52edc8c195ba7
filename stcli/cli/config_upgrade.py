"""``stcli config upgrade``: the files that people write, as this version of stcli reads them."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import partial
from typing import TYPE_CHECKING, Annotated

import typer

from stcli.cli.arguments import AsJson
from stcli.cli.output import emit, line, note, show_error
from stcli.cli.session import application, every_campaign
from stcli.errors import ExitCode, StcliError, worst
from stcli.usecases.report import error_value

if TYPE_CHECKING:
    from stcli.config.upgrade import Upgrade


def upgrade(
    context: typer.Context,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Only show what would be changed.")
    ] = False,
    as_json: AsJson = False,
) -> int:
    """Bring settings.yaml, every campaign file and the schema for editors to this version of stcli;
    comments, order and spacing stay. One that cannot be keeps the others from nothing."""
    codes = [ExitCode.DONE]

    def attempted(file: str, attempt: Callable[[], Upgrade | bool]) -> dict[str, object]:
        document: dict[str, object] = {"file": file}
        try:
            done = attempt()
        except StcliError as error:
            codes.append(error.exit_code)
            if not as_json:
                show_error(error, as_json=False)
            return document | {"error": error_value(error)}
        if isinstance(done, bool):
            return document | {"changed": done}
        if done.diff:
            note(done.diff.rstrip())
        return document | {"from": done.before, "to": done.after, "difference": done.diff}

    with application(context) as app:
        tried: dict[str, Callable[[], Upgrade]] = {}
        if app.home.settings_file.exists():
            tried[str(app.home.settings_file)] = partial(app.upgrade_settings, dry_run=dry_run)
        for name in every_campaign(app):
            tried[app.files.path(name)] = partial(app.files.upgrade, name, dry_run=dry_run)
        files = [attempted(file, attempt) for file, attempt in tried.items()]
        schema = attempted(
            str(app.home.schema_file), partial(app.files.update_schema, dry_run=dry_run)
        )

    def render() -> None:
        for one in (*files, schema):
            if "error" not in one:
                line(f"{one['file']}: {_told(one, dry_run=dry_run)}")

    document = {"schema_version": 1, "dry_run": dry_run, "files": files, "schema": schema}
    emit(document, render, as_json=as_json)
    return worst(codes)


def _told(document: Mapping[str, object], *, dry_run: bool) -> str:
    """What became of a file, in words."""
    would = "would be " if dry_run else ""
    if "changed" in document:
        return f"{would}written anew" if document["changed"] else "up to date"
    if document["from"] == document["to"]:
        return f"version {document['to']}, nothing to do"
    return f"{would}brought from version {document['from']} to {document['to']}"
