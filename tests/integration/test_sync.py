"""Customers become referrers, once per email address, and are kept in step."""

from __future__ import annotations

import json

import pytest

from stcli.sandbox.server import RunningSandbox
from stcli.sandbox.settings import SandboxSettings
from tests.integration.conftest import edit
from tests.integration.synced import (
    POST_USER,
    PUT_USER,
    RETURN,
    Office,
    enrolments,
    referrers,
    run_sync,
    writes,
)

ELIGIBLE = 15
"""Of the 24 customers of the sandbox: the nine special ones are left out."""
LEFT_OUT = {
    "no_email": 1,
    "invalid_email": 1,
    "duplicate_email": 1,
    "inactive": 2,
    "do_not_mail": 1,
    "do_not_service": 1,
    "marketing_off": 1,
    "suppressed": 1,
}


def test_a_first_sync_enrols_whom_it_may(synced, cli, world) -> None:
    """Everybody else is counted by reason; nobody is sent a welcome mail."""
    document = run_sync(cli)
    assert document["counts"]["created"] == ELIGIBLE
    assert document["skipped"] == LEFT_OUT
    assert document["counts"]["seen"] == 24
    enrolled = {e: u for e, u in referrers(world).items() if e.startswith("customer")}
    assert len(enrolled) == ELIGIBLE
    assert {user["source"] for user in enrolled.values()} == {"Api"}
    assert all(user["meta"] for user in enrolled.values())


def test_a_second_sync_writes_nothing_and_asks_little(synced, cli, world) -> None:
    """Ongoing: from the stored tokens, in at most six requests; the user list not in full."""
    run_sync(cli)
    world.post("/requests/reset")
    document = run_sync(cli)
    assert document["counts"]["unchanged"] == ELIGIBLE
    assert document["skipped"] == LEFT_OUT
    assert writes(world) == {}
    assert sum(world.requests("st").values()) <= 6
    assert world.requests("rf")["GET /users"] == 1


def test_a_dry_run_says_what_it_would_do_and_does_nothing(synced, cli, world, home) -> None:
    """Counts and a plan; neither the systems nor the state are written to."""
    document = run_sync(cli, "--dry-run")
    assert document["counts"]["created"] == ELIGIBLE
    assert document["skipped"] == LEFT_OUT
    assert [line["action"] for line in document["plan"]] == ["create"] * ELIGIBLE
    assert writes(world) == {}
    assert enrolments(home) == {}
    assert run_sync(cli)["counts"]["created"] == ELIGIBLE


def test_who_is_in_the_campaign_already_is_linked(synced, cli, world, office) -> None:
    """Signed up by themselves: recognised by the address, whatever its case, and left as they are."""
    office.customer("Rita Realname", "RITA.Referrer@example.com")
    document = run_sync(cli)
    assert document["counts"]["linked"] == 1
    assert document["counts"]["failed"] == 0
    assert referrers(world)["rita.referrer@example.com"]["first_name"] == "Rita"


def test_a_lost_state_links_everybody_again(synced, cli, world, home) -> None:
    """Nobody is enrolled twice, nobody fails."""
    run_sync(cli)
    before = referrers(world)
    for file in (home / "state").glob("stcli.db*"):
        file.unlink()
    _connect_again(cli, world)
    document = run_sync(cli)
    assert document["counts"]["linked"] == ELIGIBLE
    assert document["counts"]["failed"] == 0
    assert referrers(world) == before


def _connect_again(cli, world) -> None:
    for words in (
        ("connect", "spring-hvac", "--tenant-id", "985798691"),
        ("requests", "approve", "spring-hvac"),
        ("finalize", "spring-hvac"),
    ):
        ran = cli(*words)
        assert ran.code == 0, ran.text


def test_a_sign_up_between_the_list_and_the_write_is_linked(synced, cli, world, office) -> None:
    """The refusal of the address leads to the person who has it."""
    office.customer("Nora Quick", "nora@example.com")
    world.fault("status", method="POST", route="/users", status=503, times=1)
    # The list is read before the write: whoever comes in between is not in it.
    first = run_sync(cli, "--limit", "0")
    assert first["counts"]["created"] == 0
    world.no_faults()
    world.post("/referrers", first_name="Nora", email="nora@example.com")
    document = run_sync(cli)
    assert document["counts"]["linked"] == 1
    assert document["counts"]["created"] == ELIGIBLE


@pytest.mark.parametrize("kind", ["lose_answer", "reset_before", "truncate", "garbage"])
def test_an_answer_that_got_lost_enrols_nobody_twice(synced, cli, world, kind) -> None:
    """Found again by the address; the end is that of an undisturbed pass."""
    world.fault(kind, method="POST", route="/users", every=3)
    ran = cli("sync", "run", "--json")
    assert ran.code in (0, 5), ran.text
    world.no_faults()
    document = run_sync(cli)
    assert document["counts"]["failed"] == 0
    assert document["counts"]["unchanged"] + document["counts"]["created"] == ELIGIBLE
    assert len([e for e in referrers(world) if e.startswith("customer")]) == ELIGIBLE
    assert run_sync(cli)["counts"]["unchanged"] == ELIGIBLE


def test_limit_stops_after_so_many_writes(synced, cli, world) -> None:
    """The rest waits, and comes next time."""
    assert run_sync(cli, "--limit", "4")["counts"]["created"] == 4
    assert run_sync(cli)["counts"]["created"] == ELIGIBLE - 4


def test_since_leaves_older_customers_for_later(synced, cli, office) -> None:
    """By the day they were created; those left out are not forgotten."""
    office.customer("New Comer", "new.comer@example.com")
    today = office.read("/customers", sort="-CreatedOn", pageSize=1)["data"][0]["createdOn"][:10]
    document = run_sync(cli, "--since", today)
    assert document["counts"]["created"] >= 1
    assert document["skipped"]["before_since"] >= 20
    later = run_sync(cli)
    assert document["counts"]["created"] + later["counts"]["created"] == ELIGIBLE + 1


def test_a_brake_stops_before_any_write(synced, cli, world) -> None:
    """Exit 3, naming the flag; with the flag it goes on."""
    edit(synced, ("  type: ongoing\n", "  type: ongoing\n  limits: {max_creates: 5}\n"))
    document = run_sync(cli, code=3)
    assert "--allow-mass-change" in document["error"]["hint"]
    assert writes(world) == {}
    assert run_sync(cli, "--allow-mass-change")["counts"]["created"] == ELIGIBLE


def test_a_mass_update_stops_too(synced, cli, world, office) -> None:
    """A changed mapping that would change most referrers asks first."""
    for number in range(60):
        office.customer(f"Person {number}", f"person{number}@example.com")
    run_sync(cli)
    edit(synced, ("transform: [first_name]", "transform: [first_name, upper]"))
    document = run_sync(cli, code=3)
    assert "more than half" in document["error"]["message"]
    assert run_sync(cli, "--allow-mass-change")["counts"]["updated"] == ELIGIBLE + 60


def test_one_time_imports_once(synced, cli, office) -> None:
    """The second is refused without --again; `run` leaves it out."""
    edit(synced, ("type: ongoing", "type: one_time"))
    assert run_sync(cli)["counts"]["created"] == ELIGIBLE
    office.customer("Late Comer", "late@example.com")
    refused = run_sync(cli, code=3)
    assert "--again" in refused["error"]["hint"]
    ran = cli("run", "--json")
    assert ran.code == 0
    assert [one["pass"] for one in ran.document["passes"]] == ["qualify"]
    assert run_sync(cli, "--again")["counts"]["created"] == 1


def test_an_import_that_was_cut_short_is_not_done(synced, cli) -> None:
    """It goes on without --again."""
    edit(synced, ("type: ongoing", "type: one_time"))
    run_sync(cli, "--limit", "3")
    assert run_sync(cli)["counts"]["created"] == ELIGIBLE - 3
    run_sync(cli, code=3)


@pytest.mark.parametrize("route", ["/suppressions", "/customers/contacts", "/users"])
def test_an_error_that_came_as_a_success_enrols_nobody_more(synced, cli, world, route) -> None:
    """Whoever asked for no mail stays out, and whoever is there already is found."""
    world.fault("error_as_success", method="GET", route=route)
    ran = cli("sync", "run", "--json")
    assert ran.code == 6, ran.text
    assert ran.document["counts"]["created"] == 0
    world.no_faults()
    assert run_sync(cli)["skipped"]["suppressed"] == 1


def test_a_paused_campaign_enrols_nobody(synced, cli, world) -> None:
    """A warning, no error; when it goes on, everybody is enrolled."""
    world.post("/rf/campaigns/spring-hvac", status="paused")
    ran = cli("sync", "run")
    assert ran.code == 0
    assert "is paused, so nobody is enrolled" in ran.err
    assert writes(world) == {}
    world.post("/rf/campaigns/spring-hvac", status="launched")
    assert run_sync(cli)["counts"]["created"] == ELIGIBLE


def test_without_the_scope_for_suppressions_nobody_is_enrolled(synced, cli, world) -> None:
    """Exit 3 until the file says to ignore them."""
    world.fault("status", route="/suppressions", status=403)
    document = run_sync(cli, code=3)
    assert "suppressions: ignore" in document["error"]["hint"]
    assert writes(world) == {}
    synced.write_text(synced.read_text() + "consent: {suppressions: ignore}\n")
    world.post("/requests/reset")
    assert run_sync(cli)["counts"]["created"] == ELIGIBLE + 1
    assert not any("suppressions" in route for route in world.requests("st"))


def test_fields_that_the_campaign_requires_are_required(synced, cli, world) -> None:
    """Setup Required names them."""
    form = [
        {"id": 1, "type": "input", "label": label, "value": None, "required": True}
        for label in ("First Name", "Email", "Last Name")
    ]
    world.post("/rf/campaigns/spring-hvac", fields={"person_referring": form})
    document = run_sync(cli, code=3)
    assert document["error"]["kind"] == "setup_required"
    assert "meta.Last Name" in document["error"]["message"]
    edit(
        synced,
        (
            "    meta.Phone:",
            "    meta.Last Name: {type: dynamic, from: name, transform: [last_name]}\n    meta.Phone:",
        ),
    )
    assert run_sync(cli)["counts"]["created"] == ELIGIBLE


def test_filters_leave_out_and_let_in_later(synced, cli, office) -> None:
    """Type, tags and a job; who comes to fit is enrolled then."""
    edit(synced, ("  type: ongoing\n", "  type: ongoing\n  filter: {tags: [vip]}\n"))
    document = run_sync(cli)
    assert document["counts"]["created"] == 0
    # The one with somebody else's address as well: nobody holds that address.
    assert document["skipped"]["filtered"] == ELIGIBLE + 1
    vip = _tag(office, "VIP")
    number = office.customer("Vera Important", "vera@example.com", tag_type_ids=[vip])
    assert run_sync(cli)["counts"]["created"] == 1
    office.change(number, tag_type_ids=[])
    assert run_sync(cli)["counts"]["unchanged"] == 1
    edit(synced, ("[vip]", "[nobody]"))
    assert "no active tag named 'nobody'" in run_sync(cli, code=3)["error"]["message"]


def _tag(office: Office, name: str) -> int:
    tenant = office.sandbox.credentials.tenant_id
    path = f"/../../../../settings/v2/tenant/{tenant}/tag-types"
    return next(t["id"] for t in office.read(path)["data"] if t["name"] == name)


def test_only_changed_values_are_sent(synced, cli, world, office) -> None:
    """A referrer's own edit survives a change of something else."""
    number = office.customer("Ida First", "ida@example.com", mobile="555-0101")
    run_sync(cli)
    user = referrers(world)["ida@example.com"]
    world.post(f"/rf/users/{user['id']}", first_name="Idchen")
    mobile = next(c for c in office.contacts_of(number) if c["type"] == "MobilePhone")
    office.change_contact(mobile["id"], value="555-0102")
    world.post("/requests/reset")
    assert run_sync(cli)["counts"]["updated"] == 1
    after = referrers(world)["ida@example.com"]
    assert after["first_name"] == "Idchen"
    assert {m["field"]: m["value"] for m in after["meta"]}["Phone"] == "555-0102"
    office.change(number, name="Ida Second")
    assert run_sync(cli)["counts"]["updated"] == 0
    office.change(number, name="Ada Second")
    assert run_sync(cli)["counts"]["updated"] == 1
    assert referrers(world)["ida@example.com"]["first_name"] == "Ada"


def test_a_new_address_moves_along(synced, cli, world, office) -> None:
    """Also when only the contact changed; the next address counts when the first is switched off."""
    number = office.customer("Mia Mover", "mia@example.com", "mia.two@example.com")
    run_sync(cli)
    first = office.contacts_of(number)[0]
    office.change_contact(first["id"], active=False)
    assert run_sync(cli)["counts"]["updated"] == 1
    assert "mia.two@example.com" in referrers(world)
    assert "mia@example.com" not in referrers(world)


def test_a_new_address_that_is_taken_is_parked(synced, cli, world, office) -> None:
    """A failure once; later passes are quiet until something changes."""
    number = office.customer("Pia Taken", "pia.taken@example.com")
    run_sync(cli)
    contact = office.contacts_of(number)[0]["id"]
    office.change_contact(contact, value="rita.referrer@example.com")
    document = run_sync(cli, code=5)
    assert document["failures"][0]["record"] == str(number)
    assert "belongs to another person" in document["failures"][0]["reason"]
    assert run_sync(cli)["counts"]["failed"] == 0
    office.change_contact(contact, value="pia.free@example.com")
    assert run_sync(cli)["counts"]["updated"] == 1
    assert json.loads(cli("status", "--json").out)["campaigns"][0]["open_failures"] == 0


def test_whoever_opts_out_is_left_alone(synced, cli, world, office) -> None:
    """Never deleted, never updated; whoever comes back is kept in step again."""
    people = {
        "mail": office.customer("Do Notmail", "mail@example.com"),
        "marketing": office.customer("No Marketing", "marketing@example.com"),
        "suppressed": office.customer("Sup Pressed", "sup@example.com"),
        "user": office.customer("Un Subscribed", "user@example.com"),
        "inactive": office.customer("In Active", "inactive@example.com"),
    }
    run_sync(cli)
    before = referrers(world)
    office.change(people["mail"], do_not_mail=True, name="Changed Mail")
    marketing = office.contacts_of(people["marketing"])[0]["id"]
    office.change_contact(marketing, marketing_enabled=False)
    office.change(people["marketing"], name="Changed Marketing")
    office.suppress("SUP@example.com")
    office.change(people["inactive"], active=False, name="Changed Inactive")
    world.post(f"/rf/users/{before['user@example.com']['id']}", unsubscribed=True)
    world.post("/requests/reset")
    document = run_sync(cli)
    assert writes(world) == {}
    assert document["skipped"]["opted_out"] == 4
    assert document["skipped"]["inactive"] == LEFT_OUT["inactive"] + 1
    assert {e: u["first_name"] for e, u in referrers(world).items()} == {
        e: u["first_name"] for e, u in before.items()
    }
    office.change(people["mail"], do_not_mail=False)
    office.suppress("sup@example.com", active=False)
    document = run_sync(cli)
    assert document["counts"]["updated"] == 1
    assert referrers(world)["mail@example.com"]["first_name"] == "Changed"


def test_merged_customers_follow_the_survivor(synced, cli, world, office) -> None:
    """The link moves, and with it the name; a survivor with a link of its own keeps that."""
    one = office.customer("Old One", "old.one@example.com")
    two = office.customer("Own Two", "own.two@example.com")
    survivor = office.customer("Sue Vivor")
    owner = office.customer("Own Er", "own.er@example.com")
    run_sync(cli)
    before = referrers(world)
    office.merge(one, survivor)
    office.contact(survivor, "old.one@example.com")
    office.merge(two, owner)
    document = run_sync(cli)
    after = referrers(world)
    assert after.keys() == before.keys()
    assert after["old.one@example.com"]["id"] == before["old.one@example.com"]["id"]
    assert after["old.one@example.com"]["first_name"] == "Sue"
    assert document["skipped"]["merged"] == 1
    assert run_sync(cli)["counts"]["updated"] == 0


def test_a_chain_of_mergers_is_followed_in_one_pass(synced, cli, world, office) -> None:
    """a into b into c."""
    a = office.customer("Anna A", "anna@example.com")
    b = office.customer("Bea B")
    c = office.customer("Cleo C", "cleo@example.com")
    edit(synced, ("  type: ongoing\n", "  type: ongoing\n  filter: {created_since: 2020-01-01}\n"))
    run_sync(cli, "--limit", "0")
    world.post("/rf/campaigns/spring-hvac", status="paused")
    office.change(c, do_not_mail=True)
    world.post("/rf/campaigns/spring-hvac", status="launched")
    run_sync(cli)
    office.merge(a, b)
    office.merge(b, c)
    office.change(c, do_not_mail=False)
    document = run_sync(cli)
    assert document["counts"]["failed"] == 0
    people = referrers(world)
    # The contacts came along, and anna's has the lowest id.
    assert "cleo@example.com" not in people
    assert people["anna@example.com"]["first_name"] == "Cleo"


def test_who_was_deleted_is_gone_for_good(synced, cli, world, office) -> None:
    """Learned at the next update; not enrolled again, not even under a new name."""
    number = office.customer("Gus Gone", "gus@example.com")
    run_sync(cli)
    world.post(f"/rf/users/{referrers(world)['gus@example.com']['id']}", deleted=True)
    office.change(number, name="Augustus Gone")
    assert run_sync(cli)["skipped"]["gone"] == 1
    office.change(number, name="Gustav Gone")
    world.post("/requests/reset")
    assert run_sync(cli)["skipped"]["gone"] == 1
    assert writes(world) == {}
    assert "gus@example.com" not in referrers(world)


def test_an_address_that_becomes_free_goes_to_who_shares_it(synced, cli, world, office) -> None:
    """Once per address: the second customer is enrolled when the first gives it up."""
    first = office.customer("Holder First", "shared@example.com")
    office.customer("Sharer Second", "Shared@example.com")
    document = run_sync(cli)
    assert document["skipped"]["duplicate_email"] == 2
    office.change_contact(office.contacts_of(first)[0]["id"], value="own@example.com")
    run_sync(cli)
    document = run_sync(cli)
    people = referrers(world)
    assert people["own@example.com"]["first_name"] == "Holder"
    assert people["Shared@example.com"]["first_name"] == "Sharer"
    assert document["skipped"]["duplicate_email"] == 1


def test_a_refused_customer_waits_until_it_changes(synced, cli, world, office) -> None:
    """400 and 422 park the record; the others go on; a change brings it back."""
    number = office.customer("Ref Used", "refused@example.com")
    world.fault("status", method="POST", route="/users", status=422, times=1)
    document = run_sync(cli, code=5)
    assert document["counts"]["failed"] == 1
    assert document["counts"]["created"] == ELIGIBLE
    world.no_faults()
    world.post("/requests/reset")
    assert run_sync(cli)["counts"]["failed"] == 0
    assert writes(world) == {}
    ran = cli("failures", "retry", "spring-hvac")
    assert ran.code == 0, ran.text
    assert run_sync(cli)["counts"]["created"] == 1
    assert number in enrolments(synced.parents[1])


def test_referrers_by_sync_get_no_booking(synced, cli, world, office) -> None:
    """Nor does somebody with a synced customer's address who signed up alone."""
    office.customer("Rita Realname", "rita.referrer@example.com")
    run_sync(cli)
    text = synced.read_text(encoding="utf-8")
    fields = text[text.index("  fields:") : text.index("qualification:")]
    synced.write_text(
        text.replace(
            "qualification:",
            "referrers:\n  action: create_booking\n  include_sources: [Api]\n"
            + fields
            + "qualification:",
        )
    )
    ran = cli("referrers", "run", "--json")
    assert ran.code == 0, ran.text
    assert ran.document["skipped"]["enrolled_by_sync"] == ELIGIBLE + 1
    names = {booking["name"] for booking in world.bookings()}
    assert "Rita" not in names
    assert names


@pytest.mark.parametrize("choice", ["skip", "flag"])
def test_leads_who_are_customers_already(connected, cli, world, office, choice) -> None:
    """Left out, or told to the office; recognised by the address or a number."""
    edit(
        connected,
        ("action: create_booking\n", f"action: create_booking\n  existing_customers: {choice}\n"),
    )
    office.customer("Known Lead", "LEAD1@example.com")
    office.customer("Known Number", mobile="(217) 555-0121")
    ran = cli("leads", "run", "--json")
    assert ran.code == 0, ran.text
    known = {u["code"] for u in world.leads() if u["email"] == "lead1@example.com"}
    known |= {
        u["code"]
        for u in world.leads()
        if any(m["value"] == "217-555-0121" for m in u["meta"] or ())
    }
    bookings = {b["externalId"]: b for b in world.bookings()}
    if choice == "skip":
        assert ran.document["skipped"]["existing_customer"] >= len(known)
        assert not known & bookings.keys()
    else:
        for code in known:
            assert bookings[code]["isFirstTimeClient"] is False
            assert "Is a customer already" in bookings[code]["summary"]
        assert any(b["isFirstTimeClient"] for b in bookings.values())


def test_show_counts_who_is_enrolled_and_who_is_not(synced, cli) -> None:
    """From the state alone, in text and as JSON."""
    run_sync(cli)
    document = cli("sync", "show", "--json").document
    assert document["enrolled"] == ELIGIBLE
    assert document["left_out"] == LEFT_OUT
    text = cli("sync", "show").out
    assert "enrolled: 15" in text
    assert "left out 1: suppressed" in text


def test_reset_reads_everything_again_and_enrols_nobody_twice(synced, cli, world) -> None:
    """Asked for without a terminal it wants --yes."""
    run_sync(cli)
    assert cli("sync", "reset").code == 2
    assert cli("sync", "reset", "--yes").code == 0
    world.post("/requests/reset")
    document = run_sync(cli)
    assert document["counts"]["unchanged"] == ELIGIBLE
    assert writes(world) == {}


def test_fifty_changes_of_every_kind_are_treated_and_nothing_else(
    synced, cli, world, office
) -> None:
    """Each kind with its own outcome; the many others cost no request."""
    numbers = [
        office.customer(f"Person{n} Plain", f"plain{n}@example.com", mobile="555-0100")
        for n in range(60)
    ]
    run_sync(cli)
    names, mails, phones, gone, asked, marketing, merged = (
        numbers[0:10], numbers[10:18], numbers[18:23], numbers[23:28], numbers[28:33],
        numbers[33:38], numbers[38:42],
    )  # fmt: skip
    contacts = {n: office.contacts_of(n) for n in (*mails, *phones, *marketing)}
    for n in names:
        office.change(n, name="Renamed Plain")
    for n in mails:
        email = next(c for c in contacts[n] if c["type"] == "Email")
        office.change_contact(email["id"], value=f"moved{n}@example.com")
    for n in phones:
        mobile = next(c for c in contacts[n] if c["type"] == "MobilePhone")
        office.change_contact(mobile["id"], value="555-0199")
    for n in gone:
        office.change(n, active=False)
    for n in asked:
        office.change(n, do_not_mail=True)
    for n in marketing:
        email = next(c for c in contacts[n] if c["type"] == "Email")
        office.change_contact(email["id"], marketing_enabled=False)
    for n in merged:
        office.merge(n, numbers[50])
    for n in range(8):
        office.customer(f"New{n} Comer", f"newcomer{n}@example.com")
    world.post("/requests/reset")
    document = run_sync(cli)
    assert document["counts"]["created"] == 8
    assert document["counts"]["updated"] == len(names) + len(mails) + len(phones)
    assert document["skipped"]["inactive"] == LEFT_OUT["inactive"] + len(gone)
    assert document["skipped"]["opted_out"] == len(asked) + len(marketing)
    assert document["skipped"]["merged"] == len(merged)
    assert document["counts"]["unchanged"] == ELIGIBLE + 60 - 23 - 10 - 5 - 4
    assert writes(world) == {POST_USER: 8, PUT_USER: 23}
    people = referrers(world)
    assert sum(u["first_name"] == "Renamed" for u in people.values()) == 10
    assert sum(e.startswith("moved") for e in people) == 8
    world.post("/requests/reset")
    assert run_sync(cli)["counts"]["updated"] == 0
    assert writes(world) == {}


@pytest.mark.parametrize("sandbox", [SandboxSettings(rf_users_order="newest")], indirect=True)
def test_sign_ups_behind_our_own_are_seen(sandbox: RunningSandbox, synced, cli, world) -> None:
    """With the newest first, a lead who joins during an enrolment is not hidden behind it."""
    run_sync(cli, "--limit", "5")
    world.someone_new("Hidden")
    run_sync(cli)
    edit(synced, ("action: nothing", "action: create_booking"))
    ran = cli("leads", "run", "--json")
    assert ran.code == 0, ran.text
    assert "Hidden" in {booking["name"] for booking in world.bookings()}


def test_return_belongs_to_the_same_command(synced, cli) -> None:
    """`sync run` writes back as well; the JSON has it under `return`."""
    synced.write_text(synced.read_text(encoding="utf-8") + RETURN, encoding="utf-8")
    document = run_sync(cli)
    assert document["pass"] == "sync"
    assert document["return"]["counts"]["updated"] == ELIGIBLE
