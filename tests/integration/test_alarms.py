"""Alarms, told to real receivers on this machine: an HTTP server, a command, a file."""

from __future__ import annotations

import json
import os
import re
import sqlite3
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import closing
from datetime import UTC, datetime, timedelta
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest

from stcli.alarms import outlets
from stcli.errors import StateError
from stcli.processes import host_id, process_start
from tests.integration.conftest import edit


class Receiver:
    """Keeps what it was sent; ``seconds`` late, ``status`` as it is told to be."""

    def __init__(self) -> None:
        self.seen: list[tuple[str, str, Any]] = []
        self.status = 200
        self.seconds = 0.0
        receiver = self

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
                entry = (self.command, self.path, json.loads(body) if body else None)
                receiver.seen.append(entry)
                time.sleep(receiver.seconds)
                self.send_response(receiver.status)
                self.send_header("Content-Length", "0")
                self.end_headers()

            do_POST = do_GET  # noqa: N815 - as the library calls it

            def log_message(self, *args: object) -> None:
                """Nothing: tests read the program's output."""

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self._server.daemon_threads = True
        self.url = f"http://127.0.0.1:{self._server.server_port}"
        threading.Thread(target=self._server.serve_forever, daemon=True).start()

    @property
    def pings(self) -> list[str]:
        return [path for method, path, _ in self.seen if method == "GET"]

    @property
    def alarms(self) -> list[Any]:
        return [body for method, _, body in self.seen if method == "POST"]

    def close(self) -> None:
        self._server.shutdown()
        self._server.server_close()


@pytest.fixture
def receiver() -> Iterator[Receiver]:
    one = Receiver()
    yield one
    one.close()


@pytest.fixture
def settings(home, receiver, connected) -> Path:
    """Ping and webhook, with secrets in their addresses."""
    file = home / "settings.yaml"
    file.write_text(
        f"alarms:\n  ping: {receiver.url}/p1ng-secret\n"
        f"  webhook: {receiver.url}/hook?key=h00k-secret\n"
    )
    return file


def _needs(alarm: Any) -> list[str]:
    return [need["key"] for need in alarm["needs"]]


def test_a_good_run_pings_start_and_success(settings, cli, receiver) -> None:
    """And calls nobody; a dry run tells nobody anything."""
    assert cli("run", "--dry-run").code == 0
    assert receiver.seen == []
    assert cli("run").code == 0
    assert receiver.pings == ["/p1ng-secret/start", "/p1ng-secret"]
    assert receiver.alarms == []


def test_a_failure_is_pinged_and_told_once_a_day(settings, cli, receiver, world, home) -> None:
    """With its exit code; the same again after a day, and at once when it had gone meanwhile."""
    world.fault("status", api="st", status=403)
    for _ in range(2):
        assert cli("run").code == 4
    assert receiver.pings[-1] == "/p1ng-secret/4"
    (alarm,) = receiver.alarms
    assert alarm["exit_code"] == 4
    assert "spring-hvac/attention" in _needs(alarm)
    assert all(need["message"] and need["hint"] for need in alarm["needs"])
    world.no_faults()
    assert cli("run").code == 0
    world.fault("status", api="st", status=403)
    assert cli("run").code == 4
    assert len(receiver.alarms) == 2
    told = home / "state" / "alarms.json"
    assert told.stat().st_mode & 0o777 == 0o600
    told.write_text(re.sub(r"\d{4}-\d\d-\d\dT", "2026-01-05T", told.read_text()))
    assert cli("run").code == 4
    assert len(receiver.alarms) == 3


def test_an_outage_calls_nobody_at_first(settings, cli, receiver, world) -> None:
    """It mends itself; the third run in a row is another matter."""
    world.fault("wrong_json", route="/users")
    for number in (0, 0, 1):
        assert cli("run").code == 6
        assert len(receiver.alarms) == number
    assert "spring-hvac/leads/" in _needs(receiver.alarms[0])[0]


def test_failures_that_pile_up_and_silence_are_told(settings, cli, receiver, world, home) -> None:
    """From the number on that the settings say; silence from the last new booking on."""
    settings.write_text(settings.read_text() + "  failures: 2\n  quiet: 5d\n")
    world.fault("status", method="POST", route="/bookings", status=400, times=2)
    assert cli("run").code == 5
    assert [_needs(alarm) for alarm in receiver.alarms] == [["spring-hvac/failures"]]
    with closing(sqlite3.connect(home / "state" / "stcli.db")) as sql:
        sql.execute("UPDATE runs SET started_at = '2026-01-05T10:00:00.000000Z'")
        sql.commit()
    cli("run")
    assert _needs(receiver.alarms[-1]) == ["spring-hvac/quiet"]
    assert "nothing new since 2026-01-05" in receiver.alarms[-1]["needs"][0]["message"]


def test_receivers_that_fail_fail_no_run(settings, cli, receiver) -> None:
    """They are told on stderr, without their addresses; what was not taken is told again."""
    receiver.status = 500
    ran = cli("run")
    assert ran.code == 0
    assert ran.err.count("warning: the ping was answered with HTTP 500") == 2
    receiver.close()
    ran = cli("run")
    assert ran.code == 0
    assert "warning: the ping cannot be reached at 127.0.0.1" in ran.err
    assert "secret" not in ran.text


def test_an_alarm_that_nobody_took_is_told_again(settings, cli, receiver, world) -> None:
    """Being told is having been heard."""
    world.fault("status", api="st", status=403)
    receiver.status = 503
    assert cli("run").code == 4
    receiver.status = 200
    assert cli("run").code == 4
    assert cli("run").code == 4
    assert len(receiver.alarms) == 2


def test_each_receiver_is_told_once(settings, cli, receiver, world, tmp_path) -> None:
    """What the command did not take is no reason to call the webhook again, nor the reverse."""
    script, told = tmp_path / "tell.sh", tmp_path / "told"
    script.write_text(f"echo told >> {told}\nexit 3\n")
    settings.write_text(settings.read_text() + f"  command: [sh, {script}]\n")
    world.fault("status", api="st", status=403)
    for _ in range(3):
        assert "the alarm command ended with 3" in cli("run").err
    assert len(receiver.alarms) == 1
    assert told.read_text().count("told") == 3
    script.write_text(f"echo told >> {told}\n")
    for _ in range(2):
        assert cli("run").code == 4
    assert told.read_text().count("told") == 4
    assert len(receiver.alarms) == 1


@pytest.mark.parametrize("text", ["", "[1]", '{"webhook": 1}', '{"webhook": {"a/b": 7}}'])
def test_damaged_memory_tells_once_more(settings, cli, receiver, world, home, text) -> None:
    """And is whole again then."""
    world.fault("status", api="st", status=403)
    cli("run")
    (home / "state" / "alarms.json").write_text(text)
    for _ in range(2):
        assert cli("run").code == 4
    assert len(receiver.alarms) == 2


def test_memory_that_cannot_be_kept_is_told(settings, cli, receiver, world, home) -> None:
    """It changes nothing of how the run ends; everybody hears the same again."""
    (home / "state" / "alarms.json").mkdir()
    world.fault("status", api="st", status=403)
    for _ in range(2):
        ran = cli("run")
        assert ran.code == 4
        assert "warning: the next run will tell the same again: " in ran.err
    assert len(receiver.alarms) == 2
    assert receiver.pings[-1] == "/p1ng-secret/4"


@pytest.mark.timeout(90)
def test_a_receiver_that_hangs_is_given_up(settings, cli, receiver, monkeypatch) -> None:
    """After ten seconds; here after one."""
    monkeypatch.setattr("stcli.alarms.outlets.SECONDS", 1.0)
    receiver.seconds = 20.0
    began = time.monotonic()
    ran = cli("run")
    assert ran.code == 0
    assert time.monotonic() - began < 12
    assert "the ping did not answer" in ran.err


def test_a_receiver_has_ten_seconds_and_no_more(tmp_path) -> None:
    """As the documents say; here one, also where no name server answers, which takes a minute."""
    assert outlets.SECONDS == 10
    script = tmp_path / "send.py"
    script.write_text(
        "import socket, time\n"
        "socket.getaddrinfo = lambda *words, **more: time.sleep(30)\n"
        "from stcli.alarms import outlets\n"
        "outlets.SECONDS = 1\n"
        "print(outlets.ping('https://ping.invalid/x'))\n"
        "print(outlets.post('https://hook.invalid/x', {}))\n"
    )
    began = time.monotonic()
    ran = subprocess.run([sys.executable, str(script)], capture_output=True, text=True, check=False)
    assert ran.stdout.splitlines() == [
        "the ping did not answer within 1 s",
        "the webhook did not answer within 1 s",
    ]
    assert ran.stderr == ""
    assert time.monotonic() - began < 15


def test_a_command_gets_the_alarm_on_its_stdin(home, connected, cli, world, tmp_path) -> None:
    """One that fails, hangs or does not exist fails no run."""
    script, told = tmp_path / "tell.py", tmp_path / "told.json"
    script.write_text(f"import sys; open({str(told)!r}, 'w').write(sys.stdin.read())")
    world.fault("status", api="st", status=403)
    settings = home / "settings.yaml"
    settings.write_text(f"alarms:\n  command: [{sys.executable}, {script}]\n")
    assert cli("run").code == 4
    assert json.loads(told.read_text())["needs"]
    (home / "state" / "alarms.json").unlink()
    for command, said in (("[/nonexistent/x]", "cannot be run"), ("['false']", "ended with 1")):
        settings.write_text(f"alarms:\n  command: {command}\n")
        ran = cli("run")
        assert ran.code == 4
        assert f"warning: the alarm command {said}" in ran.err


def test_a_command_that_hangs_is_ended(home, connected, cli, world, tmp_path, monkeypatch) -> None:
    """With what it started, after the same ten seconds; here after one. It need not read."""
    monkeypatch.setattr("stcli.alarms.outlets.SECONDS", 1.0)
    numbers = tmp_path / "numbers"
    script = tmp_path / "hang.sh"
    script.write_text(f"sleep 60 &\necho $$ $! > {numbers}\nwait\n")
    (home / "settings.yaml").write_text(f"alarms:\n  command: [sh, {script}]\n")
    world.fault("status", api="st", status=403)
    began = time.monotonic()
    ran = cli("run")
    assert time.monotonic() - began < 15
    assert ran.code == 4
    assert "warning: the alarm command did not end within 1 s" in ran.err
    for number in numbers.read_text().split():
        assert not _runs(int(number))


def _runs(number: int) -> bool:
    """Whether a process is there and no zombie that nobody fetched."""
    listed = subprocess.run(
        ["ps", "-o", "stat=", "-p", str(number)], capture_output=True, text=True, check=False
    )
    return listed.stdout.strip()[:1] not in ("", "Z")


def test_a_command_may_leave_its_stdin_unread() -> None:
    """Also where the document is larger than a pipe holds."""
    document = {"text": "x" * 2**20}
    assert outlets.called(["true"], document) == ""
    assert outlets.called(["sh", "-c", "exec <&-; sleep 0.2; exit 3"], document) == (
        "the alarm command ended with 3"
    )


def test_the_textfile_is_what_prometheus_reads(home, connected, cli, tmp_path) -> None:
    """Every line a sample or its description; each family described once, before its samples."""
    file = tmp_path / "stcli.prom"
    (home / "settings.yaml").write_text(f"alarms:\n  textfile: {file}\n")
    assert cli("run").code == 0
    described: list[str] = []
    for line in file.read_text().splitlines():
        if line.startswith("# TYPE "):
            assert line.endswith(" gauge")
            described.append(line.split()[2])
        elif not line.startswith("# HELP "):
            assert line.partition("{")[0].partition(" ")[0] == described[-1], line
            float(line.rpartition(" ")[2])
    assert len(described) == len(set(described))
    text = file.read_text()
    assert "stcli_run_exit_code 0\n" in text
    assert 'stcli_pass_records{campaign="spring-hvac",pass="leads",outcome="created"} ' in text
    assert 'stcli_open_failures{campaign="spring-hvac"} 0\n' in text
    assert list(tmp_path.glob(".stcli.prom*")) == []
    (home / "settings.yaml").write_text("alarms:\n  textfile: /nonexistent/stcli.prom\n")
    ran = cli("run")
    assert ran.code == 0
    assert "warning: the metrics cannot be written" in ran.err


def test_a_run_that_cannot_begin_is_told(settings, cli, receiver, home, tmp_path) -> None:
    """Once, and in the metrics, which would otherwise say for ever that all is well."""
    metrics = tmp_path / "stcli.prom"
    settings.write_text(settings.read_text() + f"  textfile: {metrics}\n")
    assert cli("run").code == 0
    assert "stcli_run_exit_code 0\n" in metrics.read_text()
    database = home / "state" / "stcli.db"
    sound = database.read_bytes()
    for file in database.parent.glob("stcli.db-*"):
        file.unlink()
    database.write_bytes(b"no database at all" * 500)
    receiver.seen.clear()
    for _ in range(3):
        assert cli("run").code == 3
    assert receiver.pings == ["/p1ng-secret/start", "/p1ng-secret/3"] * 3
    assert [_needs(alarm) for alarm in receiver.alarms] == [["home/state"]]
    assert "stcli_run_exit_code 3\n" in metrics.read_text()
    assert "stcli_run_end_timestamp_seconds " in metrics.read_text()
    assert "stcli_pass_exit_code" not in metrics.read_text()
    database.write_bytes(sound)
    assert cli("run").code == 0
    database.write_bytes(b"no database at all" * 500)
    assert cli("run").code == 3
    assert len(receiver.alarms) == 2


def test_a_home_without_campaigns_is_told(settings, connected, cli, receiver) -> None:
    """As where a disk is not mounted: the schedule calls, and there is nothing to run."""
    connected.parent.rename(connected.parent.with_name("elsewhere"))
    assert cli("run", "--all").code == 2
    assert receiver.pings == ["/p1ng-secret/start", "/p1ng-secret/2"]
    assert [_needs(alarm) for alarm in receiver.alarms] == [["home/usage"]]
    assert "there is no campaign here yet" in receiver.alarms[0]["needs"][0]["message"]


def test_a_state_that_goes_bad_during_a_run_is_told(settings, cli, receiver, monkeypatch) -> None:
    """How the run ended is known all the same."""

    def damaged(*_words: object) -> object:
        raise StateError("the database is damaged")

    monkeypatch.setattr("stcli.announcing.needs_of", damaged)
    assert cli("run").code == 0
    assert receiver.pings == ["/p1ng-secret/start", "/p1ng-secret"]
    assert [_needs(alarm) for alarm in receiver.alarms] == [["home/state"]]


def test_a_broken_campaign_file_is_told(settings, connected, cli, receiver) -> None:
    """It keeps its campaign from every pass."""
    connected.write_text("version: 1\n")
    assert cli("run").code == 3
    assert _needs(receiver.alarms[0]) == ["spring-hvac/file"]


def test_what_is_told_names_nobody(settings, connected, cli, receiver, tmp_path) -> None:
    """Neither an address nor a phone number that an error repeats, to webhook or command."""
    told = tmp_path / "told.json"
    settings.write_text(settings.read_text() + f"  command: [cp, /dev/stdin, {told}]\n")
    named = 'referral_campaign: "ann.lee@mail.example +1 (555) 010-9999"'
    edit(connected, ("referral_campaign: spring-hvac", named))
    assert "no campaign '*** ***'" in cli("run").err
    (alarm,) = receiver.alarms
    for text in (json.dumps(alarm), told.read_text()):
        assert "***" in text
        assert "ann.lee" not in text
        assert "010-9999" not in text


@pytest.fixture
def held(cli, home) -> Callable[[str], None]:
    """Another process, which lives, is at work on the campaign since then."""
    cli("run")
    host, pid = host_id(os.environ), os.getppid()

    def hold(since: str) -> None:
        with closing(sqlite3.connect(home / "state" / "stcli.db")) as sql:
            sql.execute(
                "UPDATE locks SET held = 1, host = ?, pid = ?, process_start = ?, "
                "acquired_at = ?, expires_at = '2999-01-01T00:00:00.000000Z' "
                "WHERE name = 'spring-hvac'",
                (host, pid, process_start(pid), since),
            )
            sql.commit()

    return hold


def _ago(days: float) -> str:
    return f"{datetime.now(UTC) - timedelta(days=days):%Y-%m-%dT%H:%M:%S.%fZ}"


def test_a_locked_campaign_calls_nobody(settings, cli, receiver, held) -> None:
    """Another run is at work: it tells how it ended."""
    held(_ago(0.9))
    receiver.seen.clear()
    ran = cli("run")
    assert ran.code == 7
    assert "spring-hvac leads: failed: nothing was done\n" in ran.out
    assert receiver.pings == ["/p1ng-secret/start"]
    assert receiver.alarms == []


def test_a_pass_that_does_not_end_is_told(settings, cli, receiver, held, home) -> None:
    """After a day: nothing runs any more, and nobody else would say so."""
    metrics = home / "stcli.prom"
    settings.write_text(settings.read_text() + f"  textfile: {metrics}\n")
    held(_ago(6))
    receiver.seen.clear()
    for _ in range(2):
        assert cli("run").code == 7
    assert receiver.pings == ["/p1ng-secret/start", "/p1ng-secret/7"] * 2
    (alarm,) = receiver.alarms
    assert _needs(alarm) == ["spring-hvac/lock"]
    assert f"process {os.getppid()}" in alarm["needs"][0]["message"]
    assert "stcli_run_exit_code 7\n" in metrics.read_text()


def test_a_locked_campaign_hides_nothing_else(settings, home, cli, receiver, held, world) -> None:
    """What waits for a person waits all the same."""
    settings.write_text(settings.read_text() + "  failures: 1\n")
    world.someone_new("Zoe")
    world.fault("status", method="POST", route="/bookings", status=400, times=1)
    assert cli("run", "spring-hvac").code == 5
    assert _needs(receiver.alarms[-1]) == ["spring-hvac/failures"]
    (home / "state" / "alarms.json").unlink()
    receiver.seen.clear()
    held(_ago(0.1))
    assert cli("run", "spring-hvac").code == 7
    assert [_needs(alarm) for alarm in receiver.alarms] == [["spring-hvac/failures"]]
    assert receiver.pings == ["/p1ng-secret/start"]


def test_an_address_without_tls_is_refused(home, connected, cli) -> None:
    """It would be read along with what it tells."""
    (home / "settings.yaml").write_text("alarms:\n  ping: http://ping.example/secret\n")
    ran = cli("run")
    assert ran.code == 0
    assert "the address of the ping is neither https nor on this machine" in ran.err
    assert "secret" not in ran.text


@pytest.mark.parametrize(
    "text",
    [
        "alarms: {quiet: 5}",
        "alarms: {repeat: often}",
        "alarms: {webhok: x}",
        "alarms: {failures: 0}",
    ],
)
def test_settings_that_cannot_be_are_refused(home, connected, cli, text) -> None:
    """With their place."""
    (home / "settings.yaml").write_text(text + "\n")
    ran = cli("run")
    assert ran.code == 3, ran.text
    assert "settings.yaml:1:" in ran.err
