"""The control routes: what happens in the two companies, told from outside."""

from __future__ import annotations

import pytest


def shown(servers, booking):
    return servers.st("GET", f"crm/bookings/{booking}").json()


def test_add_lead_and_referrer(servers):
    """Both appear in the list as if they had signed up, with what was said of them."""
    referrer = servers.control(
        "POST", "/referrers", first_name="Uma", email="uma@example.com", source="Popup"
    )
    lead = servers.control(
        "POST",
        "/leads",
        first_name="Vic",
        email="vic@example.com",
        referrer=referrer["code"],
        signed_up_at="2026-01-05",
        meta={"Phone": "217-555-0123"},
    )
    listed = servers.rf("GET", "/users", per_page=250).json()["data"]
    assert listed[-2:] == [referrer, lead]
    assert (lead["type"], lead["referrer_id"]) == ("person_invited", referrer["id"])
    assert (lead["source"], lead["signed_up_at"]) == ("Referred", "2026-01-05")
    assert lead["meta"] == [{"field": "Phone", "value": "217-555-0123"}]
    assert servers.control("GET", "/rf/users") == listed


def test_lead_without_a_referrer_gets_the_first_one(servers):
    """A test that does not care need not name a referrer; another campaign can be chosen."""
    lead = servers.control(
        "POST", "/leads", first_name="V", email="v@example.com", campaign="autumn-plumbing"
    )
    listed = servers.rf("GET", "/users", per_page=250).json()["data"]
    referrer = next(u for u in listed if u["id"] == lead["referrer_id"])
    assert referrer["campaign_id"] == lead["campaign_id"]


@pytest.mark.parametrize(
    ("link", "on_booking", "on_job"),
    [("both", True, True), ("booking_only", True, False), ("job_only", False, True)],
)
def test_convert_links_as_asked(servers, link, on_booking, on_job):
    """The booking names the job, the job names the booking, or both, as really happens."""
    booking = servers.booked()
    job = servers.control("POST", f"/bookings/{booking}/convert", link=link)
    assert shown(servers, booking)["status"] == "Converted"
    assert (shown(servers, booking)["jobId"] == job["id"]) == on_booking
    assert (servers.st("GET", f"jpm/jobs/{job['id']}").json()["bookingId"] == booking) == on_job
    found = servers.st("GET", "jpm/jobs", bookingId=booking).json()["data"]
    assert bool(found) == on_job


def test_convert_with_options(servers):
    """Type, unit, total and the marks that a condition may look at."""
    unit = servers.st("GET", "settings/business-units").json()["data"][-1]["id"]
    kind = servers.st("GET", "jpm/job-types").json()["data"][-1]["id"]
    job = servers.control(
        "POST",
        f"/bookings/{servers.booked()}/convert",
        business_unit_id=unit,
        job_type_id=kind,
        total=120.5,
        recall_for_id=7,
        warranty_id=8,
        no_charge=True,
        tag_type_ids=[1, 2],
    )
    assert (job["businessUnitId"], job["jobTypeId"], job["total"]) == (unit, kind, 120.5)
    assert (job["recallForId"], job["warrantyId"], job["noCharge"]) == (7, 8, True)
    assert job["tagTypeIds"] == [1, 2]


def test_convert_makes_a_customer(servers):
    """The job is for a new customer with the booking's contacts, unless one is named."""
    booking = servers.booked(contacts=[{"type": "Email", "value": "ann@example.com"}])
    job = servers.control("POST", f"/bookings/{booking}/convert")
    customer = servers.st("GET", f"crm/customers/{job['customerId']}").json()
    assert customer["name"] == "Ann Example"
    contacts = servers.st("GET", f"crm/customers/{customer['id']}/contacts").json()["data"]
    assert [c["value"] for c in contacts] == ["ann@example.com"]
    second = servers.control(
        "POST", f"/bookings/{servers.booked()}/convert", customer_id=customer["id"]
    )
    assert second["customerId"] == customer["id"]


def test_job_status(servers):
    """Each status is an event; only Completed has a date, and it is taken back with the status."""
    job = servers.control("POST", f"/bookings/{servers.booked()}/convert")
    path = f"/jobs/{job['id']}/status"
    assert servers.control("POST", path, status="Completed")["completedOn"] is not None
    assert servers.control("POST", path, status="Hold", event="On Hold")["completedOn"] is None
    history = servers.st("GET", f"jpm/jobs/{job['id']}/history").json()["history"]
    assert [e["eventType"] for e in history] == ["Scheduled", "Completed", "On Hold"]
    assert servers.refused("POST", path, status="Done").status_code == 400


def test_change_job(servers):
    """What is named changes, null empties it, and the job moves in its feed."""
    job = servers.control("POST", f"/bookings/{servers.booked()}/convert", total=5)
    changed = servers.control("POST", f"/jobs/{job['id']}", total=None, tag_type_ids=[3])
    assert (changed["total"], changed["tagTypeIds"]) == (None, [3])
    assert changed["modifiedOn"] > job["modifiedOn"]
    servers.control("POST", f"/jobs/{job['id']}", booking_id=None)
    query = {"bookingId": job["bookingId"]}
    assert servers.st("GET", "jpm/jobs", **query).json()["data"] == []
    assert [j["id"] for j in servers.control("GET", "/jobs")] == [job["id"]]


def test_dismiss_and_accept(servers):
    """The office dismisses with a reason or accepts; both date the booking."""
    booking = servers.booked()
    servers.control("POST", f"/bookings/{booking}", status="Accepted")
    assert shown(servers, booking)["status"] == "Accepted"
    servers.control("POST", f"/bookings/{booking}/dismiss", reason_id=3)
    assert shown(servers, booking)["dismissingReasonId"] == 3


def test_bookings_of_the_world(servers):
    """All providers' bookings with their contacts, or those with one external id."""
    servers.booked(contacts=[{"type": "Email", "value": "a@example.com"}])
    servers.control("POST", "/bookings", externalId="CODE1", provider=4521)
    everyone = servers.control("GET", "/bookings")
    assert {b["bookingProviderId"] for b in everyone} == {4521, 7788}
    twice = servers.client.get(f"{servers.sandbox.control_url}/bookings?external_id=CODE1").json()
    assert [len(b["contacts"]) for b in twice] == [1, 0]


def test_time_moves_forward_only(servers):
    """The sandbox's day changes; it never goes back."""
    before = servers.control("GET", "/state")["now"]
    servers.advance(86_400)
    assert servers.control("GET", "/state")["now"][:10] > before[:10]
    assert servers.refused("POST", "/time", advance_seconds=-1).status_code == 400


def test_changes_by_hand_in_referral_factory(servers):
    """A person qualifies, unsubscribes, edits and deletes users; no write of ours is recorded."""
    user = servers.rf("GET", "/users").json()["data"][-1]
    path = f"/rf/users/{user['code']}"
    changed = servers.control("POST", path, qualified=True, unsubscribed=True, meta={"X": "1"})
    assert changed["qualified_at"] is not None
    assert changed["unsubscribed_at"] is not None
    assert {"field": "X", "value": "1"} in changed["meta"]
    assert servers.control("POST", path, qualified=False)["qualified_at"] is None
    servers.control("POST", path, deleted=True)
    assert servers.rf("GET", f"/users/{user['id']}").status_code == 404
    assert servers.control("GET", "/qualifications") == []


def test_campaign_states(servers):
    """A campaign is paused, or deleted with everyone in it."""
    servers.control("POST", "/rf/campaigns/spring-hvac", status="paused")
    data = servers.rf("GET", "/campaigns/spring-hvac").json()["data"]
    assert data["status"] == "paused"
    assert servers.refused("POST", "/rf/campaigns/spring-hvac", status="ended").status_code == 400
    servers.control("POST", "/rf/campaigns/spring-hvac", deleted=True)
    assert servers.rf("GET", "/campaigns/spring-hvac").status_code == 404
    left = servers.rf("GET", "/users", per_page=250).json()["data"]
    assert data["id"] not in {user["campaign_id"] for user in left}


def test_customers_and_contacts(servers):
    """Customers are added, merged, flagged; contacts added and switched off for marketing."""
    customer = servers.control(
        "POST",
        "/customers",
        name="Cy Sample",
        contacts=[{"type": "Email", "value": "cy@example.com"}],
    )
    path = f"/customers/{customer['id']}"
    survivor = servers.st("GET", "crm/customers").json()["data"][0]["id"]
    changed = servers.control("POST", path, merged_to_id=survivor, active=False)
    assert (changed["mergedToId"], changed["active"]) == (survivor, False)
    contact = servers.control("POST", f"{path}/contacts", value="two@example.com")
    changed = servers.control("POST", f"/contacts/{contact['id']}", marketing_enabled=False)
    assert changed["preferences"]["marketingUpdatesEnabled"] is False


def test_merge(servers):
    """The survivor gets contacts and jobs, which change by it; both feeds tell what happened."""
    gone, survivor = (
        servers.control(
            "POST", "/customers", name=name, contacts=[{"type": "Email", "value": email}]
        )["id"]
        for name, email in (("Old Self", "old@example.com"), ("New Self", "new@example.com"))
    )
    job = servers.control("POST", f"/customers/{gone}/jobs")
    servers.advance(61)
    ends = {
        path: servers.feed(path)["continueFrom"]
        for path in ("crm/export/customers", "crm/export/customers/contacts", "jpm/export/jobs")
    }
    merged = servers.control("POST", f"/customers/{gone}/merge", into=survivor)
    assert (merged["active"], merged["mergedToId"]) == (False, survivor)
    servers.advance(61)
    customers, contacts, jobs = (servers.feed(path, end)["data"] for path, end in ends.items())
    assert [(c["id"], c["mergedToId"]) for c in customers] == [(gone, survivor)]
    assert [(c["value"], c["customerId"], c["active"]) for c in contacts] == [
        ("old@example.com", survivor, True)
    ]
    assert contacts[0]["modifiedOn"] > contacts[0]["createdOn"]
    assert [(j["id"], j["customerId"]) for j in jobs] == [(job["id"], survivor)]
    listed = servers.st("GET", f"crm/customers/{survivor}/contacts").json()["data"]
    assert [c["value"] for c in listed] == ["new@example.com", "old@example.com"]
    assert servers.st("GET", f"crm/customers/{gone}/contacts").json()["data"] == []
    found = servers.st("GET", "jpm/jobs", customerId=survivor).json()["data"]
    assert [j["id"] for j in found] == [job["id"]]


def test_merges_make_chains_and_no_circles(servers):
    """A survivor may be merged itself; nobody is merged twice, into itself or into someone gone."""
    first, second, third = (
        servers.control("POST", "/customers", name=name)["id"] for name in ("A A", "B B", "C C")
    )
    servers.control("POST", f"/customers/{first}/merge", into=second)
    servers.control("POST", f"/customers/{second}/merge", into=third)
    assert servers.st("GET", f"crm/customers/{first}").json()["mergedToId"] == second
    for number, into in ((first, third), (third, first), (third, third), (third, None)):
        answer = servers.refused("POST", f"/customers/{number}/merge", into=into)
        assert answer.status_code == 400
    assert servers.refused("POST", f"/customers/{third}/merge", into=1).status_code == 404


def test_contacts_come_and_go(servers):
    """A contact that was switched off is missing from the list and told by the feed."""
    customer = servers.control(
        "POST", "/customers", name="C", contacts=[{"type": "Email", "value": "c@example.com"}]
    )["id"]
    path = f"crm/customers/{customer}/contacts"
    contact = servers.st("GET", path).json()["data"][0]
    off = servers.control("POST", f"/contacts/{contact['id']}", active=False)
    assert off["modifiedOn"] > contact["modifiedOn"]
    assert servers.st("GET", path).json()["data"] == []
    servers.advance(61)
    told = servers.feed("crm/export/customers/contacts")["data"][-1]
    assert (told["id"], told["active"]) == (contact["id"], False)
    servers.control("POST", f"/contacts/{contact['id']}", active=True, marketing_enabled=True)
    (back,) = servers.st("GET", path).json()["data"]
    assert back["preferences"]["marketingUpdatesEnabled"] is True


def test_an_address_has_one_suppression(servers):
    """Lifted and put back by its address or its id: the same record, dated anew."""
    path = "/suppressions"
    made = servers.control("POST", path, email="no@example.com")
    assert (made["active"], made["reason"]) == (True, "Unsubscribe")
    lifted = servers.control("POST", path, email="NO@example.com", active=False)
    assert (lifted["id"], lifted["active"]) == (made["id"], False)
    back = servers.control("POST", f"{path}/{made['id']}", active=True, reason="SpamReport")
    assert (back["active"], back["reason"]) == (True, "SpamReport")
    assert made["modifiedOn"] < lifted["modifiedOn"] < back["modifiedOn"]
    assert made["createdOn"] == back["createdOn"]
    assert servers.refused("POST", path, email="a@example.com", reason="x").status_code == 400


def test_jobs_of_a_customer(servers):
    """A job of some day in the past, told by the feed now; without a day it is of today."""
    customer = servers.st("GET", "crm/customers").json()["data"][0]["id"]
    path = f"/customers/{customer}/jobs"
    done = servers.control("POST", path, date="2025-03-04", status="Completed", total=80)
    assert done["createdOn"] == done["completedOn"] == "2025-03-04T00:00:00.000000Z"
    assert (done["customerId"], done["total"], done["bookingId"]) == (customer, 80, None)
    canceled = servers.control("POST", path, status="Canceled")
    assert canceled["completedOn"] is None
    assert canceled["createdOn"] > done["createdOn"]
    history = servers.st("GET", f"jpm/jobs/{done['id']}/history").json()["history"]
    assert [e["eventType"] for e in history] == ["Scheduled", "Completed"]
    servers.advance(61)
    told = servers.feed("jpm/export/jobs")["data"]
    assert [(j["id"], j["customerId"]) for j in told] == [
        (done["id"], customer),
        (canceled["id"], customer),
    ]
    assert servers.refused("POST", path, status="Done").status_code == 400
    assert servers.refused("POST", path, date="soon").status_code == 400


def test_users_change_themselves(servers):
    """Someone takes another name and address, and unsubscribes on a day that can be chosen."""
    user = servers.rf("GET", "/users").json()["data"][0]
    path = f"/rf/users/{user['id']}"
    changed = servers.control("POST", path, first_name="Zed", email="zed@example.com")
    assert (changed["first_name"], changed["email"]) == ("Zed", "zed@example.com")
    body = {"campaign_id": user["campaign_id"], "first_name": "Old", "email": user["email"]}
    assert servers.rf("POST", "/users", json=body).status_code == 201
    changed = servers.control("POST", path, unsubscribed_at="2026-01-02")
    assert changed["unsubscribed_at"] == "2026-01-02"
    assert servers.control("POST", path, unsubscribed=False)["unsubscribed_at"] is None


def test_campaign_that_ends(servers):
    """The end is a date, which can be taken back."""
    path = "/rf/campaigns/spring-hvac"
    assert servers.control("POST", path, ends_at="2026-01-31")["ends_at"] == "2026-01-31"
    listed = servers.rf("GET", "/campaigns").json()["data"]
    assert [c["ends_at"] for c in listed] == ["2026-01-31", None]
    assert servers.control("POST", path, status="paused")["ends_at"] == "2026-01-31"
    assert servers.control("POST", path, ends_at=None)["ends_at"] is None


def test_misspelt_options_are_refused(servers):
    """A control call that means something else than it says would spoil a test without a word."""
    booking = servers.booked()
    answer = servers.refused("POST", f"/bookings/{booking}/convert", jobtype=1)
    assert answer.status_code == 400
    assert "jobtype" in answer.json()["error"]
    wrong_type = servers.refused("POST", f"/bookings/{booking}/convert", total="much")
    assert wrong_type.status_code == 400


@pytest.mark.parametrize(
    "path",
    [
        "/bookings/1/convert",
        "/jobs/1/history",
        "/rf/users/NOBODY",
        "/rf/campaigns/none",
        "/customers/1",
        "/customers/1/merge",
        "/customers/1/jobs",
        "/contacts/1",
        "/suppressions/1",
        "/nothing",
    ],
)
def test_unknown_records(servers, path):
    """What does not exist is 404 with the reason."""
    body = {"history": {"event_type": "x"}, "merge": {"into": 2}}.get(path.split("/")[-1], {})
    answer = servers.refused("POST", path, **body)
    assert answer.status_code == 404
    assert answer.json()["error"]


def test_state_counts_and_hides_secrets(servers):
    """The state counts what there is and shows no client secret."""
    booking = servers.booked()
    servers.control("POST", f"/bookings/{booking}/dismiss")
    text = servers.client.get(f"{servers.sandbox.control_url}/state").text
    assert servers.credentials.client_secret not in text
    state = servers.control("GET", "/state")
    assert state["tenants"]["985798691"]["bookings_dismissed"] == 1
    assert state["defects"] == 0


def test_requests_are_counted_by_route(servers):
    """Paths with ids count as one route, each API on its own; control calls do not count."""
    for number in (1, 2):
        servers.st("GET", f"crm/bookings/{number}")
    servers.rf("GET", "/users")
    report = servers.control("GET", "/requests")
    assert report["apis"]["st"]["routes"] == {"GET /crm/v2/tenant/{tenant}/bookings/{id}": 2}
    assert report["apis"]["st"]["statuses"] == {"404": 2}
    assert report["apis"]["rf"]["routes"] == {"GET /users": 1}
    assert report["apis"]["auth"]["requests"] == 1
    assert [entry["status"] for entry in report["recent"]] == [200, 404, 404, 200]


def test_log_is_bounded(start):
    """Only so many recent requests are kept; the counters go on."""
    servers = start(request_log_size=3)
    for _ in range(5):
        servers.rf("GET", "/users")
    report = servers.control("GET", "/requests")
    assert (len(report["recent"]), report["apis"]["rf"]["requests"]) == (3, 5)
