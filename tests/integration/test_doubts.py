"""Doubts that meet a state put back, a person's decision, or a limit."""

from __future__ import annotations

import subprocess
import sys
import time
from typing import TYPE_CHECKING, Any

import pytest

from tests.integration.conftest import CLIENT_ID, edit

if TYPE_CHECKING:
    from pathlib import Path


def _until(what: Any, seconds: float = 30) -> None:
    deadline = time.monotonic() + seconds
    while not what():
        assert time.monotonic() < deadline
        time.sleep(0.05)


def _applied(world: Any) -> int:
    return sum(fault["applied"] for fault in world.get("/faults"))


def _killed_amid_doubts(world: Any, kind: str, number: int, *words: str, **options: Any) -> None:
    """A pass that asks for so many bookings, hears nothing, and is killed while it waits."""
    world.fault(kind, method="POST", route="/bookings", **options)
    process = subprocess.Popen(
        [sys.executable, "-m", "stcli", "leads", "run", *words], stderr=subprocess.DEVNULL
    )
    _until(lambda: _applied(world) == number)
    time.sleep(0.3)
    process.kill()
    process.wait()
    world.no_faults()


def _restored(cli: Any, home: Path, copy: Path) -> None:
    assert cli("state", "restore", str(copy), "--yes").code == 0


def _copied_by_hand(cli: Any, home: Path, copy: Path) -> None:
    for file in (home / "state").glob("stcli.db*"):
        file.unlink()
    (home / "state" / "stcli.db").write_bytes(copy.read_bytes())


def _deleted(cli: Any, home: Path, copy: Path) -> None:
    for file in (home / "state").glob("stcli.db*"):
        file.unlink()
    for words in (
        ("connect", "spring-hvac", "--tenant-id", "985798691"),
        ("requests", "approve", "spring-hvac"),
        ("finalize", "spring-hvac", "--client-id", CLIENT_ID, "--booking-provider", "4521"),
    ):
        assert cli(*words).code == 0


@pytest.mark.parametrize("how", [_restored, _copied_by_hand, _deleted])
def test_a_state_older_than_the_last_request_waits_for_it(
    connected, cli, world, home, tmp_path, monkeypatch, how
) -> None:
    """Unanswered writes that take effect late, a kill, and a state that knows nothing of them."""
    monkeypatch.setenv("STCLI_ST_TIMEOUT_SECONDS", "4")
    copy = tmp_path / "before.db"
    assert cli("state", "backup", str(copy)).code == 0
    _killed_amid_doubts(world, "late_commit", 11, commit_after_seconds=6)
    how(cli, home, copy)
    assert world.bookings() == []
    ran = cli("leads", "run")
    assert ran.code == 0, ran.text
    assert "older than the last request" in ran.err
    assert world.per_external_id() == dict.fromkeys(world.per_external_id(), 1)
    assert len(world.bookings()) == 11
    world.someone_new()
    ran = cli("leads", "run")
    assert ran.code == 0, ran.text
    assert "older than the last request" not in ran.err


def test_a_decision_by_hand_waits_for_the_pass(connected, cli, world, monkeypatch) -> None:
    """A pass that waits out a doubt would act against it: exit 7, and afterwards it works."""
    monkeypatch.setenv("STCLI_ST_TIMEOUT_SECONDS", "5")
    assert cli("leads", "run", "--limit", "1").code == 0
    code = next(lead["code"] for lead in world.leads() if lead["code"] not in _booked(world))
    world.fault("reset_before", method="POST", route="/bookings")
    process = subprocess.Popen(
        [sys.executable, "-m", "stcli", "leads", "run", "--limit", "2"], stderr=subprocess.DEVNULL
    )
    _until(lambda: _applied(world) == 2)
    booking = str(world.bookings()[0]["id"])
    for words in (("link", code, "--booking", booking), ("resend", code)):
        ran = cli("leads", *words)
        assert ran.code == 7, ran.text
        assert "a leads pass of spring-hvac is running" in ran.err
    world.no_faults()
    assert process.wait(timeout=30) == 0
    assert set(world.per_external_id().values()) == {1}


def _booked(world: Any) -> set[str]:
    return set(world.per_external_id())


@pytest.mark.parametrize("by", ["limit", "brake"])
def test_doubts_that_ripen_stay_within_the_limit(connected, cli, world, monkeypatch, by) -> None:
    """``--limit`` and ``max_creates`` bound the requests of a pass, also those asked for again."""
    _killed_amid_doubts(world, "reset_before", 4, "--limit", "4")
    words = ("--limit", "4")
    if by == "brake":
        words = ()
        edit(connected, ("  fields:\n", "  limits: {max_creates: 7}\n  fields:\n"))
    monkeypatch.setenv("STCLI_ST_TIMEOUT_SECONDS", "3")
    ran = cli("leads", "run", *words, "--json")
    assert ran.code == 5, ran.text
    assert len(world.bookings()) == (4 if by == "limit" else 7)
    assert "in doubt" in ran.document["failures"][0]["reason"]
    time.sleep(3)
    assert cli("leads", "run", "--json", "--allow-mass-change").code == 0
    assert len(world.bookings()) == 11
    assert set(world.per_external_id().values()) == {1}
