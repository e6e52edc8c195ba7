"""Harm that a sync or a write-back could do when things happen at the wrong moment."""

from __future__ import annotations

import signal
import sqlite3
import subprocess
import sys
import time
from contextlib import closing

import pytest

from stcli.sandbox.server import RunningSandbox
from stcli.sandbox.settings import SandboxSettings
from tests.integration.conftest import edit
from tests.integration.synced import (
    PATCH,
    PUT_USER,
    RETURN,
    Office,
    referrers,
    run_sync,
    writes,
)

REPLACING = pytest.mark.parametrize(
    "sandbox", [SandboxSettings(custom_fields_patch="replace")], indirect=True
)


def _spawned_until(world, route: str) -> subprocess.Popen[str]:
    """A sync in a process of its own, as soon as it has written by this route."""
    process = subprocess.Popen(
        [sys.executable, "-m", "stcli", "sync", "run"],
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    for _ in range(400):
        if route in writes(world):
            return process
        time.sleep(0.05)
    raise AssertionError(process.communicate(timeout=20))


def _with_other_fields(office: Office, number: int) -> list[int]:
    code = office.field_ids()["Referral Code"]
    found = []
    for n in range(number):
        customer = office.customer(f"Owner{n} Else", f"owner{n}@example.com")
        office.change(customer, custom_fields={str(code): f"keep {n}"})
        found.append(customer)
    return found


@REPLACING
def test_a_watched_write_that_was_refused_proves_nothing(
    sandbox: RunningSandbox, returning, cli, world, office
) -> None:
    """403 at the first write: the next pass watches again before it writes to anybody."""
    owners = _with_other_fields(office, 4)
    world.fault("status", method="PATCH", status=403, times=1)
    cli("sync", "run")
    world.no_faults()
    assert run_sync(cli, code=3)["return"]["error"]["kind"] == "brake"
    assert all(office.fields_of(one)["Referral Code"] for one in owners)


@REPLACING
def test_a_watched_write_that_was_killed_proves_nothing(
    sandbox: RunningSandbox, returning, cli, world, office
) -> None:
    """Killed between the intent and the write: nobody's fields are lost afterwards."""
    owners = _with_other_fields(office, 4)
    world.fault("status", method="PATCH", status=503)
    process = _spawned_until(world, PATCH)
    process.send_signal(signal.SIGKILL)
    process.communicate()
    world.no_faults()
    run_sync(cli, code=3)
    assert all(office.fields_of(one)["Referral Code"] for one in owners)


@REPLACING
def test_a_put_back_that_is_refused_stops_all_the_same(
    sandbox: RunningSandbox, returning, cli, world, office
) -> None:
    """Only the customer that was watched is harmed; it is named, and the next pass puts back."""
    owners = _with_other_fields(office, 4)
    world.fault("status", method="PATCH", status=400, every=2)
    document = run_sync(cli, code=3)
    assert "could not be put back" in document["return"]["error"]["message"]
    kept = [office.fields_of(one).get("Referral Code") for one in owners]
    assert kept.count(None) == 1
    world.no_faults()
    world.post("/requests/reset")
    run_sync(cli, code=3)
    assert writes(world)[PATCH] == 1
    assert all(office.fields_of(one).get("Referral Code") for one in owners)
    run_sync(cli, code=3)
    assert writes(world)[PATCH] == 1


@REPLACING
def test_our_own_earlier_fields_are_others_too(
    sandbox: RunningSandbox, returning, cli, world, office, home
) -> None:
    """A count that changes later must not wipe the link that was written before."""
    number = office.customer("Lina Linked", "lina@example.com")
    edit(returning, (RETURN.splitlines()[2] + "\n", ""))
    run_sync(cli)
    link = office.fields_of(number)["Referral Link"]
    edit(returning, (RETURN.splitlines()[1], "\n".join(RETURN.splitlines()[1:])))
    with closing(sqlite3.connect(home / "state" / "stcli.db")) as sql, sql:
        sql.execute("UPDATE people_reads SET counts_at = NULL")
    run_sync(cli, code=3)
    assert office.fields_of(number)["Referral Link"] == link


def test_a_change_between_the_reading_and_the_write_is_seen(returning, cli, world, office) -> None:
    """It comes with the answer to our own write, and counts like one from the feed."""
    number = office.customer("Zoe Change", "zoe@example.com")
    world.fault("delay", method="PATCH", seconds=2, times=1)
    process = _spawned_until(world, PATCH)
    office.change(number, do_not_mail=True)
    _, err = process.communicate(timeout=60)
    assert process.returncode == 0, err
    assert run_sync(cli)["skipped"]["opted_out"] == 1


def test_a_wish_at_the_enrolled_address_is_no_change_of_address(synced, cli, world, office) -> None:
    """Suppressed or switched off: left alone, not moved to the next address."""
    one = office.customer("Tom Two", "tom1@example.com", "tom2@example.com")
    office.customer("Sue Two", "sue1@example.com", "sue2@example.com")
    run_sync(cli)
    office.change_contact(office.contacts_of(one)[0]["id"], marketing_enabled=False)
    office.suppress("sue1@example.com")
    world.post("/requests/reset")
    assert run_sync(cli)["skipped"]["opted_out"] == 2
    assert writes(world) == {}


def test_after_a_one_time_import_wishes_are_still_obeyed(
    returning, cli, world, office, home
) -> None:
    """The write-back asks what the customers wish before it writes."""
    edit(returning, ("type: ongoing", "type: one_time"))
    number = office.customer("Olga Out", "olga@example.com")
    run_sync(cli)
    office.change(number, do_not_mail=True)
    code = referrers(world)["olga@example.com"]["code"]
    world.post("/leads", first_name="Lea", email="lea@example.com", referrer=code)
    with closing(sqlite3.connect(home / "state" / "stcli.db")) as sql, sql:
        sql.execute("UPDATE people_reads SET counts_at = '2020-01-01T00:00:00.000000Z'")
    ran = cli("run", "--json")
    assert ran.code == 0, ran.text
    assert office.fields_of(number).get("Referrals") != "1"


def test_changed_return_fields_are_not_written_to_who_unsubscribed(
    returning, cli, world, office
) -> None:
    """The list is longer than what is read between two complete reads; it is read in full first."""
    number = office.customer("Uma Un", "uma@example.com")
    run_sync(cli)
    for n in range(260):
        world.someone_new(f"Lead{n}")
    run_sync(cli)
    world.post(f"/rf/users/{referrers(world)['uma@example.com']['id']}", unsubscribed=True)
    edit(
        returning,
        (
            '"custom_field:Referrals":     {type: dynamic, from: referrals_count}',
            '"custom_field:Referral Code": {type: dynamic, from: referral_code}',
        ),
    )
    assert run_sync(cli)["return"]["counts"]["updated"] > 0
    assert "Referral Code" not in office.fields_of(number)


def test_an_unsubscription_that_the_list_did_not_show_is_seen_before_a_change(
    synced, cli, world, office
) -> None:
    """The person is read before it is changed."""
    number = office.customer("Uma Un", "uma@example.com")
    run_sync(cli)
    for n in range(260):
        world.someone_new(f"Lead{n}")
    run_sync(cli)
    world.post(f"/rf/users/{referrers(world)['uma@example.com']['id']}", unsubscribed=True)
    office.change(number, name="Ulla Un")
    world.post("/requests/reset")
    run_sync(cli)
    assert PUT_USER not in writes(world)


def test_merged_referrers_in_a_chain_do_not_block_the_sync(synced, cli, world, office) -> None:
    """b into a, both referrers; then a into c: every pass works, everybody keeps one person."""
    a = office.customer("Ann A", "anna@example.com")
    b = office.customer("Bea B", "beab@example.com")
    c = office.customer("Cleo C")
    run_sync(cli)
    office.merge(b, a)
    run_sync(cli)
    office.change(c, name="Cleo D")
    office.merge(a, c)
    for _ in range(2):
        assert run_sync(cli)["counts"]["failed"] == 0


def test_gone_keeps_only_the_address_it_had(synced, cli, world, office) -> None:
    """The new address of somebody who was deleted is free for its owner."""
    number = office.customer("Al Gone", "x@example.com")
    run_sync(cli)
    world.post(f"/rf/users/{referrers(world)['x@example.com']['id']}", deleted=True)
    office.change_contact(office.contacts_of(number)[0]["id"], value="y@example.com")
    assert run_sync(cli)["skipped"]["gone"] == 1
    office.change_contact(office.contacts_of(number)[0]["id"], value="z@example.com")
    office.customer("Bea New", "y@example.com")
    run_sync(cli)
    assert "y@example.com" in referrers(world)


def test_since_and_a_new_filter_hold_for_who_was_planned_before(synced, cli, world, office) -> None:
    """A paused campaign leaves plans behind; they are not enrolled past what is wanted now."""
    world.post("/rf/campaigns/spring-hvac", status="paused")
    run_sync(cli)
    world.post("/rf/campaigns/spring-hvac", status="launched")
    edit(synced, ("  type: ongoing\n", "  type: ongoing\n  limits: {max_creates: 1}\n"))
    assert run_sync(cli, "--since", "2030-01-01")["counts"]["created"] == 0
    edit(synced, ("  type: ongoing\n", "  type: ongoing\n  filter: {tags: [vip]}\n"))
    document = run_sync(cli, "--since", "2020-01-01")
    assert document["counts"]["created"] == 0
    assert document["counts"]["seen"] == 24


def test_a_users_own_failure_does_not_stop_the_others(synced, cli, world, office) -> None:
    """500 for one person: told and tried again next time; new customers are enrolled."""
    number = office.customer("Ida First", "ida@example.com")
    run_sync(cli)
    user = referrers(world)["ida@example.com"]["id"]
    office.change(number, name="Ada First")
    office.customer("New Comer", "new.comer@example.com")
    world.fault("status", route=f"/users/{user}", status=422, times=None)
    document = run_sync(cli, code=5)
    assert document["counts"]["created"] == 1
    assert document["counts"]["failed"] == 1
    world.no_faults()
    assert cli("failures", "retry").code == 0
    assert run_sync(cli)["counts"]["updated"] == 1


def test_a_refused_list_is_no_failed_record(synced, cli, world) -> None:
    """400 on a list ends the pass with 6, not with 5 and no failure."""
    world.fault("status", route="/suppressions", status=400)
    document = run_sync(cli, code=6)
    assert document["counts"]["failed"] == 0


def test_what_was_imported_elsewhere_is_no_import_here(returning, cli, world, office, home) -> None:
    """Tried at another tenant or environment: nothing is written for its rows, nothing refused."""
    edit(returning, ("type: ongoing", "type: one_time"))
    run_sync(cli)
    with closing(sqlite3.connect(home / "state" / "stcli.db")) as sql, sql:
        sql.execute("UPDATE enrolments SET tenant = 'integration:1', returned = '{}'")
        sql.execute("UPDATE enrolments SET return_due = 1")
        sql.execute("UPDATE enrolment_progress SET tenant = 'integration:1'")
    document = run_sync(cli)
    assert document["counts"]["linked"] == 15
    assert document["counts"]["created"] == 0
    run_sync(cli, code=3)


def test_a_mapped_field_that_the_office_changed_beside_our_write_is_passed_on(
    returning, cli, world, office
) -> None:
    """It comes with the answer to the write of another field."""
    mapped = '{type: dynamic, from: "custom_field:Referral Code"}'
    edit(returning, ("{type: dynamic, from: mobile_phone}", mapped))
    _with_other_fields(office, 1)
    run_sync(cli)  # the watched write is behind us
    code = str(office.field_ids()["Referral Code"])
    number = office.customer("Gil Gold", "gil@example.com")
    office.change(number, custom_fields={code: "silver"})
    world.post("/requests/reset")
    world.fault("delay", method="PATCH", seconds=2, times=1)
    process = _spawned_until(world, PATCH)
    office.change(number, custom_fields={code: "gold"})
    process.communicate(timeout=60)
    run_sync(cli, code=0)
    meta = referrers(world)["gil@example.com"]["meta"]
    assert {entry["field"]: entry["value"] for entry in meta}["Phone"] == "gold"
