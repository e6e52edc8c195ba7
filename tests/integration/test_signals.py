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
