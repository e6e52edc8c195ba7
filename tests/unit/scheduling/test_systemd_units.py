"""The two unit files, checked by systemd's own tools where they are installed."""

from __future__ import annotations

import itertools
import shutil
import subprocess
from pathlib import Path

import pytest

from stcli.errors import ConfigurationError
from stcli.scheduling.job import CADENCES, Job, schedule_name
from stcli.scheduling.systemd_units import SystemdUser, units

_BASE = "--base-time=2026-11-24 13:00:30 UTC"


def job(cadence: str = "15m", home: str = "/home/alex/stcli", program: str = "/bin/true") -> Job:
    return Job("stcli-0a1b2c3d", Path(home), (program,), (), {"STCLI_HOME": home}, cadence)


@pytest.mark.skipif(shutil.which("systemd-analyze") is None, reason="systemd-analyze is missing")
@pytest.mark.parametrize("cadence", CADENCES)
def test_systemd_understands_every_cadence(cadence: str) -> None:
    """Five times in a row, and the steps between them are the cadence."""
    timer = units(job(cadence))["stcli-0a1b2c3d.timer"]
    calendar = next(
        line.partition("=")[2] for line in timer.splitlines() if line.startswith("OnCalendar=")
    )
    shown = subprocess.run(
        ["systemd-analyze", "calendar", "--iterations=5", _BASE, calendar],
        capture_output=True,
        text=True,
        env={"TZ": "UTC", "LC_ALL": "C", "PATH": "/usr/bin:/bin"},
        check=True,
    ).stdout
    times = [
        line.split()[-3:-1]
        for line in shown.splitlines()
        if "Next elapse:" in line or "Iter. #" in line or "Iteration #" in line
    ]
    minutes = [int(day[-2:]) * 1440 + int(at[:2]) * 60 + int(at[3:5]) for day, at in times]
    assert len(minutes) == 5
    assert {b - a for a, b in itertools.pairwise(minutes)} == {CADENCES[cadence]}


@pytest.mark.skipif(shutil.which("systemd-analyze") is None, reason="systemd-analyze is missing")
def test_systemd_finds_no_fault(tmp_path: Path) -> None:
    """Also with a home that needs quotes."""
    for name, text in units(job(home='/home/a b/100%/"x"\\$y')).items():
        (tmp_path / name).write_text(text)
    ended = subprocess.run(
        ["systemd-analyze", "verify", "--user", "--man=no"]
        + [str(path) for path in sorted(tmp_path.iterdir())],
        capture_output=True,
        text=True,
        env={"PATH": "/usr/bin:/bin", "XDG_RUNTIME_DIR": str(tmp_path), "HOME": str(tmp_path)},
        check=False,
    )
    about_ours = [line for line in ended.stderr.splitlines() if "stcli" in line]
    assert about_ours == []


def test_a_service_written_by_hand_is_told(tmp_path: Path) -> None:
    """Not those that stcli wrote, and not one for another home."""
    systemd = SystemdUser({"HOME": str(tmp_path)}, "alex")
    name = schedule_name(Path("/srv/100%"), is_default=False)
    systemd.folder.mkdir(parents=True)
    for file, text in {**units(job()), "backup.service": "[Service]\nExecStart=backup\n"}.items():
        (systemd.folder / file).write_text(text)
    assert systemd.others(name) == ()
    own = systemd.folder / "own.service"
    own.write_text("[Service]\nExecStart=/opt/stcli run --all\n")
    assert [remark.message for remark in systemd.others(name)] == [
        f"another service calls stcli run: {own}"
    ]
    own.write_text(own.read_text() + 'Environment="STCLI_HOME=/srv/100%%" X=1\n')
    assert systemd.others(name)
    own.write_text(own.read_text() + "Environment=STCLI_HOME=/srv/other\n")
    assert systemd.others(name) == ()


def test_nothing_is_left_where_systemd_does_not_answer(tmp_path: Path) -> None:
    """Its link to the timer and its note of the last run go too."""
    systemd = SystemdUser({"HOME": str(tmp_path)}, "alex", booted=tmp_path / "none")
    made = [systemd.folder / name for name in units(job())]
    made.append(systemd.folder / "timers.target.wants" / "stcli-0a1b2c3d.timer")
    made.append(tmp_path / ".local/share/systemd/timers/stamp-stcli-0a1b2c3d.timer")
    for file in made:
        file.parent.mkdir(parents=True, exist_ok=True)
        file.touch()
    assert systemd.remove("stcli-0a1b2c3d") is True
    assert not [file for file in made if file.exists()]


def test_a_percent_sign_is_no_specifier() -> None:
    """And a dollar in the command is no variable."""
    service = units(job(home="/100%", program="/opt/$x/stcli"))["stcli-0a1b2c3d.service"]
    assert 'Environment="STCLI_HOME=/100%%"' in service
    assert 'ExecStart="/opt/$$x/stcli" "run" "--all"' in service


@pytest.mark.parametrize("strange", ["a b/100%/$x", 'it\'s \\\\ "quoted"', "a=b;c&d|%%$$"])
def test_program_and_variables_are_read_back(tmp_path: Path, strange: str) -> None:
    """As they were given, whatever quotes they need."""
    systemd = SystemdUser({"HOME": str(tmp_path)}, "alex", booted=tmp_path / "none")
    systemd.folder.mkdir(parents=True)
    made = job(home=f"/home/{strange}", program=f"/opt/{strange}/stcli")
    for file, text in units(made).items():
        (systemd.folder / file).write_text(text)
    found = systemd.installed(made.name)
    assert found is not None
    assert (found.program, found.environment) == (made.program, made.environment)


def test_a_line_break_is_refused() -> None:
    """It would begin a setting of its own."""
    with pytest.raises(ConfigurationError, match="line break"):
        units(job(program="/x\nExecStart=/evil"))


def test_what_was_missed_is_made_up_for() -> None:
    """After sleep, and not at the very same second everywhere."""
    timer = units(job())["stcli-0a1b2c3d.timer"]
    assert "Persistent=true" in timer
    assert "RandomizedDelaySec=180" in timer
