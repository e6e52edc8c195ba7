"""Jobs, customers and the lists of the sandbox's ServiceTitan."""

from __future__ import annotations

import pytest


def ids(answer):
    assert answer.status_code == 200, answer.text
    return [record["id"] for record in answer.json()["data"]]


@pytest.fixture
def job(servers):
    made = servers.booked()
    return servers.control("POST", f"/bookings/{made}/convert", tag_type_ids=[5])


def test_jobs_are_found_by_booking(servers, job):
    """The filter by booking finds the job that came of it and no other."""
    other = servers.control("POST", f"/bookings/{servers.booked()}/convert")
    assert ids(servers.st("GET", "jpm/jobs", bookingId=job["bookingId"])) == [job["id"]]
    assert ids(servers.st("GET", "jpm/jobs")) == [job["id"], other["id"]]
    assert ids(servers.st("GET", "jpm/jobs", bookingId=1)) == []


def test_job_filters(servers, job):
    """Status, customer, type, unit, tags and number narrow the list; all hold together."""
    other = servers.control("POST", f"/bookings/{servers.booked()}/convert")
    servers.control("POST", f"/jobs/{other['id']}/status", status="Completed")
    for query, expected in (
        ({"jobStatus": "Completed"}, [other["id"]]),
        ({"customerId": job["customerId"]}, [job["id"]]),
        ({"jobTypeId": job["jobTypeId"]}, [job["id"], other["id"]]),
        ({"businessUnitId": 1}, []),
        ({"tagTypeIds": "5,6"}, [job["id"]]),
        ({"number": other["jobNumber"]}, [other["id"]]),
        ({"ids": f"{job['id']},77"}, [job["id"]]),
        ({"bookingId": job["bookingId"], "jobStatus": "Completed"}, []),
        ({"completedOnOrAfter": "2020-01-01"}, [other["id"]]),
        ({"completedBefore": "2020-01-01"}, []),
        ({"modifiedOnOrAfter": "2100-01-01"}, []),
    ):
        assert ids(servers.st("GET", "jpm/jobs", **query)) == expected, query
    assert servers.st("GET", "jpm/jobs", jobStatus="Done").status_code == 400


def test_one_job_and_its_history(servers, job):
    """A job is shown by its id, its history with a memo for each event."""
    servers.control("POST", f"/jobs/{job['id']}/history", event_type="Sang", memo="la")
    shown = servers.st("GET", f"jpm/jobs/{job['id']}").json()
    assert "active" not in shown
    history = servers.st("GET", f"jpm/jobs/{job['id']}/history").json()["history"]
    assert [(e["eventType"], e["memo"]) for e in history] == [("Scheduled", ""), ("Sang", "la")]
    assert servers.st("GET", "jpm/jobs/1").status_code == 404
    assert servers.st("GET", "jpm/jobs/1/history").status_code == 404
    assert servers.st("GET", "jpm/jobs/abc").status_code == 400


@pytest.mark.parametrize(
    ("path", "name"),
    [
        ("settings/business-units", "hvac"),
        ("marketing/campaigns", "REFERRAL"),
        ("jpm/job-types", "visit"),
    ],
)
def test_named_lists(servers, path, name):
    """Only active ones by default; the name is found anywhere in it, whatever the case."""
    active = servers.st("GET", path).json()["data"]
    everything = servers.st("GET", path, active="Any").json()["data"]
    inactive = servers.st("GET", path, active="False").json()["data"]
    assert all(entry["active"] for entry in active)
    assert len(everything) == len(active) + len(inactive) > len(active)
    found = servers.st("GET", path, name=name).json()["data"]
    assert found
    assert all(name.lower() in entry["name"].lower() for entry in found)
    assert len(found) < len(everything)
    assert ids(servers.st("GET", path, ids=active[1]["id"])) == [active[1]["id"]]
    assert servers.st("GET", path, active="perhaps").status_code == 400


def test_tag_types_have_no_name_filter(servers):
    """The documents give tag types no `name` parameter, so it is ignored like any other."""
    assert len(ids(servers.st("GET", "settings/tag-types", name="VIP"))) == 3
    assert len(ids(servers.st("GET", "settings/tag-types", active="Any"))) == 4


def test_job_types_are_ordered_by_their_own_parameters(servers):
    """The list of job types knows orderBy and orderByDirection where others know sort."""
    up = ids(servers.st("GET", "jpm/job-types"))
    down = servers.st("GET", "jpm/job-types", orderBy="id", orderByDirection="descending")
    assert ids(down) == up[::-1]
    assert ids(servers.st("GET", "jpm/job-types", sort="-Id")) == up


def test_single_settings(servers):
    """Business units and job types are shown by id too."""
    for path in ("settings/business-units", "jpm/job-types"):
        entry = servers.st("GET", path).json()["data"][0]
        assert servers.st("GET", f"{path}/{entry['id']}").json() == entry
        assert servers.st("GET", f"{path}/1").status_code == 404


def test_suppressions(servers):
    """Emails that asked for no marketing are listed and found whatever their case."""
    (entry,) = servers.st("GET", "marketing/suppressions").json()["data"]
    found = servers.st("GET", "marketing/suppressions", email=entry["email"].upper())
    assert ids(found) == [entry["id"]]
    servers.control("POST", "/suppressions", email="new@example.com", reason="Bounce")
    assert len(ids(servers.st("GET", "marketing/suppressions"))) == 2


def test_suppressions_that_were_lifted(servers):
    """`active` chooses, modifiedOnOrAfter finds what changed since, pages follow each other."""
    path = "marketing/suppressions"
    (old,) = servers.st("GET", path).json()["data"]
    made = [
        servers.control("POST", "/suppressions", email=f"s{n}@example.com", reason="Bounce")
        for n in range(3)
    ]
    lifted = servers.control("POST", f"/suppressions/{made[0]['id']}", active=False)
    assert lifted["modifiedOn"] > made[2]["modifiedOn"]
    kept = [old["id"], made[1]["id"], made[2]["id"]]
    assert ids(servers.st("GET", path)) == ids(servers.st("GET", path, active="True")) == kept
    assert ids(servers.st("GET", path, active="False")) == [lifted["id"]]
    assert len(ids(servers.st("GET", path, active="Any"))) == 4
    since = {"modifiedOnOrAfter": made[2]["modifiedOn"]}
    assert ids(servers.st("GET", path, **since)) == [made[2]["id"]]
    assert set(ids(servers.st("GET", path, active="Any", **since))) == {
        made[2]["id"],
        lifted["id"],
    }
    email = {"email": "S0@example.com"}
    assert ids(servers.st("GET", path, **email)) == []
    assert ids(servers.st("GET", path, active="False", **email)) == [lifted["id"]]
    pages = [
        servers.st("GET", path, active="Any", pageSize=3, page=n, includeTotal="true").json()
        for n in (1, 2)
    ]
    assert [(len(p["data"]), p["hasMore"], p["totalCount"]) for p in pages] == [
        (3, True, 4),
        (1, False, 4),
    ]


def test_customer_filters(servers):
    """Name, phone, place and ids narrow the list of active customers."""
    made = servers.control(
        "POST",
        "/customers",
        name="Quentin Sample",
        contacts=[{"type": "Phone", "value": "(217) 555-0177"}],
    )
    for query in ({"name": "tin sam"}, {"phone": "2175550177"}, {"ids": made["id"]}):
        assert ids(servers.st("GET", "crm/customers", **query)) == [made["id"]], query
    assert made["id"] in ids(servers.st("GET", "crm/customers", city="springfield"))
    servers.control("POST", f"/customers/{made['id']}", active=False)
    assert ids(servers.st("GET", "crm/customers", ids=made["id"])) == []
    assert ids(servers.st("GET", "crm/customers", ids=made["id"], active="Any")) == [made["id"]]


def test_modified_contacts_need_a_range(servers):
    """Contacts of all customers are listed by range or by customer, never without either."""
    assert servers.st("GET", "crm/customers/contacts").status_code == 400
    (customer, *_) = servers.st("GET", "crm/customers").json()["data"]
    by_customer = servers.st("GET", "crm/customers/contacts", customerIds=customer["id"])
    assert {c["customerId"] for c in by_customer.json()["data"]} == {customer["id"]}
    ranged = servers.st(
        "GET", "crm/customers/contacts", modifiedOnOrAfter="2020-01-01", includeTotal="true"
    )
    assert ranged.json()["totalCount"] == 47


def field_ids(servers):
    listed = servers.st("GET", "crm/customers/custom-fields").json()["data"]
    return {entry["name"]: entry["id"] for entry in listed}


def patch(servers, customer, *fields):
    body = {"customFields": [{"typeId": key, "value": value} for key, value in fields]}
    return servers.st("PATCH", f"crm/customers/{customer}", json=body)


def custom_fields(answer):
    return {field["typeId"]: field["value"] for field in answer.json()["customFields"]}


def test_custom_fields_are_merged(servers):
    """A PATCH changes the custom fields that it lists and leaves the others alone."""
    fields = field_ids(servers)
    customer = ids(servers.st("GET", "crm/customers"))[0]
    patch(servers, customer, (fields["Referral Code"], "OLD"), (fields["Referrals"], "1"))
    answer = patch(servers, customer, (fields["Referrals"], "2"))
    assert custom_fields(answer) == {fields["Referral Code"]: "OLD", fields["Referrals"]: "2"}


def test_custom_fields_may_be_replaced(start):
    """The server that a careful client must notice drops what a PATCH does not list."""
    servers = start(custom_fields_patch="replace")
    fields = field_ids(servers)
    customer = ids(servers.st("GET", "crm/customers"))[0]
    patch(servers, customer, (fields["Referral Code"], "OLD"))
    answer = patch(servers, customer, (fields["Referrals"], "2"))
    assert custom_fields(answer) == {fields["Referrals"]: "2"}


def test_custom_fields_are_checked(servers):
    """Unknown types, text in a number, and options that a list lacks are 400; nothing changes."""
    fields = field_ids(servers)
    customer = ids(servers.st("GET", "crm/customers"))[0]
    for field, value in (
        (1, "x"),
        (fields["Referrals"], "many"),
        (fields["Heard About Us"], "Radio"),
    ):
        assert patch(servers, customer, (field, value)).status_code == 400
    assert servers.st("GET", f"crm/customers/{customer}").json()["customFields"] == []


def test_customer_patch_moves_it_in_the_feed(servers):
    """Any change by PATCH dates the customer; unknown properties are refused."""
    customer = ids(servers.st("GET", "crm/customers"))[0]
    before = servers.st("GET", f"crm/customers/{customer}").json()
    answer = servers.st("PATCH", f"crm/customers/{customer}", json={"doNotMail": True}).json()
    assert answer["doNotMail"] is True
    assert answer["modifiedOn"] > before["modifiedOn"]
    refused = servers.st("PATCH", f"crm/customers/{customer}", json={"email": "x"})
    assert set(refused.json()["errors"]) == {"email"}
    assert servers.st("PATCH", "crm/customers/1", json={}).status_code == 404


def test_external_data_belongs_to_an_application(servers):
    """Replace drops what it does not list, Merge keeps it; only the own guid's data is shown."""
    customer = ids(servers.st("GET", "crm/customers"))[0]

    def store(mode, *pairs):
        data = [{"key": key, "value": value} for key, value in pairs]
        body = {"patchMode": mode, "applicationGuid": "g1", "externalData": data}
        answer = servers.st(
            "PATCH", f"crm/customers/{customer}", json={"externalData": body}
        ).json()
        return {item["key"]: item["value"] for item in answer["externalData"]}

    assert store("Replace", ("a", "1")) == {"a": "1"}
    assert store("Merge", ("b", "2")) == {"a": "1", "b": "2"}
    assert store("Replace", ("c", "3")) == {"c": "3"}
    assert servers.st("GET", f"crm/customers/{customer}").json()["externalData"] == []
