"""From a referred lead to a booking to a qualified referral, over real HTTP."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from stcli.sandbox.settings import SandboxSettings
from tests.unit.test_startup import loaded_by

if TYPE_CHECKING:
    from pathlib import Path


def test_each_lead_gets_one_booking_and_a_second_pass_none(connected, cli, world) -> None:
    """Eleven of twelve leads (one is a test) are booked once, whatever is run again."""
    first = cli("leads", "run", "--json")
    assert first.code == 0, first.text
    assert first.document["counts"]["created"] == 11
    assert first.document["skipped"] == {"test": 1}
    second = cli("leads", "run", "--json")
    assert second.code == 0
    assert second.document["counts"]["created"] == 0
    assert second.document["counts"]["unchanged"] == 11
    assert sorted(world.per_external_id().values()) == [1] * 11


def test_a_booking_carries_what_the_mapping_says(connected, cli, world) -> None:
    """Source, name, contacts, summary and external id come from the person and the campaign."""
    cli("leads", "run")
    zoe = next(b for b in world.bookings() if b["name"].startswith("Zoë"))
    assert zoe["source"] == "Spring HVAC"
    assert zoe["isFirstTimeClient"] is True
    assert {c["type"] for c in zoe["contacts"]} == {"Email", "Phone"}
    assert zoe["summary"].startswith("Referred by ")
    assert zoe["bookingProviderId"] == 4521


def test_a_new_lead_costs_little_and_nothing_new_a_handful(connected, cli, world) -> None:
    """At most 1.2 ServiceTitan requests for a new lead; a few when nothing is new."""
    world.post("/requests/reset")
    ran = cli("leads", "run", "--json")
    assert ran.document["requests"]["servicetitan"] <= 1.2 * 11 + 1
    world.post("/requests/reset")
    ran = cli("leads", "run", "--json")
    assert world.requests("st") == {}
    assert ran.document["requests"]["servicetitan"] == 0


def test_completed_jobs_qualify_and_only_once(connected, cli, world) -> None:
    """A completed job qualifies its referral; another pass changes nothing."""
    cli("leads", "run")
    done, open_, *_ = world.bookings()
    world.job_of(done, "Dispatched", "InProgress", "Completed")
    world.job_of(open_, "Dispatched")
    first = cli("qualify", "run", "--json")
    assert first.code == 0, first.text
    assert first.document["counts"]["qualified"] == 1
    second = cli("qualify", "run", "--json")
    assert second.document["counts"]["qualified"] == 0
    assert [q["qualified"] for q in world.get("/qualifications")] == [True]


def test_the_whole_story_by_hand(pointed, cli, world, home: Path, fields: str) -> None:
    """auth, connect, approve, finalize, validate, leads, qualify, status: twice, with one effect."""
    known = pointed.credentials
    assert cli("auth", "login").code == 0
    connect = ("connect", "spring-hvac", "--tenant-id", str(known.tenant_id))
    assert cli(*connect).code == 0
    assert cli("requests", "approve", "spring-hvac").code == 0
    ran = cli(
        "finalize",
        "spring-hvac",
        "--client-id",
        known.client_id,
        "--booking-provider",
        str(known.booking_provider),
    )
    assert ran.code == 0, ran.text
    assert cli("action", "spring-hvac", "leads", "create_booking", "--backfill").code == 0
    assert cli("map", "validate").code == 3
    file = home / "campaigns" / "spring-hvac.yaml"
    text = file.read_text(encoding="utf-8")
    mapped = text.replace("leads:\n", f"leads:\n  fields:\n{fields}", 1)
    file.write_text(mapped, encoding="utf-8")
    assert cli("map", "validate").code == 0
    assert cli("qualify", "set", "--method", "booking_becomes_job").code == 0
    assert cli("leads", "run").code == 0
    world.job_of(world.bookings()[0])
    for _ in range(2):
        assert cli("run").code == 0
    assert sorted(world.per_external_id().values()) == [1] * 11
    assert len(world.get("/qualifications")) == 1
    status = cli("status", "--json").document["campaigns"][0]
    assert status["connection"] == "connected"
    assert status["last_runs"]["qualify"]["status"] == "succeeded"


@pytest.mark.parametrize("link", ["both", "booking_only", "job_only"])
def test_a_job_is_found_whichever_side_names_the_other(connected, cli, world, link) -> None:
    """The booking's jobId or the job's bookingId: either is evidence."""
    cli("leads", "run")
    world.job_of(world.bookings()[0], "Completed", link=link)
    ran = cli("qualify", "run", "--json")
    assert ran.document["counts"]["qualified"] == 1, ran.text


def test_a_status_between_two_polls_counts(connected, cli, world) -> None:
    """Completed and put back to Hold before anybody looked: it was reached."""
    cli("leads", "run")
    world.job_of(world.bookings()[0], "InProgress", "Completed", "Hold")
    assert cli("qualify", "run", "--json").document["counts"]["qualified"] == 1


def test_unknown_events_count_for_nothing_and_are_explained(connected, cli, world) -> None:
    """An event that names no status is kept and shown, and qualifies nobody."""
    cli("leads", "run")
    booking = world.bookings()[0]
    job = world.job_of(booking)
    world.post(f"/jobs/{job['id']}/history", event_type="Technician Sang")
    assert cli("qualify", "run", "--json").document["counts"]["qualified"] == 0
    explained = cli("qualify", "explain", "spring-hvac", booking["externalId"])
    assert "Technician Sang" in explained.out
    assert "counts for nothing" in explained.out


def test_qualified_elsewhere_and_unqualified_by_hand_are_left_alone(connected, cli, world) -> None:
    """What a person decided in Referral Factory stands."""
    cli("leads", "run")
    one, two, *_ = world.bookings()
    users = {u["code"]: u for u in world.users()}
    world.post(f"/rf/users/{users[one['externalId']]['id']}", qualified=True)
    for booking in (one, two):
        world.job_of(booking, "Completed")
    ran = cli("qualify", "run", "--json")
    assert ran.document["counts"]["qualified"] == 1
    world.post(f"/rf/users/{users[two['externalId']]['id']}", qualified=False)
    job = next(j for j in world.get("/jobs") if j["bookingId"] == two["id"])
    world.post(f"/jobs/{job['id']}/status", status="Hold")
    world.post(f"/jobs/{job['id']}/status", status="Completed")
    assert cli("qualify", "run", "--json").document["counts"]["qualified"] == 0
    assert len(world.get("/qualifications")) == 1


def test_a_canceled_job_takes_back_only_on_request(connected, cli, world) -> None:
    """on_cancel: keep keeps; unqualify takes the qualification back and says what it cannot."""
    text = connected.read_text(encoding="utf-8")
    connected.write_text(text + "  on_cancel: unqualify\n", encoding="utf-8")
    cli("leads", "run")
    job = world.job_of(world.bookings()[0], "Completed")
    assert cli("qualify", "run", "--json").document["counts"]["qualified"] == 1
    world.post(f"/jobs/{job['id']}/status", status="Canceled")
    ran = cli("qualify", "run")
    assert "1 unqualified" in ran.out
    assert "does not recall a reward" in ran.err
    assert [q["qualified"] for q in world.get("/qualifications")] == [True, False]


def test_a_job_that_stands_again_earns_its_qualification_again(connected, cli, world) -> None:
    """Canceled by mistake, taken up and completed: the customer is not cheated of the reward."""
    text = connected.read_text(encoding="utf-8")
    connected.write_text(text + "  on_cancel: unqualify\n", encoding="utf-8")
    cli("leads", "run")
    job = world.job_of(world.bookings()[0], "Completed")
    for status in ("Canceled", "Scheduled", "Completed"):
        cli("qualify", "run")
        world.post(f"/jobs/{job['id']}/status", status=status)
    cli("qualify", "run")
    assert [q["qualified"] for q in world.get("/qualifications")] == [True, False, True]
    assert cli("qualify", "run", "--json").document["counts"]["qualified"] == 0


def test_a_job_whose_history_is_refused_keeps_nobody_else_waiting(connected, cli, world) -> None:
    """404 for one job's history: the feed's word counts for it, and the others are judged."""
    cli("leads", "run")
    first, second, *_ = world.bookings()
    job = world.job_of(first, "Completed")
    world.job_of(second, "Completed")
    world.fault("status", status=404, method="GET", route=f"jobs/{job['id']}/history")
    ran = cli("qualify", "run", "--json")
    assert ran.code == 0, ran.text
    assert ran.document["counts"]["qualified"] == 2


@pytest.mark.parametrize(
    "sandbox", [SandboxSettings(leads=20, rf_users_order="newest")], indirect=True
)
def test_a_read_of_the_list_that_was_cut_short_hides_nobody(sandbox, connected, cli, world) -> None:
    """The second page of newcomers failed: they come with the next pass, not with the next day."""
    cli("leads", "run")
    before = len(world.bookings())
    for number in range(300):
        world.someone_new(f"Newcomer{number}")
    world.fault("status", status=403, method="GET", route="/users", skip=1)
    assert cli("leads", "run", "--allow-mass-change").code == 4
    world.no_faults()
    assert cli("leads", "run", "--allow-mass-change").code == 0
    assert len(world.bookings()) == before + 300


def test_a_waiting_time_beyond_reason_is_refused(connected, cli) -> None:
    """Exit 3, and the file is not touched."""
    before = connected.read_bytes()
    assert cli("qualify", "set", "--hold-days", "99999999999").code == 3
    assert connected.read_bytes() == before


def test_an_idle_qualify_pass_costs_three_requests(connected, cli, world) -> None:
    """Only the three feeds are asked when nothing changed."""
    cli("leads", "run")
    cli("qualify", "run")
    world.post("/requests/reset")
    cli("qualify", "run")
    counts = world.requests("st")
    assert sum(counts.values()) == 3
    assert world.requests("rf") == {}
    assert all("export" in name for name in counts)


def test_a_dry_run_writes_nothing_anywhere(connected, cli, world, home: Path) -> None:
    """The plan is real; both systems and the state stay as they were."""
    before = (home / "state" / "stcli.db").read_bytes()
    text = connected.read_text(encoding="utf-8")
    ran = cli("leads", "run", "--dry-run", "--json")
    assert ran.code == 0
    assert ran.document["dry_run"] is True
    assert ran.document["counts"]["created"] == 11
    assert {line["action"] for line in ran.document["plan"]} == {"create", "skip"}
    assert world.bookings() == []
    assert (home / "state" / "stcli.db").read_bytes() == before
    assert connected.read_text(encoding="utf-8") == text
    assert cli("status", "--json").document["campaigns"][0]["last_runs"] == {}


def test_limit_stops_after_so_many_writes(connected, cli, world) -> None:
    """--limit 3 books three; the next pass books the others."""
    assert cli("leads", "run", "--limit", "3", "--json").document["counts"]["created"] == 3
    assert cli("leads", "run", "--json").document["counts"]["created"] == 8
    assert sorted(world.per_external_id().values()) == [1] * 11


def test_the_brake_writes_nothing(connected, cli, world) -> None:
    """More new bookings than max_creates: exit 3, none made, unless allowed this once."""
    text = connected.read_text(encoding="utf-8")
    connected.write_text(text.replace("  fields:", "  limits: {max_creates: 5}\n  fields:"))
    ran = cli("leads", "run")
    assert ran.code == 3
    assert "--allow-mass-change" in ran.err
    assert world.bookings() == []
    assert cli("leads", "run", "--allow-mass-change").code == 0
    assert len(world.bookings()) == 11


def test_since_is_inclusive(connected, cli, world) -> None:
    """People who joined earlier are left alone; that very day counts."""
    joined = world.leads()
    days = sorted({u["signed_up_at"] for u in joined})
    text = connected.read_text(encoding="utf-8")
    connected.write_text(text.replace("  fields:", f"  since: {days[-1]}\n  fields:", 1))
    ran = cli("leads", "run", "--json").document
    late = [u for u in joined if u["signed_up_at"] == days[-1] and u["source"] != "Test"]
    assert ran["counts"]["created"] == len(late)
    assert ran["skipped"]["before_since"] > 0


def test_switching_on_leaves_those_who_are_there_alone(connected, cli, world) -> None:
    """action writes since: today and remembers today's earlier joiners; newcomers are booked."""
    world.someone_new("Early")
    assert cli("action", "spring-hvac", "leads", "nothing").code == 0
    assert cli("action", "spring-hvac", "leads", "create_booking").code == 0
    assert "since: " in connected.read_text(encoding="utf-8")
    assert cli("leads", "run", "--json").document["counts"]["created"] == 0
    world.someone_new()
    ran = cli("leads", "run", "--json")
    assert ran.document["counts"]["created"] == 1, ran.text


@pytest.mark.parametrize(
    "sandbox",
    [SandboxSettings(leads=600), SandboxSettings(leads=600, rf_users_order="newest")],
    indirect=True,
    ids=["oldest first", "newest first"],
)
def test_newcomers_are_seen_without_a_complete_read(connected, cli, world) -> None:
    """After a complete read of several pages only the end where newcomers appear is read."""
    cli("leads", "run", "--limit", "1", "--allow-mass-change")
    users = len(world.users())
    assert users > 2 * 250
    world.someone_new()
    world.post("/requests/reset")
    ran = cli("leads", "run", "--dry-run", "--json").document
    assert ran["counts"]["created"] == 600 - 1 - 1 + 1
    assert world.requests("rf")["GET /users"] == 1


def test_referrers_leave_out_who_was_added(connected, cli, world) -> None:
    """Sources Added and Api are not booked unless they are included."""
    text = connected.read_text(encoding="utf-8")
    block = text[text.index("leads:\n") : text.index("qualification:")]
    connected.write_text(
        text
        + "\n"
        + block.replace("leads:", "referrers:").replace(
            '"Referred by {referrer.first_name}"', "New referrer"
        )
    )
    ran = cli("referrers", "run", "--json")
    assert ran.code == 0, ran.text
    ours = [
        u
        for u in world.users()
        if u["email"].endswith("referrer@example.com")
        and u["campaign_id"] == world.leads()[0]["campaign_id"]
    ]
    added = [u for u in ours if u["source"] in ("Added", "Api")]
    tests = [u for u in ours if u["source"] == "Test"]
    assert ran.document["counts"]["created"] == len(ours) - len(added) - len(tests)
    assert ran.document["skipped"].get("source_excluded", 0) == len(added) > 0


def test_a_refused_record_is_parked_until_its_mapping_changes(connected, cli, world) -> None:
    """400 is definite: exit 5 once, quiet afterwards, tried again when the file changes."""
    text = connected.read_text(encoding="utf-8")
    bad = text.replace(
        "    phone: ", "    start: {type: template, template: not-a-date}\n    phone: "
    )
    connected.write_text(bad, encoding="utf-8")
    first = cli("leads", "run", "--json")
    assert first.code == 5
    assert first.document["counts"]["failed"] == 11
    assert cli("leads", "run").code == 0
    assert "11" in cli("status").out
    connected.write_text(text, encoding="utf-8")
    assert cli("leads", "run", "--json").document["counts"]["created"] == 11
    assert cli("status", "--json").document["campaigns"][0]["open_failures"] == 0


def test_names_are_resolved_and_ambiguous_ones_refused(connected, cli, world, pointed) -> None:
    """A unit's name becomes its number; two job types of one name are exit 3, naming both."""
    text = connected.read_text(encoding="utf-8")
    unit = "    business_unit: {type: manual_input, value: plumbing service}\n    phone: "
    connected.write_text(text.replace("    phone: ", unit), encoding="utf-8")
    cli("leads", "run", "--limit", "1")
    assert world.bookings()[0]["businessUnitId"] == next(
        number
        for number, unit in pointed.world.tenant.business_units.items()
        if unit.name == "Plumbing Service"
    )
    kinds = list(pointed.world.tenant.job_types.values())
    kinds[1].name = kinds[0].name = "Repair"
    kind = "    job_type: {type: manual_input, value: Repair}\n    phone: "
    connected.write_text(text.replace("    phone: ", kind), encoding="utf-8")
    ran = cli("leads", "run")
    assert ran.code == 3
    assert "2 active job types" in ran.err
    typo = "    job_type: {type: manual_input, value: Instalation}\n    phone: "
    connected.write_text(text.replace("    phone: ", typo), encoding="utf-8")
    ran = cli("leads", "run")
    assert ran.code == 3
    assert "did you mean Installation?" in ran.err


def test_preview_shows_the_exact_request(connected, cli, world) -> None:
    """Each value, and the body that would be sent; nothing is written."""
    code = next(u["code"] for u in world.users() if u["first_name"].startswith("Zoë"))
    ran = cli("map", "preview", "--lead", code, "--json")
    assert ran.code == 0, ran.text
    assert ran.document["request"]["externalId"] == code
    assert ran.document["request"]["name"].startswith("Zoë")
    assert world.bookings() == []


def test_resend_books_a_dismissed_lead_once_more(connected, cli, world) -> None:
    """Only after the office dismissed the booking, and exactly one more."""
    cli("leads", "run")
    booking = world.bookings()[0]
    code = booking["externalId"]
    refused = cli("leads", "resend", "spring-hvac", code)
    assert refused.code == 3
    assert "not Dismissed" in refused.err
    world.post(f"/bookings/{booking['id']}/dismiss")
    assert cli("leads", "resend", "spring-hvac", code).code == 0
    for _ in range(2):
        assert cli("leads", "run").code == 0
    assert world.per_external_id()[code] == 2


def test_link_binds_a_job_by_hand(connected, cli, world) -> None:
    """A job that nobody connected to the booking qualifies once it is linked."""
    cli("leads", "run")
    mine = world.bookings()[0]
    by_phone = world.post("/bookings", externalId="", source="Phone", summary="called")
    job = world.job_of(by_phone, "Completed")
    assert (
        cli("leads", "link", "spring-hvac", mine["externalId"], "--job", str(job["id"])).code == 0
    )
    ran = cli("qualify", "run", "--json")
    assert ran.document["counts"]["qualified"] == 1
    assert cli("leads", "link", "spring-hvac", mine["externalId"]).code == 2


def test_a_booking_of_another_integration_is_adopted(connected, cli, world) -> None:
    """A booking of any provider with the person's external id is linked, not repeated."""
    lead = next(u for u in world.users() if u["first_name"].startswith("Zoë"))
    world.post("/bookings", externalId=lead["code"], source="Spring HVAC", summary="by hand")
    ran = cli("leads", "run", "--json")
    assert ran.document["counts"]["linked"] == 1
    assert ran.document["counts"]["created"] == 10
    assert world.per_external_id()[lead["code"]] == 1


def test_two_bookings_of_one_person_are_reported_and_left_alone(connected, cli, world) -> None:
    """Both are named, none is touched, nothing is made."""
    lead = next(u for u in world.users() if u["first_name"].startswith("Zoë"))
    pair = [
        world.post("/bookings", externalId=lead["code"], source="Spring HVAC", summary="x")["id"]
        for _ in range(2)
    ]
    ran = cli("leads", "run", "--json")
    assert ran.code == 5
    failure = ran.document["failures"][0]
    assert failure["record"] == lead["code"]
    assert all(str(number) in failure["reason"] for number in pair)
    assert world.per_external_id()[lead["code"]] == 2
    assert cli("leads", "run").code == 0


@pytest.mark.parametrize("words", [("run", "--all"), ("qualify", "run"), ("leads", "run")])
def test_a_pass_loads_nothing_that_draws_or_serves(connected, words) -> None:
    """What a scheduler calls every few minutes: each library costs every call of it."""
    loaded = loaded_by(*words)
    assert "httpx" in loaded
    assert sorted({"rich", "questionary", "prompt_toolkit", "starlette", "uvicorn"} & loaded) == []
