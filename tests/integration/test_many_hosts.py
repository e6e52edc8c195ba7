"""Two hosts on one database: who does what, what each sees of the other, and when one of them dies."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from datetime import timedelta
from pathlib import Path

import psycopg
import pytest

from stcli.database_address import driver_address
from tests.integration.conftest import Cli, Ran, edit

Host = Callable[..., Ran]


@pytest.fixture
def there(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, cli: Cli) -> Host:
    """Another host: a home of its own, without any campaign file."""

    def ran(*words: str) -> Ran:
        with monkeypatch.context() as other:
            other.setenv("STCLI_HOME", str(tmp_path / "there"))
            other.setenv("STCLI_HOST_ID", "there")
            return cli(*words)

    return ran


def deploy(file: Path, tmp_path: Path) -> Path:
    """The campaign file on the other host too."""
    other = tmp_path / "there" / "campaigns" / file.name
    other.parent.mkdir(parents=True, exist_ok=True)
    other.write_bytes(file.read_bytes())
    return other


@contextmanager
def sql(url: str) -> Iterator[psycopg.Connection]:
    with closing(psycopg.connect(driver_address(url), autocommit=True)) as opened:
        yield opened


def test_a_request_is_decided_on_another_host(shared, pointed, cli, there) -> None:
    """Without the campaign's file there; who approved what and when stands in the database."""
    tenant = str(pointed.credentials.tenant_id)
    assert cli("connect", "spring-hvac", "--tenant-id", tenant).code == 0
    (request,) = there("requests", "list", "--json").document["requests"]
    assert (request["campaign"], request["connection"]) == ("spring-hvac", "pending")
    assert str(request["tenant_id"]) == tenant
    ran = there("requests", "approve", "spring-hvac")
    assert ran.code == 0, ran.text
    (campaign,) = cli("status", "--json").document["campaigns"]
    assert campaign["connection"] == "finalize"
    with sql(shared) as rows:
        told = rows.execute(
            "SELECT step, actor, at FROM connection_events ORDER BY event_id"
        ).fetchall()
    assert [step for step, _, _ in told] == ["connect", "approve"]
    assert all("@" in actor and at.endswith("Z") for _, actor, at in told)
    (request,) = cli("requests", "list", "--json").document["requests"]
    assert request["decided_by"] == told[1][1]


def test_each_sees_what_the_other_did(shared, connected, cli, there, tmp_path, world) -> None:
    """The second host finds every lead booked, and books only who came since."""
    deploy(connected, tmp_path)
    assert cli("leads", "run", "--json").document["counts"]["created"] == 11
    world.someone_new()
    document = there("leads", "run", "--json").document
    assert (document["counts"]["created"], document["counts"]["unchanged"]) == (1, 11)
    assert set(world.per_external_id().values()) == {1}
    runs = cli("history", "list", "--json").document["runs"]
    assert {run["host"] for run in runs} == {"here", "there"}
    assert len({run["file_hash"] for run in runs}) == 1


def test_another_file_does_not_run_until_it_is_accepted(
    shared, connected, cli, there, tmp_path, world
) -> None:
    """The first file that is run with counts; a host with another one says so everywhere."""
    other = deploy(connected, tmp_path)
    assert cli("leads", "run", "--limit", "1").code == 0
    other.write_text(other.read_text(encoding="utf-8") + "# new\n", encoding="utf-8")
    before = len(world.bookings())
    ran = there("leads", "run")
    assert ran.code == 3
    assert "not the one that" in ran.err
    assert "map validate spring-hvac --accept" in ran.err
    assert len(world.bookings()) == before
    # A dry run tells what the new file would do.
    assert there("leads", "run", "--dry-run").code == 0
    assert "not the one that" in there("status").out
    assert there("status", "--json").document["campaigns"][0]["file_accepted"] is False
    assert "not the file that" in there("map", "validate").err

    ran = there("map", "validate", "--accept", "--json")
    assert ran.code == 0, ran.text
    assert ran.document["accepted"] is True
    assert there("leads", "run", "--limit", "1").code == 0
    assert cli("leads", "run").code == 3
    deploy(other, connected.parents[2])
    connected.write_bytes(other.read_bytes())
    assert cli("leads", "run").code == 0


def test_a_file_that_is_not_ready_is_not_accepted(shared, connected, cli) -> None:
    """Else no host could run at all."""
    assert cli("leads", "run", "--limit", "1").code == 0
    edit(connected, ("    email:                {type: dynamic, from: email}\n", ""))
    ran = cli("map", "validate", "--accept")
    assert ran.code == 3
    assert "not accepted" in ran.err
    assert cli("leads", "run").code == 3


def test_a_home_of_its_own_accepts_nothing(connected, cli) -> None:
    """One host's file always counts."""
    assert cli("leads", "run", "--limit", "1").code == 0
    connected.write_text(connected.read_text(encoding="utf-8") + "# new\n", encoding="utf-8")
    assert cli("leads", "run", "--limit", "1").code == 0
    ran = cli("map", "validate", "--accept", "--json")
    assert ran.code == 0
    assert ran.document["accepted"] is False


def _start(home: Path, url: str, host: str, *words: str) -> subprocess.Popen[str]:
    environment = {**os.environ, "STCLI_HOME": str(home), "STCLI_HOST_ID": host}
    return subprocess.Popen(
        [sys.executable, "-m", "stcli", *words],
        env={**environment, "STCLI_DATABASE_URL": url},
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def test_the_lease_of_a_dead_host_moves_on_without_a_second_booking(
    shared, connected, cli, there, tmp_path, world, home
) -> None:
    """Killed with answers under way: kept out until the lease is over, then the other host goes on."""
    deploy(connected, tmp_path)
    world.fault("delay", api="st", method="POST", route="/bookings", seconds=0.5)
    process = _start(home, shared, "here", "leads", "run")
    deadline = time.monotonic() + 30
    while len(world.bookings()) < 3:
        assert time.monotonic() < deadline
        assert process.poll() is None
        time.sleep(0.02)
    process.send_signal(signal.SIGKILL)
    process.communicate()
    world.no_faults()

    ran = there("leads", "run")
    assert ran.code == 7
    assert "on here" in ran.err
    with sql(shared) as rows:
        # A minute passes.
        rows.execute("UPDATE locks SET expires_at = acquired_at")
    for _ in range(4):
        ran = there("leads", "run", "--json")
        assert ran.code == 0, ran.text
        if len(world.per_external_id()) == 11:
            break
    counts = world.per_external_id()
    assert len(counts) == 11
    assert set(counts.values()) == {1}


def test_after_a_failover_what_may_be_forgotten_is_waited_for(
    shared, connected, cli, world
) -> None:
    """A standby may lack the last intents: nobody asks again before they can take effect no more."""
    assert cli("leads", "run", "--limit", "3").code == 0
    with sql(shared) as rows:
        rows.execute("UPDATE database_identity SET identity = 'another', since = NULL")
    began = time.monotonic()
    ran = cli("leads", "run", "--json")
    assert ran.code == 0, ran.text
    # Twice the time of doubt and a little: a second here, and twice five for the clocks.
    assert time.monotonic() - began > 20
    assert set(world.per_external_id().values()) == {1}


def test_a_server_that_is_away_is_told(shared, connected, cli, monkeypatch) -> None:
    """Exit 6, as of any system that does not answer; nothing is asked of either API."""
    monkeypatch.setenv("STCLI_DATABASE_URL", "postgresql+psycopg://stcli:hunter2@127.0.0.1:9/x")
    for words in (("leads", "run"), ("status",), ("run",)):
        ran = cli(*words)
        assert ran.code == 6, (words, ran.text)
        assert "cannot be reached" in ran.err
        assert "hunter2" not in ran.text
    assert "hunter2" not in cli("config", "path").out


def test_an_address_of_something_else_is_wrong_usage(pointed, cli, monkeypatch) -> None:
    """Quoted nowhere: it may hold a password."""
    monkeypatch.setenv("STCLI_DATABASE_URL", "mysql://root:hunter2@db/x")
    ran = cli("status")
    assert ran.code == 2
    assert "hunter2" not in ran.text
    assert "postgresql+psycopg://" in ran.err


def test_a_home_moves_to_a_server_and_back(
    postgres, connected, cli, world, home, monkeypatch, tmp_path
) -> None:
    """What was booked is known on the other side; nobody is booked twice."""
    assert cli("leads", "run", "--limit", "6").code == 0
    ran = cli("state", "copy", "--to", postgres, "--json")
    assert ran.code == 0, ran.text
    assert ran.document["rows"]["ledger"] == 6
    monkeypatch.setenv("STCLI_DATABASE_URL", postgres)
    document = cli("leads", "run", "--json").document
    assert (document["counts"]["created"], document["counts"]["unchanged"]) == (5, 6)
    ran = cli("state", "copy", "--from", postgres, "--to", f"sqlite:///{home}/state/stcli.db")
    assert ran.code == 2
    assert "--replace" in ran.err
    ran = cli(
        "state", "copy", "--from", postgres, "--to", f"sqlite:///{home}/state/stcli.db",
        "--replace", "--yes", "--json",
    )  # fmt: skip
    assert ran.code == 0, ran.text
    monkeypatch.delenv("STCLI_DATABASE_URL")
    assert cli("leads", "run", "--json").document["counts"]["unchanged"] == 11
    assert set(world.per_external_id().values()) == {1}


@pytest.mark.parametrize(
    "url",
    [
        "postgresql+psycopg://stcli:hunter2@127.0.0.1:9/x",
        "postgresql+psycopg://stcli:a#hunter2@127.0.0.1:9/x",
        "postgresql+psycopg://stcli:a?hunter2@127.0.0.1:9/x",
        "postgresql+psycopg://stcli:a/hunter2@b@127.0.0.1:9/x",
        "postgresql+psycopg://127.0.0.1:9/x?password=hunter2",
        "postgresql+psycopg://127.0.0.1:9/x?pasword=hunter2",
        "postgresql+psycopg://stcli:%hunter2@127.0.0.1:9/x",
    ],
)
def test_a_password_in_the_address_is_shown_nowhere(connected, cli, home, monkeypatch, url) -> None:
    """Whatever is wrong with the address."""
    monkeypatch.setenv("STCLI_DATABASE_URL", url)
    for words in (
        ("config", "path"), ("status",), ("leads", "run"), ("worker", "status"), ("worker",),
        ("doctor", "--json"), ("state", "check", "--json"), ("state", "copy"),
    ):  # fmt: skip
        ran = cli(*words)
        assert ran.code in (0, 2, 3, 6), (words, ran.text)
        assert "hunter2" not in ran.text, words
    for file in home.rglob("*"):
        assert file.is_dir() or b"hunter2" not in file.read_bytes()


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (("--to", "postgresql://u:hunter2@127.0.0.1/x"), "password"),
        (("--to", "postgresql://127.0.0.1/x?password=hunter2"), "password"),
        (("--to", "oracle://db"), "--to is no address"),
        ((), "neither --to nor STCLI_DATABASE_URL"),
        (("--from", "sqlite:///nowhere/at/all.db", "--to", "sqlite:///tmp/x.db"), "no state in"),
    ],
)
def test_a_copy_that_cannot_be_is_wrong_usage(connected, cli, words, said) -> None:
    """And a password on the command line is refused: every user of the machine could read it."""
    ran = cli("state", "copy", *words)
    assert ran.code == 2, ran.text
    assert said in ran.err
    assert "hunter2" not in ran.text


def test_nothing_is_copied_while_a_pass_runs(postgres, connected, cli, home) -> None:
    """What it writes would be missing."""
    from datetime import UTC, datetime

    from stcli.processes import is_alive, this_process
    from stcli.store.locks import Locks
    from stcli.store.sqlite import open_sqlite

    with closing(open_sqlite(home / "state" / "stcli.db")) as database:
        locks = Locks(database, this_process(os.environ), is_alive, lambda: datetime.now(UTC))
        with locks.hold("spring-hvac", "leads"):
            ran = cli("state", "copy", "--to", postgres)
    assert ran.code == 7
    assert cli("state", "copy", "--to", postgres).code == 0


def test_a_copy_of_a_server_is_made_and_put_back(shared, connected, cli, world) -> None:
    """As of a home: what was booked since is found again."""
    copy = cli("state", "backup").out.strip()
    assert cli("leads", "run").code == 0
    ran = cli("state", "restore", copy, "--yes", "--json")
    assert ran.code == 0, ran.text
    assert cli("state", "check", "--json").document["rows"]["ledger"] == 0
    document = cli("leads", "run", "--json").document
    assert (document["counts"]["linked"], document["counts"]["created"]) == (11, 0)
    assert set(world.per_external_id().values()) == {1}


def test_a_schedule_carries_the_address_and_no_password(
    shared, connected, cli, monkeypatch
) -> None:
    """A crontab is no place for one."""
    ran = cli("schedule", "show", "--cron")
    assert ran.code == 0, ran.text
    assert f"STCLI_DATABASE_URL={shared}" in ran.out.replace("'", "")
    monkeypatch.setenv("STCLI_DATABASE_URL", shared.replace("stcli@", "stcli:hunter2@"))
    ran = cli("schedule", "show", "--cron")
    assert ran.code == 3
    assert "pgpass" in ran.err
    assert "hunter2" not in ran.text


def test_a_week_of_two_hosts_has_one_turn_each_time(postgres) -> None:
    """Whichever host's clock ticks, a campaign's turn comes once an interval."""
    from datetime import UTC, datetime

    from stcli.domain.ids import CampaignName
    from stcli.store.postgres import open_postgres
    from stcli.store.turns import Turns

    spring, autumn = CampaignName("spring"), CampaignName("autumn")
    every = {spring: timedelta(minutes=15), autumn: timedelta(hours=1)}
    now = datetime(2026, 11, 27, tzinfo=UTC)
    given: list[str] = []
    with closing(open_postgres(postgres)) as first, closing(open_postgres(postgres)) as second:
        for minute in range(120):
            turns = Turns((first, second)[minute % 2])
            at = now + timedelta(minutes=minute)
            for name in turns.due(every, at):
                given.append(name)
                turns.took(name, at)
        assert (given.count("spring"), given.count("autumn")) == (8, 2)
        # A turn that a wrong clock noted in the future keeps nobody waiting for years.
        turns.took(spring, now + timedelta(days=900))
        assert turns.due(every, now + timedelta(minutes=125)) == [autumn, spring]
