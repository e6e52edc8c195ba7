"""``stcli worker``: passes of many hosts, from a queue in the database that they share."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer

from stcli.cli.arguments import AsJson
from stcli.cli.output import emit, line, note, plain, table
from stcli.cli.session import application
from stcli.errors import ConfigurationError, ExitCode

if TYPE_CHECKING:
    from stcli.store.locks import Holder
    from stcli.worker.status import QueueStatus

worker = typer.Typer(add_completion=False)
APPS = {"worker": worker}

MOST_AT_ONCE = 64
FAILED_SHOWN = 20


@worker.callback(invoke_without_command=True, epilog="Example: stcli worker --concurrency 4")
def work(
    context: typer.Context,
    concurrency: Annotated[
        int,
        typer.Option(
            "--concurrency",
            min=1,
            max=MOST_AT_ONCE,
            metavar="N",
            help="How many campaigns at once.",
        ),
    ] = 4,
) -> int | None:
    """Run the passes of every campaign at its own interval, together with the workers of other hosts.

    Until Ctrl-C or SIGTERM, after which every pass ends at a clean point and goes back to the queue.
    It needs STCLI_DATABASE_URL, the extra worker, and the same campaign files on every host.
    """
    if context.invoked_subcommand is not None:
        return None
    from stcli.cli import running

    _need_extra()
    from stcli.worker.working import work

    with application(context) as app:
        running.run(lambda stop: work(app, stop, places=concurrency, tell=note))
    return ExitCode.DONE


@worker.command(epilog="Example: stcli worker status --json")
def status(context: typer.Context, as_json: AsJson = False) -> int:
    """What waits, what runs where, and which workers live."""
    from stcli.usecases.report import instant

    _need_extra()
    from stcli.worker.status import queue_status

    with application(context) as app:
        url = app.shared_url
        at_work = app.locks.all_working()  # also tells an address that is none
        queue = queue_status(url)
    document = {
        "schema_version": 1,
        "workers": [
            {"host": one.host, "process": one.process, "address": one.address}
            for one in queue.workers
        ],
        "queue": {
            status: [
                {"campaign": job.campaign, "since": instant(job.since)}
                for job in queue.jobs
                if job.status == status
            ]
            for status in _STATES
        },
        "passes": [
            {
                "campaign": name,
                "pass": holder.kind,
                "host": holder.process.host,
                "process": holder.process.pid,
                "since": instant(holder.since),
            }
            for name, holder in at_work.items()
        ],
    }
    emit(document, lambda: _show(queue, at_work), as_json=as_json)
    return ExitCode.DONE


def _show(queue: QueueStatus, at_work: dict[str, Holder]) -> None:
    line(f"workers: {len(queue.workers) or 'none'}")
    for one in queue.workers:
        line(f"  {plain(one.host)}, process {one.process}, from {one.address}")
    counts = [(sum(job.status == status for job in queue.jobs), status) for status in _STATES]
    line("queue: " + ", ".join(f"{number} {status}" for number, status in counts))
    if at_work:
        table(
            ("CAMPAIGN", "PASS", "HOST", "PROCESS", "SINCE (UTC)"),
            [
                (name, one.kind, plain(one.process.host), one.process.pid, f"{one.since:%H:%M:%S}")
                for name, one in at_work.items()
            ],
        )
    failed = [job for job in queue.jobs if job.status == "failed"]
    for job in failed[-FAILED_SHOWN:]:
        at = f" at {job.since:%Y-%m-%d %H:%M} UTC" if job.since else ""
        line(f"  failed: {plain(job.campaign)}{at}; see: stcli history list {plain(job.campaign)}")


_STATES = ("waiting", "running", "lost", "failed")


def _need_extra() -> None:
    from importlib.util import find_spec

    if find_spec("procrastinate") is None or find_spec("psycopg") is None:
        raise ConfigurationError(
            "workers need the extra worker", "Install it: pip install 'stcli[worker]'"
        )
