"""Who may call the sandbox's ServiceTitan, with which token, key, tenant, scope and provider."""

from __future__ import annotations

import pytest

SCOPE = "tn.mrk.suppressions:r"


def problem(answer, status):
    """The refusal's body, after a check that it is one."""
    assert answer.status_code == status, answer.text
    body = answer.json()
    assert set(body) == {"type", "title", "status", "traceId", "errors", "data"}
    assert body["status"] == status
    return body


def test_good_credentials_give_a_token(servers):
    """Client credentials are answered with a bearer token that lives 900 s."""
    body = servers.ask_token().json()
    assert (body["expires_in"], body["token_type"]) == (900, "Bearer")
    assert servers.st("GET", "crm/bookings").status_code == 200


@pytest.mark.parametrize("wrong", [{"client_id": "cid.none"}, {"client_secret": "cs1.none"}])
def test_bad_credentials_are_invalid_client(servers, wrong):
    """A wrong id or secret is 400 with OAuth's own word for it."""
    answer = servers.ask_token(**wrong)
    assert (answer.status_code, answer.json()) == (400, {"error": "invalid_client"})


def test_other_grant_types_are_refused(servers):
    """Only client credentials are served."""
    assert servers.ask_token(grant_type="password").json() == {"error": "unsupported_grant_type"}


def test_token_requests_are_throttled_and_counted(servers):
    """The eleventh request within a minute is 429, and a minute later there is room again."""
    statuses = [servers.ask_token().status_code for _ in range(11)]
    assert statuses == [200] * 10 + [429]
    report = servers.control("GET", "/requests")["apis"]["auth"]
    assert (report["requests"], report["too_many_requests"]) == (11, 1)
    servers.advance(61)
    assert servers.ask_token().status_code == 200


def test_throttling_is_per_client(servers):
    """One client's token requests do not use up another's."""
    for _ in range(11):
        servers.ask_token()
    assert servers.ask_token(client_id="cid.other").status_code == 400


def test_tokens_expire_in_virtual_time(servers):
    """After 900 s of the sandbox's time a token is 401, and a fresh one works."""
    servers.token()
    servers.advance(899)
    assert servers.st("GET", "crm/bookings").status_code == 200
    servers.advance(2)
    assert "token" in problem(servers.st("GET", "crm/bookings"), 401)["title"]


def test_tokens_can_be_expired_at_once(servers):
    """The control route ends every token there is."""
    servers.token()
    servers.control("POST", "/st/tokens/expire")
    problem(servers.st("GET", "crm/bookings"), 401)


def test_wrong_app_key_is_told_apart_from_wrong_token(servers):
    """Both are 401, but their titles differ."""
    bearer = {"Authorization": f"Bearer {servers.token()}"}
    key = {"ST-App-Key": servers.credentials.app_key}
    no_key = problem(servers.st("GET", "crm/bookings", headers=bearer), 401)
    bad_key = problem(
        servers.st("GET", "crm/bookings", headers={**bearer, "ST-App-Key": "ak1.no"}), 401
    )
    no_token = problem(servers.st("GET", "crm/bookings", headers=key), 401)
    assert no_key["title"] == bad_key["title"] != no_token["title"]
    assert "application key" in no_key["title"]


def test_app_key_may_come_in_the_query_and_stays_out_of_the_log(servers):
    """The documents allow the key as a parameter; the request log leaves it out."""
    bearer = {"Authorization": f"Bearer {servers.token()}"}
    key = servers.credentials.app_key
    answer = servers.st("GET", "crm/bookings", headers=bearer, servicetitanapplicationkey=key)
    assert answer.status_code == 200
    report = servers.client.get(f"{servers.sandbox.control_url}/requests").text
    assert key not in report
    assert servers.token() not in report


def test_app_keys_can_be_replaced(servers):
    """After the owner changed the app's keys, the old one is 401."""
    servers.control("POST", "/st/app-keys", app_keys=["ak1.new"])
    problem(servers.st("GET", "crm/bookings"), 401)


def test_another_tenants_token_is_forbidden(servers):
    """A token of one tenant's grant opens no other tenant."""
    servers.control(
        "POST",
        "/st/grants",
        client_id="cid.other",
        client_secret="cs1.other",
        tenant_id=77,
        booking_provider=9,
    )
    other = servers.ask_token(client_id="cid.other", client_secret="cs1.other").json()
    headers = {
        "Authorization": f"Bearer {other['access_token']}",
        "ST-App-Key": servers.credentials.app_key,
    }
    assert servers.st("GET", "crm/bookings", tenant=77, headers=headers).status_code == 200
    problem(servers.st("GET", "crm/bookings", headers=headers), 403)
    problem(servers.st("GET", "crm/bookings", tenant=77), 403)


def test_tenant_that_is_not_granted_is_forbidden(servers):
    """The token still works, the tenant does not let the app in."""
    servers.control("POST", "/st/grants", granted=False)
    problem(servers.st("GET", "crm/bookings"), 403)


def test_missing_scope_is_forbidden_and_named(servers):
    """Without the scope of an operation it is 403; the others go on."""
    servers.control("POST", "/st/grants", without_scopes=[SCOPE])
    assert SCOPE in problem(servers.st("GET", "marketing/suppressions"), 403)["title"]
    assert servers.st("GET", "marketing/campaigns").status_code == 200


def test_revoked_secret_gives_no_token(servers):
    """A changed secret is invalid_client from the next token request on."""
    servers.control("POST", "/st/grants", client_secret="cs1.changed")
    assert servers.ask_token().status_code == 400
    assert servers.ask_token(client_secret="cs1.changed").status_code == 200


@pytest.mark.parametrize("status", [400, 403, 404])
def test_foreign_booking_provider_is_refused_as_set(start, status):
    """The grant's provider is the only one; how others are refused can be chosen."""
    servers = start(foreign_provider_status=status)
    answer = servers.st("GET", "crm/booking-provider/7788/bookings")
    assert "booking_provider" in problem(answer, status)["errors"]


def test_trace_ids_are_unique(servers):
    """Each refusal can be told from every other one."""
    found = {servers.st("GET", "crm/bookings/1").json()["traceId"] for _ in range(20)}
    assert len(found) == 20


def test_unknown_routes_are_problems_too(servers):
    """What does not exist is 404 with a problem body, and counted as unknown."""
    problem(servers.st("GET", "crm/nothing"), 404)
    assert servers.control("GET", "/requests")["apis"]["st"]["routes"] == {"GET (unknown)": 1}
