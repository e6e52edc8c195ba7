"""One booking for each person, whatever happens between."""

from __future__ import annotations

import os
import random
import shutil
import signal
import sqlite3
import subprocess
import sys
import time
from contextlib import closing
from pathlib import Path

import pytest

from stcli.sandbox.server import RunningSandbox
from stcli.sandbox.settings import SandboxSettings
from tests.integration.conftest import CLIENT_ID

POST = "POST /crm/v2/tenant/{tenant}/booking-provider/{booking_provider}/bookings"


@pytest.fixture
def sandbox():
    """Thirty leads, one of them a test."""
    with RunningSandbox(SandboxSettings(leads=30)) as running:
        yield running


def _until_quiet(cli, passes: int = 6) -> None:
    for _ in range(passes):
        ran = cli("leads", "run", "--json")
        assert ran.code in (0, 5, 6), ran.text
        if ran.code == 0 and ran.document["counts"]["unchanged"] == 29:
            return
    raise AssertionError(f"never quiet: {ran.text}")


def _one_each(world) -> None:
    counts = world.per_external_id()
    assert len(counts) == 29
    assert set(counts.values()) == {1}


@pytest.mark.parametrize(
    ("kind", "options"),
    [
        ("lose_answer", {"every": 3}),
        ("reset_before", {"every": 3}),
        ("truncate", {"every": 3}),
        ("garbage", {"every": 4, "times": 5}),
        ("error_as_success", {"every": 4, "times": 3, "commit": True}),
        ("late_commit", {"every": 3, "commit_after_seconds": 0.7}),
        ("status", {"every": 3, "status": 500, "times": 6}),
        ("status", {"every": 3, "status": 503, "body": "html", "times": 6}),
        ("status", {"every": 4, "status": 429, "headers": {"Retry-After": "1"}, "times": 2}),
        ("status", {"every": 5, "status": 409, "times": 2}),
    ],
)
def test_faults_of_the_write_make_no_second_booking(connected, cli, world, kind, options) -> None:
    """Lost answers, late commits, 5xx, throttling and maintenance: one booking each in the end."""
    world.fault(kind, method="POST", route="/bookings", **options)
    for _ in range(2):
        ran = cli("leads", "run", "--json")
        assert ran.code in (0, 5, 6), ran.text
    world.no_faults()
    time.sleep(0.8)
    _until_quiet(cli)
    _one_each(world)


def test_a_doubtful_booking_that_exists_is_found_at_once(connected, cli, world) -> None:
    """The list shows it: linked in the same pass, without a second POST."""
    world.fault("lose_answer", method="POST", route="/bookings", every=3)
    ran = cli("leads", "run", "--json")
    assert ran.code == 0, ran.text
    counts = ran.document["counts"]
    assert counts["linked"] == 9
    assert counts["created"] + counts["linked"] == 29
    posts = world.requests("st")[POST]
    assert posts == 29
    _one_each(world)


@pytest.mark.parametrize("route", ["/bookings", "/export/bookings", "/users"])
def test_an_error_that_came_as_a_success_is_no_empty_list(
    connected, cli, world, home, route
) -> None:
    """The database is lost and the lists that would show the bookings answer 200 with an error."""
    cli("leads", "run", "--limit", "20")
    for file in (home / "state").glob("stcli.db*"):
        file.unlink()
    for words in (
        ("connect", "spring-hvac", "--tenant-id", "985798691"),
        ("requests", "approve", "spring-hvac"),
        ("finalize", "spring-hvac", "--client-id", CLIENT_ID, "--booking-provider", "4521"),
    ):
        assert cli(*words).code == 0
    world.fault("error_as_success", method="GET", route=route)
    ran = cli("leads", "run", "--json")
    assert ran.code == 6, ran.text
    assert ran.document["counts"]["created"] == 0
    world.no_faults()
    assert cli("leads", "run", "--json").document["counts"]["linked"] == 20
    _one_each(world)


def test_a_look_up_that_answers_with_an_error_books_nothing(connected, cli, world) -> None:
    """Unanswered writes, and 200 with an error when their bookings are asked for."""
    world.fault("lose_answer", method="POST", route="/bookings", every=3)
    world.fault("error_as_success", method="GET", route="/bookings")
    for _ in range(2):
        assert cli("leads", "run").code in (0, 6)
    world.no_faults()
    _until_quiet(cli)
    _one_each(world)


def test_a_server_that_is_down_ends_the_pass(connected, cli, world) -> None:
    """Silent writes in a row: exit 6, the rest is left for the next pass."""
    world.fault("status", method="POST", route="/bookings", status=500)
    ran = cli("leads", "run", "--json")
    assert ran.code == 6, ran.text
    assert ran.document["error"]["exit_code"] == 6
    world.no_faults()
    _until_quiet(cli)
    _one_each(world)


def test_a_deleted_database_makes_no_second_booking(connected, cli, world, home: Path) -> None:
    """The bookings feed shows what was booked."""
    cli("leads", "run", "--limit", "20")
    for file in (home / "state").glob("stcli.db*"):
        file.unlink()
    for words in (
        ("connect", "spring-hvac", "--tenant-id", "985798691"),
        ("requests", "approve", "spring-hvac"),
        ("finalize", "spring-hvac", "--client-id", CLIENT_ID, "--booking-provider", "4521"),
    ):
        assert cli(*words).code == 0
    ran = cli("leads", "run", "--json")
    assert ran.document["counts"]["linked"] == 20
    assert ran.document["counts"]["created"] == 9
    _one_each(world)


def test_a_restored_old_database_makes_no_second_booking(connected, cli, world, home) -> None:
    """A copy from before the bookings, put back after them."""
    cli("leads", "run", "--limit", "5")
    shutil.copytree(home / "state", home.parent / "copy")
    cli("leads", "run")
    shutil.rmtree(home / "state")
    shutil.copytree(home.parent / "copy", home / "state")
    ran = cli("leads", "run", "--json")
    assert ran.document["counts"]["created"] == 0
    assert ran.document["counts"]["linked"] == 24
    _one_each(world)


def test_a_changed_mapping_does_not_book_anybody_again(connected, cli, world) -> None:
    """Who was booked stays booked, under whatever external id."""
    cli("leads", "run")
    text = connected.read_text(encoding="utf-8")
    connected.write_text(
        text.replace("{type: dynamic, from: code}", '{type: template, template: "rf-{id}"}')
    )
    assert cli("leads", "run", "--json").document["counts"]["created"] == 0
    assert len(world.bookings()) == 29


def _spawn(*words: str) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, "-m", "stcli", *words],
        env=dict(os.environ),
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


@pytest.mark.parametrize("seed", range(4))
def test_kill_9_at_any_moment_makes_no_second_booking(connected, cli, world, seed) -> None:
    """A process killed from outside, again and again, then a quiet run."""
    chance = random.Random(seed)
    world.fault("delay", method="POST", route="/bookings", seconds=0.15)
    for _ in range(4):
        process = _spawn("leads", "run", "--limit", "8")
        time.sleep(0.55 + chance.random() * 0.5)
        process.kill()
        process.communicate()
    world.no_faults()
    _until_quiet(cli)
    _one_each(world)


def test_two_processes_do_not_share_a_campaign(connected, cli, world) -> None:
    """One works, the other ends with 7 and says who holds the lock since when."""
    world.fault("delay", method="POST", route="/bookings", seconds=0.7)
    first = _spawn("leads", "run")
    deadline = time.monotonic() + 10
    while POST not in world.requests("st"):
        assert time.monotonic() < deadline
        time.sleep(0.02)
    ran = cli("leads", "run", "--json")
    assert ran.code == 7, ran.text
    assert str(first.pid) in ran.document["error"]["message"]
    first.communicate()
    assert first.returncode == 0
    _one_each(world)


@pytest.mark.parametrize(("number", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
def test_a_signal_stops_cleanly_and_the_next_run_goes_on(
    connected, cli, world, number, code
) -> None:
    """Within five seconds, exit 130 or 143, one document, and nobody is booked twice."""
    world.fault("delay", method="POST", route="/bookings", seconds=0.4)
    process = _spawn("leads", "run", "--json")
    while POST not in world.requests("st"):
        time.sleep(0.02)
    asked = time.monotonic()
    process.send_signal(number)
    out, _ = process.communicate(timeout=10)
    assert time.monotonic() - asked < 5
    assert process.returncode == code
    assert '"status": "interrupted"' in out
    world.no_faults()
    _until_quiet(cli)
    _one_each(world)


def test_limits_are_kept(connected, cli, world) -> None:
    """Neither system ever refused a call for coming too fast."""
    cli("leads", "run")
    cli("qualify", "run")
    seen = world.get("/requests")
    for api in ("st", "rf", "auth"):
        assert seen["apis"][api]["too_many_requests"] == 0
    assert seen["apis"]["st"]["max_in_window"] <= 60


def test_a_refused_feed_token_only_repeats_what_is_known(connected, cli, world, home) -> None:
    """The server forgot where we were: the feed is begun again, nobody is booked again."""
    cli("leads", "run", "--limit", "9")
    with closing(sqlite3.connect(home / "state" / "stcli.db")) as sql, sql:
        sql.execute("UPDATE feeds SET token = 'bm90LWEtdG9rZW4='")
        sql.execute("DELETE FROM ledger")
    ran = cli("leads", "run", "--json")
    assert ran.code == 0, ran.text
    assert ran.document["counts"]["linked"] == 9
    _one_each(world)


def test_a_database_restored_from_amid_the_doubts_finds_them(connected, cli, world, home) -> None:
    """Intents of a copy made in the middle of a pass are looked for, not repeated."""
    world.fault("delay", method="POST", route="/bookings", seconds=0.3)
    process = _spawn("leads", "run")
    while POST not in world.requests("st"):
        time.sleep(0.02)
    shutil.copytree(home / "state", home.parent / "copy")
    process.communicate()
    world.no_faults()
    shutil.rmtree(home / "state")
    shutil.copytree(home.parent / "copy", home / "state")
    _until_quiet(cli)
    _one_each(world)


def test_a_failure_is_tried_again_on_request(connected, cli, world) -> None:
    """Parked records wait; retry lets the next pass try, dismiss lets them go."""
    text = connected.read_text(encoding="utf-8")
    bad = "    campaign: {type: dynamic, from: meta.Last Name}\n    phone: "
    connected.write_text(text.replace("    phone: ", bad), encoding="utf-8")
    assert cli("leads", "run").code == 5
    assert cli("leads", "run").code == 0
    listed = cli("failures", "list", "--json").document["failures"]
    assert {f["state"] for f in listed} == {"parked"}
    assert len(listed) == 29
    for change in ("retry", "dismiss"):
        ran = cli("failures", change, str(listed[0]["id"]), "9999")
        assert ran.code == 2, ran.text
        assert "no failure 9999" in ran.err
    assert cli("leads", "run").code == 0
    assert cli("failures", "retry", str(listed[0]["id"])).code == 0
    assert cli("leads", "run").code == 5
    assert cli("failures", "dismiss", *(str(f["id"]) for f in listed)).code == 0
    assert cli("failures", "list", "--json").document["failures"] == []
    assert cli("leads", "run").code == 0
    connected.write_text(text, encoding="utf-8")
    _until_quiet(cli)
    _one_each(world)
