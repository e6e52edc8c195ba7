"""``stcli doctor`` on broken set-ups: each is built here, and the broken thing is named."""

from __future__ import annotations

import json
import os
import shutil
import socket
import sqlite3
import stat
import sys
import time
import zipfile
from collections.abc import Callable
from contextlib import closing
from datetime import UTC, datetime, timedelta
from email.utils import parsedate_to_datetime
from pathlib import Path
from typing import Any, NamedTuple

import httpx
import keyring
import keyring.backend
import keyring.errors
import pytest

from stcli.clients.transport import Transport
from stcli.processes import this_process
from stcli.store.engine import utc_text
from tests.integration.conftest import Cli, World, edit
from tests.unit.scheduling.test_crontab import COMMAND


class Setup(NamedTuple):
    """What a test may break."""

    file: Path
    home: Path
    world: World
    cli: Cli
    patch: pytest.MonkeyPatch
    tmp: Path

    def sql(self, *statements: str) -> None:
        with closing(sqlite3.connect(self.home / "state" / "stcli.db")) as sql:
            for statement in statements:
                sql.execute(statement)
            sql.commit()


@pytest.fixture
def setup(connected, cli, world, home, monkeypatch, tmp_path) -> Setup:
    """A sound one: connected, mapped, run once, and called by a crontab of its own."""
    command = tmp_path / "bin" / "crontab"
    command.parent.mkdir()
    command.write_text(COMMAND)
    command.chmod(command.stat().st_mode | stat.S_IXUSR)
    monkeypatch.setenv("PATH", f"{command.parent}:{os.environ['PATH']}")
    monkeypatch.setenv("TABLE", str(tmp_path / "table"))
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.delenv("XDG_CONFIG_HOME", raising=False)
    monkeypatch.setattr("stcli.scheduling.systemd_units.BOOTED", tmp_path / "none")
    assert cli("run").code == 0
    assert cli("schedule", "install").code == 0
    for folder in (home, home / "campaigns"):
        folder.chmod(0o700)
    return Setup(connected, home, world, cli, monkeypatch, tmp_path)


def _checks(setup: Setup, *words: str) -> tuple[int, dict[str, dict[str, Any]]]:
    ran = setup.cli("doctor", "--json", *words)
    return ran.code, {check["name"]: check for check in ran.document["checks"]}


def test_a_sound_set_up_is_all_ok(setup) -> None:
    """Every check, none with a warning; nothing is written to either system."""
    before = setup.world.requests("st"), setup.world.requests("rf")
    code, checks = _checks(setup)
    assert code == 0
    assert {name: c for name, c in checks.items() if c["status"] != "ok"} == {}
    assert {
        "version",
        "home",
        "log",
        "permissions",
        "disk",
        "settings",
        "state",
        "rate",
        "Referral Factory token",
        "ServiceTitan app key",
        "Referral Factory",
        "schedule",
        "spring-hvac: client secret",
        "spring-hvac: connection",
        "spring-hvac: leads",
        "spring-hvac: qualify",
        "spring-hvac: campaign",
        "spring-hvac: ServiceTitan",
        "spring-hvac: scopes",
        "spring-hvac: last leads",
        "clock against Referral Factory",
        "clock against ServiceTitan",
    } <= set(checks)
    after = setup.world.requests("st"), setup.world.requests("rf")
    writes = [
        route
        for old, new in zip(before, after, strict=True)
        for route, number in new.items()
        if number > old.get(route, 0) and not route.startswith("GET ")
    ]
    assert writes == []


def _no_keyring(setup: Setup) -> None:
    class Without(keyring.backend.KeyringBackend):
        priority = 1  # type: ignore[assignment] # as backends write it

        def get_password(self, service: str, username: str) -> str | None:
            raise keyring.errors.NoKeyringError("none")

        def set_password(self, service: str, username: str, password: str) -> None:
            raise keyring.errors.NoKeyringError("none")

    keyring.set_keyring(Without())
    setup.patch.delenv("STCLI_ST_APP_KEY")


def _locked_keyring(setup: Setup) -> None:
    class Locked(keyring.backend.KeyringBackend):
        priority = 1  # type: ignore[assignment] # as backends write it

        def get_password(self, service: str, username: str) -> str | None:
            raise keyring.errors.KeyringLocked("locked")

        def set_password(self, service: str, username: str, password: str) -> None:
            raise keyring.errors.KeyringLocked("locked")

    keyring.set_keyring(Locked())
    setup.patch.delenv("STCLI_ST_CLIENT_SECRET")


def _no_name(setup: Setup) -> None:
    def unknown(*_words: object, **_more: object) -> object:
        raise socket.gaierror(socket.EAI_NONAME, "Name or service not known")

    setup.patch.setattr(socket, "getaddrinfo", unknown)
    setup.patch.setenv("STCLI_RF_URL", "https://referral-factory.invalid")


def _clock(setup: Setup) -> None:
    setup.patch.setattr(
        "stcli.clients.transport.parsedate_to_datetime",
        lambda text: parsedate_to_datetime(text) + timedelta(minutes=5),
    )


def _little_room(setup: Setup) -> None:
    usage = shutil.disk_usage("/")
    setup.patch.setattr(shutil, "disk_usage", lambda _: usage._replace(free=5_000_000))


def _damaged(setup: Setup) -> None:
    database = setup.home / "state" / "stcli.db"
    for file in database.parent.glob("stcli.db-*"):
        file.unlink()
    content = bytearray(database.read_bytes())
    content[4096:] = os.urandom(len(content) - 4096)
    database.write_bytes(content)


def _two_schedules(setup: Setup, *program: str) -> None:
    from stcli.scheduling.systemd_units import units
    from stcli.wiring import Application

    app = Application(os.environ)
    folder = setup.tmp / ".config" / "systemd" / "user"
    folder.mkdir(parents=True, exist_ok=True)
    for name, text in units(app.scheduled_job(program or ("/bin/stcli",), (), None)).items():
        (folder / name).write_text(text)


def _with_proxy(setup: Setup, proxy: str) -> None:
    setup.patch.setenv("HTTPS_PROXY", proxy)
    setup.patch.setenv("STCLI_RF_URL", "https://referral-factory.invalid/api/v2")


def _held_for(setup: Setup, hours: int) -> None:
    """By this process, which is alive."""
    me = this_process(os.environ)
    since = datetime.now(UTC) - timedelta(hours=hours)
    setup.sql(
        f"UPDATE locks SET held = 1, host = '{me.host}', pid = {me.pid}, "
        f"process_start = '{me.start}', acquired_at = '{utc_text(since)}'"
    )


def _asked_to_pause(setup: Setup) -> None:
    with closing(sqlite3.connect(setup.home / "state" / "limits.db")) as sql:
        sql.execute("UPDATE slots SET paused_until = ?", (time.time() + 3000,))
        sql.commit()


def _clock_of_referral_factory(setup: Setup) -> None:
    compare = Transport._compare_clocks

    def ahead(self: Transport, response: httpx.Response) -> None:
        compare(self, response)
        if self.system == "Referral Factory" and self.clock_ahead_seconds is not None:
            self.clock_ahead_seconds -= 300

    setup.patch.setattr(Transport, "_compare_clocks", ahead)


def _no_log(setup: Setup) -> None:
    file = setup.home / "logs" / "stcli.log"
    file.unlink()
    file.mkdir()


BROKEN: list[tuple[str, Callable[[Setup], object], str, str, int, str]] = [
    (
        "a revoked token",
        lambda s: s.patch.setenv("STCLI_RF_TOKEN", "made-up-token"),
        "Referral Factory",
        "failed",
        4,
        "refused",
    ),
    (
        "a port where nobody listens",
        lambda s: s.patch.setenv("STCLI_RF_URL", "http://127.0.0.1:9"),
        "Referral Factory",
        "failed",
        6,
        "the connection was refused",
    ),
    (
        "a proxy where nobody listens",
        lambda s: _with_proxy(s, "http://alex:made-up@127.0.0.1:9"),
        "Referral Factory",
        "failed",
        6,
        "referral-factory.invalid through the proxy 127.0.0.1:9: the connection was refused",
    ),
    (
        "a proxy that is none",
        lambda s: _with_proxy(s, s.world.url),
        "Referral Factory",
        "failed",
        6,
        ": the proxy refused",
    ),
    (
        "a proxy of another kind",
        lambda s: _with_proxy(s, "socks5://127.0.0.1:9"),
        "Referral Factory",
        "failed",
        3,
        "the proxy that the environment names is no http or https address",
    ),
    (
        "plain http where https is due",
        lambda s: s.patch.setenv("STCLI_RF_URL", s.world.url.replace("http:", "https:")),
        "Referral Factory",
        "failed",
        6,
        "TLS failed (",
    ),
    ("no DNS", _no_name, "Referral Factory", "failed", 6, "its name cannot be resolved"),
    (
        "the wrong app key",
        lambda s: s.patch.setenv("STCLI_ST_APP_KEY", "ak1.wrong"),
        "spring-hvac: ServiceTitan",
        "failed",
        4,
        "the ST app key was refused",
    ),
    (
        "a revoked client secret",
        lambda s: s.patch.setenv("STCLI_ST_CLIENT_SECRET", "cs1.wrong"),
        "spring-hvac: ServiceTitan",
        "failed",
        4,
        "the client id or the client secret was refused",
    ),
    (
        "a tenant that took its grant back",
        lambda s: s.world.fault("status", api="st", status=403),
        "spring-hvac: ServiceTitan",
        "failed",
        4,
        "has not granted this app access",
    ),
    (
        "a provider that is not ours",
        lambda s: s.world.fault("status", route="/booking-provider/", status=404),
        "spring-hvac: ServiceTitan",
        "failed",
        4,
        "booking provider",
    ),
    (
        "a scope that is missing",
        lambda s: s.world.fault("status", route="export/job-history", status=403),
        "spring-hvac: scopes",
        "failed",
        4,
        "does not let this app read: job history feed",
    ),
    (
        "another tenant in the file",
        lambda s: edit(s.file, ("985798691", "985798692")),
        "spring-hvac: connection",
        "failed",
        4,
        "servicetitan.tenant_id",
    ),
    (
        "a campaign that was given up",
        lambda s: s.cli("disconnect", "spring-hvac", "--yes"),
        "spring-hvac: connection",
        "failed",
        4,
        "disconnected",
    ),
    (
        "a paused campaign",
        lambda s: s.world.post("/rf/campaigns/spring-hvac", status="paused"),
        "spring-hvac: campaign",
        "warning",
        0,
        "is paused",
    ),
    (
        "a campaign that is gone",
        lambda s: edit(s.file, ("referral_campaign: spring-hvac", "referral_campaign: nosuch")),
        "spring-hvac: campaign",
        "failed",
        4,
        "nosuch",
    ),
    (
        "a mapping that was taken away",
        lambda s: edit(s.file, ("    email:                {type: dynamic, from: email}\n", "")),
        "spring-hvac: leads",
        "failed",
        3,
        "Setup Required",
    ),
    (
        "a campaign file that is no YAML",
        lambda s: s.file.write_text("version: 1\n\tleads: x\n"),
        "spring-hvac: file",
        "failed",
        3,
        "",
    ),
    (
        "settings with a typo",
        lambda s: (s.home / "settings.yaml").write_text("reviwer: x\n"),
        "settings",
        "failed",
        3,
        "",
    ),
    ("a damaged database", _damaged, "state", "failed", 3, "damaged"),
    (
        "a newer version's database",
        lambda s: s.sql("INSERT INTO schema_migrations VALUES ('9999_x', '', '99.0.0')"),
        "state",
        "failed",
        3,
        "99.0.0",
    ),
    ("a full disk", _little_room, "disk", "failed", 3, "only 4 MB free"),
    (
        "a home below a file",
        lambda s: s.patch.setenv("STCLI_HOME", str(s.file / "home")),
        "home",
        "failed",
        3,
        "is no folder",
    ),
    (
        "a log that is a folder",
        _no_log,
        "log",
        "warning",
        0,
        "stcli.log cannot be written: Is a dir",
    ),
    (
        "a home that others may read",
        lambda s: s.home.chmod(0o755),
        "permissions",
        "warning",
        0,
        "mode 755",
    ),
    ("a clock that is wrong", _clock, "clock against ServiceTitan", "warning", 0, "behind"),
    (
        "a clock of Referral Factory alone",
        _clock_of_referral_factory,
        "clock against Referral Factory",
        "warning",
        0,
        "s ahead of Referral Factory's",
    ),
    ("a server that asked for a pause", _asked_to_pause, "rate", "warning", 6, "to be left alone"),
    (
        "a pass that hangs",
        lambda s: _held_for(s, 3),
        "spring-hvac: lock",
        "warning",
        0,
        "held by process",
    ),
    (
        "a second schedule by hand",
        lambda s: (s.tmp / "table").write_text(
            "5 * * * * stcli run --all\n" + (s.tmp / "table").read_text()
        ),
        "schedule",
        "warning",
        0,
        "another line of your crontab calls stcli run",
    ),
    (
        "no schedule",
        lambda s: s.cli("schedule", "remove"),
        "schedule",
        "warning",
        0,
        "stcli installed none",
    ),
    (
        "a schedule of another program",
        lambda s: edit(s.tmp / "table", ("run --all", "run spring-hvac")),
        "schedule",
        "warning",
        0,
        "not as stcli would write it now",
    ),
    ("two schedules", _two_schedules, "schedule", "warning", 0, "two of them"),
    (
        "a pass that failed",
        lambda s: s.sql("UPDATE runs SET status = 'failed' WHERE pass = 'leads'"),
        "spring-hvac: last leads",
        "warning",
        0,
        "failed at",
    ),
    (
        "nothing ran for long",
        lambda s: s.sql("UPDATE runs SET started_at = '2026-01-05T10:00:00.000000Z'"),
        "spring-hvac: last qualify",
        "warning",
        0,
        "more than two days ago",
    ),
    (
        "no pass in use",
        lambda s: edit(
            s.file,
            ("action: create_booking", "action: nothing"),
            ("booking_becomes_job_and_reaches", "do_not_qualify"),
            ("  property: job_status\n  value: Completed\n", ""),
        ),
        "spring-hvac: passes",
        "warning",
        0,
        "no pass is in use",
    ),
    (
        "a rate beyond the vendor's",
        lambda s: s.patch.setenv("STCLI_ST_RATE_PER_SECOND", "600"),
        "rate",
        "warning",
        0,
        "more than the vendors allow",
    ),
    (
        "a limit that is no number",
        lambda s: s.patch.setenv("STCLI_RF_RATE_PER_MINUTE", "many"),
        "settings",
        "failed",
        2,
        "STCLI_RF_RATE_PER_MINUTE",
    ),
    (
        "a secret that nobody gives",
        lambda s: s.patch.delenv("STCLI_RF_TOKEN"),
        "Referral Factory token",
        "failed",
        4,
        "there is no Referral Factory token",
    ),
    (
        "a secret's file that is not there",
        lambda s: (
            s.patch.delenv("STCLI_RF_TOKEN"),
            s.patch.setenv("STCLI_RF_TOKEN_FILE", "/nonexistent/token"),
        ),
        "Referral Factory token",
        "failed",
        4,
        "/nonexistent/token",
    ),
    ("no keyring", _no_keyring, "ServiceTitan app key", "failed", 4, "has no keyring"),
    (
        "a locked keyring",
        _locked_keyring,
        "spring-hvac: client secret",
        "failed",
        4,
        "the keyring is locked",
    ),
]


@pytest.mark.parametrize(
    ("break_it", "name", "status", "code", "said"),
    [case[1:] for case in BROKEN],
    ids=[case[0] for case in BROKEN],
)
def test_the_broken_thing_is_named(setup, break_it, name, status, code, said) -> None:
    """Under its name, with the next step; and the exit code is its kind's."""
    break_it(setup)
    ended, checks = _checks(setup)
    assert name in checks, list(checks)
    found = checks[name]
    assert found["status"] == status, found
    assert said in found["message"]
    assert found["hint"]
    assert ended == code
    text = setup.cli("doctor").out
    assert said in text
    for secret in ("STCLI_RF_TOKEN", "STCLI_ST_APP_KEY", "STCLI_ST_CLIENT_SECRET"):
        assert os.environ.get(secret, "…") not in text
    assert "made-up" not in text


def test_a_pass_that_is_at_work_is_no_fault(setup) -> None:
    """Its lock is young."""
    _held_for(setup, 1)
    code, checks = _checks(setup)
    assert (code, checks["spring-hvac: lock"]["status"]) == (0, "ok")
    assert f"process {os.getpid()} on " in checks["spring-hvac: lock"]["message"]


def test_a_clock_is_told_against_the_one_that_differs(setup) -> None:
    """The other system's agrees with ours."""
    _clock_of_referral_factory(setup)
    checks = _checks(setup)[1]
    told = {name: c["status"] for name, c in checks.items() if name.startswith("clock ")}
    assert told == {
        "clock against Referral Factory": "warning",
        "clock against ServiceTitan": "ok",
    }


def test_a_run_tells_that_it_has_no_log(setup) -> None:
    """On stderr, at its beginning and with what failed; it goes on."""
    _no_log(setup)
    setup.world.someone_new("Zoe")
    setup.world.fault("status", method="POST", route="/bookings", status=400, every=1)
    ran = setup.cli("run", "--all")
    assert ran.code == 5
    warning, *rest = ran.err.splitlines()
    assert warning.startswith("warning: ")
    assert "stcli.log cannot be written: Is a directory" in warning
    assert any("stcli.log (which cannot be written), run " in told for told in rest), ran.err


def _in_files(setup: Setup) -> None:
    """The secrets go from the shell's variables into files."""
    for name in ("STCLI_RF_TOKEN", "STCLI_ST_APP_KEY", "STCLI_ST_CLIENT_SECRET"):
        file = setup.tmp / name.lower()
        file.touch(mode=0o600)
        file.write_text(os.environ[name])
        setup.patch.delenv(name)
        setup.patch.setenv(f"{name}_FILE", str(file))


def test_as_cron_has_nothing_of_this_shell(setup) -> None:
    """Secrets in variables are missing there (4); in files they are found (0)."""
    code, checks = _checks(setup, "--as-cron")
    assert code == 4
    assert checks["Referral Factory token"]["status"] == "failed"
    assert checks["home"]["message"] == str(setup.home)
    _in_files(setup)
    setup.cli("schedule", "install")
    code, checks = _checks(setup, "--as-cron")
    assert (code, {c["status"] for c in checks.values()}) == (0, {"ok"})
    assert checks["Referral Factory token"]["message"].startswith("from file /")
    assert "spring-hvac: client secret" in checks


def test_as_cron_goes_by_the_line_that_is_installed(setup) -> None:
    """Not by what this shell would install: neither what it has more counts, nor what it has less."""
    names = ("STCLI_RF_TOKEN", "STCLI_ST_APP_KEY", "STCLI_ST_CLIENT_SECRET")
    _in_files(setup)
    assert _checks(setup, "--as-cron")[0] == 4
    setup.cli("schedule", "install")
    files = {name: os.environ[f"{name}_FILE"] for name in names}
    for name in names:
        setup.patch.delenv(f"{name}_FILE")
    setup.patch.setenv("STCLI_RF_URL", "not a url")
    assert _checks(setup, "--as-cron")[0] == 0
    table = setup.tmp / "table"
    for name, file in files.items():
        edit(table, (f"{name}_FILE={file} ", ""))
    assert _checks(setup, "--as-cron")[0] == 4
    above = "".join(f'{name}_FILE = "{file}"\n' for name, file in files.items())
    table.write_text(table.read_text() + above)
    assert _checks(setup, "--as-cron")[0] == 4
    table.write_text(above + table.read_text())
    assert _checks(setup, "--as-cron")[0] == 0


def test_as_cron_tells_that_nothing_is_installed(setup) -> None:
    """And goes by what would be; a line that is not stcli's is not guessed at."""
    _in_files(setup)
    setup.cli("schedule", "remove")
    code, checks = _checks(setup, "--as-cron")
    assert (code, checks["scheduler"]["status"]) == (0, "warning")
    assert "none is installed" in checks["scheduler"]["message"]
    setup.cli("schedule", "install")
    edit(setup.tmp / "table", ("run --all", "walk"))
    code, checks = _checks(setup, "--as-cron")
    assert code == 3
    assert "not what stcli wrote" in checks["as scheduled"]["message"]


def test_as_cron_tells_what_it_cannot_see_of_a_service(setup) -> None:
    """Where systemd does not answer, the unit's own variables are what there is."""
    _in_files(setup)
    setup.cli("schedule", "remove")
    _two_schedules(setup, sys.executable, "-m", "stcli")
    code, checks = _checks(setup, "--as-cron")
    assert (code, checks["scheduler"]["status"]) == (0, "warning")
    assert "neither drop-ins nor credentials" in checks["scheduler"]["message"]


def test_as_cron_tells_a_home_it_cannot_use(setup) -> None:
    """The error of that run is this one's."""
    edit(setup.home / "campaigns" / "spring-hvac.yaml", ("version: 1", "version: 99"))
    _in_files(setup)
    setup.cli("schedule", "install")
    (setup.home / "settings.yaml").write_text("reviwer: x\n")
    code, checks = _checks(setup, "--as-cron")
    assert code == 3
    assert any("reviwer" in c["message"] + c["hint"] for c in checks.values())


def test_the_bundle_holds_no_secret_and_nobody(setup) -> None:
    """Private to the user; nothing is written over."""
    setup.world.someone_new("Zoe")
    setup.world.fault("status", method="POST", route="/bookings", status=400, every=1)
    setup.cli("leads", "run")
    edit(setup.file, ("{type: dynamic, from: email}", "{type: manual_input, value: a@b.example}"))
    target = setup.tmp / "bundle.zip"
    assert setup.cli("doctor", "--bundle", str(target)).code == 0
    assert stat.S_IMODE(target.stat().st_mode) == 0o600
    with zipfile.ZipFile(target) as bundle:
        parts = {name: bundle.read(name).decode() for name in bundle.namelist()}
    assert set(parts) == {
        "doctor.json",
        "history.json",
        "stcli.log",
        "campaigns/spring-hvac.yaml",
    }
    assert json.loads(parts["doctor.json"])["checks"]
    assert json.loads(parts["history.json"])[0]["failed"] == 1
    assert "leads pass of spring-hvac" in parts["stcli.log"]
    everything = "".join(parts.values())
    assert "@" not in everything.replace("@reboot", "")
    for name in ("STCLI_RF_TOKEN", "STCLI_ST_APP_KEY", "STCLI_ST_CLIENT_SECRET"):
        assert os.environ[name] not in everything
    ran = setup.cli("doctor", "--bundle", str(target))
    assert ran.code == 3
    assert "is there already" in ran.err


def test_the_bundle_tells_what_support_asks_for(setup) -> None:
    """The tenant and whole sentences; the campaign file is still one."""
    target = setup.tmp / "bundle.zip"
    assert setup.cli("doctor", "--bundle", str(target)).code == 0
    with zipfile.ZipFile(target) as bundle:
        parts = {name: bundle.read(name).decode() for name in bundle.namelist()}
    assert parts["campaigns/spring-hvac.yaml"] == setup.file.read_text()
    assert parts["doctor.json"].count("tenant 985798691") == 2
    shown = setup.cli("doctor", "--json").document["checks"]
    said = {check["name"]: check["message"] for check in json.loads(parts["doctor.json"])["checks"]}
    for check in shown:
        if check["name"] not in ("disk", "rate") and "clock" not in check["name"]:
            assert said[check["name"]] == check["message"]


def test_the_bundle_masks_what_the_log_did_not(setup) -> None:
    """A log written with --show-pii; and records that failed are told by number only."""
    setup.world.someone_new("Zoe")
    setup.world.fault("status", method="POST", route="/bookings", status=400, every=1)
    setup.cli("--show-pii", "leads", "run")
    (failure,) = setup.cli("failures", "list", "--json").document["failures"]
    log = setup.home / "logs" / "stcli.log"
    log.write_text(log.read_text() + "zoe@example.com, +1 (555) 010-9999, Bearer abc.def\n")
    target = setup.tmp / "bundle.zip"
    setup.cli("doctor", "--bundle", str(target))
    with zipfile.ZipFile(target) as bundle:
        history = bundle.read("history.json").decode()
        told = bundle.read("stcli.log").decode()
    assert "***, ***, Bearer ***" in told
    assert "zoe@" not in told
    assert json.loads(history)[0]["failed"] == 1
    assert failure["record"] not in history
    assert "failures" not in json.loads(history)[0]


def test_a_campaign_that_is_not_here_is_refused(setup) -> None:
    """With where its file would be."""
    ran = setup.cli("doctor", "nosuch")
    assert ran.code == 3
    assert "nosuch.yaml" in ran.err


def test_before_anything_is_set_up(cli, pointed, home, monkeypatch) -> None:
    """Told what is missing, and nothing is made."""
    monkeypatch.setenv("STCLI_HOME", str(home))
    ran = cli("doctor")
    assert "Begin: stcli connect NAME --tenant-id ID" in ran.out
    assert not (home / "state" / "stcli.db").exists()
    assert not (home / "campaigns").exists()
