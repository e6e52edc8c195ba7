"""Scripted faults, as a real HTTP client meets them."""

from __future__ import annotations

import time
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime

import httpx
import pytest

POST_BOOKING = {"api": "st", "method": "POST", "route": "/booking-provider/"}


def count(servers, external_id="CODE1"):
    return len(servers.world.bookings(external_id))


def eventually(condition, seconds=3.0):
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, "it never happened"
        time.sleep(0.01)


@pytest.mark.parametrize("status", [429, 500, 502, 503, 409])
def test_status_with_the_servers_own_error_body(servers, status):
    """The chosen status comes once, with a problem body; the next request is served."""
    servers.fault("status", **POST_BOOKING, status=status)
    answer = servers.book()
    assert answer.status_code == answer.json()["status"] == status
    assert count(servers) == 0
    assert servers.book().status_code == 200


def test_maintenance_is_named(servers):
    """The 409 of ServiceTitan says that the tenant is suspended for maintenance."""
    servers.fault("status", api="st", status=409)
    answer = servers.st("GET", "crm/bookings")
    assert "suspended for maintenance" in answer.json()["title"]


def test_status_of_the_other_servers(servers):
    """Referral Factory and the token endpoint fail in their own words."""
    servers.fault("status", api="rf", status=500)
    servers.fault("status", api="auth", status=500)
    assert servers.rf("GET", "/users").json()["code"] == 500
    assert servers.ask_token().json()["error"] == "server_error"


def test_html_and_empty_bodies(servers):
    """A proxy's page, and nothing at all."""
    servers.fault("status", api="rf", status=502, body="html")
    servers.fault("status", api="rf", status=503, body="empty")
    first, second = servers.rf("GET", "/users"), servers.rf("GET", "/users")
    assert (first.status_code, first.headers["content-type"]) == (502, "text/html")
    assert "<html" in first.text
    assert (second.status_code, second.content) == (503, b"")


def test_retry_after_in_both_forms(servers):
    """Seconds, and a date that many seconds ahead; other headers as chosen."""
    servers.fault("status", api="rf", status=429, retry_after=7, headers={"X-Why": "test"})
    servers.fault("status", api="rf", status=429, retry_after=30, retry_after_form="date")
    first, second = servers.rf("GET", "/users"), servers.rf("GET", "/users")
    assert (first.headers["retry-after"], first.headers["x-why"]) == ("7", "test")
    moment = parsedate_to_datetime(second.headers["retry-after"])
    assert 28 <= (moment - datetime.now(UTC)).total_seconds() <= 31


def test_status_after_the_commit(servers):
    """A gateway may fail although the server behind it did the work."""
    servers.fault("status", **POST_BOOKING, status=502, commit=True)
    assert servers.book().status_code == 502
    assert count(servers) == 1


def test_reset_before_leaves_nothing(servers):
    """The connection is reset, and the request had no effect."""
    servers.fault("reset_before", **POST_BOOKING)
    with pytest.raises(httpx.ReadError):
        servers.book()
    assert count(servers) == 0


@pytest.mark.parametrize("reset", [False, True])
def test_lost_answer_has_committed(servers, reset):
    """The connection ends without an answer, and yet the booking is there."""
    servers.fault("lose_answer", **POST_BOOKING, reset=reset)
    with pytest.raises(httpx.ReadError if reset else httpx.RemoteProtocolError):
        servers.book()
    assert count(servers) == 1


def test_late_commit(servers):
    """The server hangs up first; the write takes effect a while after that."""
    servers.fault("late_commit", **POST_BOOKING, seconds=0.05, commit_after_seconds=0.3)
    before = time.monotonic()
    with pytest.raises(httpx.TransportError):
        servers.book()
    assert time.monotonic() - before >= 0.05
    assert count(servers) == 0
    eventually(lambda: count(servers) == 1)


def test_late_commit_happens_though_the_client_left(servers):
    """A client that gave up before the server did gets its booking all the same."""
    servers.fault("late_commit", **POST_BOOKING, seconds=0.3)
    servers.token()
    servers.client.timeout = 0.05
    with pytest.raises(httpx.ReadTimeout):
        servers.book()
    eventually(lambda: count(servers) == 1)


def test_late_commit_counts_once_and_when_it_arrives(start):
    """The window holds what the client sent; a write that waited needs no room of its own."""
    servers = start(st_requests_per_window=2, st_window_seconds=30)
    servers.fault("late_commit", **POST_BOOKING, commit_after_seconds=0.2)
    with pytest.raises(httpx.TransportError):
        servers.book()
    eventually(lambda: count(servers) == 1)
    statuses = [servers.st("GET", "crm/bookings").status_code for _ in range(2)]
    assert statuses == [200, 429]
    report = servers.control("GET", "/requests")["apis"]["st"]
    assert (report["requests"], report["max_in_window"]) == (3, 3)


def test_late_commit_is_not_refused_by_a_full_window(start):
    """What was let in takes effect, however much came after it."""
    servers = start(st_requests_per_window=1, st_window_seconds=30)
    servers.fault("late_commit", **POST_BOOKING, commit_after_seconds=0.2)
    with pytest.raises(httpx.TransportError):
        servers.book()
    assert servers.st("GET", "crm/bookings").status_code == 429
    eventually(lambda: count(servers) == 1)


def test_late_commit_of_a_lost_user_is_no_abuse(start):
    """The other server counts in the same way: once, on arrival."""
    servers = start(rf_requests_per_window=2)
    campaign = servers.world.account.campaign("spring-hvac").id
    body = {"campaign_id": campaign, "first_name": "Ann", "email": "late@example.com"}
    servers.fault("late_commit", api="rf", method="POST", commit_after_seconds=0.2)
    with pytest.raises(httpx.TransportError):
        servers.rf("POST", "/users", json=body)
    assert servers.rf("GET", "/users").status_code == 200
    eventually(lambda: servers.world.account.user_by_email(campaign, "late@example.com"))
    assert servers.control("GET", "/state")["referral_factory"]["abuses"] == 0


def test_late_commit_of_a_refused_call_never_happens(start):
    """Whom the limit or the gate keeps out leaves nothing behind, not even later."""
    servers = start(st_requests_per_window=1, st_window_seconds=30)
    assert servers.st("GET", "crm/bookings").status_code == 200
    servers.fault("late_commit", **POST_BOOKING)
    with pytest.raises(httpx.TransportError):
        servers.book()
    time.sleep(0.2)
    assert count(servers) == 0


def test_delay(servers):
    """The answer is right, only late."""
    servers.fault("delay", api="rf", seconds=0.2)
    before = time.monotonic()
    assert servers.rf("GET", "/users").status_code == 200
    assert time.monotonic() - before >= 0.2
    servers.fault("delay", api="rf", seconds=5)
    servers.client.timeout = 0.1
    with pytest.raises(httpx.ReadTimeout):
        servers.rf("GET", "/users")


def test_truncated_answer(servers):
    """Right headers, half a body, and then the line is dead."""
    servers.fault("truncate", api="rf")
    with pytest.raises(httpx.RemoteProtocolError, match="without sending complete"):
        servers.rf("GET", "/users")
    assert servers.rf("GET", "/users").status_code == 200


def test_garbage(servers):
    """200, and a page that is no JSON; the request had no effect unless asked for."""
    servers.fault("garbage", **POST_BOOKING)
    answer = servers.book()
    assert answer.status_code == 200
    with pytest.raises(ValueError, match="Expecting value"):
        answer.json()
    assert count(servers) == 0


def test_reset_in_the_middle_of_an_answer(servers):
    """The connection is reset, not closed, while the body is read."""
    servers.fault("truncate", api="rf", reset=True)
    with pytest.raises(httpx.TransportError):
        servers.rf("GET", "/users")


def test_json_of_no_known_shape(servers):
    """A 200 whose body no route promises; with commit the write has taken effect all the same."""
    servers.fault("wrong_json", **POST_BOOKING, commit=True)
    answer = servers.book()
    assert (answer.status_code, answer.json()["data"]) == (200, "soon")
    assert count(servers) == 1


def test_redirect_leads_nowhere_outside(servers):
    """307 to a port of this machine where nobody listens, or to where a test wants it."""
    servers.fault("redirect", api="st")
    answer = servers.st("GET", "crm/bookings")
    assert answer.status_code == 307
    assert answer.headers["location"].startswith("http://127.0.0.1:9/")
    servers.fault("redirect", api="st", headers={"Location": "http://127.0.0.1:8/x"}, status=302)
    answer = servers.st("GET", "crm/bookings")
    assert (answer.status_code, answer.headers["location"]) == (302, "http://127.0.0.1:8/x")


def test_token_expires_early(servers):
    """The token that was good is refused, and so is every other one until a new one is asked for."""
    servers.fault("expire_token", api="st")
    assert servers.st("GET", "crm/bookings").status_code == 401
    assert servers.st("GET", "crm/bookings").status_code == 401
    servers._token = None
    assert servers.st("GET", "crm/bookings").status_code == 200


def test_secret_revoked(servers):
    """The token endpoint says what it says of a client that it does not know."""
    servers.fault("status", api="auth", status=401)
    assert servers.ask_token().json() == {"error": "invalid_client"}


def _feed(servers, position="2020-01-01"):
    return servers.st("GET", "crm/export/customers", **{"from": position})


def test_pages_and_records_that_repeat(start):
    """The page before once more, with its own way on; or some of its records at the head of the
    next one."""
    servers = start(feed_page_size=5, feed_lag_seconds=0)
    first = _feed(servers).json()
    servers.fault("repeat_page", route="/export/customers")
    assert _feed(servers, first["continueFrom"]).json() == first
    servers.fault("repeat_records", route="/export/customers")
    second = _feed(servers, first["continueFrom"]).json()
    assert second["data"][:3] == first["data"][-3:]
    assert len(second["data"]) == 8


def test_a_position_that_is_refused(start):
    """A token that this feed gave is none any more; a date is still taken."""
    servers = start(feed_page_size=5, feed_lag_seconds=0)
    first = _feed(servers).json()
    servers.fault("refuse_position", route="/export/", times=2)
    assert _feed(servers, first["continueFrom"]).status_code == 400
    assert _feed(servers).status_code == 200
    assert _feed(servers, first["continueFrom"]).status_code == 200


def test_a_field_that_no_document_names(servers):
    """In the answer and in each of its records; all else is as ever."""
    plain = servers.rf("GET", "/users").json()
    servers.fault("unknown_field", api="rf")
    told = servers.rf("GET", "/users").json()
    assert "addedLastNight" in told
    assert all("addedLastNight" in user for user in told["data"])
    assert [user["id"] for user in told["data"]] == [user["id"] for user in plain["data"]]


def test_a_customer_is_renamed_while_being_read(start):
    """Between two pages: it comes again at the feed's end."""
    servers = start(feed_page_size=100, feed_lag_seconds=0)
    servers.fault("rename_customer", route="/export/customers")
    last = _feed(servers).json()["data"][-1]
    assert last["name"].endswith(" renamed")


def test_only_matching_requests(servers):
    """Server, method, route and body must all fit."""
    servers.fault("status", api="st", method="POST", route="/bookings", body_contains="CODE2")
    assert servers.st("GET", "crm/bookings").status_code == 200
    assert servers.book(externalId="CODE1").status_code == 200
    assert servers.book(externalId="CODE2").status_code == 503
    assert servers.book(externalId="CODE2").status_code == 200


def statuses(servers, number):
    return [servers.rf("GET", "/users").status_code for _ in range(number)]


def test_times_every_and_skip(servers):
    """So many times, or each n-th, or only after some went well."""
    servers.fault("status", api="rf", times=2)
    assert statuses(servers, 4) == [503, 503, 200, 200]
    servers.control("DELETE", "/faults")
    servers.fault("status", api="rf", every=3)
    assert statuses(servers, 7) == [200, 200, 503, 200, 200, 503, 200]
    servers.control("DELETE", "/faults")
    servers.fault("status", api="rf", times=1, skip=2)
    assert statuses(servers, 4) == [200, 200, 503, 200]


def test_chance_is_repeatable(start):
    """The same seed meets the same requests."""
    runs = []
    for _ in range(2):
        servers = start(seed=3)
        servers.fault("status", api="rf", probability=0.5)
        runs.append(statuses(servers, 30))
    assert runs[0] == runs[1]
    assert set(runs[0]) == {200, 503}


def test_first_fitting_fault_applies(servers):
    """Faults are tried in order; one that is used up makes way for the next."""
    servers.control(
        "POST",
        "/faults",
        faults=[{"kind": "status", "status": 500}, {"kind": "status", "status": 502}],
    )
    assert statuses(servers, 3) == [500, 502, 200]


def test_applied_faults_are_counted(servers):
    """The list says how often each one fitted and how often it applied; DELETE ends them all."""
    servers.fault("status", api="rf", every=2)
    statuses(servers, 5)
    (fault,) = servers.control("GET", "/faults")
    assert (fault["matched"], fault["applied"]) == (5, 2)
    servers.control("DELETE", "/faults")
    assert servers.control("GET", "/faults") == []


@pytest.mark.parametrize(
    "wrong",
    [
        {"kind": "explode"},
        {"kind": "status", "api": "tv"},
        {"kind": "status", "sometimes": 1},
        {"kind": "status", "body": "xml"},
        {"kind": "status", "every": 0},
        {},
    ],
)
def test_faults_that_cannot_be_meant(servers, wrong):
    """A misspelt fault is refused, since a test would pass without it."""
    assert servers.refused("POST", "/faults", **wrong).status_code == 400
    assert servers.control("GET", "/faults") == []


def test_faults_are_in_the_log_and_print_nothing(servers, capfd):
    """The log names the fault; a dropped connection leaves no traceback behind."""
    servers.fault("lose_answer", api="rf")
    servers.fault("truncate", api="rf")
    for _ in range(2):
        with pytest.raises(httpx.TransportError):
            servers.rf("GET", "/users")
    eventually(lambda: len(servers.control("GET", "/requests")["recent"]) == 2)
    report = servers.control("GET", "/requests")
    assert [entry["fault"] for entry in report["recent"]] == ["lose_answer", "truncate"]
    assert report["apis"]["rf"]["statuses"] == {"dropped": 2}
    assert report["apis"]["rf"]["requests"] == 2
    assert capfd.readouterr() == ("", "")
