"""Signals at any moment of a command that only looks: a word, the exit code, one document."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
import time

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
        assert json.loads(out)["error"]["exit_code"] == CODES[number]
    assert CODES[number] in seen


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
