"""Where output goes: a reader that leaves, a full disk, a closed stream, and the exit code of each."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

STCLI = f"{sys.executable} -m stcli"

needs_dev_full = pytest.mark.skipif(
    not Path("/dev/full").exists(), reason="this system has no /dev/full"
)


def _shell(line: str, **environment: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        ["bash", "-c", line],
        env={**os.environ, "STCLI": STCLI, **environment},
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
    )


@pytest.fixture
def failing(connected) -> Path:
    """A campaign whose leads pass ends with 5."""
    text = connected.read_text(encoding="utf-8")
    bad = "    start: {type: template, template: not-a-date}\n    phone: "
    connected.write_text(text.replace("    phone: ", bad), encoding="utf-8")
    return connected


@pytest.mark.parametrize("as_json", ["", " --json"])
def test_a_reader_that_leaves_does_not_change_the_exit_code(failing, as_json) -> None:
    """What failed has failed, whether anybody reads it or not."""
    ran = _shell(f"$STCLI leads run{as_json} | true; exit ${{PIPESTATUS[0]}}")
    assert ran.returncode == 5, ran.stderr
    assert "Traceback" not in ran.stderr
    assert "BrokenPipe" not in ran.stderr


def test_a_reader_that_leaves_in_the_middle_is_no_failure(connected) -> None:
    """``head`` takes one line and goes."""
    ran = _shell("$STCLI --help | head -1; exit ${PIPESTATUS[0]}")
    assert (ran.returncode, ran.stderr) == (0, "")


@needs_dev_full
@pytest.mark.parametrize("as_json", ["", " --json"])
def test_a_full_disk_under_stdout_is_said(connected, world, as_json) -> None:
    """Exit 3 and what is to be done; the pass itself was made."""
    ran = _shell(f"$STCLI leads run{as_json} > /dev/full")
    assert ran.returncode == 3
    assert "the result cannot be written: No space left on device" in ran.stderr
    assert "Traceback" not in ran.stderr
    assert len(world.bookings()) == 11


@needs_dev_full
def test_a_full_disk_under_stderr_loses_only_the_remarks(failing) -> None:
    """The exit code and stdout are what they are."""
    ran = _shell("$STCLI leads run 2> /dev/full")
    assert ran.returncode == 5
    assert "11 failed" in ran.stdout


@pytest.mark.parametrize("stream", ["0<&-", ">&-", "2>&-", "0<&- >&- 2>&-"])
def test_a_closed_stream_leads_nowhere(failing, world, home, stream) -> None:
    """The number of a closed stream is not given to the database; the exit code stands."""
    ran = _shell(f"$STCLI leads run {stream}")
    assert ran.returncode == 5, ran.stderr
    ran = _shell("$STCLI failures list --json")
    assert ran.returncode == 0, ran.stderr
    assert ran.stdout.count('"id"') == 11


def test_authorities_that_cannot_be_read_are_named(pointed, home) -> None:
    """A wrong SSL_CERT_FILE is the caller's to mend."""
    ran = _shell(
        "$STCLI campaigns", SSL_CERT_FILE="/nowhere/ca.pem", STCLI_RF_URL="https://127.0.0.1:9"
    )
    assert ran.returncode == 3, ran.stderr
    assert "SSL_CERT_FILE" in ran.stderr


def test_a_home_of_an_unknown_user_is_wrong_usage(pointed) -> None:
    ran = _shell("$STCLI status", STCLI_HOME="~nobody-by-this-name/x")
    assert ran.returncode == 2, ran.stderr
    assert "STCLI_HOME" in ran.stderr
