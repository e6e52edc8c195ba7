"""Bookings of the sandbox's ServiceTitan: what is taken, what is refused, how they are found."""

from __future__ import annotations

import pytest

PROVIDER = "crm/booking-provider/4521/bookings"


def errors(answer):
    """The fields that a 400 names."""
    assert answer.status_code == 400, answer.text
    return set(answer.json()["errors"])


def ids(answer):
    assert answer.status_code == 200, answer.text
    return [record["id"] for record in answer.json()["data"]]


def first(servers, path):
    return servers.st("GET", path).json()["data"][0]["id"]


def test_smallest_booking(servers):
    """The five required properties are enough; the provider and the status are the server's."""
    body = servers.book().json()
    assert (body["status"], body["bookingProviderId"], body["jobId"]) == ("New", 4521, None)
    assert body["start"].endswith("Z")


def test_full_booking_comes_back_whole(servers):
    """Every property that was sent is shown again, contacts under their own address."""
    full = {
        "address": {
            "street": "1 Example St",
            "unit": None,
            "city": "Town",
            "state": "IL",
            "zip": "02134",
            "country": "USA",
        },
        "customerType": "Commercial",
        "priority": "High",
        "campaignId": first(servers, "marketing/campaigns"),
        "businessUnitId": first(servers, "settings/business-units"),
        "jobTypeId": first(servers, "jpm/job-types"),
        "isSendConfirmationEmail": False,
        "name": "Zoë 王",
    }
    contacts = [{"type": "Email", "value": "a@example.com"}, {"type": "Phone", "value": "1"}]
    made = servers.book(**full, start="2026-05-01T09:30:00+02:00", contacts=contacts).json()
    assert {name: made[name] for name in full} == full
    assert made["start"] == "2026-05-01T07:30:00.000000Z"
    listed = servers.st("GET", f"crm/bookings/{made['id']}/contacts").json()["data"]
    assert [(c["type"], c["value"], c["memo"]) for c in listed] == [
        ("Email", "a@example.com", ""),
        ("Phone", "1", ""),
    ]
    assert servers.st("GET", f"{PROVIDER}/{made['id']}").json() == made


@pytest.mark.parametrize(
    "missing", ["source", "name", "summary", "isFirstTimeClient", "externalId"]
)
def test_required_properties(servers, missing):
    """A request without a required property, or with null or blank for it, is 400 naming it."""
    assert errors(servers.book(**{missing: None})) == {missing}
    assert errors(servers.book(**{missing: " "})) == {missing}


def test_every_fault_of_a_request_is_named_at_once(servers):
    """One answer tells all that is wrong."""
    answer = servers.st("POST", PROVIDER, json={"source": 5, "externalid": "x"})
    assert errors(answer) == {
        "source",
        "externalid",
        "name",
        "summary",
        "isFirstTimeClient",
        "externalId",
    }


@pytest.mark.parametrize(
    ("wrong", "field"),
    [
        ({"isFirstTimeClient": "true"}, "isFirstTimeClient"),
        ({"isFirstTimeClient": 1}, "isFirstTimeClient"),
        ({"campaignId": "5"}, "campaignId"),
        ({"campaignId": 5.5}, "campaignId"),
        ({"campaignId": True}, "campaignId"),
        ({"campaignId": 424242}, "campaignId"),
        ({"businessUnitId": 424242}, "businessUnitId"),
        ({"jobTypeId": 424242}, "jobTypeId"),
        ({"customerType": "residential"}, "customerType"),
        ({"priority": "high"}, "priority"),
        ({"start": "tomorrow"}, "start"),
        ({"start": "2026-05-01"}, "start"),
        ({"contacts": {}}, "contacts"),
        ({"contacts": [{"type": "email", "value": "x"}]}, "contacts[0].type"),
        ({"contacts": [{"type": "Email"}]}, "contacts[0].value"),
        ({"address": {"street": "1 St"}}, "address.zip"),
        ({"status": "New"}, "status"),
        ({"customFields": []}, "customFields"),
    ],
)
def test_wrong_values_are_refused(servers, wrong, field):
    """Types, enumerations (with their case), references and unknown properties are checked."""
    assert field in errors(servers.book(**wrong))
    assert servers.world.bookings("CODE1") == []


def test_body_that_is_no_json_object(servers):
    """Half a body and a list are 400, not a crash."""
    headers = {
        "Authorization": f"Bearer {servers.token()}",
        "ST-App-Key": servers.credentials.app_key,
    }
    url = f"{servers.sandbox.st_api_url}/crm/v2/tenant/{servers.credentials.tenant_id}/"
    url += "booking-provider/4521/bookings"
    for content in (b'{"source": ', b"[]", b"\xff\xfe"):
        assert servers.client.post(url, content=content, headers=headers).status_code == 400


def test_external_id_is_not_unique(servers):
    """Posting twice makes two bookings without a complaint; the filter finds both."""
    made = [servers.booked(externalId="twice"), servers.booked(externalId="twice")]
    assert ids(servers.st("GET", "crm/bookings", externalId="twice")) == made
    assert ids(servers.st("GET", PROVIDER, externalId="twice")) == made
    assert ids(servers.st("GET", "crm/bookings", externalId="twic")) == []


def test_provider_sees_its_own_bookings_only(servers):
    """The tenant's list holds all providers' bookings, the provider's list does not."""
    other = servers.control("POST", "/bookings", externalId="web-2")
    mine = servers.booked()
    assert {mine, other["id"]} <= set(ids(servers.st("GET", "crm/bookings")))
    assert ids(servers.st("GET", PROVIDER)) == [mine]
    assert servers.st("GET", f"{PROVIDER}/{other['id']}").status_code == 404
    assert servers.st("GET", f"crm/bookings/{other['id']}").status_code == 200
    assert ids(servers.st("GET", PROVIDER, ids=other["id"])) == []
    assert ids(servers.st("GET", PROVIDER, externalId="web-2")) == []


def test_pages(servers):
    """Pages count from 1, know whether more follow, and count all only when asked."""
    made = [servers.booked(externalId=f"p{n}") for n in range(5)]
    page = servers.st("GET", PROVIDER, page=2, pageSize=2, includeTotal="true").json()
    assert [b["id"] for b in page["data"]] == made[2:4]
    assert (page["page"], page["pageSize"], page["hasMore"], page["totalCount"]) == (2, 2, True, 5)
    last = servers.st("GET", PROVIDER, page=3, pageSize=2).json()
    assert (len(last["data"]), last["hasMore"], last["totalCount"]) == (1, False, None)
    exact = servers.st("GET", PROVIDER, page=1, pageSize=5).json()
    assert exact["hasMore"] is False
    assert servers.st("GET", PROVIDER, page=9).json()["data"] == []
    assert servers.st("GET", PROVIDER).json()["pageSize"] == 50


@pytest.mark.parametrize(
    "query",
    [
        {"page": 0},
        {"page": "x"},
        {"pageSize": 0},
        {"pageSize": 5001},
        {"ids": ",".join(str(n) for n in range(51))},
        {"ids": "1,x"},
        {"createdOnOrAfter": "yesterday"},
        {"includeTotal": "maybe"},
        {"sort": "+Name"},
    ],
)
def test_unreadable_queries_are_refused(servers, query):
    """A value that cannot be meant is 400 naming its parameter."""
    assert errors(servers.st("GET", "crm/bookings", **query)) == set(query)


def test_unknown_parameters_are_ignored(servers):
    """A misspelt filter filters nothing: whoever relies on it must check what came back."""
    servers.booked()
    assert len(ids(servers.st("GET", "crm/bookings", externalID="none", jobId=5))) == 2


def test_filters_by_ids_and_times(servers):
    """Ids, and both bounds of both dates."""
    one, two = servers.booked(externalId="a"), servers.booked(externalId="b")
    assert ids(servers.st("GET", "crm/bookings", ids=f"{two},{one},999")) == [one, two]
    moment = servers.st("GET", f"crm/bookings/{two}").json()["createdOn"]
    assert ids(servers.st("GET", PROVIDER, createdOnOrAfter=moment)) == [two]
    assert ids(servers.st("GET", PROVIDER, createdBefore=moment)) == [one]
    servers.control("POST", f"/bookings/{one}", status="Accepted")
    assert ids(servers.st("GET", PROVIDER, modifiedOnOrAfter=moment)) == [one, two]
    assert ids(servers.st("GET", PROVIDER, modifiedBefore=moment)) == []


def test_sorting(servers):
    """By id, creation and change, up and down; the plus may arrive as a space."""
    one, two = servers.booked(externalId="a"), servers.booked(externalId="b")
    servers.control("POST", f"/bookings/{one}", status="Accepted")
    assert ids(servers.st("GET", PROVIDER, sort="-Id")) == [two, one]
    assert ids(servers.st("GET", PROVIDER, sort="+ModifiedOn")) == [two, one]
    assert ids(servers.st("GET", PROVIDER, sort=" CreatedOn")) == [one, two]


def test_update_changes_what_is_listed(servers):
    """PATCH leaves out what it does not name, and moves the external id's index along."""
    made = servers.booked(externalId="before")
    body = {"externalId": "after", "summary": "changed"}
    answer = servers.st("PATCH", f"{PROVIDER}/{made}", json=body)
    assert (answer.status_code, answer.json()["name"]) == (200, "Ann Example")
    assert ids(servers.st("GET", PROVIDER, externalId="before")) == []
    assert ids(servers.st("GET", PROVIDER, externalId="after")) == [made]
    assert errors(servers.st("PATCH", f"{PROVIDER}/{made}", json={"name": None})) == {"name"}


def test_converted_bookings_take_no_changes(servers):
    """What became a job is 409 to PATCH and 400 to dismiss."""
    made = servers.booked()
    servers.control("POST", f"/bookings/{made}/convert")
    assert servers.st("PATCH", f"{PROVIDER}/{made}", json={"name": "x"}).status_code == 409
    assert servers.st("POST", f"{PROVIDER}/{made}/dismiss", json={}).status_code == 400


def test_dismiss(servers):
    """Dismissing has no body in its answer and keeps the reason."""
    made = servers.booked()
    answer = servers.st("POST", f"{PROVIDER}/{made}/dismiss", json={"callReasonId": 7})
    assert (answer.status_code, answer.content) == (200, b"")
    shown = servers.st("GET", f"crm/bookings/{made}").json()
    assert (shown["status"], shown["dismissingReasonId"]) == ("Dismissed", 7)
    assert servers.st("POST", f"{PROVIDER}/999/dismiss", json={}).status_code == 400


def test_contacts_can_be_added(servers):
    """A contact posted later stands in the list after the first ones."""
    made = servers.booked(contacts=[{"type": "Email", "value": "a@example.com"}])
    body = {"type": "MobilePhone", "value": "217-555-0150", "memo": "evenings"}
    assert servers.st("POST", f"{PROVIDER}/{made}/contacts", json=body).status_code == 200
    listed = servers.st("GET", f"{PROVIDER}/{made}/contacts").json()["data"]
    assert [c["memo"] for c in listed] == ["", "evenings"]


def test_provider_tags(servers):
    """The list shows the tag of every provider that books here; one is shown by its id."""
    tags = servers.st("GET", "crm/booking-provider-tags").json()["data"]
    assert {tag["id"] for tag in tags} == {4521, 7788}
    assert ids(servers.st("GET", "crm/booking-provider-tags", name="referral")) == [4521]
    assert servers.st("GET", "crm/booking-provider-tags/7788").json()["tagName"] == "Website"
    assert servers.st("GET", "crm/booking-provider-tags/1").status_code == 404
