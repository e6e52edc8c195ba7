"""``stcli status``: where everything stands, on one screen."""

from __future__ import annotations

import os
import sqlite3
import stat
import sys
from contextlib import closing
from datetime import UTC, datetime, timedelta

import pexpect
import pytest

from tests.integration.conftest import edit
from tests.unit.scheduling.test_crontab import COMMAND


@pytest.fixture
def crontab(tmp_path, monkeypatch):
    """A crontab of our own, and no systemd."""
    command = tmp_path / "bin" / "crontab"
    command.parent.mkdir()
    command.write_text(COMMAND)
    command.chmod(command.stat().st_mode | stat.S_IXUSR)
    monkeypatch.setenv("PATH", f"{command.parent}:{os.environ['PATH']}")
    monkeypatch.setenv("TABLE", str(tmp_path / "table"))
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setattr("stcli.scheduling.systemd_units.BOOTED", tmp_path / "none")


def test_when_it_runs_next(crontab, connected, cli) -> None:
    """Told from the schedule that is installed; without one, how to get it."""
    assert "schedule: none of stcli's" in cli("status").out
    assert cli("status", "--json").document["schedule"] == {"installed": False, "next_run": None}
    cli("schedule", "install", "--every", "30m")
    assert "schedule: all campaigns every 30m (cron), next at 20" in cli("status").out
    schedule = cli("status", "--json").document["schedule"]
    assert schedule["installed"] is True
    ahead = datetime.fromisoformat(schedule["next_run"]) - datetime.now(UTC)
    assert timedelta(seconds=-2) < ahead <= timedelta(minutes=30)


def test_what_is_due_later(crontab, connected, cli, world) -> None:
    """Qualifications that wait for ``hold_days``, and until when the first one does."""
    edit(connected, ("  value: Completed\n", "  value: Completed\n  hold_days: 3\n"))
    cli("run")
    for booking in world.bookings()[:2]:
        world.job_of(booking, "Dispatched", "InProgress", "Completed")
    cli("qualify", "run")
    assert "due later: 2 qualifications wait for their time" in cli("status").out
    held = cli("status", "--json").document["campaigns"][0]["held"]
    assert held["leads"] == 2
    until = datetime.fromisoformat(held["until"]) - datetime.now(UTC)
    assert timedelta(days=2, hours=23) < until < timedelta(days=3, minutes=1)


def test_what_is_stuck(crontab, connected, cli, world, home) -> None:
    """Writes without an answer, records that failed, a process at work."""
    world.fault("status", method="POST", route="/bookings", status=500)
    cli("run")
    campaign = cli("status", "--json").document["campaigns"][0]
    assert campaign["in_doubt"] > 0
    assert campaign["running"] is None
    assert f"in doubt: {campaign['in_doubt']} bookings" in cli("status").out
    from stcli.processes import this_process

    me = this_process(os.environ)
    with closing(sqlite3.connect(home / "state" / "stcli.db")) as sql:
        sql.execute(
            "UPDATE locks SET held = 1, host = ?, pid = ?, process_start = ? "
            "WHERE name = 'spring-hvac'",
            (me.host, me.pid, me.start),
        )
        sql.commit()
    running = cli("status", "--json").document["campaigns"][0]["running"]
    assert f"process {me.pid} on " in running["by"]
    assert "running: process" in cli("status").out


def test_a_crontab_that_cannot_be_read_hides_nothing_else(
    crontab, connected, cli, tmp_path
) -> None:
    """The rest of the screen is there, and exit 0."""
    (tmp_path / "bin" / "crontab").write_text("#!/bin/sh\necho 'not allowed' >&2; exit 1\n")
    ran = cli("status")
    assert ran.code == 0
    assert "spring-hvac: connected" in ran.out
    assert "schedule: the crontab cannot be read: not allowed" in ran.out
    (tmp_path / "bin" / "crontab").write_text("#!/bin/sh\necho '@hourly stcli run --all'\n")
    assert "schedule: another line of your crontab calls stcli run" in cli("status").out


def test_watch_is_for_terminals(crontab, connected, cli) -> None:
    """Through a pipe it would never end."""
    for words in (("status", "--watch"), ("status", "--watch", "--json")):
        ran = cli(*words)
        assert ran.code == 2
        assert "--watch" in ran.text


def test_watch_draws_until_ctrl_c(crontab, connected, cli) -> None:
    """What happens meanwhile is seen; Ctrl-C ends with 130 and gives the screen back."""
    words = [sys.executable, "-m", "stcli", "status", "--watch"]
    terminal = pexpect.spawn(words[0], words[1:], timeout=20, encoding="utf-8", dimensions=(30, 90))
    terminal.expect("spring-hvac: connected")
    cli("run")
    terminal.expect("last leads: ")
    terminal.sendintr()
    terminal.expect(pexpect.EOF)
    terminal.close()
    assert terminal.exitstatus == 130
