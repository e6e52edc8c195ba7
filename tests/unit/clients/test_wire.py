"""What documents of both systems become: times, nulls, absent and unknown fields."""

from __future__ import annotations

import json
from datetime import UTC, date, datetime, timedelta, timezone
from typing import Any

import msgspec
import pytest

from stcli.clients.answers import error_document, explained, field_messages, masked, trace_id
from stcli.clients.referralfactory import wire as rf
from stcli.clients.servicetitan import wire as st
from stcli.clients.transport import Answer
from stcli.domain.records import Address, BookingContact, BookingDraft, ContactType


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("2026-01-02T03:04:05.1234567Z", datetime(2026, 1, 2, 3, 4, 5, 123457, tzinfo=UTC)),
        ("2026-01-02T03:04:05Z", datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC)),
        ("2026-01-02T03:04:05.5", datetime(2026, 1, 2, 3, 4, 5, 500000, tzinfo=UTC)),
        ("2026-01-02T03:04:05+02:00", datetime(2026, 1, 2, 1, 4, 5, tzinfo=UTC)),
        ("0001-01-01T00:00:00", datetime(1, 1, 1, tzinfo=UTC)),
    ],
)
def test_instants_are_utc(text: str, expected: datetime) -> None:
    """Seven digits of a fraction, none, other zones and none at all are read."""
    booking = st.BOOKING.decode(json.dumps({"id": 1, "createdOn": text})).record()
    assert booking.created_on == expected
    assert booking.created_on.tzinfo is UTC


def test_booking_with_nulls_and_unknown_fields() -> None:
    """Every field that may be null or absent is; unknown ones are ignored."""
    body = {
        "id": 1,
        "createdOn": "2026-01-02T03:04:05Z",
        "modifiedOn": None,
        "externalId": None,
        "bookingProviderId": None,
        "status": None,
        "jobId": None,
        "newField": {"a": [1]},
    }
    booking = st.BOOKING.decode(json.dumps(body)).record()
    assert (booking.external_id, booking.provider_id, booking.status) == ("", 0, "")
    assert booking.job_id is None
    assert booking.modified_on == booking.created_on


def test_job_with_everything_and_with_nothing() -> None:
    """All fields of a job are taken over, and all but two may be missing."""
    full = {
        "id": 5,
        "jobStatus": "Completed",
        "createdOn": "2026-01-02T03:04:05Z",
        "modifiedOn": "2026-01-03T03:04:05Z",
        "completedOn": "2026-01-03T00:00:00Z",
        "bookingId": 7,
        "jobTypeId": 8,
        "businessUnitId": 9,
        "tagTypeIds": [1, 2],
        "total": 99,
        "recallForId": 3,
        "warrantyId": 4,
        "noCharge": True,
    }
    page = st.JOBS.decode(json.dumps({"data": [full], "hasMore": False}))
    assert page.data is not None
    job = page.data[0].record()
    assert (job.id, job.status, job.booking_id, job.total) == (5, "Completed", 7, 99.0)
    assert (job.job_type_id, job.business_unit_id, job.tag_type_ids) == (8, 9, (1, 2))
    assert (job.recall_for_id, job.warranty_id, job.no_charge) == (3, 4, True)
    assert job.completed_on == datetime(2026, 1, 3, tzinfo=UTC)
    bare = msgspec.json.decode(
        json.dumps({"id": 5, "createdOn": "2026-01-02T03:04:05Z", "tagTypeIds": None}),
        type=st.JobDocument,
    ).record()
    assert (bare.status, bare.tag_type_ids, bare.total, bare.no_charge) == ("", (), None, False)


def test_history_of_a_feed_is_flattened() -> None:
    """The feed groups entries by job; events carry the job's number."""
    entry = {"id": 1, "eventType": "Job Completed", "date": "2026-01-02T03:04:05Z"}
    feed = st.HISTORY_FEED.decode(
        json.dumps({"hasMore": False, "data": [{"jobId": 5, "history": [entry, entry]}]})
    )
    assert feed.data is not None
    assert [(event.job_id, event.event_type) for event in feed.data[0].records()] == [
        (5, "Job Completed")
    ] * 2
    assert st.HISTORY.decode(b'{"history": null}').records(5) == []  # type: ignore[arg-type] # a test's number


def test_smallest_booking_sends_only_what_is_set() -> None:
    """Nothing that is unset is sent, not even as null."""
    draft = BookingDraft("Referral", "Ann", "New", False, "abc")
    assert json.loads(st.booking_request(draft)) == {
        "source": "Referral",
        "name": "Ann",
        "summary": "New",
        "isFirstTimeClient": False,
        "externalId": "abc",
    }


def test_full_booking() -> None:
    """Every field under the vendor's name; the start in UTC with a Z."""
    draft = BookingDraft(
        source="Referral",
        name="Ann",
        summary="New",
        is_first_time_client=True,
        external_id="abc",
        contacts=(
            BookingContact(ContactType.EMAIL, "ann@example.com"),
            BookingContact(ContactType.MOBILE_PHONE, "5551234567"),
        ),
        address=Address("1 Main St", "Town", "CA", "01234", "USA", "2"),
        customer_type="Residential",
        start=datetime(2026, 1, 2, 10, 0, tzinfo=timezone(timedelta(hours=2))),
        campaign_id=1,
        business_unit_id=2,
        job_type_id=3,
        priority="Urgent",
        send_confirmation_email=False,
    )
    body = json.loads(st.booking_request(draft))
    assert body["start"] == "2026-01-02T08:00:00Z"
    assert body["contacts"] == [
        {"type": "Email", "value": "ann@example.com"},
        {"type": "MobilePhone", "value": "5551234567"},
    ]
    assert body["address"] == {
        "street": "1 Main St",
        "city": "Town",
        "state": "CA",
        "zip": "01234",
        "country": "USA",
        "unit": "2",
    }
    assert body["isSendConfirmationEmail"] is False
    assert (body["campaignId"], body["businessUnitId"], body["jobTypeId"]) == (1, 2, 3)
    assert (body["customerType"], body["priority"]) == ("Residential", "Urgent")


def user(**fields: Any) -> Any:
    known = {"id": 1, "campaign_id": 2, "type": "person_invited", "code": "c"}
    return rf.USER.decode(json.dumps({"data": {**known, **fields}})).data.record()


def test_user_with_nothing_optional() -> None:
    """A user of four fields is a person with empty values."""
    person = user()
    assert person is not None
    assert (person.first_name, person.email, person.url, person.meta) == ("", "", "", {})
    assert (person.referrer_id, person.signed_up_at, person.promotion_code) == (None, None, "")


@pytest.mark.parametrize("promotion", [None, [], {}, {"code": None}])
def test_user_without_a_promotion(promotion: Any) -> None:
    """An empty object may come as an empty list."""
    assert user(promotion=promotion).promotion_code == ""


def test_user_with_values() -> None:
    """Times of day are dropped from days; values of meta become text, null ones are left out."""
    person = user(
        promotion={"code": "SAVE"},
        signed_up_at="2026-01-02 10:00:00",
        qualified_at="2026-01-03T00:00:00.000000Z",
        meta=[{"field": "A", "value": 5}, {"field": "B", "value": None}, {"field": "C"}],
    )
    assert person.promotion_code == "SAVE"
    assert (person.signed_up_at, person.qualified_at) == (date(2026, 1, 2), date(2026, 1, 3))
    assert person.meta == {"A": "5"}


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("mail ann.lee+x@example.co.uk now", "mail *** now"),
        ("<ann@example.com>", "<***>"),
        ("call +1 (555) 123-4567 now", "call *** now"),
        ("call (555) 123 4567.", "call ***."),
        ("call 5551234567", "call ***"),
        ("provider 4521, 50 at most", "provider 4521, 50 at most"),
        ("a\nb\x1b[31mc", "a b [31mc"),
    ],
)
def test_masking(text: str, expected: str) -> None:
    """Emails and phone numbers vanish, short numbers stay, control characters cannot pass."""
    assert masked(text) == expected


def test_long_messages_are_cut() -> None:
    """A server cannot fill a log with one message."""
    assert len(masked("word " * 1000)) <= 500


def test_details_of_errors() -> None:
    """Both systems' forms of field errors are read; anything else is left out."""
    assert list(field_messages({"a": ["x", "y"], "b": "z", "": ["all"]})) == [
        "a: x",
        "a: y",
        "b: z",
        "all",
    ]
    assert list(field_messages({"user": [{"field": "email", "message": "taken"}]})) == [
        "email: taken"
    ]
    assert list(field_messages({"a": [5, None]})) == []
    assert list(field_messages([1])) == list(field_messages(None)) == []


def test_error_bodies_of_any_kind() -> None:
    """A body that is no object has no details; a reference that is none is not repeated."""

    def answer(body: bytes) -> Answer:
        return Answer(400, "application/json", "", "", body)

    assert error_document(answer(b"[1]")) == error_document(answer(b'{"a"')) == {}
    assert error_document(answer(b"\xff")) == {}
    assert trace_id({"traceId": "ann@example.com"}) == ""
    assert trace_id({"traceId": "00-aB:1|x.y_z"}) == "00-aB:1|x.y_z"
    assert explained("", [], "", "HTTP 400") == "HTTP 400"
