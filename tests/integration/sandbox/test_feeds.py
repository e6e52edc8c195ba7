"""Export feeds: order, pages, tokens, the lag, and what a reader who wants it sooner pays."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta, timezone

import pytest

from stcli.sandbox.feed import ChangeFeed, UnknownPosition

BOOKINGS = "crm/export/bookings"


def keys(page, name="id"):
    return [record[name] for record in page["data"]]


def drain(servers, path, start="", **query):
    """All records from `start` on, and the token at the end."""
    found = []
    while True:
        page = servers.feed(path, start, **query)
        found += keys(page)
        start = page["continueFrom"]
        if not page["hasMore"]:
            return found, start


def test_changes_appear_once_they_settled(servers):
    """Within the lag a booking is not shown, afterwards it is, once."""
    made = servers.booked()
    page = servers.feed(BOOKINGS)
    assert (keys(page), page["hasMore"]) == ([], False)
    servers.advance(61)
    page = servers.feed(BOOKINGS, page["continueFrom"])
    assert keys(page)[-1] == made
    assert keys(servers.feed(BOOKINGS, page["continueFrom"])) == []


def test_recent_changes_come_at_once_and_again(servers):
    """With includeRecentChanges a fresh booking is shown now, and repeated until it settled."""
    servers.advance(61)
    servers.feed(BOOKINGS)
    made = servers.booked()
    first = servers.feed(BOOKINGS, includeRecentChanges="true")
    assert keys(first)[-1] == made
    second = servers.feed(BOOKINGS, first["continueFrom"], includeRecentChanges="true")
    assert keys(second) == [made]
    servers.advance(61)
    third = servers.feed(BOOKINGS, second["continueFrom"], includeRecentChanges="true")
    assert keys(third) == [made]
    assert keys(servers.feed(BOOKINGS, third["continueFrom"], includeRecentChanges="true")) == []


def test_pages_follow_each_other(start):
    """Small pages give every record once and in order of change; the last one says so."""
    servers = start(feed_page_size=2, feed_lag_seconds=0)
    made = [servers.booked(externalId=f"f{n}") for n in range(5)]
    found, _ = drain(servers, BOOKINGS)
    assert found[1:] == made
    first = servers.feed(BOOKINGS)
    assert (len(first["data"]), first["hasMore"]) == (2, True)


def test_recent_pages_make_progress(start):
    """More fresh changes than a page holds are all shown: only the end is repeated."""
    servers = start(feed_page_size=2)
    made = [servers.booked(externalId=f"f{n}") for n in range(5)]
    found, token = drain(servers, BOOKINGS, includeRecentChanges="true")
    assert found[1:] == made
    again, _ = drain(servers, BOOKINGS, token, includeRecentChanges="true")
    assert again == found


def test_changed_record_moves_to_the_end(start):
    """A record that changed stands once, at its new position, also for a reader in between."""
    servers = start(feed_lag_seconds=0)
    one, two = servers.booked(externalId="a"), servers.booked(externalId="b")
    _, token = drain(servers, BOOKINGS)
    servers.control("POST", f"/bookings/{one}/dismiss")
    assert keys(servers.feed(BOOKINGS))[1:] == [two, one]
    later = servers.feed(BOOKINGS, token)
    assert [(b["id"], b["status"]) for b in later["data"]] == [(one, "Dismissed")]


def test_tokens_stay_good(start):
    """An old token may be used again later, at the end too, and more than once."""
    servers = start(feed_lag_seconds=0)
    _, token = drain(servers, BOOKINGS)
    servers.booked(externalId="a")
    servers.advance(90 * 86_400)
    servers._token = None
    servers.booked(externalId="b")
    assert len(servers.feed(BOOKINGS, token)["data"]) == 2
    assert servers.feed(BOOKINGS, token) == servers.feed(BOOKINGS, token)


def test_from_a_date(start):
    """A date, or a moment in any offset, starts at the first change from then on."""
    servers = start(feed_lag_seconds=0)
    servers.advance(3 * 86_400)
    made = servers.booked()
    shown = servers.st("GET", f"crm/bookings/{made}").json()
    day = shown["modifiedOn"][:10]
    assert keys(servers.feed(BOOKINGS, day)) == [made]
    assert keys(servers.feed(BOOKINGS, shown["modifiedOn"])) == [made]
    other_zone = datetime.fromisoformat(shown["modifiedOn"]).astimezone(
        timezone(timedelta(hours=5, minutes=30))
    )
    assert keys(servers.feed(BOOKINGS, other_zone.isoformat())) == [made]
    after = datetime.fromisoformat(shown["modifiedOn"]) + timedelta(days=1)
    assert keys(servers.feed(BOOKINGS, after.isoformat())) == []


@pytest.mark.parametrize("start_from", ["nonsense", "2026-13-01", "bm90IGEgdG9rZW4"])
def test_unreadable_positions_are_refused(servers, start_from):
    """What is neither a date nor a token is 400 naming the parameter."""
    answer = servers.st("GET", BOOKINGS, **{"from": start_from})
    assert (answer.status_code, set(answer.json()["errors"])) == (400, {"from"})


def test_token_of_another_feed_is_refused(servers):
    """Tokens belong to the feed that gave them."""
    token = servers.feed("jpm/export/jobs")["continueFrom"]
    assert servers.st("GET", BOOKINGS, **{"from": token}).status_code == 400


def test_job_feed_and_history_feed(start):
    """A job that went through three states shows the last in one feed and all in the other."""
    servers = start(feed_lag_seconds=0)
    made = servers.booked()
    job = servers.control("POST", f"/bookings/{made}/convert", total=99.5)
    for status in ("InProgress", "Completed"):
        servers.control("POST", f"/jobs/{job['id']}/status", status=status)
    (shown,) = servers.feed("jpm/export/jobs")["data"]
    assert (shown["jobStatus"], shown["bookingId"], shown["total"]) == ("Completed", made, 99.5)
    assert shown["completedOn"] is not None
    (item,) = servers.feed("jpm/export/job-history")["data"]
    assert item["jobId"] == job["id"]
    events = [event["eventType"] for event in item["history"]]
    assert events == ["Scheduled", "InProgress", "Completed"]


def test_history_feed_by_event(start):
    """The other reading of the documents: each item holds one event."""
    servers = start(feed_lag_seconds=0, history_feed_items="event")
    job = servers.control("POST", f"/bookings/{servers.booked()}/convert")
    token = servers.feed("jpm/export/job-history")["continueFrom"]
    servers.control("POST", f"/jobs/{job['id']}/status", status="Dispatched")
    (item,) = servers.feed("jpm/export/job-history", token)["data"]
    assert [event["eventType"] for event in item["history"]] == ["Dispatched"]


def test_customer_feeds_hold_inactive_and_merged(servers):
    """Lists leave inactive customers out, the feed shows them, with the survivor's id."""
    listed = servers.st("GET", "crm/customers", pageSize=100).json()["data"]
    exported = servers.feed("crm/export/customers")["data"]
    assert len(exported) == 24
    assert len(listed) == 22
    assert sum(customer["mergedToId"] is not None for customer in exported) == 1
    times = [customer["modifiedOn"] for customer in exported]
    assert times == sorted(times)


def test_changed_contact_leaves_the_customer_alone(servers):
    """Customers and contacts have feeds of their own; one follows both."""
    _, customers = drain(servers, "crm/export/customers")
    _, contacts = drain(servers, "crm/export/customers/contacts")
    customer = servers.feed("crm/export/customers")["data"][0]
    path = f"crm/customers/{customer['id']}/contacts"
    contact = servers.st("GET", path).json()["data"][1]
    servers.control("POST", f"/contacts/{contact['id']}", value="new@example.com")
    servers.advance(61)
    assert keys(servers.feed("crm/export/customers", customers)) == []
    (shown,) = servers.feed("crm/export/customers/contacts", contacts)["data"]
    assert (shown["value"], shown["customerId"]) == ("new@example.com", customer["id"])


def test_feed_refuses_to_run_backwards():
    """A change that is older than the last one would break the order: it is a defect."""
    feed = ChangeFeed("x")
    now = datetime(2026, 1, 2, tzinfo=UTC)
    feed.changed(1, now)
    with pytest.raises(ValueError, match="before the change"):
        feed.changed(2, now - timedelta(seconds=1))


def test_damaged_token_is_no_position():
    """A token with one character changed is not read as another position."""
    feed = ChangeFeed("x")
    feed.changed(1, datetime(2026, 1, 2, tzinfo=UTC))
    token = feed.read("", datetime(2027, 1, 1, tzinfo=UTC), 10, recent=False).continue_from
    swapped = token[:-3] + ("A" if token[-3] != "A" else "B") + token[-2:]
    with pytest.raises(UnknownPosition):
        feed.read(swapped, datetime(2027, 1, 1, tzinfo=UTC), 10, recent=False)


def test_large_feeds_are_read_in_linear_time():
    """A hundred thousand records, each changed once more, drain without sorting anything."""
    feed = ChangeFeed("x")
    start = datetime(2026, 1, 1, tzinfo=UTC)
    for number in range(200_000):
        feed.changed(number % 100_000, start + timedelta(seconds=number))
    settled = start + timedelta(days=30)
    token, found = "", []
    while True:
        page = feed.read(token, settled, 1000, recent=False)
        found += page.keys
        token = page.continue_from
        if not page.has_more:
            break
    assert found == list(range(100_000))
