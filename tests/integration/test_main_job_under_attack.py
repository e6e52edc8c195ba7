"""Bookings and qualifications where two names, two tenants, older states and refusals meet."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
import time
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any
from zoneinfo import ZoneInfo

import pytest

from tests.integration.conftest import CLIENT_ID, edit

if TYPE_CHECKING:
    from pathlib import Path

PUT = "PUT /users/qualification"
GET_USER = "GET /users/{identifier}"
POST = "POST /crm/v2/tenant/{tenant}/booking-provider/{booking_provider}/bookings"
AUTUMN = "autumn-hvac"


def _connect(cli: Any, name: str, *options: str) -> None:
    for words in (
        ("connect", name, "--tenant-id", "985798691", *options),
        ("requests", "approve", name),
        ("finalize", name, "--client-id", CLIENT_ID, "--booking-provider", "4521"),
    ):
        ran = cli(*words)
        assert ran.code == 0, ran.text


@pytest.fixture
def autumn(connected, cli) -> Path:
    """A second local name of the same campaign and tenant, whose external ids are made otherwise."""
    file = connected.with_name(f"{AUTUMN}.yaml")
    shutil.copy(connected, file)
    edit(file, ("{type: dynamic, from: code}", '{type: template, template: "rf-{id}"}'))
    _connect(cli, AUTUMN)
    return file


def _qualified(world: Any) -> int:
    """How many leads are qualified now."""
    return sum(lead["qualified_at"] is not None for lead in world.leads())


def test_two_names_of_one_campaign_book_nobody_twice(connected, autumn, cli, world) -> None:
    """Whatever external id the second name would give: who has a booking is left alone."""
    assert cli("leads", "run", "spring-hvac").code == 0
    ran = cli("leads", "run", AUTUMN, "--json")
    assert ran.code == 0, ran.text
    assert ran.document["counts"]["created"] == 0
    assert ran.document["counts"]["unchanged"] == 11
    assert len(world.bookings()) == 11


def test_giving_one_name_up_loses_no_qualification(connected, autumn, cli, world) -> None:
    """The second name watches what the first has booked, and keeps it when that is forgotten."""
    assert cli("leads", "run", "spring-hvac").code == 0
    assert cli("leads", "run", AUTUMN).code == 0
    assert cli("disconnect", "spring-hvac", "--yes", "--purge").code == 0
    world.job_of(world.bookings()[0], "Completed")
    assert cli("leads", "run", AUTUMN, "--json").document["counts"]["created"] == 0
    assert cli("qualify", "run", AUTUMN, "--json").document["counts"]["qualified"] == 1
    assert len(world.bookings()) == 11


def _killed_at(world: Any, api: str, route: str, *words: str) -> None:
    """A process that dies as soon as it has asked for this, and before it hears the answer."""
    method, _, path = route.partition(" ")
    world.post("/requests/reset")
    world.fault("delay", api=api, method=method, route=path, seconds=5)
    process = subprocess.Popen([sys.executable, "-m", "stcli", *words])
    deadline = time.monotonic() + 30
    while route not in world.requests(api):
        assert time.monotonic() < deadline
        time.sleep(0.02)
    process.kill()
    process.wait()
    world.no_faults()


def test_a_doubt_of_one_name_is_settled_by_the_other(connected, autumn, cli, world) -> None:
    """Nobody waits for the pass of a name that is never run again."""
    _killed_at(world, "st", POST, "leads", "run", "spring-hvac", "--limit", "1")
    assert len(world.bookings()) == 1
    ran = cli("leads", "run", AUTUMN, "--json")
    assert ran.code == 0, ran.text
    assert (ran.document["counts"]["linked"], ran.document["counts"]["created"]) == (1, 10)
    assert len(world.bookings()) == 11


def test_a_booking_of_another_tenant_is_none_of_this_one(connected, cli, world) -> None:
    """After a move to another environment everyone is looked for there."""
    assert cli("leads", "run").code == 0
    assert cli("disconnect", "spring-hvac", "--yes").code == 0
    edit(
        connected, ("  tenant_id: 985798691", "  tenant_id: 985798691\n  environment: integration")
    )
    _connect(cli, "spring-hvac", "--environment", "integration")
    ran = cli("leads", "run", "--json")
    assert ran.code == 0, ran.text
    counts = ran.document["counts"]
    assert (counts["unchanged"], counts["linked"]) == (0, 11)


def _lose_the_qualification(cli: Any, world: Any, route: str) -> Any:
    """One lead is about to be qualified, and the pass dies at this request."""
    cli("leads", "run")
    job = world.job_of(world.bookings()[0], "Completed")
    _killed_at(world, "rf", route, "qualify", "run")
    return job


@pytest.mark.parametrize(("route", "took_effect"), [(GET_USER, False), (PUT, True)])
def test_an_unanswered_qualification_survives_a_waiting_time(
    connected, cli, world, route, took_effect
) -> None:
    """``hold_days`` that is set meanwhile puts it off; what took effect stays."""
    _lose_the_qualification(cli, world, route)
    edit(connected, ("  value: Completed", "  value: Completed\n  hold_days: 7"))
    for _ in range(2):
        assert cli("qualify", "run").code == 0
    assert _qualified(world) == int(took_effect)
    edit(connected, ("\n  hold_days: 7", ""))
    ran = cli("qualify", "run", "--json")
    assert ran.document["counts"]["qualified"] == int(not took_effect)
    assert _qualified(world) == 1


def test_an_unanswered_qualification_of_a_canceled_job_is_taken_back(connected, cli, world) -> None:
    """It took effect, nobody heard of it, and the job was canceled: Referral Factory is asked."""
    edit(connected, ("  value: Completed", "  value: Completed\n  on_cancel: unqualify"))
    job = _lose_the_qualification(cli, world, PUT)
    world.post(f"/jobs/{job['id']}/status", status="Canceled")
    ran = cli("qualify", "run", "--json")
    assert ran.document["counts"]["unqualified"] == 1, ran.text
    assert _qualified(world) == 0
    assert cli("qualify", "run", "--json").document["counts"]["unqualified"] == 0


def test_a_job_made_anew_keeps_the_qualification(connected, cli, world) -> None:
    """Canceled and done again between two polls: nothing is taken back, and the new job counts."""
    edit(connected, ("  value: Completed", "  value: Completed\n  on_cancel: unqualify"))
    cli("leads", "run")
    booking = world.bookings()[0]
    job = world.job_of(booking, "Completed")
    assert cli("qualify", "run", "--json").document["counts"]["qualified"] == 1
    world.post(f"/jobs/{job['id']}/status", status="Canceled")
    again = world.job_of(booking, "Completed", link="job_only")
    ran = cli("qualify", "run", "--json")
    assert (ran.document["counts"]["qualified"], ran.document["counts"]["unqualified"]) == (0, 0)
    assert len(world.get("/qualifications")) == 1
    world.post(f"/jobs/{again['id']}/status", status="Canceled")
    assert cli("qualify", "run", "--json").document["counts"]["unqualified"] == 1


def test_several_bookings_stay_reported_whatever_the_mapping_says(connected, cli, world) -> None:
    """A new external id makes no third booking; a job of either one qualifies."""
    lead = next(u for u in world.users() if u["first_name"].startswith("Zoë"))
    pair = [
        world.post("/bookings", externalId=lead["code"], source="Spring HVAC", summary="x")
        for _ in range(2)
    ]
    assert cli("leads", "run").code == 5
    edit(connected, ("{type: dynamic, from: code}", '{type: template, template: "rf-{id}"}'))
    ran = cli("leads", "run", "--json")
    assert ran.document["counts"]["created"] == 0, ran.text
    assert len(world.bookings()) == 12
    world.job_of(pair[1], "Completed")
    assert cli("qualify", "run", "--json").document["counts"]["qualified"] == 1
    assert (
        cli("leads", "link", "spring-hvac", lead["code"], "--booking", str(pair[1]["id"])).code == 0
    )
    assert cli("failures", "list", "--json").document["failures"] == []


def test_several_bookings_are_looked_at_again_on_request(connected, cli, world, sandbox) -> None:
    """Reported anew while there are two, linked when one is left, and no other is ever asked for."""
    lead = next(u for u in world.users() if u["first_name"].startswith("Zoë"))
    pair = [
        world.post("/bookings", externalId=lead["code"], source="Spring HVAC", summary="x")["id"]
        for _ in range(2)
    ]

    def now_belong_to(*codes: str) -> None:
        with sandbox.world.lock:
            for number, code in zip(pair, codes, strict=True):
                sandbox.world.booking(number)[1].external_id = code

    def again(number: int) -> dict[str, int]:
        assert cli("failures", "retry", str(number)).out.startswith("1 will be tried again")
        counts = cli("leads", "run", "--json").document["counts"]
        assert (counts["created"], counts["seen"]) == (0, 12)
        return counts

    assert cli("leads", "run").code == 5
    assert cli("leads", "run").code == 0
    (failure,) = cli("failures", "list", "--json").document["failures"]
    assert again(failure["id"])["failed"] == 1
    assert cli("leads", "run").code == 0
    (failure,) = cli("failures", "list", "--json").document["failures"]
    assert failure["state"] == "parked"
    now_belong_to("someone", "else")
    assert again(failure["id"])["failed"] == 1
    now_belong_to("someone", lead["code"])
    assert again(failure["id"])["linked"] == 1
    assert cli("failures", "list", "--json").document["failures"] == []
    assert cli("leads", "run", "--json").document["counts"]["unchanged"] == 11


def test_a_state_from_before_a_resend_finds_the_newer_booking(connected, cli, world, home) -> None:
    """The job of the second booking qualifies, though the old state names the dismissed one."""
    cli("leads", "run")
    booking = world.bookings()[0]
    world.post(f"/bookings/{booking['id']}/dismiss")
    shutil.copytree(home / "state", home.parent / "copy")
    assert cli("leads", "resend", "spring-hvac", booking["externalId"]).code == 0
    assert cli("leads", "run").code == 0
    newer = next(
        b
        for b in world.bookings()
        if b["externalId"] == booking["externalId"] and b["id"] != booking["id"]
    )
    shutil.rmtree(home / "state")
    shutil.copytree(home.parent / "copy", home / "state")
    world.job_of(newer, "Completed")
    for _ in range(2):
        assert cli("leads", "run").code == 0
    assert cli("qualify", "run", "--json").document["counts"]["qualified"] == 1
    assert world.per_external_id()[booking["externalId"]] == 2


def test_evidence_by_hand_is_one_persons(connected, cli, world) -> None:
    """A code of another campaign, a referrer, and somebody else's booking or job are refused."""
    cli("leads", "run")
    mine, other, *_ = world.bookings()
    job = world.job_of(other, link="booking_only")
    assert cli("qualify", "run").code == 0
    link = ("leads", "link", "spring-hvac")
    ran = cli(*link, mine["externalId"], "--booking", str(other["id"]))
    assert ran.code == 3
    assert other["externalId"] in ran.err
    assert cli(*link, mine["externalId"], "--job", str(job["id"])).code == 3
    ours = world.leads()[0]["campaign_id"]
    referrer = next(
        u for u in world.users() if u["type"] == "person_referring" and u["campaign_id"] == ours
    )
    stranger = next(u for u in world.users() if u["campaign_id"] != ours)
    for person, word in ((referrer, "is a referrer"), (stranger, "another campaign")):
        ran = cli(*link, person["code"], "--booking", str(mine["id"]))
        assert ran.code == 2, ran.text
        assert word in ran.err
        assert cli("leads", "resend", "spring-hvac", person["code"]).code == 2


def test_a_refused_qualification_is_parked(connected, cli, world) -> None:
    """422 is definite: exit 5 once, then quiet, and asked again on request."""
    cli("leads", "run")
    world.job_of(world.bookings()[0], "Completed")
    world.fault("status", method="PUT", route="/users/qualification", status=422)
    assert cli("qualify", "run").code == 5
    world.post("/requests/reset")
    assert cli("qualify", "run").code == 0
    assert PUT not in world.requests("rf")
    world.no_faults()
    assert cli("qualify", "run", "--json").document["counts"]["qualified"] == 0
    (failure,) = cli("failures", "list", "--json").document["failures"]
    assert failure["state"] == "parked"
    assert cli("failures", "retry", str(failure["id"])).code == 0
    assert cli("qualify", "run", "--json").document["counts"]["qualified"] == 1
    assert cli("failures", "list", "--json").document["failures"] == []


@pytest.mark.parametrize("zone", ["Pacific/Kiritimati", "Pacific/Niue", "UTC"])
def test_since_is_the_earlier_of_two_days(connected, cli, zone) -> None:
    """Where it is still yesterday, those who join this evening are not left out."""
    assert cli("action", "leads", "nothing").code == 0
    before = datetime.now(UTC)
    ran = subprocess.run(
        [sys.executable, "-m", "stcli", "action", "leads", "create_booking"],
        env={**os.environ, "TZ": zone},
        capture_output=True,
        text=True,
        check=False,
    )
    assert ran.returncode == 0, ran.stderr
    text = connected.read_text(encoding="utf-8")
    since = next(line.split()[1] for line in text.splitlines() if line.startswith("  since:"))
    allowed = {
        min(now.date(), now.astimezone(ZoneInfo(zone)).date()).isoformat()
        for now in (before, datetime.now(UTC))
    }
    assert since in allowed


def test_backfill_opens_an_action_that_is_on(connected, cli, world) -> None:
    """Everyone who was there when it was switched on is booked too, those of that day as well."""
    assert cli("action", "leads", "nothing").code == 0
    assert cli("action", "leads", "create_booking").code == 0
    assert cli("leads", "run", "--json").document["counts"]["created"] == 0
    assert cli("action", "leads", "create_booking", "--backfill").code == 0
    assert "since:" not in connected.read_text(encoding="utf-8")
    assert cli("leads", "run", "--json").document["counts"]["created"] == 11


def test_an_entry_that_is_none_keeps_nobody_else_out(connected, cli, world, pointed) -> None:
    """It is reported by its number, and everyone else is booked."""
    damaged = pointed.world.account.in_order()[0]
    damaged.code = None
    ran = cli("leads", "run", "--json")
    assert ran.code == 5
    assert [f["record"] for f in ran.document["failures"]] == [f"user {damaged.id}"]
    assert ran.document["counts"]["created"] >= 10


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_stop_between_two_passes_is_told(connected, cli, world, number) -> None:
    """What was not begun because of the signal is in the document, and the exit code says so."""
    edit(connected, ("leads:\n", "referrers:\n  action: nothing\nleads:\n"))
    world.fault("delay", method="POST", route="/bookings", seconds=0.3)
    process = subprocess.Popen(
        [sys.executable, "-m", "stcli", "run", "--json", "--limit", "1"],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    while not world.bookings():
        time.sleep(0.01)
    process.send_signal(number)
    out, _ = process.communicate(timeout=10)
    assert process.returncode == 128 + number
    passes = json.loads(out)["passes"]
    assert passes[-1]["status"] == "interrupted"
