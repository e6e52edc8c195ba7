"""Signals at any moment, also where a command waits for a lock or another program: a word, the exit
code, one document."""

from __future__ import annotations

import json
import os
import signal
import sqlite3
import subprocess
import sys
import time
from contextlib import closing
from pathlib import Path

import pytest

CODES = {signal.SIGINT: 130, signal.SIGTERM: 143}


@pytest.mark.parametrize("number", CODES)
def test_a_signal_while_a_command_loads_or_works_is_told(connected, number) -> None:
    """From the moment that the handlers are there to the end, in small steps; what had ended
    before the signal came ended well, and what was killed before was Python's own start."""
    seen = set()
    for step in range(16):
        process = subprocess.Popen(
            [sys.executable, "-m", "stcli", "map", "show", "--json"],
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        time.sleep(0.04 * step)
        process.send_signal(number)
        out, err = process.communicate(timeout=20)
        seen.add(process.returncode)
        if process.returncode in (0, -number):
            continue
        if "Traceback" in err:
            # Python was still starting itself: nothing of ours was loaded.
            assert "stcli" not in err
            continue
        assert process.returncode == CODES[number], (out, err)
        document = json.loads(out)
        if "error" in document:
            assert document["error"]["exit_code"] == CODES[number]
        else:
            assert document["campaign"] == "spring-hvac"
            assert "stopped by" in err, "the result was out already"
    assert CODES[number] in seen


AFTER_THE_WRITE = """
import os, signal, sys
from stcli.cli import output
from stcli.__main__ import main
number, written = int(sys.argv.pop()), output._write
def write(text):
    written(text)
    os.kill(os.getpid(), number)
output._write = write
main()
"""


@pytest.mark.parametrize("number", CODES)
def test_a_signal_after_the_result_adds_no_second_document(connected, number) -> None:
    """As close behind the write as a signal can come."""
    ran = subprocess.run(
        [sys.executable, "-c", AFTER_THE_WRITE, "map", "show", "--json", str(int(number))],
        capture_output=True,
        text=True,
        check=False,
    )
    assert ran.returncode == CODES[number], ran.stderr
    assert json.loads(ran.stdout)["campaign"] == "spring-hvac"
    assert "stopped by" in ran.stderr


PLACES = {
    "a pass that begins": ("state/stcli.db", ("leads", "run")),
    "the rate limits": ("state/limits.db", ("leads", "run")),
    "a command outside a pass": ("state/stcli.db", ("failures", "retry")),
}


def _spawned(*words: str) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, "-m", "stcli", *words],
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def _ended(process: subprocess.Popen[str], number: signal.Signals) -> str:
    """What a process wrote that is stopped now; soon, and with the code of the signal."""
    assert process.poll() is None, process.communicate()
    process.send_signal(number)
    asked = time.monotonic()
    out, err = process.communicate(timeout=60)
    assert time.monotonic() - asked < 5, err
    assert process.returncode == CODES[number], out + err
    assert "Traceback" not in err
    return out


def _wait_until_open(process: subprocess.Popen[str], file: Path) -> None:
    """Until the process has the file open, and has had the time to wait for its lock."""
    folder = Path(f"/proc/{process.pid}/fd")
    deadline = time.monotonic() + (30 if folder.exists() else 4)
    while time.monotonic() < deadline and process.poll() is None:
        if folder.exists() and file in {Path(os.path.realpath(link)) for link in folder.iterdir()}:
            break
        time.sleep(0.05)
    time.sleep(1)


@pytest.mark.parametrize("place", PLACES)
def test_a_signal_ends_a_wait_for_another_programs_lock(connected, cli, home, place) -> None:
    """SQLite's own wait would take 30 s, and nothing can interrupt it."""
    name, words = PLACES[place]
    assert cli("leads", "run", "--dry-run").code == 0
    file = home / name
    with closing(sqlite3.connect(file, isolation_level=None)) as other:
        other.execute("BEGIN IMMEDIATE")
        process = _spawned(*words)
        _wait_until_open(process, file)
        _ended(process, signal.SIGTERM)


@pytest.mark.parametrize("number", CODES)
def test_a_signal_ends_a_pass_whose_state_another_program_locked_meanwhile(
    connected, cli, world, home, number
) -> None:
    """The pass is told all the same, and the next one finds its lock free."""
    world.fault("delay", api="rf", route="/users", seconds=2)
    process = _spawned("leads", "run", "--json")
    while not any("/users" in route for route in world.requests("rf")):
        time.sleep(0.02)
    with closing(sqlite3.connect(home / "state" / "stcli.db", isolation_level=None)) as other:
        other.execute("BEGIN IMMEDIATE")
        time.sleep(3)
        document = json.loads(_ended(process, number))
    assert document["status"] == "interrupted"
    assert document["error"]["exit_code"] == CODES[number]
    world.no_faults()
    ran = cli("leads", "run", "--json")
    assert ran.code == 0, ran.text
    assert ran.document["counts"]["created"] == 11


def test_a_signal_ends_a_command_that_gives_a_secret(
    connected, home, monkeypatch, tmp_path
) -> None:
    """A pass waits ten seconds for it, a signal does not; the command is ended too."""
    mark = tmp_path / "asked"
    script = f"echo $$ > {mark}; exec sleep 60"
    (home / "settings.yaml").write_text(
        f"secrets:\n  st_client_secret: {{command: [sh, -c, '{script}']}}\n", encoding="utf-8"
    )
    monkeypatch.delenv("STCLI_ST_CLIENT_SECRET")
    process = _spawned("leads", "run")
    while not (mark.exists() and mark.read_text(encoding="utf-8").endswith("\n")):
        time.sleep(0.02)
    _ended(process, signal.SIGINT)
    with pytest.raises(ProcessLookupError):
        os.kill(int(mark.read_text(encoding="utf-8")), 0)


@pytest.mark.parametrize("step", ["finalize", "login"])
def test_a_signal_ends_the_proof_of_a_secret(connected, world, monkeypatch, step) -> None:
    """Nothing is written yet: there is no clean point to be waited for."""
    monkeypatch.setenv("STCLI_ST_TIMEOUT_SECONDS", "60")
    if step == "finalize":
        world.fault("delay", api="auth", seconds=60)
        process = _spawned("finalize", "spring-hvac")
    else:
        world.fault("delay", api="rf", seconds=60)
        process = _spawned("auth", "login")
    while not any(fault["applied"] for fault in world.get("/faults")):
        time.sleep(0.02)
    _ended(process, signal.SIGTERM)


DEAF = """
import socket, sys, time

def hang(*_words, **_more):
    print("looking up", flush=True)
    time.sleep(30)
    raise socket.gaierror

socket.getaddrinfo = hang
from stcli.__main__ import main
main()
"""
"""The program where no name server answers."""


@pytest.mark.parametrize("number", CODES)
@pytest.mark.parametrize("words", [["campaigns"], ["leads", "run"]])
def test_a_signal_ends_the_wait_for_a_name_server(connected, monkeypatch, words, number) -> None:
    """It would last a minute or so; neither the work nor the end of the process waits for it."""
    monkeypatch.setenv("STCLI_RF_URL", "https://referral-factory.invalid/api")
    process = subprocess.Popen(
        [sys.executable, "-c", DEAF, *words],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    assert process.stdout is not None
    assert process.stdout.readline() == "looking up\n"
    began = time.monotonic()
    process.send_signal(number)
    process.communicate(timeout=40)
    assert process.returncode == CODES[number]
    assert time.monotonic() - began < 10
