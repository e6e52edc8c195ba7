"""``stcli schedule`` at its command line, with a crontab in a file; and runs that are not due."""

from __future__ import annotations

import os
import sqlite3
import stat
import subprocess
import sys
from contextlib import closing
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from tests.integration.conftest import edit
from tests.unit.scheduling.test_crontab import COMMAND

ROOT = Path(__file__).parents[2]


@pytest.fixture
def table(tmp_path, home, monkeypatch) -> Path:
    """A crontab of our own, and no systemd."""
    command = tmp_path / "bin" / "crontab"
    command.parent.mkdir()
    command.write_text(COMMAND)
    command.chmod(command.stat().st_mode | stat.S_IXUSR)
    monkeypatch.setenv("PATH", f"{command.parent}:{os.environ['PATH']}")
    monkeypatch.setenv("TABLE", str(tmp_path / "table"))
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.delenv("XDG_CONFIG_HOME", raising=False)
    monkeypatch.setattr("stcli.scheduling.systemd_units.BOOTED", tmp_path / "none")
    return tmp_path / "table"


def test_a_schedule_is_installed_told_and_removed(table, cli, connected, home) -> None:
    """With what the shell has and a bare run needs, without its secrets."""
    assert "no schedule" in cli("schedule", "status").out
    ran = cli("schedule", "install", "--every", "1h")
    assert ran.code == 0
    assert "installed: every 1h, cron" in ran.out
    assert "STCLI_ST_CLIENT_SECRET" in ran.err
    text = table.read_text()
    assert f"STCLI_HOME={home} " in text
    assert "run --all >/dev/null" in text
    for name in ("STCLI_RF_TOKEN", "STCLI_ST_APP_KEY", "STCLI_ST_CLIENT_SECRET"):
        assert os.environ[name] not in text + ran.text
    assert "already" in cli("schedule", "install").out
    (entry,) = cli("schedule", "status", "--json").document["schedules"]
    assert (entry["scheduler"], entry["every"], entry["campaigns"]) == ("cron", "1h", None)
    assert entry["current"] is True
    at = datetime.fromisoformat(entry["next_run"])
    assert timedelta() <= at - datetime.now(UTC) + timedelta(seconds=1) <= timedelta(hours=1)
    assert cli("schedule", "remove").code == 0
    assert not table.exists()
    assert "no schedule of this home" in cli("schedule", "remove").out


def test_what_has_moved_is_told_and_mended(table, cli, connected, monkeypatch) -> None:
    """Another variable: the line is not what would be written now."""
    cli("schedule", "install", "spring-hvac", "--every", "6h")
    monkeypatch.setenv("STCLI_ST_RATE_PER_SECOND", "30")
    ran = cli("schedule", "status")
    assert "spring-hvac every 6h" in ran.out
    assert "bring it up to date: stcli schedule install" in ran.out
    cli("schedule", "install")
    assert "up to date" not in cli("schedule", "status").out
    assert "run spring-hvac --at-most-every 6h" in table.read_text()


@pytest.mark.parametrize(
    ("words", "code", "said"),
    [
        (("install", "--systemd"), 3, "systemd does not run this machine"),
        (("install", "--cron", "--systemd"), 2, "not both"),
        (("install", "nosuch"), 2, "nosuch"),
        (("install", "spring-hvac", "--all"), 2, "not both"),
        (("install", "--every", "7m"), 2, "'7m' is not one of"),
    ],
)
def test_what_cannot_be_is_refused(table, cli, connected, words, code, said) -> None:
    """And nothing is written."""
    ran = cli("schedule", *words)
    assert ran.code == code, ran.text
    assert said in ran.err
    assert not table.exists()


def test_showing_changes_nothing(table, cli, connected, tmp_path) -> None:
    """Also for the scheduler that is not here."""
    assert "BEGIN stcli-" in cli("schedule", "show").out
    assert "OnCalendar=" in cli("schedule", "show", "--systemd").out
    assert not table.exists()
    assert not (tmp_path / ".config").exists()


def test_a_crontab_that_cannot_be_read_is_told(table, cli, connected, tmp_path) -> None:
    """Nothing is written over it."""
    (tmp_path / "bin" / "crontab").write_text("#!/bin/sh\necho 'not allowed' >&2; exit 1\n")
    ran = cli("schedule", "install")
    assert ran.code == 3
    assert "not allowed" in ran.err


def test_another_shell_takes_nothing_away(table, cli, connected, monkeypatch) -> None:
    """What it does not set is kept and named; what it sets otherwise is its own, and told before."""
    monkeypatch.setenv("STCLI_RF_TOKEN_FILE", "/run/it's 100%/token")
    monkeypatch.setenv("STCLI_ST_RATE_PER_SECOND", "30")
    cli("schedule", "install")
    before = table.read_text()
    monkeypatch.delenv("STCLI_RF_TOKEN_FILE")
    (entry,) = cli("schedule", "status", "--json").document["schedules"]
    assert (entry["current"], entry["differences"]) == (True, [])
    ran = cli("schedule", "install")
    assert "already" in ran.out
    assert (
        "Kept as it was installed, for this shell does not set it: STCLI_RF_TOKEN_FILE." in ran.err
    )
    assert table.read_text() == before
    monkeypatch.setenv("STCLI_ST_RATE_PER_SECOND", "20")
    monkeypatch.setenv("STCLI_RF_TOKEN_FILE", "")
    (entry,) = cli("schedule", "status", "--json").document["schedules"]
    differences = ["STCLI_RF_TOKEN_FILE", "STCLI_ST_RATE_PER_SECOND"]
    assert (entry["current"], entry["differences"]) == (False, differences)
    assert f"this differs: {', '.join(differences)}" in cli("doctor").out
    assert cli("schedule", "install", "--json").document["kept"] == []
    assert "STCLI_RF_TOKEN_FILE" not in table.read_text()


def test_the_how_to_with_files(table, connected, tmp_path, monkeypatch) -> None:
    """Its commands one after the other, on a machine where none of its folders is there yet."""
    how_to = (ROOT / "docs" / "headless.md").read_text(encoding="utf-8")
    block = how_to.partition("## Files")[2].split("```")[1].removeprefix("console\n")
    commands = block.replace("/srv/stcli", str(tmp_path / "srv"))
    path = f"{Path(sys.executable).parent}:{os.environ['PATH']}"
    ended = subprocess.run(
        ["/bin/sh", "-ec", commands.replace("schedule install", "schedule install --cron")],
        env={**os.environ, "PATH": path},
        capture_output=True,
        text=True,
        check=False,
    )
    assert ended.returncode == 0, ended.stderr
    files = sorted((tmp_path / "srv" / "secrets").iterdir())
    assert [(file.name, stat.S_IMODE(file.stat().st_mode)) for file in files] == [
        ("app-key", 0o600),
        ("client-secret", 0o600),
        ("rf-token", 0o600),
    ]
    assert all(f"_FILE={file} " in table.read_text() for file in files)


def test_a_second_scheduler_is_told_wherever_it_is(table, cli, connected) -> None:
    """A line by hand: when installing, looking and removing, and also where stcli installed none."""
    table.write_text("*/5 * * * * stcli run --all\n")
    for words in (("status",), ("install",), ("remove",)):
        assert "another line of your crontab calls stcli run" in cli("schedule", *words).err
    said = cli("doctor", "--json").document["checks"]
    (check,) = (check for check in said if check["name"] == "schedule")
    assert "none for this home; another line of your crontab" in check["message"]
    assert table.read_text() == "*/5 * * * * stcli run --all\n"


def test_two_homes_do_not_know_each_other(table, cli, connected, tmp_path, monkeypatch) -> None:
    """A block each, and neither is the other's second scheduler."""
    cli("schedule", "install")
    monkeypatch.setenv("STCLI_HOME", str(tmp_path / "other"))
    assert "warning: another" not in cli("schedule", "install").err
    assert table.read_text().count("# BEGIN stcli-") == 2
    assert cli("schedule", "status", "--json").document["schedules"][0]["remarks"] == []


@pytest.mark.parametrize("spelled", ["link", "x/../home", "home/"])
def test_one_home_has_one_schedule(table, cli, connected, tmp_path, monkeypatch, spelled) -> None:
    """However it is spelled."""
    cli("schedule", "install")
    (tmp_path / "x").mkdir()
    (tmp_path / "link").symlink_to("home")
    monkeypatch.setenv("STCLI_HOME", f"{tmp_path}/{spelled}")
    assert "was installed already" in cli("schedule", "install").out
    assert table.read_text().count("# BEGIN") == 1


def test_a_variable_without_a_value_names_no_home(table, cli, monkeypatch) -> None:
    """It is the home without any."""
    monkeypatch.delenv("STCLI_HOME")
    cli("schedule", "install")
    monkeypatch.setenv("STCLI_HOME", "")
    assert "was installed already" in cli("schedule", "install").out
    assert table.read_text().count("# BEGIN stcli: ") == 1


def test_without_a_scheduler_there_is_advice(table, cli, connected, monkeypatch) -> None:
    """Exit 3, and what else can be done."""
    monkeypatch.setenv("PATH", "/nonexistent")
    ran = cli("schedule", "install")
    assert ran.code == 3
    assert "no crontab command" in ran.err
    assert "schedule show --cron" in ran.err


def test_what_ended_well_lately_is_left_out(cli, connected, world, home) -> None:
    """Also what failed in part; not what failed, and no time that is ahead of the clock."""
    assert [p["pass"] for p in cli("run", "--json").document["passes"]] == ["leads", "qualify"]
    waiting = cli("run", "--all", "--at-most-every", "6h", "--json")
    assert (waiting.code, waiting.document["passes"]) == (0, [])
    assert waiting.err == ""
    for change, due in (
        ("started_at = '2026-01-01T00:00:00.000000Z'", ["leads"]),
        ("status = 'failed'", ["leads"]),
        ("started_at = replace(started_at, '20', '21')", ["leads"]),
    ):
        with closing(sqlite3.connect(home / "state" / "stcli.db")) as sql:
            sql.execute(f"UPDATE runs SET {change} WHERE pass = 'leads'")
            sql.commit()
        ran = cli("run", "--all", "--at-most-every", "6h", "--json")
        assert [p["pass"] for p in ran.document["passes"]] == due, change
    edit(connected, ("action: create_booking", "action: nothing"))
    assert "passes" in cli("run", "--at-most-every", "6h", "--json").document
