"""The installed schedule, run by the schedulers themselves in their own bare environment.

A real crond and a real ``systemd --user``, each in a mount namespace of its own, so that nothing of
this machine's crontabs, units and sockets is touched. They need root, and are skipped where the
programs are missing: ``apt install cron systemd``.
"""

from __future__ import annotations

import os
import shutil
import sqlite3
import subprocess
import sys
import time
from collections.abc import Callable
from contextlib import closing
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
STCLI = Path(sys.executable).with_name("stcli")
CRON = shutil.which("cron", path="/usr/sbin:/usr/bin:/sbin")
SYSTEMD = Path("/lib/systemd/systemd")
PATIENCE_SECONDS = 100


def _can_isolate() -> bool:
    if os.geteuid() != 0 or shutil.which("unshare") is None:
        return False
    words = ["unshare", "--mount", "mount", "-t", "tmpfs", "none", "/mnt"]
    return subprocess.run(words, capture_output=True, check=False).returncode == 0


USER_INSTANCE = f"""
mount -t tmpfs none /run
mount --make-shared /run
mkdir -p /run/systemd/system /run/user/0
chmod 700 /run/user/0
export XDG_RUNTIME_DIR=/run/user/0
env -i HOME=$HOME PATH=/usr/bin:/bin XDG_RUNTIME_DIR=$XDG_RUNTIME_DIR {SYSTEMD} --user &
for try in $(seq 100); do
    systemctl --user show-environment >/dev/null 2>&1 && break; sleep 0.1
done
"""
"""Shared, because a service's credentials are mounted by a process with mounts of its own."""
isolated = pytest.mark.skipif(
    not _can_isolate(), reason="only root may make a mount namespace of its own"
)

with_systemd = pytest.mark.skipif(not SYSTEMD.exists(), reason="systemd is not installed")


@pytest.fixture
def environment(connected, pointed, tmp_path, home) -> dict[str, str]:
    """What an administrator's shell has: the home, the servers, and where the secrets' files are."""
    known = pointed.credentials
    chosen = {
        "PATH": "/usr/sbin:/usr/bin:/sbin:/bin:" + os.environ["PATH"],
        "HOME": str(tmp_path / "user"),
        "STCLI_HOME": str(home),
        "STCLI_RF_URL": pointed.rf_url,
        "STCLI_ST_API_URL": pointed.st_api_url,
        "STCLI_ST_AUTH_URL": pointed.st_auth_url,
    }
    (tmp_path / "user").mkdir()
    for name, secret in (
        ("STCLI_RF_TOKEN", known.rf_token),
        ("STCLI_ST_APP_KEY", known.app_key),
        ("STCLI_ST_CLIENT_SECRET", known.client_secret),
    ):
        file = tmp_path / name.lower()
        file.touch(mode=0o600)
        file.write_text(secret)
        chosen[f"{name}_FILE"] = str(file)
    return chosen


def _until(done: Callable[[], object], process: subprocess.Popen[str]) -> None:
    deadline = time.monotonic() + PATIENCE_SECONDS
    while not done():
        assert process.poll() is None, f"the scheduler ended: {process.communicate()[0]}"
        assert time.monotonic() < deadline, "the scheduler called nothing"
        time.sleep(0.5)


def _passes_that_ended_well(home: Path) -> int:
    with closing(sqlite3.connect(home / "state" / "stcli.db")) as sql:
        return int(
            sql.execute("SELECT count(*) FROM runs WHERE status = 'succeeded'").fetchone()[0]
        )


def _isolated(script: str, environment: dict[str, str]) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [
            "unshare",
            "--mount",
            "--kill-child",
            "--fork",
            "--pid",
            "--mount-proc",
            "sh",
            "-ec",
            script,
        ],
        env=environment,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )


@isolated
@pytest.mark.skipif(CRON is None, reason="cron is not installed")
@pytest.mark.timeout(PATIENCE_SECONDS + 60)
def test_crond_runs_what_was_installed(environment, world, home, tmp_path) -> None:
    """Installed beside a line of the user's; called within a minute; removed without a trace."""
    process = _isolated(
        f"""
        mount -t tmpfs none /var/spool/cron
        mkdir -m 1730 /var/spool/cron/crontabs
        mount -t tmpfs none /run
        printf '# mine\\n0 4 1 1 * true\\n' | crontab -
        {STCLI} schedule install --cron --every 1m
        {STCLI} schedule install --cron --every 1m
        {STCLI} schedule status
        {STCLI} doctor --as-cron
        crontab -l > {tmp_path}/installed
        cron -f &
        read answer
        {STCLI} schedule remove
        crontab -l > {tmp_path}/removed
        kill $!
        """,
        environment,
    )
    _until(lambda: _passes_that_ended_well(home), process)
    output, _ = process.communicate("go on\n", timeout=60)
    assert process.returncode in (0, -15), output
    assert "was installed already" in output
    assert "as cron runs it" in output
    installed = (tmp_path / "installed").read_text()
    assert installed.startswith("# mine\n0 4 1 1 * true\n# BEGIN stcli-")
    assert (tmp_path / "removed").read_text() == "# mine\n0 4 1 1 * true\n"
    assert len(world.bookings()) > 0
    _no_secret_in(installed + output, environment)


@isolated
@with_systemd
@pytest.mark.timeout(PATIENCE_SECONDS + 60)
def test_systemd_runs_what_was_installed(environment, world, home, tmp_path) -> None:
    """Its own user instance, its timer, its environment; a second scheduler is refused."""
    units = tmp_path / "user" / ".config" / "systemd" / "user"
    process = _isolated(
        f"""
        {USER_INSTANCE}
        {STCLI} schedule install --every 1m
        {STCLI} schedule install --every 1m
        until {STCLI} schedule status | grep "next at 20"; do sleep 1; done  # none while it runs
        if {STCLI} schedule install --cron; then echo "two schedulers"; exit 1; fi
        cp {units}/stcli-*.service {tmp_path}/installed
        {STCLI} doctor --as-cron
        drop_in={units}/$(basename {units}/stcli-*.service).d
        mkdir $drop_in
        printf '[Service]\\nEnvironment=STCLI_RF_TOKEN_FILE=/nonexistent\\n' > $drop_in/own.conf
        systemctl --user daemon-reload
        if {STCLI} doctor --as-cron; then echo "drop-ins do not count"; exit 1; fi
        rm -r $drop_in
        systemctl --user daemon-reload
        read answer
        systemctl --user show $(basename {units}/stcli-*.service) --property=Result
        find $HOME -name 'stamp-stcli-*'
        {STCLI} schedule remove
        ls -R {units}
        """,
        environment,
    )
    _until(lambda: _passes_that_ended_well(home), process)
    output, _ = process.communicate("go on\n", timeout=60)
    assert process.returncode == 0, output
    assert "every 1m, systemd" in output
    assert "was installed already" in output
    assert "Result=success" in output
    assert "as systemd runs it" in output
    assert "/nonexistent" in output
    assert not list(tmp_path.glob("**/*-check-*"))
    assert not list(units.glob("stcli-*"))
    assert "/systemd/timers/stamp-stcli-" in output
    assert not [path for path in (tmp_path / "user").rglob("*") if "stcli" in path.name]
    assert len(world.bookings()) > 0
    _no_secret_in((tmp_path / "installed").read_text() + output, environment)


def _with_systemd(script: str, environment: dict[str, str]) -> str:
    """What a script prints that needs no waiting for the timer."""
    process = _isolated(USER_INSTANCE + script, environment)
    output, _ = process.communicate(timeout=PATIENCE_SECONDS)
    assert process.returncode == 0, output
    return output


@isolated
@with_systemd
def test_systemd_serves_where_cron_is_closed(environment, tmp_path) -> None:
    """Installed, shown and removed; that the crontab cannot be looked into is a remark, and a
    refusal only to who chose cron."""
    command = tmp_path / "closed" / "crontab"
    command.parent.mkdir()
    command.write_text(
        "#!/bin/sh\necho 'You (root) are not allowed to use this program' >&2; exit 1\n"
    )
    command.chmod(0o755)
    output = _with_systemd(
        f"""
        export PATH={command.parent}:$PATH
        {STCLI} schedule show
        {STCLI} schedule install
        {STCLI} schedule install --systemd
        {STCLI} schedule status
        {STCLI} schedule remove
        {STCLI} schedule install --cron || test $? = 3
        """,
        environment,
    )
    assert "OnCalendar=" in output
    assert "installed: every 15m, systemd" in output
    assert "was installed already" in output
    assert "removed from: " in output
    assert output.count("warning: the crontab cannot be read: You (root) are not allowed") == 3
    assert "Error: cron cannot be used: the crontab cannot be read" in output


@isolated
@with_systemd
@pytest.mark.skipif(CRON is None, reason="cron is not installed")
def test_a_line_by_hand_beside_the_timer_is_told(environment) -> None:
    """When installing, looking and checking."""
    output = _with_systemd(
        f"""
        mount -t tmpfs none /var/spool/cron
        mkdir -m 1730 /var/spool/cron/crontabs
        echo '*/5 * * * * stcli run --all' | crontab -
        {STCLI} schedule install --systemd
        {STCLI} schedule status
        {STCLI} doctor
        """,
        environment,
    )
    assert output.count("another line of your crontab calls stcli run") == 3
    assert output.count("One schedule is enough: take the line out with crontab -e") == 3


@isolated
@with_systemd
def test_the_service_is_checked_whatever_its_timer_does(environment, tmp_path) -> None:
    """Also where the user does not linger, or the timer was stopped: its drop-ins count, and what
    this shell has does not."""
    command = tmp_path / "closed" / "loginctl"
    command.parent.mkdir()
    command.write_text("#!/bin/sh\necho Linger=no\n")
    command.chmod(0o755)
    drop_in = tmp_path / "user" / ".config" / "systemd" / "user" / "$unit.d"
    output = _with_systemd(
        f"""
        export PATH={command.parent}:$PATH
        {STCLI} schedule install
        unset STCLI_RF_TOKEN_FILE STCLI_ST_APP_KEY_FILE STCLI_ST_CLIENT_SECRET_FILE
        {STCLI} doctor --as-cron
        unit=$(basename $HOME/.config/systemd/user/stcli-*.service)
        systemctl --user stop $(basename $unit .service).timer
        {STCLI} doctor | grep -A1 'the timer does not run'
        mkdir "{drop_in}"
        printf '[Service]\\nEnvironment=STCLI_RF_TOKEN_FILE=/nonexistent\\n' > "{drop_in}/own.conf"
        systemctl --user daemon-reload
        {STCLI} doctor --as-cron || test $? = 4
        """,
        environment,
    )
    assert output.count("as systemd runs it") == 2
    assert "loginctl enable-linger" in output
    assert "Run: stcli schedule install" in output
    assert "(/nonexistent)" in output


@isolated
@with_systemd
def test_the_service_is_given_its_credentials(environment, home, tmp_path) -> None:
    """As the how-to says: one encrypted, one in a file, one for a campaign of its own; checked first,
    then run."""
    config = tmp_path / "user" / ".config"
    how_to = (ROOT / "docs" / "headless.md").read_text(encoding="utf-8")
    encrypt = next(line for line in how_to.splitlines() if line.startswith("systemd-creds encrypt"))
    service = next(block for block in how_to.split("```") if block.startswith("ini"))
    drop_in = tmp_path / "own.conf"
    own = "LoadCredential=stcli-st-client-secret.spring-hvac:%h/.config/client\n"
    drop_in.write_text(service.removeprefix("ini\n") + own)
    output = _with_systemd(
        f"""
        mkdir -p {config} {tmp_path}/host
        mount --bind {tmp_path}/host /var/lib/systemd
        cp $STCLI_ST_APP_KEY_FILE {config}/stcli-st-app-key
        cp $STCLI_ST_CLIENT_SECRET_FILE {config}/client
        {encrypt.replace("--user ", "")} < $STCLI_RF_TOKEN_FILE || {{ echo no key; exit; }}
        unset STCLI_RF_TOKEN_FILE STCLI_ST_APP_KEY_FILE STCLI_ST_CLIENT_SECRET_FILE
        {STCLI} schedule install
        unit=$(basename {config}/systemd/user/stcli-*.service)
        {STCLI} schedule show | grep "edit $unit"
        mkdir {config}/systemd/user/$unit.d
        cp {drop_in} {config}/systemd/user/$unit.d/override.conf
        systemctl --user daemon-reload
        {STCLI} doctor --as-cron
        systemctl --user start $unit
        """,
        environment,
    )
    if "no key" in output:
        pytest.skip(f"systemd keeps no key below {tmp_path}: {output}")
    assert output.count("from systemd credential stcli-") == 3
    assert _passes_that_ended_well(home)


def _no_secret_in(text: str, environment: dict[str, str]) -> None:
    for name, value in environment.items():
        if name.endswith("_FILE"):
            assert Path(value).read_text() not in text
