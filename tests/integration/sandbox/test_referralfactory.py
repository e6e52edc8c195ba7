"""The sandbox's Referral Factory: pages, users, referrers, qualification, rewards, one token."""

from __future__ import annotations

from datetime import UTC, datetime

import pytest


def problem(answer, status):
    assert answer.status_code == status, answer.text
    body = answer.json()
    assert body["code"] == status
    assert body["message"]
    return body


def people(servers, **query):
    return servers.rf("GET", "/users", per_page=250, **query).json()["data"]


def campaign_id(servers, code="spring-hvac"):
    return servers.rf("GET", f"/campaigns/{code}").json()["data"]["id"]


def create(servers, **changes):
    wanted = {"campaign_id": campaign_id(servers), "first_name": "Nia", "email": "nia@example.com"}
    return servers.rf("POST", "/users", json={**wanted, **changes})


def lead(servers):
    return next(u for u in people(servers) if u["type"] == "person_invited")


def test_one_token_is_active(servers):
    """Without the token it is 401; making a new one ends the old one."""
    problem(servers.rf("GET", "/users", token="rf-wrong"), 401)
    new = servers.control("POST", "/rf/token")["token"]
    problem(servers.rf("GET", "/users"), 401)
    assert servers.rf("GET", "/users", token=new).status_code == 200


def test_campaigns_by_code_and_id(servers):
    """The list holds two campaigns; one is found by its code and by its id."""
    listed = servers.rf("GET", "/campaigns").json()["data"]
    assert [campaign["code"] for campaign in listed] == ["spring-hvac", "autumn-plumbing"]
    by_id = servers.rf("GET", f"/campaigns/{listed[0]['id']}").json()["data"]
    assert by_id == servers.rf("GET", "/campaigns/spring-hvac").json()["data"] == listed[0]
    labels = [field["label"] for field in by_id["fields"]["person_invited"]]
    assert "Phone" in labels
    problem(servers.rf("GET", "/campaigns/nothing"), 404)


def test_list_holds_all_campaigns(servers):
    """A campaign_id parameter is ignored, so the caller filters."""
    everyone = people(servers)
    assert len({user["campaign_id"] for user in everyone}) == 2
    assert people(servers, campaign_id=campaign_id(servers)) == everyone


def test_links_lead_through_all_pages(servers):
    """`links.next` is absolute, keeps per_page, and is null at the end; nobody is left out."""
    url = f"{servers.sandbox.rf_url}/users?per_page=7&with=user.analytics"
    headers = {"Authorization": f"Bearer {servers.credentials.rf_token}"}
    found, pages = [], 0
    while url is not None:
        assert url.startswith(servers.sandbox.base_url)
        assert "per_page=7" in url
        page = servers.client.get(url, headers=headers).json()
        assert all("analytics" in user for user in page["data"])
        found += [user["id"] for user in page["data"]]
        pages += 1
        url = page["links"]["next"]
    assert found == [user["id"] for user in people(servers)]
    assert pages == -(-len(found) // 7)


def test_page_defaults_and_bounds(servers):
    """25 by default, 250 at most, and a page past the end is empty with the counts right."""
    meta = servers.rf("GET", "/users").json()["meta"]
    assert (meta["per_page"], meta["current_page"]) == (25, 1)
    past = servers.rf("GET", "/users", page=9, per_page=10).json()
    assert past["data"] == []
    assert past["links"]["next"] is None
    assert past["meta"] == {"current_page": 9, "per_page": 10, "last_page": 2, "total": 20}
    for query in ({"per_page": 251}, {"per_page": 0}, {"page": 0}, {"page": "x"}):
        assert set(problem(servers.rf("GET", "/users", **query), 422)["errors"]) == set(query)


def test_order_can_be_turned(start):
    """Oldest first unless chosen otherwise; the pages of both orders hold the same people."""
    oldest = [u["id"] for u in people(start())]
    servers = start(rf_users_order="newest")
    newest = []
    for number in (1, 2, 3):
        page = servers.rf("GET", "/users", page=number, per_page=9).json()["data"]
        newest += [u["id"] for u in page]
    assert oldest == sorted(oldest)
    assert newest == oldest[::-1]


def test_sample_people(servers):
    """All sorts are there: sources, a test lead, a name beyond Latin, leads without a phone."""
    everyone = people(servers)
    sources = {u["source"] for u in everyone if u["type"] == "person_referring"}
    leads = [u for u in everyone if u["type"] == "person_invited"]
    assert sources == {"Direct", "Widget", "Added", "Test"}
    assert {u["source"] for u in leads} == {"Referred", "Test"}
    assert any(not u["first_name"].isascii() for u in leads)
    phones = [any(m["field"] == "Phone" for m in u["meta"]) for u in leads]
    assert set(phones) == {True, False}
    assert all(u["email"].endswith("@example.com") for u in everyone)
    assert all(u["referrer_id"] is not None for u in leads)


def test_same_seed_same_people(start):
    """Two sandboxes with one seed agree on everybody; another seed makes others."""
    assert people(start(seed=5)) == people(start(seed=5))
    assert people(start(seed=5)) != people(start(seed=6))


def test_number_of_leads_can_be_chosen(start):
    """No leads, or many."""
    assert [u for u in people(start(leads=0)) if u["type"] == "person_invited"] == []
    servers = start(leads=300)
    assert servers.rf("GET", "/users").json()["meta"]["total"] > 300


def test_create_referrer(servers):
    """A new user without a referrer refers; it gets a code, a link and today's date."""
    made = create(servers, meta=[{"field": "Last Name", "value": "Doe"}])
    assert made.status_code == 201
    user = made.json()["data"]
    assert (user["type"], user["source"], user["referrer_id"]) == ("person_referring", "Api", None)
    assert user["url"].endswith(user["code"])
    assert user["signed_up_at"] == datetime.now(UTC).date().isoformat()
    assert people(servers)[-1]["id"] == user["id"]


@pytest.mark.parametrize("field", ["id", "code", "email"])
def test_create_lead(servers, field):
    """A referrer is named by id, code or email; the new user is invited by them."""
    referrer = people(servers)[0]
    named = {"field": field, "value": str(referrer[field])}
    user = create(servers, referrer=named).json()["data"]
    assert (user["type"], user["referrer_id"]) == ("person_invited", referrer["id"])


@pytest.mark.parametrize("emails", [("n@example.com", "N@Example.com"), ("N@E.com", "n@e.com")])
def test_email_is_taken_once_per_campaign(servers, emails):
    """The same address in other letters is 422 in one campaign and fine in the other."""
    first, second = emails
    assert create(servers, email=first).status_code == 201
    taken = problem(create(servers, email=second), 422)
    assert [e["field"] for e in taken["errors"]["email"]] == ["email"]
    other = campaign_id(servers, "autumn-plumbing")
    meta = [{"field": "Last Name", "value": "Doe"}]
    assert create(servers, email=second, campaign_id=other, meta=meta).status_code == 201


@pytest.mark.parametrize(
    ("wrong", "field"),
    [
        ({"campaign_id": 1}, "campaign_id"),
        ({"campaign_id": "spring-hvac"}, "campaign_id"),
        ({"first_name": ""}, "first_name"),
        ({"first_name": None}, "first_name"),
        ({"email": "nobody"}, "email"),
        ({"email": "a b@example.com"}, "email"),
        ({"email": None}, "email"),
        ({"notify": "yes"}, "notify"),
        ({"referrer": "someone"}, "referrer"),
        ({"referrer": {"field": "code", "value": "NOBODY"}}, "referrer"),
        ({"referrer": {"field": "name", "value": "Rita"}}, "referrer"),
        ({"meta": {"Phone": "1"}}, "meta"),
        ({"meta": [{"value": "1"}]}, "meta"),
        ({"meta": [{"field": "Phone", "value": 1}]}, "meta"),
    ],
)
def test_wrong_users_are_refused(servers, wrong, field):
    """A 422 names the field, and nobody was added."""
    before = len(people(servers))
    assert field in problem(create(servers, **wrong), 422)["errors"]
    assert len(people(servers)) == before


def test_referrer_of_another_campaign_is_unknown(servers):
    """Attribution stays within a campaign."""
    other = campaign_id(servers, "autumn-plumbing")
    outsider = next(u for u in people(servers) if u["campaign_id"] == other)
    named = {"field": "code", "value": outsider["code"]}
    assert "referrer" in problem(create(servers, referrer=named), 422)["errors"]


def test_fields_that_the_campaign_requires(servers):
    """The second campaign asks referrers for a last name, and takes none without."""
    other = campaign_id(servers, "autumn-plumbing")
    problem(create(servers, campaign_id=other), 422)
    named = [{"field": "Last Name", "value": ""}]
    assert "meta" in problem(create(servers, campaign_id=other, meta=named), 422)["errors"]


def test_users_by_code_and_id(servers):
    """Both name the same user; nobody is 404."""
    user = lead(servers)
    by_code = servers.rf("GET", f"/users/{user['code']}").json()["data"]
    assert by_code == servers.rf("GET", f"/users/{user['id']}").json()["data"] == user
    problem(servers.rf("GET", "/users/NOBODY"), 404)


def test_update_merges_meta(servers):
    """First name, email and labels change; what is not named stays."""
    user = create(servers, meta=[{"field": "Phone", "value": "1"}]).json()["data"]
    body = {"first_name": "Mia", "meta": [{"field": "Last Name", "value": "Doe"}]}
    changed = servers.rf("PUT", f"/users/{user['id']}", json=body).json()["data"]
    assert (changed["first_name"], changed["email"]) == ("Mia", "nia@example.com")
    assert {m["field"]: m["value"] for m in changed["meta"]} == {"Phone": "1", "Last Name": "Doe"}
    body = {"email": "mia@example.com"}
    assert servers.rf("PUT", f"/users/{user['id']}", json=body).status_code == 200
    assert create(servers).status_code == 201
    body = {"email": "Nia@example.com"}
    assert "email" in problem(servers.rf("PUT", f"/users/{user['id']}", json=body), 422)["errors"]
    problem(servers.rf("PUT", "/users/1", json={}), 404)


def test_delete(servers):
    """A deleted user is gone from everywhere, and the address is free again."""
    user = create(servers).json()["data"]
    assert servers.rf("DELETE", f"/users/{user['id']}").status_code == 200
    problem(servers.rf("GET", f"/users/{user['code']}"), 404)
    assert user["id"] not in [u["id"] for u in people(servers)]
    assert create(servers).status_code == 201


def named_by(user, how):
    if how == "email":
        return {"email": user["email"].upper(), "campaign_id": user["campaign_id"]}
    return {how: user[how]}


@pytest.mark.parametrize("how", ["id", "code", "email"])
def test_qualify(servers, how):
    """A lead named in any of the three ways is qualified today, and the reward becomes due."""
    user = lead(servers)
    body = {**named_by(user, how), "qualified": True}
    done = servers.rf("PUT", "/users/qualification", json=body).json()["data"]
    assert done["id"] == user["id"]
    assert done["qualified_at"] == datetime.now(UTC).date().isoformat()
    (reward,) = servers.rf("GET", "/rewards/due/amount").json()["data"]
    assert reward["recipient_id"] == user["referrer_id"]
    (written,) = servers.control("GET", "/qualifications")
    assert (written["user_id"], written["qualified"], written["status"]) == (user["id"], True, 200)


def test_unqualify_keeps_the_reward(servers):
    """Taking it back does not recall the reward, and qualifying again makes no second one."""
    user = lead(servers)
    for qualified in (True, True, False, True):
        body = {"id": user["id"], "qualified": qualified}
        answer = servers.rf("PUT", "/users/qualification", json=body).json()["data"]
        assert (answer["qualified_at"] is not None) == qualified
    assert len(servers.rf("GET", "/rewards/due/amount").json()["data"]) == 1
    assert servers.rf("GET", "/rewards/due/coupon").json()["data"] == []
    problem(servers.rf("GET", "/rewards/due/gold"), 404)
    writes = [w["qualified"] for w in servers.control("GET", "/qualifications")]
    assert writes == [True, True, False, True]


@pytest.mark.parametrize(
    ("body", "status"),
    [
        ({"qualified": True}, 422),
        ({"id": 1}, 422),
        ({"id": 1, "qualified": "yes"}, 422),
        ({"id": 1, "qualified": True}, 404),
        ({"code": "NOBODY", "qualified": True}, 404),
        ({"email": "lead1@example.com", "qualified": True}, 422),
        ({"email": "nobody@example.com", "campaign_id": 1, "qualified": True}, 404),
    ],
)
def test_wrong_qualifications(servers, body, status):
    """Refused writes are recorded as well, with how they ended."""
    problem(servers.rf("PUT", "/users/qualification", json=body), status)
    assert [w["status"] for w in servers.control("GET", "/qualifications")] == [status]


def test_analytics_on_request(servers):
    """Counts of referrals come only when asked for, and follow qualification."""
    user = lead(servers)
    path = f"/users/{user['referrer_id']}"
    assert "analytics" not in servers.rf("GET", path).json()["data"]
    before = servers.rf("GET", path, **{"with": "user.analytics"}).json()["data"]["analytics"]
    body = {"id": user["id"], "qualified": True}
    servers.rf("PUT", "/users/qualification", json=body)
    after = servers.rf("GET", path, **{"with": "user.analytics"}).json()["data"]["analytics"]
    assert (before["referrals"], before["qualified_referrals"]) == (after["referrals"], 0)
    assert after["qualified_referrals"] == 1


def test_analytics_follow_every_change(servers):
    """Qualified and taken back, deleted by hand: the counts of a page are those of its leads."""
    first = lead(servers)
    referrer = first["referrer_id"]

    def counts():
        page = servers.rf("GET", "/users", per_page=250, **{"with": "user.analytics"}).json()
        found = next(u for u in page["data"] if u["id"] == referrer)["analytics"]
        assert found["reach"] == 0
        return found["referrals"], found["qualified_referrals"]

    before, _ = counts()
    for qualified, expected in ((True, 1), (True, 1), (False, 0), (False, 0), (True, 1)):
        body = {"id": first["id"], "qualified": qualified}
        servers.rf("PUT", "/users/qualification", json=body)
        assert counts() == (before, expected)
    servers.control("POST", "/leads", first_name="V", email="v@example.com", referrer=str(referrer))
    assert counts() == (before + 1, 1)
    servers.rf("DELETE", f"/users/{first['id']}")
    assert counts() == (before, 0)


def test_unknown_route(servers):
    """What does not exist is 404 in the words of this API."""
    problem(servers.rf("GET", "/nothing"), 404)


def test_body_that_is_no_json(servers):
    """Half a body is 400."""
    headers = {"Authorization": f"Bearer {servers.credentials.rf_token}"}
    url = f"{servers.sandbox.rf_url}/users"
    problem(servers.client.post(url, content=b"{", headers=headers), 400)
