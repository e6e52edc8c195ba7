"""Three workers over fifty campaigns, two of them killed in the middle.

    python -m tests.scale.workers [--campaigns N] [--leads N] [--concurrency N]

Three processes with a host's name and a home each share one PostgreSQL, and a sandbox with the real
limits. First nobody disturbs them; then, on a fresh database and sandbox, two are killed with -9 (with
the passes that they run) when half of the bookings are made. Told are both times, their ratio, and
what must be so: one booking of each lead, none refused for the rate, and in no window more requests
than either limit allows.
"""

from __future__ import annotations

import argparse
import os
import shutil
import signal
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, redirect_stderr, redirect_stdout
from dataclasses import dataclass
from io import StringIO
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import psycopg

from stcli.cli.app import run
from stcli.database_address import driver_address
from stcli.sandbox.settings import SandboxSettings
from tests.benchmarks.measuring import Bench, bench, stcli_words
from tests.integration.conftest import FIELDS
from tests.postgres_server import fresh_database, running_server

HOSTS = 3
KILLED = 2
PATIENCE_SECONDS = 1800
ALLOWED = {"rf": 600, "st": 60}
"""Requests in a window: a minute of Referral Factory's, a second of ServiceTitan's."""
WORDS = f"""\
leads:
  action: create_booking
  fields:
{FIELDS}
worker:
  every: 1d
"""


@dataclass(frozen=True, slots=True)
class Outcome:
    """``seconds`` until the last lead had its booking; ``wrong``: what must not be; ``connections`` to
    the database at one moment, the most that were seen."""

    seconds: float
    wrong: list[str]
    most: dict[str, int]
    connections: int


def once(database: str, campaigns: int, leads: int, *, kill: bool, concurrency: int = 4) -> Outcome:
    settings = SandboxSettings(
        leads=leads,
        customers=5,
        more_campaigns=campaigns,
        feed_lag_seconds=0.0,
        feed_page_size=200,  # nothing else is heard while a page is made
        token_requests_per_window=10**6,
        latency_median_seconds=0.05,
        latency_p98_seconds=0.5,
        request_log_size=1,
    )
    variables = {
        "STCLI_DATABASE_URL": database,
        "STCLI_HOST_ID": "host 0",
        "STCLI_ST_TIMEOUT_SECONDS": "20",  # no answer of this server takes longer
    }
    with bench(settings, goes_first=True, **variables) as at, ExitStack() as stack:
        for number in range(1, campaigns + 1):
            _connect(at, f"campaign-{number}")
        before = Counter(_external_ids(at))
        wanted = campaigns * leads
        homes = [Path(at.environment["STCLI_HOME"])]
        for _ in range(1, HOSTS):
            home = Path(stack.enter_context(TemporaryDirectory(prefix="stcli-host-")))
            shutil.copytree(homes[0] / "campaigns", home / "campaigns")
            homes.append(home)
        began = time.monotonic()
        workers = [_worker(at, home, number, concurrency) for number, home in enumerate(homes)]
        killed = not kill
        connections = 0
        while True:
            time.sleep(0.5)
            done, held = _looked(database)
            connections = max(connections, held)
            if not killed and done >= wanted / 2:
                killed = True
                for worker in workers[:KILLED]:
                    _kill(worker)
                print(f"  {KILLED} killed after {time.monotonic() - began:.0f} s, {done} booked")
            if done >= wanted:
                break
            if time.monotonic() - began > PATIENCE_SECONDS:
                raise SystemExit(f"{done} of {wanted} booked")
        seconds = time.monotonic() - began
        # Whatever is still under way, such as a second booking, is waited for.
        _until_quiet(at)
        for worker in workers:
            if worker.poll() is None:
                worker.terminate()
                worker.wait(timeout=60)
        return _judged(at, before, wanted, seconds, connections)


def _connect(at: Bench, name: str) -> None:
    """In this process: as processes of their own hundreds of commands take minutes."""
    tenant, approve, finalize = at.steps
    for words in (
        ("connect", name, *tenant, "--referral-campaign", name),
        (*approve, name),
        ("finalize", name, *finalize),
    ):
        with redirect_stdout(StringIO()), redirect_stderr(StringIO()), _environment(at):
            if run(words) != 0:
                raise SystemExit(f"stcli {' '.join(words)} failed")
    file = Path(at.environment["STCLI_HOME"], "campaigns", f"{name}.yaml")
    head = file.read_text(encoding="utf-8").partition("leads:")[0]
    file.write_text(head + WORDS, encoding="utf-8")
    with redirect_stdout(StringIO()), _environment(at):
        run(("map", "validate", name, "--accept"))


@contextmanager
def _environment(at: Bench) -> Iterator[None]:
    before = dict(os.environ)
    os.environ.update(at.environment)
    try:
        yield
    finally:
        os.environ.clear()
        os.environ.update(before)


def _worker(at: Bench, home: Path, number: int, concurrency: int) -> subprocess.Popen[bytes]:
    return subprocess.Popen(
        stcli_words("worker", "--concurrency", str(concurrency)),
        env=at.environment | {"STCLI_HOME": str(home), "STCLI_HOST_ID": f"host {number}"},
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )


def _kill(worker: subprocess.Popen[bytes]) -> None:
    """As when a machine loses its power: the passes that it runs go with it."""
    children = Path(f"/proc/{worker.pid}/task/{worker.pid}/children").read_text(encoding="ascii")
    worker.send_signal(signal.SIGSTOP)
    for child in children.split():
        os.kill(int(child), signal.SIGKILL)
    worker.kill()
    worker.wait()


def _until_quiet(at: Bench) -> None:
    last, since = -1, time.monotonic()
    while time.monotonic() - since < 8:
        now = at.ask("/requests")["apis"]["st"]["requests"]
        if now != last:
            last, since = now, time.monotonic()
        time.sleep(0.5)


def _external_ids(at: Bench) -> list[str]:
    return [entry["externalId"] for entry in at.ask("/bookings")]


def _looked(database: str) -> tuple[int, int]:
    """How many are booked, by the state that the hosts share, and how many connections lead to it."""
    with psycopg.connect(driver_address(database)) as sql:
        return sql.execute(
            "SELECT count(booking_id), (SELECT count(*) - 1 FROM pg_stat_activity "
            "WHERE datname = current_database()) FROM ledger"
        ).fetchone()  # type: ignore[return-value]


def _judged(
    at: Bench, before: Counter[str], wanted: int, seconds: float, connections: int
) -> Outcome:
    made = Counter(_external_ids(at)) - before
    traffic: dict[str, Any] = at.ask("/requests")["apis"]
    wrong = [f"{number} bookings of {code}" for code, number in made.items() if number > 1]
    if len(made) != wanted:
        wrong.append(f"{len(made)} of {wanted} leads have a booking")
    for api, allowed in ALLOWED.items():
        seen = traffic[api]
        if seen["too_many_requests"]:
            wrong.append(f"{seen['too_many_requests']} requests to {api} got a 429")
        if seen["max_in_window"] > allowed:
            wrong.append(f"{seen['max_in_window']} requests to {api} in one window")
    most = {api: traffic[api]["max_in_window"] for api in ALLOWED}
    return Outcome(seconds, wrong, most, connections)


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.scale.workers")
    parser.add_argument("--campaigns", type=int, default=50)
    parser.add_argument("--leads", type=int, default=200)
    parser.add_argument("--concurrency", type=int, default=4, help="of each worker")
    wanted = parser.parse_args()
    times = []
    failed = False
    with running_server() as server:
        for kill in (False, True):
            database = fresh_database(server, "killed" if kill else "calm")
            outcome = once(
                database, wanted.campaigns, wanted.leads, kill=kill, concurrency=wanted.concurrency
            )
            times.append(outcome.seconds)
            failed |= bool(outcome.wrong)
            windows = ", ".join(
                f"{api} {number} of {ALLOWED[api]}" for api, number in outcome.most.items()
            )
            print(
                f"{'two killed' if kill else 'undisturbed'}: {outcome.seconds:.0f} s; "
                f"fullest windows: {windows}; {outcome.connections} connections; "
                + ("; ".join(outcome.wrong) or "all as it must be"),
                flush=True,
            )
    print(f"ratio {times[1] / times[0]:.2f}")
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
