"""``stcli state``: copies of the database, put back, and whether it is sound."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from stcli.cli.arguments import AsJson
from stcli.cli.output import emit, line, note, plain, table
from stcli.cli.prompts import confirm
from stcli.cli.session import application
from stcli.errors import ExitCode, UsageError

if TYPE_CHECKING:
    from stcli.store.places import Place

state = typer.Typer(
    add_completion=False,
    no_args_is_help=True,
    help="The database: copies, another place for it, and whether it is sound.",
)
APPS = {"state": state}


@state.command(epilog="Example: stcli state backup /mnt/backup/stcli.db")
def backup(
    context: typer.Context,
    file: Annotated[
        Path | None,
        typer.Argument(
            metavar="[FILE]", help="Left out: a dated one in the state's backups folder."
        ),
    ] = None,
    as_json: AsJson = False,
) -> int:
    """Copy the database, also while passes use it.

    The copy holds names and addresses of people: it is private to the user, and so should be the
    place where it goes.
    """
    if file is not None and str(file) == "-":
        raise UsageError("a copy is a file, and cannot go to stdout", "Name a file.")
    with application(context) as app:
        made = app.back_up_state(file)
    emit(
        {"schema_version": 1, "file": str(made), "bytes": made.stat().st_size},
        lambda: line(str(made)),
        as_json=as_json,
    )
    return ExitCode.DONE


@state.command(epilog="Example: stcli state restore /mnt/backup/stcli.db")
def restore(
    context: typer.Context,
    file: Annotated[Path, typer.Argument(metavar="FILE", help="What state backup has written.")],
    yes: Annotated[bool, typer.Option("--yes", help="Do not ask for confirmation.")] = False,
    as_json: AsJson = False,
) -> int:
    """Put a copy in the place of the database, which is kept.

    What was booked and enrolled since is found again by the next pass; nobody is booked twice. While
    a pass runs nothing is put back.
    """
    with application(context) as app:
        if app.has_state:
            confirm(
                f"Put {file} in the place of {app.place.name}? What is there now is kept.",
                yes=yes,
            )
        kept = app.restore_state(file)
        place = app.place.name
    emit(
        {
            "schema_version": 1,
            "restored": str(file),
            "file": place,
            "kept": None if kept is None else str(kept),
        },
        lambda: line(f"restored: {place}"),
        as_json=as_json,
    )
    if kept is not None:
        note(f"What was there before is in {kept}.")
    note("See what the next pass would do: stcli run --all --dry-run")
    return ExitCode.DONE


@state.command(epilog="Example: stcli state check --json")
def check(context: typer.Context, as_json: AsJson = False) -> int:
    """Look at every page of the database, of a shared one at its tables; exit 3 where it is damaged."""
    with application(context) as app:
        found = app.examine_state()
        place, backups = app.place.name, app.home.backups

    def render() -> None:
        line(f"{place}: {'damaged' if found.problems else 'sound'}")
        for problem in found.problems:
            line(f"  {plain(problem)}")
        table(("TABLE", "ROWS"), list(found.rows.items()))

    emit(
        {
            "schema_version": 1,
            "file": place,
            "sound": not found.problems,
            "problems": list(found.problems),
            "rows": found.rows,
        },
        render,
        as_json=as_json,
    )
    if not found.problems:
        return ExitCode.DONE
    note(
        f"Put a copy back: stcli state restore FILE. Those made before migrations are in {backups}."
    )
    return ExitCode.CONFIGURATION


@state.command(
    epilog="Example: stcli state copy --to postgresql+psycopg://db.example/stcli",
)
def copy(
    context: typer.Context,
    source: Annotated[
        str | None,
        typer.Option("--from", metavar="URL", help="Left out: the file in the home."),
    ] = None,
    target: Annotated[
        str | None,
        typer.Option("--to", metavar="URL", help="Left out: what STCLI_DATABASE_URL names."),
    ] = None,
    replace: Annotated[
        bool,
        typer.Option("--replace", help="Let go of what the target holds, after saving it."),
    ] = False,
    yes: Annotated[bool, typer.Option("--yes", help="Do not ask for confirmation.")] = False,
    as_json: AsJson = False,
) -> int:
    """Bring the state from one database into another, every row compared at the end.

    URLs are sqlite:///FILE and postgresql+psycopg://USER@HOST/NAME. Nothing is changed in the source.
    What was cut off goes on when it is run again. While a pass runs nothing is copied.
    """
    with application(context) as app:
        there, here = app.place_at(source, "--from"), app.place_at(target, "--to")
        if replace:
            confirm(f"Let go of what {here.name} holds? It is saved first.", yes=yes)
        copied = app.copy_state(there, here, replace=replace)

    def render() -> None:
        table(("TABLE", "ROWS"), list(copied.rows.items()))
        line(f"{here.name} holds what {there.name} holds; {copied.changed} rows were changed.")

    emit(
        {
            "schema_version": 1,
            "from": there.name,
            "to": here.name,
            "rows": copied.rows,
            "changed": copied.changed,
        },
        render,
        as_json=as_json,
    )
    note(_next_step(here))
    return ExitCode.DONE


def _next_step(target: Place) -> str:
    if target.is_shared:
        return (
            f"Now let STCLI_DATABASE_URL name {target.name} on every host, also in its schedule. A "
            "host that has it not goes on with what it had."
        )
    return (
        f"Where {target.name} is a home's state/stcli.db, unset STCLI_DATABASE_URL there, also in "
        "its schedule, and let no other host run."
    )
