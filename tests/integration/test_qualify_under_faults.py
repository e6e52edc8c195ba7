"""Qualifications that are cut off, and records about which a system does not answer."""

from __future__ import annotations

import signal
import subprocess
import sys
import time
from typing import Any

import pytest

from stcli.sandbox.settings import SandboxSettings
from tests.integration.conftest import edit

PUT = "PUT /users/qualification"


@pytest.fixture
def booked(connected, cli, world) -> list[Any]:
    """The bookings of all leads."""
    assert cli("leads", "run").code == 0
    return list(world.bookings())


def _qualified(world: Any, booking: Any) -> bool:
    code = booking["externalId"]
    return any(u["qualified_at"] is not None for u in world.leads() if u["code"] == code)


def _counts(cli: Any, *words: str, code: int = 0) -> dict[str, int]:
    ran = cli("qualify", "run", *words, "--json")
    assert ran.code == code, ran.text
    counts = dict(ran.document["counts"])
    assert sum(counts.values()) == 2 * counts["seen"]
    return counts


def _killed(world: Any) -> None:
    """The request takes effect, and the process dies before it hears of that."""
    world.post("/requests/reset")
    world.fault("delay", method="PUT", route="/users/qualification", seconds=5)
    process = subprocess.Popen([sys.executable, "-m", "stcli", "qualify", "run"])
    deadline = time.monotonic() + 30
    while PUT not in world.requests("rf"):
        assert time.monotonic() < deadline
        time.sleep(0.02)
    process.send_signal(signal.SIGKILL)
    process.wait()


@pytest.mark.parametrize("how", ["killed", "unanswered"])
@pytest.mark.parametrize("before_the_next_run", [True, False])
def test_a_taking_back_that_is_cut_off_loses_no_qualification(
    connected, booked, cli, world, how, before_the_next_run
) -> None:
    """The job is canceled, stcli does not learn that the qualification went, and the job goes on:
    the lead is qualified again, whether a pass looked in between or not."""
    edit(connected, ("  value: Completed", "  value: Completed\n  on_cancel: unqualify"))
    booking = booked[0]
    job = world.job_of(booking, "Completed")
    assert _counts(cli)["qualified"] == 1
    world.post(f"/jobs/{job['id']}/status", status="Canceled")
    if how == "killed":
        _killed(world)
    else:
        world.fault("lose_answer", method="PUT", route="/users/qualification")
        assert cli("qualify", "run").code == 5
    world.no_faults()
    assert not _qualified(world, booking)
    if before_the_next_run:
        assert _counts(cli)["unqualified"] == 1
        assert not _qualified(world, booking)
    world.post(f"/jobs/{job['id']}/status", status="Completed")
    assert _counts(cli)["qualified"] == 1
    assert _qualified(world, booking)
    assert _counts(cli)["qualified"] == 0


def test_a_taking_back_that_never_arrived_is_sent_again(connected, booked, cli, world) -> None:
    """The request was lost on its way: it still stands in Referral Factory, and goes next time."""
    edit(connected, ("  value: Completed", "  value: Completed\n  on_cancel: unqualify"))
    job = world.job_of(booked[0], "Completed")
    assert _counts(cli)["qualified"] == 1
    world.post(f"/jobs/{job['id']}/status", status="Canceled")
    world.fault("reset_before", method="PUT", route="/users/qualification")
    assert cli("qualify", "run").code == 5
    world.no_faults()
    assert _qualified(world, booked[0])
    assert _counts(cli)["unqualified"] == 1
    assert not _qualified(world, booked[0])


@pytest.mark.parametrize("sandbox", [SandboxSettings(leads=5, feed_lag_seconds=0)], indirect=True)
@pytest.mark.parametrize("api", ["st", "rf"])
def test_one_record_without_an_answer_stops_nobody(connected, booked, cli, world, api) -> None:
    """A 500 about one lead: it fails and is tried again, the others are qualified; exit 5."""
    assert _counts(cli)["unchanged"] == len(booked)
    first = min(world.leads(), key=lambda lead: lead["id"])
    ours = next(b for b in booked if b["externalId"] == first["code"])
    for booking in booked:
        # Of this job nothing but its own history tells that it was completed.
        options = {"link": "booking_only"} if booking is ours else {}
        job = world.job_of(booking, "Completed", "Hold", **options)
        if booking is ours:
            route = f"/jobs/{job['id']}/history" if api == "st" else f"/users/{first['id']}"
            world.fault("status", api=api, method="GET", route=route, status=500)
    counts = _counts(cli, code=5)
    assert (counts["qualified"], counts["failed"]) == (len(booked) - 1, 1)
    listed = cli("failures", "list", "--json").document["failures"]
    assert [failure["record"] for failure in listed] == [first["code"]]
    world.no_faults()
    assert _counts(cli)["qualified"] == 1
    assert cli("failures", "list", "--json").document["failures"] == []


def test_who_failed_lately_comes_last(connected, booked, cli, world) -> None:
    """With ``--limit`` one lead about whom nobody answers does not take every turn."""
    for booking in booked:
        world.job_of(booking, "Completed")
    first = min(u["id"] for u in world.leads() if u["code"] in {b["externalId"] for b in booked})
    world.fault("status", api="rf", method="GET", route=f"/users/{first}", status=500)
    assert _counts(cli, "--limit", "1", code=5)["qualified"] == 0
    assert _counts(cli, "--limit", "1")["qualified"] == 1


@pytest.mark.parametrize("sandbox", [SandboxSettings(leads=3, feed_lag_seconds=0)], indirect=True)
def test_a_history_that_was_refused_is_read_later(connected, booked, cli, world) -> None:
    """404 once: the lead waits as a failure that is told once; a change of the job, or a person,
    has it read again. Nothing but the history knows that the job was completed."""
    assert cli("qualify", "run").code == 0
    booking = booked[0]
    job = world.job_of(booking, "Completed", "Hold", link="booking_only")
    world.fault("status", api="st", method="GET", route=f"/jobs/{job['id']}/history", status=404)
    assert _counts(cli, code=5)["failed"] == 1
    world.post("/requests/reset")
    assert _counts(cli)["unchanged"] == len(booked)
    assert not [
        route for route in world.requests("st") if "history" in route and "export" not in route
    ]
    world.no_faults()
    assert not _qualified(world, booking)
    assert cli("failures", "retry").code == 0
    assert _counts(cli)["qualified"] == 1
    assert _qualified(world, booking)
    assert cli("failures", "list", "--json").document["failures"] == []
