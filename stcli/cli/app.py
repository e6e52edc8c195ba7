"""The root command, its global options, and the one place where errors become text and exit codes.

Groups of commands are imported when one of them runs; help of the root shows a line for each from
the table below, so that it needs none of them.
"""

from __future__ import annotations

import importlib
import os
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Annotated, Any, NamedTuple

import typer
from typer.core import TyperCommand, TyperGroup

from stcli import __version__
from stcli.cli.masking import shows_people
from stcli.cli.session import GlobalOptions
from stcli.cli.signals import stop_reason
from stcli.errors import ExitCode, StcliError


class Entry(NamedTuple):
    """Where a command of the root lives, and its line in the root's help."""

    module: str
    help: str
    panel: str


_CONNECT, _MAP, _RUN, _LOOK, _TRY = "Connect", "Set up", "Run", "Look after", "Try out"

COMMANDS: dict[str, Entry] = {
    "auth": Entry(
        "auth", "The account's secrets: Referral Factory token, ServiceTitan app key.", _CONNECT
    ),
    "campaigns": Entry(
        "campaigns", "The account's campaigns, and which are configured here.", _CONNECT
    ),
    "connect": Entry(
        "connection", "Submit the request to connect a campaign to a tenant.", _CONNECT
    ),
    "requests": Entry(
        "requests", "The reviewing side: list, approve and reject requests.", _CONNECT
    ),
    "finalize": Entry(
        "connection", "Prove the tenant's values and complete the connection.", _CONNECT
    ),
    "disconnect": Entry("connection", "Give a campaign's connection up.", _CONNECT),
    "action": Entry("action", "Show or set what happens when someone joins.", _MAP),
    "map": Entry("mapping", "Mappings: show, edit, set, validate, preview.", _MAP),
    "qualify": Entry("qualify", "Qualification rules, and the qualification pass.", _MAP),
    "sync": Entry("sync", "Customers become referrers; links and counts go back.", _RUN),
    "leads": Entry("passes", "Leads become bookings.", _RUN),
    "referrers": Entry("passes", "Referrers become bookings.", _RUN),
    "run": Entry("run", "Every pass in use, now.", _RUN),
    "schedule": Entry("schedule", "Unattended runs: cron or a systemd user timer.", _RUN),
    "worker": Entry("worker", "Passes of many hosts: take them from a shared queue.", _RUN),
    "status": Entry("status", "Connection, mappings, last passes and open failures.", _LOOK),
    "doctor": Entry("doctor", "Check everything a support person would ask.", _LOOK),
    "history": Entry("history", "Passes that ran: when, how they ended, what they did.", _LOOK),
    "failures": Entry("failures", "Records that failed, with why; retry or dismiss them.", _LOOK),
    "config": Entry(
        "config", "The campaign file: where it is, what it says, whether it is valid.", _LOOK
    ),
    "state": Entry("state", "The database: copies, and whether it is sound.", _LOOK),
    "rewards": Entry("rewards", "What qualifications made due in Referral Factory.", _LOOK),
    "diff": Entry("compare", "What differs between the settings of two campaigns.", _LOOK),
    "copy": Entry("compare", "Begin a campaign with another one's settings.", _CONNECT),
    "sandbox": Entry("sandbox", "Both APIs on this machine, to try things out.", _TRY),
    "demo": Entry("sandbox", "The whole story on the sandbox, in a throw-away home.", _TRY),
}


@contextmanager
def _told_as_stop() -> Iterator[None]:
    """Typer makes a bare exit code of Ctrl-C, and the same one of SIGTERM: it gets an error instead."""
    try:
        yield
    except KeyboardInterrupt as stopped:
        raise stop_reason(stopped) from None


class LazyRoot(TyperGroup):
    """Imports a command's module when the command runs."""

    def make_context(self, *words: Any, **values: Any) -> Any:
        with _told_as_stop():
            return super().make_context(*words, **values)

    def invoke(self, ctx: Any) -> Any:
        with _told_as_stop():
            return super().invoke(ctx)

    def list_commands(self, ctx: Any) -> list[str]:  # noqa: ARG002 - the shape that Typer calls
        return list(COMMANDS)

    def get_command(self, ctx: Any, cmd_name: str) -> Any:
        entry = COMMANDS.get(cmd_name)
        if entry is None:
            return None
        if not ctx.meta.get("stcli.parsing"):
            return TyperCommand(cmd_name, help=entry.help, rich_help_panel=entry.panel)
        return _load(cmd_name, entry)

    def resolve_command(self, ctx: Any, args: list[str]) -> Any:
        ctx.meta["stcli.parsing"] = True
        # Only for the suggestions after a typo, which look at the names.
        self.commands = dict.fromkeys(COMMANDS)  # type: ignore[assignment] # names are all it reads
        return super().resolve_command(ctx, args)


def _load(name: str, entry: Entry) -> Any:
    module = importlib.import_module(f"stcli.cli.{entry.module}")
    loaded = typer.main.get_command(module.APPS[name])
    loaded.name = name
    return loaded


app = typer.Typer(
    name="stcli",
    cls=LazyRoot,
    help="Connects Referral Factory campaigns with ServiceTitan: referred leads become bookings, "
    "finished jobs qualify referrals.",
    epilog="Try it without any account: stcli demo",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)


def _show_version(wanted: bool) -> None:
    if wanted:
        typer.echo(f"stcli {__version__}")
        raise typer.Exit


@app.callback()
def root(
    context: typer.Context,
    _version: Annotated[
        bool,
        typer.Option(
            "--version", callback=_show_version, is_eager=True, help="Show the version and end."
        ),
    ] = False,
    debug: Annotated[bool, typer.Option("--debug", help="Show the traceback of a defect.")] = False,
    show_pii: Annotated[
        bool, typer.Option("--show-pii", help="Do not mask emails and phone numbers.")
    ] = False,
    verbosity: Annotated[
        int,
        typer.Option(
            "--verbose", "-v", count=True, help="Show the log's lines; -vv: each request too."
        ),
    ] = 0,
    log_json: Annotated[
        bool, typer.Option("--log-json", help="Log lines as JSON objects, one a line.")
    ] = False,
) -> None:
    """Runs before every command."""
    context.obj = GlobalOptions(debug, show_pii, verbosity, log_json)


def open_closed_streams() -> None:
    """A stream that the caller closed leads nowhere; otherwise the next file to be opened, such as
    the database, would get its number."""
    for number, name, mode in ((0, "stdin", "r"), (1, "stdout", "w"), (2, "stderr", "w")):
        if getattr(sys, name) is None:
            descriptor = os.open(os.devnull, os.O_RDWR)
            if descriptor != number:
                os.dup2(descriptor, number)
                os.close(descriptor)
            # It stays open as long as the process.
            stream = open(number, mode, encoding="utf-8", closefd=False)  # noqa: SIM115
            setattr(sys, name, stream)


def run(arguments: Sequence[str]) -> int:
    """Run one command line and answer the exit code; whatever goes wrong is reported here."""
    as_json = "--json" in arguments
    shows_people.set("--show-pii" in arguments)
    try:
        return _ran(arguments, as_json=as_json)
    except StcliError as error:
        # Nobody can read the report on stdout, which is what is full or broken.
        return _report(error, as_json=False)


def _ran(arguments: Sequence[str], *, as_json: bool) -> int:
    from stcli.cli.output import flush, given, nobody_reads

    given.clear()
    try:
        result = typer.main.get_command(app).main(
            args=list(arguments), prog_name="stcli", standalone_mode=False
        )
    except StcliError as error:
        return _report(error, as_json=as_json)
    except typer.Abort as error:
        # Typer makes that of a signal at one of its own questions, which is its context, and of Ctrl-D.
        stopped = error.__context__
        if not isinstance(stopped, KeyboardInterrupt):
            stopped = KeyboardInterrupt()
        return _report(stop_reason(stopped), as_json=as_json)
    except (BrokenPipeError, SystemExit) as error:
        left = type(sys.stdout).__name__ == "PacifyFlushWrapper" or isinstance(
            error.__context__, BrokenPipeError
        )
        if isinstance(error, SystemExit) and not left:
            raise
        # The reader of a help text went away, as `head` does (Typer and Rich turn that into
        # SystemExit): not our failure. Nothing more can be flushed.
        nobody_reads(sys.stdout)
        return ExitCode.DONE
    except typer.TyperException as error:
        return _report_usage(error, as_json=as_json)
    except Exception as error:  # noqa: BLE001 - the one boundary; everything else is a defect
        return _report_defect(error, as_json=as_json, debug="--debug" in arguments)
    flush()
    return int(result) if isinstance(result, int) else ExitCode.DONE


def _report(error: StcliError, *, as_json: bool) -> int:
    from stcli.cli.output import show_error

    show_error(error, as_json=as_json)
    return error.exit_code


def _report_usage(error: typer.TyperException, *, as_json: bool) -> int:
    from stcli.errors import UsageError

    context = getattr(error, "ctx", None)
    if type(error).__name__ == "NoArgsIsHelpError":
        # Typer has printed the help when it made this error.
        return ExitCode.USAGE
    path = context.command_path if context is not None else "stcli"
    return _report(UsageError(error.format_message(), f"See: {path} --help"), as_json=as_json)


def _report_defect(error: Exception, *, as_json: bool, debug: bool) -> int:
    from stcli.cli.session import log_defect, log_place

    if debug:
        import traceback

        traceback.print_exception(error)
    log_defect(error)
    # The message of an unknown exception may hold anything, personal data too: only its kind is shown.
    return _report(
        StcliError(
            f"a defect of stcli: {type(error).__name__}",
            f"The details are in {log_place()}. Run again with: stcli --debug …",
        ),
        as_json=as_json,
    )
