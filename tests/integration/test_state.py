"""``state backup|restore|check``, and a state that breaks: told clearly, and nothing lost after."""

from __future__ import annotations

import json
import os
import resource
import signal
import sqlite3
import stat
import subprocess
import sys
import time
from contextlib import closing
from datetime import UTC, datetime
from pathlib import Path

import pytest

from tests.integration.conftest import Cli, World, edit


@pytest.fixture
def database(home: Path) -> Path:
    return home / "state" / "stcli.db"


def _booked(world: World) -> int:
    counts = world.per_external_id()
    assert set(counts.values()) <= {1}
    return len(counts)


def _everybody(cli: Cli, world: World) -> None:
    """One booking for each of the eleven leads that are no tests."""
    for _ in range(4):
        if cli("leads", "run").code == 0 and _booked(world) == 11:
            return
    raise AssertionError(cli("leads", "run", "--json").text)


def test_a_backup_is_a_whole_private_state(connected, cli, tmp_path) -> None:
    """Sound, mode 600, and never over a file that is there."""
    assert cli("leads", "run").code == 0
    file = tmp_path / "copies" / "stcli.db"
    ran = cli("state", "backup", str(file), "--json")
    assert ran.code == 0, ran.text
    assert stat.S_IMODE(file.stat().st_mode) == 0o600
    with closing(sqlite3.connect(file)) as sql:
        assert sql.execute("SELECT count(*) FROM ledger").fetchone() == (11,)
    before = file.read_bytes()
    assert cli("state", "backup", str(file)).code == 2
    assert file.read_bytes() == before
    named = Path(cli("state", "backup").out.strip())
    assert named.parent.name == "backups"
    assert cli("state", "check", "--json").document["rows"]["ledger"] == 11


def test_an_old_state_put_back_makes_no_second_booking(connected, cli, world, database) -> None:
    """From before all bookings: what was booked since is found, what was there is kept."""
    copy = Path(cli("state", "backup").out.strip())
    assert cli("leads", "run").code == 0
    assert _booked(world) == 11
    ran = cli("state", "restore", str(copy), "--yes", "--json")
    assert ran.code == 0, ran.text
    with closing(sqlite3.connect(ran.document["kept"])) as sql:
        assert sql.execute("SELECT count(*) FROM ledger").fetchone() == (11,)
    ran = cli("leads", "run", "--json")
    assert ran.code == 0, ran.text
    assert ran.document["counts"]["linked"] == 11
    assert ran.document["counts"]["created"] == 0
    assert _booked(world) == 11


def test_a_restore_waits_for_nobody_and_asks(connected, cli, world, database) -> None:
    """Not without a yes, not while a pass runs; a process from before it may write no more."""
    copy = cli("state", "backup").out.strip()
    ran = cli("state", "restore", copy)
    assert ran.code == 2
    assert "--yes" in ran.err
    world.fault("delay", method="POST", route="/bookings", seconds=3, times=1)
    process = subprocess.Popen(
        [sys.executable, "-m", "stcli", "leads", "run"], stderr=subprocess.DEVNULL
    )
    while not any("POST" in route for route in world.requests("st")):
        time.sleep(0.02)
    ran = cli("state", "restore", copy, "--yes")
    assert ran.code == 7, ran.text
    assert f"process {process.pid}" in ran.err
    process.wait()
    world.no_faults()
    _everybody(cli, world)


@pytest.mark.parametrize("damage", ["empty", "garbage", "other", "newer"])
def test_what_is_no_good_copy_is_refused(connected, cli, database, tmp_path, damage) -> None:
    """Exit 3, and the state as it was."""
    copy = tmp_path / "copy.db"
    if damage == "newer":
        copy = Path(cli("state", "backup").out.strip())
        with closing(sqlite3.connect(copy)) as sql:
            sql.execute("INSERT INTO schema_migrations VALUES ('9999_x', '', '99.0.0')")
            sql.commit()
    elif damage == "other":
        with closing(sqlite3.connect(copy)) as sql:
            sql.execute("CREATE TABLE t (x)")
    else:
        copy.write_bytes({"empty": b"", "garbage": b"no database at all" * 500}[damage])
    ran = cli("state", "restore", str(copy), "--yes")
    assert ran.code == 3, ran.text
    assert "99.0.0" in ran.err or "cannot be put back" in ran.err
    assert cli("status", "--json").document["campaigns"][0]["connection"] == "connected"


def test_what_is_there_before_a_restore_is_kept_three_times(connected, cli, home, database) -> None:
    """Not for ever: it holds names. A file that is not there, and the state itself, are no copies."""
    copy = cli("state", "backup").out.strip()
    for _ in range(5):
        assert cli("state", "restore", copy, "--yes").code == 0
    assert len(list((home / "state" / "backups").glob("before-restore-*.db"))) == 3
    assert not list((home / "state").glob("restore-*"))
    for wrong in (str(home / "nowhere.db"), str(database)):
        ran = cli("state", "restore", wrong, "--yes")
        assert ran.code == 2
        assert "backups" in ran.err


def test_a_damaged_state_is_told_and_mended(connected, cli, world, database) -> None:
    """Passes and check end with 3 and the way out; restoring sets the damaged one aside."""
    assert cli("leads", "run", "--limit", "4").code == 0
    copy = cli("state", "backup").out.strip()
    assert cli("leads", "run", "--limit", "3").code == 0
    for file in database.parent.glob("stcli.db-*"):
        file.unlink()
    content = bytearray(database.read_bytes())
    content[4096:] = os.urandom(len(content) - 4096)
    database.write_bytes(content)
    for words in (("leads", "run"), ("state", "check"), ("status",), ("run", "--all")):
        ran = cli(*words)
        assert ran.code == 3, ran.text
        assert "state" in ran.err
        assert "Traceback" not in ran.text
    assert cli("state", "restore", copy, "--yes").code == 0
    assert cli("state", "check").code == 0
    _everybody(cli, world)


def test_a_state_of_a_newer_version_is_refused(connected, cli, database) -> None:
    """Naming the version that is needed; it is not touched."""
    with closing(sqlite3.connect(database)) as sql:
        sql.execute("INSERT INTO schema_migrations VALUES ('9999_x', '', '99.0.0')")
        sql.commit()
    ran = cli("leads", "run", "--json")
    assert ran.code == 3
    assert "99.0.0" in ran.document["error"]["hint"]


def test_a_state_that_stays_locked_is_told(connected, cli, world, database, monkeypatch) -> None:
    """Another program holds it; afterwards the pass works."""
    monkeypatch.setattr("stcli.store.engine.BUSY_SECONDS", 0.3)
    with closing(sqlite3.connect(database, isolation_level=None)) as sql:
        sql.execute("BEGIN IMMEDIATE")
        ran = cli("leads", "run")
        assert ran.code == 3
        assert "locked" in ran.err
        assert _booked(world) == 0
    _everybody(cli, world)


def test_a_restore_waits_for_another_program_and_not_for_ever(
    connected, cli, database, monkeypatch
) -> None:
    """Told after a while, and nothing was changed; a signal ends it before."""
    copy = cli("state", "backup").out.strip()
    assert cli("leads", "run").code == 0
    with closing(sqlite3.connect(database, isolation_level=None)) as sql:
        sql.execute("BEGIN IMMEDIATE")
        process = subprocess.Popen(
            [sys.executable, "-m", "stcli", "state", "restore", copy, "--yes"],
            stderr=subprocess.DEVNULL,
        )
        while not list((database.parent / "backups").glob("before-restore-*")):
            time.sleep(0.02)
        time.sleep(1)
        process.send_signal(signal.SIGTERM)
        try:
            assert process.wait(timeout=5) == 143
        finally:
            process.kill()
        monkeypatch.setattr("stcli.store.copies.BUSY_SECONDS", 0.3)
        ran = cli("state", "restore", copy, "--yes")
        assert ran.code == 3, ran.text
        assert "another program locked it" in ran.err
    assert cli("state", "check", "--json").document["rows"]["ledger"] == 11


def test_a_clock_that_was_set_back_keeps_nobody_waiting(connected, cli, world, database) -> None:
    """Everything in the state is from a year ahead: doubts, what was read when, earlier passes."""
    world.fault("reset_before", method="POST", route="/bookings", every=2)
    cli("leads", "run")
    world.no_faults()
    with closing(sqlite3.connect(database)) as sql:
        columns = [
            (table, column[1])
            for (table,) in sql.execute("SELECT name FROM sqlite_master WHERE type = 'table'")
            for column in sql.execute(f"PRAGMA table_info({table})")
            if column[1].endswith("_at") or column[1] == "doubt_since"
        ]
        assert ("ledger", "doubt_since") in columns
        for table, column in columns:
            sql.execute(
                f"UPDATE {table} SET {column} = replace({column}, '{datetime.now(UTC).year}-', "
                f"'{datetime.now(UTC).year + 1}-') WHERE {column} IS NOT NULL"
            )
        sql.commit()
    world.someone_new("Late")
    for _ in range(4):
        ran = cli("leads", "run", "--json")
        assert ran.code in (0, 5), ran.text
    assert _booked(world) == 12


def test_a_disk_that_is_full_loses_nothing(connected, cli, world, database) -> None:
    """A real limit of the system on how large a file may become, in the middle of a pass."""
    size = 200_000  # half of what the pass writes before it is done, however that is bundled
    assert database.stat().st_size > size

    def limited() -> None:
        resource.setrlimit(resource.RLIMIT_FSIZE, (size, size))

    ran = subprocess.run(
        [sys.executable, "-m", "stcli", "leads", "run", "--json"],
        preexec_fn=limited,
        capture_output=True,
        text=True,
        check=False,
    )
    assert ran.returncode == 3, ran.stdout + ran.stderr
    assert "disk" in json.loads(ran.stdout)["error"]["message"]
    assert "Traceback" not in ran.stderr
    _everybody(cli, world)


def test_a_file_changed_in_the_middle_of_a_pass_counts_next_time(
    connected, cli, world, database
) -> None:
    """The pass ends as it began; the next one refuses what finalize has not proved."""
    world.fault("delay", method="POST", route="/bookings", seconds=0.3)
    process = subprocess.Popen(
        [sys.executable, "-m", "stcli", "leads", "run", "--json"],
        stdout=subprocess.PIPE,
        text=True,
    )
    while not any("POST" in route for route in world.requests("st")):
        time.sleep(0.02)
    edit(connected, ("tenant_id: 985798691", "tenant_id: 985798692"))
    out, _ = process.communicate()
    assert process.returncode == 0
    assert json.loads(out)["counts"]["created"] == 11
    ran = cli("leads", "run")
    assert ran.code == 4
    assert "finalize" in ran.err
    edit(connected, ("tenant_id: 985798692", "tenant_id: 985798691"))
    _everybody(cli, world)


def test_files_are_private(connected, cli, home) -> None:
    """Files 600, folders 700; the campaign file keeps the mode that its owner gave it."""
    assert cli("leads", "run").code == 0
    cli("state", "backup")
    for path in (home / "state", home / "logs"):
        for found in (path, *path.rglob("*")):
            wanted = 0o700 if found.is_dir() else 0o600
            assert stat.S_IMODE(found.stat().st_mode) == wanted, found


PHASES = [
    ("auth", "POST", "/connect/token"),
    ("rf", "GET", "/campaigns"),
    ("rf", "GET", "/users"),
    ("rf", "POST", "/users"),
    ("st", "GET", "/export/bookings"),
    ("st", "GET", "/export/customers"),
    ("st", "GET", "/suppressions"),
    ("st", "POST", "/bookings"),
    ("st", "PATCH", "/customers"),
]


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
@pytest.mark.parametrize(("api", "method", "route"), PHASES)
def test_a_signal_ends_every_phase_within_five_seconds(
    returning, cli, world, monkeypatch, api, method, route, number
) -> None:
    """A server that does not answer is not waited for; exit 130 or 143; the next run goes on."""
    monkeypatch.setenv("STCLI_ST_TIMEOUT_SECONDS", "60")
    edit(returning, ("action: nothing", "action: create_booking"))
    world.post("/st/tokens/expire")
    for file in (returning.parents[1] / "state" / "tokens").glob("*"):
        file.unlink()
    world.fault("delay", api=api, method=method, route=route, seconds=60)
    process = subprocess.Popen(
        [sys.executable, "-m", "stcli", "run", "--json"],
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
    )
    deadline = time.monotonic() + 40
    while not any(fault["applied"] for fault in world.get("/faults")):
        assert process.poll() is None, process.communicate()
        assert time.monotonic() < deadline
        time.sleep(0.05)
    asked = time.monotonic()
    process.send_signal(number)
    out, _ = process.communicate(timeout=20)
    assert time.monotonic() - asked < 5
    assert process.returncode == {signal.SIGINT: 130, signal.SIGTERM: 143}[number]
    assert json.loads(out)["passes"]


def test_a_second_ctrl_c_ends_at_once(connected, cli, world, monkeypatch) -> None:
    """While the first one waits for an answer that does not come."""
    monkeypatch.setenv("STCLI_ST_TIMEOUT_SECONDS", "60")
    world.fault("delay", method="POST", route="/bookings", seconds=60)
    process = subprocess.Popen(
        [sys.executable, "-m", "stcli", "leads", "run"], stderr=subprocess.DEVNULL
    )
    while not any("POST" in route for route in world.requests("st")):
        time.sleep(0.02)
    process.send_signal(signal.SIGINT)
    time.sleep(0.1)
    process.send_signal(signal.SIGINT)
    asked = time.monotonic()
    assert process.wait(timeout=10) == 130
    assert time.monotonic() - asked < 1
