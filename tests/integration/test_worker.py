"""``stcli worker``: passes from the queue that hosts share, and what becomes of them when it ends."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path

import psycopg
import pytest

from stcli.database_address import driver_address
from tests.integration.conftest import Cli, World

Started = Callable[..., subprocess.Popen[str]]
PATIENCE = 60.0


@pytest.fixture
def start(home: Path) -> Iterator[Started]:
    """Starts workers of this home, each in a session of its own; none outlives the test."""
    running: list[subprocess.Popen[str]] = []

    def started(*words: str, **variables: str) -> subprocess.Popen[str]:
        process = subprocess.Popen(
            [sys.executable, "-m", "stcli", "worker", *words],
            env={**os.environ, "STCLI_HOME": str(home), **variables},
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            start_new_session=True,
        )
        running.append(process)
        return process

    yield started
    for process in running:
        if process.poll() is None:
            process.kill()
        process.communicate()


def until(is_so: Callable[[], object], what: str) -> None:
    deadline = time.monotonic() + PATIENCE
    while not is_so():
        assert time.monotonic() < deadline, what
        time.sleep(0.1)


def execute(url: str, statement: str) -> None:
    with closing(psycopg.connect(driver_address(url), autocommit=True)) as sql:
        sql.execute(statement)


def test_a_campaign_runs_at_its_turn_and_a_stop_is_clean(
    shared, connected, cli: Cli, world: World, start
) -> None:
    """Everybody is booked; in the middle of the next pass SIGTERM ends both within seconds, and the
    job is the queue's again for the next worker."""
    worker = start()
    until(lambda: len(world.per_external_id()) == 11, "eleven bookings")
    until(lambda: not cli("worker", "status", "--json").document["queue"]["running"], "rest")
    document = cli("worker", "status", "--json").document
    (one,) = document["workers"]
    assert (one["host"], one["process"]) == ("here", worker.pid)
    assert document["queue"] == {"waiting": [], "running": [], "lost": [], "failed": []}

    for number in range(6):
        world.someone_new(f"New{number}")
    world.fault("delay", api="st", method="POST", route="/bookings", seconds=1.0)
    execute(shared, "UPDATE worker_turns SET deferred_at = '2026-01-01T00:00:00.000000Z'")
    until(lambda: len(world.bookings()) > 11, "a new booking")
    text = cli("worker", "status").out
    assert "spring-hvac" in text
    assert "1 running" in text
    worker.send_signal(signal.SIGTERM)
    began = time.monotonic()
    out, err = worker.communicate(timeout=30)
    assert time.monotonic() - began < 10
    assert worker.returncode == 143, (out, err)
    assert "Traceback" not in err
    assert cli("worker", "status", "--json").document["passes"] == []
    world.no_faults()

    start()
    until(lambda: len(world.per_external_id()) == 17, "the rest of the bookings")
    assert set(world.per_external_id().values()) == {1}


def test_the_job_of_a_killed_worker_is_given_to_another(
    shared, connected, cli: Cli, world: World, start, tmp_path
) -> None:
    """Worker and pass die with -9; once its heartbeat is old the other worker has it."""
    world.fault("delay", api="st", method="POST", route="/bookings", seconds=0.5)
    worker = start()
    until(lambda: len(world.bookings()) > 2, "some bookings")
    children = Path(f"/proc/{worker.pid}/task/{worker.pid}/children").read_text(encoding="ascii")
    os.kill(worker.pid, signal.SIGKILL)
    for child in children.split():
        os.kill(int(child), signal.SIGKILL)
    worker.wait()
    world.no_faults()
    execute(
        shared,
        "UPDATE stcli_queue.procrastinate_workers SET last_heartbeat = now() - interval '1 hour'",
    )
    assert cli("worker", "status", "--json").document["queue"]["lost"]
    start()
    until(lambda: len(world.per_external_id()) == 11, "eleven bookings")
    assert set(world.per_external_id().values()) == {1}


def test_a_campaign_that_another_host_held_comes_again(
    shared, connected, cli: Cli, world: World, start
) -> None:
    """Exit 7 is no turn: once the lease is over the next tick gives another one."""
    execute(
        shared,
        "INSERT INTO locks SELECT 'spring-hvac', 1, 1, 'elsewhere', 1, 's', 'leads', t, to_char("
        "now() AT TIME ZONE 'UTC' + interval '8 s', 'YYYY-MM-DD\"T\"HH24:MI:SS.US\"Z\"') "
        "FROM (SELECT '2026-01-01T00:00:00.000000Z' t) now_then ON CONFLICT (name) DO UPDATE SET "
        "held = 1, host = 'elsewhere', expires_at = excluded.expires_at",
    )
    assert cli("leads", "run").code == 7
    start()
    until(lambda: len(world.per_external_id()) == 11, "eleven bookings")
    assert set(world.per_external_id().values()) == {1}


def test_a_pass_that_fails_is_told(shared, connected, cli: Cli, world: World, start) -> None:
    """It is not run again and again, and the worker goes on."""
    world.fault("status", status=401, api="rf")
    worker = start()
    until(lambda: cli("worker", "status", "--json").document["queue"]["failed"], "a failed job")
    assert worker.poll() is None
    assert "stcli history list spring-hvac" in cli("worker", "status").out


def test_two_that_begin_at_once_make_the_queue_once(
    shared, connected, cli: Cli, world: World, start
) -> None:
    """And give each campaign one turn."""
    workers = [start(STCLI_HOST_ID="one"), start(STCLI_HOST_ID="two")]
    until(lambda: len(world.per_external_id()) == 11, "eleven bookings")
    hosts = {one["host"] for one in cli("worker", "status", "--json").document["workers"]}
    assert hosts == {"one", "two"}
    time.sleep(1)
    assert all(worker.poll() is None for worker in workers)
    assert set(world.per_external_id().values()) == {1}
    runs = cli("history", "list", "--json").document["runs"]
    assert [run["pass"] for run in runs].count("leads") == 1


def test_an_unknown_version_of_the_queue_is_refused(shared, connected, cli: Cli, start) -> None:
    """By the worker and by its status, saying what to do."""
    _make_other_queue(shared)
    worker = start()
    _, err = worker.communicate(timeout=30)
    assert worker.returncode == 3
    assert "procrastinate 9" in err
    ran = cli("worker", "status")
    assert ran.code == 3
    assert "DROP SCHEMA" in ran.err


def _make_other_queue(url: str) -> None:
    with closing(psycopg.connect(driver_address(url), autocommit=True)) as sql:
        sql.execute("CREATE SCHEMA stcli_queue")
        sql.execute("CREATE TABLE stcli_queue.stcli_version (version TEXT)")
        sql.execute("INSERT INTO stcli_queue.stcli_version VALUES ('procrastinate 9')")


def test_a_worker_whose_database_goes_away_ends(
    shared, connected, cli: Cli, world: World, start, postgres_server: str
) -> None:
    """Exit 6, for whoever restarts it; no traceback."""
    worker = start()
    until(lambda: cli("worker", "status", "--json").document["workers"], "a worker")
    with closing(psycopg.connect(f"{postgres_server}/postgres", autocommit=True)) as sql:
        sql.execute("ALTER DATABASE made ALLOW_CONNECTIONS false")
        try:
            sql.execute(
                "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = 'made'"
            )
            _, err = worker.communicate(timeout=PATIENCE)
        finally:
            sql.execute("ALTER DATABASE made ALLOW_CONNECTIONS true")
    assert worker.returncode == 6, err
    assert "Traceback" not in err
    assert "cannot be reached" in err


def test_a_worker_that_was_taken_for_dead_begins_anew(
    shared, connected, cli: Cli, world: World, start
) -> None:
    """As after its host was suspended: the others forgot it, and the queue gives it nothing more."""
    worker = start()
    until(lambda: len(world.per_external_id()) == 11, "eleven bookings")
    until(lambda: not cli("worker", "status", "--json").document["queue"]["running"], "rest")
    world.someone_new("Later")
    execute(
        shared,
        "DELETE FROM stcli_queue.procrastinate_workers; "
        "UPDATE worker_turns SET deferred_at = '2026-01-01T00:00:00.000000Z'",
    )
    until(lambda: len(world.per_external_id()) == 12, "the booking of who came later")
    worker.terminate()
    _, err = worker.communicate(timeout=PATIENCE)
    assert worker.returncode == 143
    assert "took this worker for dead: it begins anew" in err


def test_without_a_shared_database_it_says_what_is_missing(connected, cli: Cli) -> None:
    """One machine alone has the schedule."""
    for words in (("worker",), ("worker", "status")):
        ran = cli(*words)
        assert ran.code == 2
        assert "STCLI_DATABASE_URL" in ran.err
        assert "schedule install" in ran.err
