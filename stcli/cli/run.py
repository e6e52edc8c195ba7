"""``stcli run``: every pass in use, and telling others how it ended."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import partial
from typing import TYPE_CHECKING, Annotated

import typer

from stcli.cli.arguments import (
    AllowMassChange,
    AsJson,
    DryRun,
    Limit,
    complete_campaign,
    read_duration,
)
from stcli.cli.output import emit, note, note_error, plain
from stcli.cli.passes import show_result
from stcli.cli.session import (
    application,
    chosen_campaign,
    log_defect,
    log_place,
    warn_without_log,
)
from stcli.domain.outcome import PassResult
from stcli.errors import ConfigurationError, ExitCode, StcliError, UsageError, worst
from stcli.usecases.report import error_value, passes_document

if TYPE_CHECKING:
    from stcli.domain.ids import CampaignName
    from stcli.usecases.passes.context import PassOptions
    from stcli.wiring import Application

run_app = typer.Typer(add_completion=False)
APPS = {"run": run_app}


@dataclass(slots=True)
class Ended:
    """What a run did: for which campaigns, its passes, and whose files kept them from any."""

    names: list[CampaignName] = field(default_factory=list)
    results: list[PassResult] = field(default_factory=list)
    broken: dict[str, StcliError] = field(default_factory=dict)

    @property
    def exit_code(self) -> ExitCode:
        codes = [r.exit_code for r in self.results] + [e.exit_code for e in self.broken.values()]
        return worst(codes)

    def document(self) -> dict[str, object]:
        document = passes_document(self.results)
        if self.broken:
            document["errors"] = [
                {"campaign": name, **error_value(error)} for name, error in self.broken.items()
            ]
        return document


@run_app.command("run", epilog="Example: stcli run --all")
def run_all(
    context: typer.Context,
    campaigns: Annotated[
        list[str] | None,
        typer.Argument(
            metavar="[CAMPAIGN]…", help="Which campaigns.", autocompletion=complete_campaign
        ),
    ] = None,
    every: Annotated[bool, typer.Option("--all", help="Every campaign of this home.")] = False,
    dry_run: DryRun = False,
    limit: Limit = None,
    allow_mass_change: AllowMassChange = False,
    at_most_every: Annotated[
        float | None,
        typer.Option(
            "--at-most-every",
            parser=read_duration,
            metavar="DURATION",
            help="Leave out passes that ended well within this time, such as 6h.",
        ),
    ] = None,
    as_json: AsJson = False,
) -> int:
    """Run every pass in use, now: sync, leads, referrers, qualify, return.

    Whom it tells how it ended stands under alarms: in settings.yaml.
    """
    from stcli.usecases.passes.context import PassOptions

    if campaigns and every:
        raise UsageError("name campaigns or say --all, not both", "See: stcli run --help")
    ended = Ended()
    options = PassOptions(limit, dry_run, allow_mass_change)
    with application(context) as app, _announced(app, ended, dry_run=dry_run):
        warn_without_log()
        # Inside, because that there is no campaign any more is told as well.
        ended.names = list(app.files.names() if every else ())
        ended.names = ended.names or [chosen_campaign(app, name) for name in campaigns or (None,)]
        _run(app, options, ended, at_most_every=at_most_every, quiet=as_json)
    if not ended.results and not ended.broken and at_most_every is None:
        note("No pass is in use: switch one on with stcli action or qualify set.")
    emit(ended.document(), lambda: None, as_json=as_json)
    return ended.exit_code


def _run(
    app: Application,
    options: PassOptions,
    ended: Ended,
    *,
    at_most_every: float | None,
    quiet: bool,
) -> None:
    from stcli.cli import running
    from stcli.cli.watching import watched

    wanted = []
    for name in ended.names:
        try:
            subject = app.subject(name)
        except ConfigurationError as error:
            # One broken file must not keep the other campaigns from their work.
            ended.broken[name] = error
            note_error(error, f"{name}: ")
            continue
        kinds = app.passes_of(subject)
        if at_most_every is not None:
            kinds = [kind for kind in kinds if not app.is_young(kind, subject, at_most_every)]
        wanted += [(kind, subject) for kind in kinds]
    if not wanted:
        return

    def show(result: PassResult) -> None:
        ended.results.append(result)
        if not quiet:
            show_result(result)

    with watched() as progress:
        running.run(
            lambda stop: app.run_passes(
                wanted, options, stop, show, keep_going=True, progress=progress
            )
        )


@contextmanager
def _announced(app: Application, ended: Ended, *, dry_run: bool) -> Iterator[None]:
    """Tell those whom the settings name; a defect too. That they cannot be told fails no run."""
    if dry_run or not app.has_alarms:
        yield
        return
    from stcli.announcing import Announcer

    announcer = Announcer(app)
    announcer.begin()
    try:
        yield
    except StcliError as error:
        _told(partial(announcer.give_up, error))
        raise
    except Exception:
        defect = StcliError("a defect of stcli ended the run", f"See the log: {log_place()}")
        _told(partial(announcer.give_up, defect))
        raise
    _told(partial(announcer.end, ended.names, ended.results, ended.broken, ended.exit_code))


def _told(tell: Callable[[], Sequence[str]]) -> None:
    """The run's own end stands, whatever becomes of telling it."""
    try:
        remarks = tell()
    except Exception as error:  # noqa: BLE001 - it is logged, and the run's end stands
        log_defect(error)
        remarks = [f"a defect of stcli kept others from being told; see {log_place()}"]
    for remark in remarks:
        note(f"warning: {plain(remark)}")
