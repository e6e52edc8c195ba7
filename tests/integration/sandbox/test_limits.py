"""The sandbox's limits: sliding windows, Retry-After, abuse, and the record of the busiest one."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime

import pytest

from stcli.sandbox.limits import Peak, SlidingWindow


def test_window_slides():
    """A full window opens again exactly when its first admission leaves it."""
    window = SlidingWindow(2, 1.0)
    assert [window.admit(0.0), window.admit(0.5)] == [None, None]
    assert window.admit(0.9) == pytest.approx(0.1)
    assert window.admit(1.0) is None
    assert window.admit(1.4) == pytest.approx(0.1)


def test_servicetitan_admits_sixty_a_second(servers):
    """Of 80 requests at once the first 60 pass, the rest are 429 and told how long to wait."""
    servers.token()
    with ThreadPoolExecutor(8) as pool:
        answers = list(pool.map(lambda _: servers.st("GET", "crm/bookings"), range(80)))
    statuses = [answer.status_code for answer in answers]
    assert statuses.count(200) >= 60
    refused = [answer for answer in answers if answer.status_code == 429]
    assert refused
    assert refused[0].headers["retry-after"] == "1"
    assert refused[0].json()["status"] == 429
    report = servers.control("GET", "/requests")["apis"]["st"]
    assert report["max_in_window"] > 60
    assert report["too_many_requests"] == len(refused)


def test_window_opens_with_time(start):
    """After the window's length requests are served again."""
    servers = start(st_requests_per_window=3)
    statuses = [servers.st("GET", "crm/bookings").status_code for _ in range(4)]
    servers.advance(1)
    assert [*statuses, servers.st("GET", "crm/bookings").status_code] == [200, 200, 200, 429, 200]


def test_windows_are_per_tenant(start):
    """What one tenant's calls use up is not missing to another."""
    servers = start(st_requests_per_window=1)
    new = {"client_id": "c", "client_secret": "s", "tenant_id": 77, "booking_provider": 9}
    servers.control("POST", "/st/grants", **new)
    token = servers.ask_token(client_id="c", client_secret="s").json()["access_token"]
    headers = {"Authorization": f"Bearer {token}", "ST-App-Key": servers.credentials.app_key}
    servers.st("GET", "crm/bookings")
    assert servers.st("GET", "crm/bookings").status_code == 429
    assert servers.st("GET", "crm/bookings", tenant=77, headers=headers).status_code == 200


def test_retry_after_as_a_date(start):
    """The date form names a moment that has not passed yet."""
    servers = start(st_requests_per_window=1, retry_after="date")
    servers.st("GET", "crm/bookings")
    header = servers.st("GET", "crm/bookings").headers["retry-after"]
    assert 0 <= (parsedate_to_datetime(header) - datetime.now(UTC)).total_seconds() <= 2


def test_peak_counts_only_one_window(monkeypatch):
    """The record is of the busiest window, not of all arrivals."""
    times = iter([0.0, 0.2, 0.4, 1.1, 1.15, 5.0])
    monkeypatch.setattr("stcli.sandbox.limits.time.monotonic", lambda: next(times))
    peak = Peak(1.0)
    for _ in range(6):
        peak.arrive()
    assert peak.largest == 4


def test_counters_can_be_reset(servers):
    """After a reset the counters, the busiest window and the log start from nothing."""
    servers.st("GET", "crm/bookings")
    assert servers.control("GET", "/requests")["apis"]["st"]["max_in_window"] == 1
    servers.control("POST", "/requests/reset")
    report = servers.control("GET", "/requests")
    assert report["apis"]["st"]["max_in_window"] == report["apis"]["st"]["requests"] == 0
    assert report["recent"] == []


def test_referral_factory_blocks_after_three_abuses(start):
    """Each call beyond the limit is an abuse; after the third all are 429 for ten minutes."""
    servers = start(rf_requests_per_window=5)
    statuses = [servers.rf("GET", "/campaigns").status_code for _ in range(8)]
    assert statuses == [200] * 5 + [429] * 3
    assert servers.control("GET", "/state")["referral_factory"]["abuses"] == 3
    servers.advance(61)
    blocked = servers.rf("GET", "/campaigns")
    assert blocked.status_code == 429
    assert blocked.json()["code"] == 429
    assert 500 < int(blocked.headers["retry-after"]) <= 540
    servers.advance(540)
    assert servers.rf("GET", "/campaigns").status_code == 200


def test_two_abuses_do_not_block(start):
    """Who waits after the first refusals is served again when the window has passed."""
    servers = start(rf_requests_per_window=2)
    assert [servers.rf("GET", "/users").status_code for _ in range(4)] == [200, 200, 429, 429]
    servers.advance(60)
    assert servers.rf("GET", "/users").status_code == 200
