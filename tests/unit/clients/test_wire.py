"""What documents of both systems become: times, nulls, absent and unknown fields."""

from __future__ import annotations

import json
from datetime import UTC, date, datetime, timedelta, timezone
from typing import Any

import msgspec
import pytest

from stcli.clients.answers import (
    decoded,
    error_document,
    explained,
    field_messages,
    masked,
    trace_id,
)
from stcli.clients.referralfactory import wire as rf
from stcli.clients.servicetitan import wire as st
from stcli.clients.transport import Answer
from stcli.domain.ids import RfCampaignId
from stcli.domain.records import Address, BookingContact, BookingDraft, ContactType
from stcli.errors import UnexpectedAnswer


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


TIME = "2026-01-02T03:04:05Z"
AT = datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC)


def customer(**fields: Any) -> Any:
    known = {"id": 9, "active": True, "createdOn": TIME}
    return st.CUSTOMER.decode(json.dumps({**known, **fields})).record()


def test_customer_with_nothing_optional() -> None:
    """A customer of three fields has empty values, and was changed when it was made."""
    bare = customer()
    assert (bare.id, bare.active, bare.created_on, bare.modified_on) == (9, True, AT, AT)
    assert (bare.name, bare.type, bare.merged_to_id) == ("", "", None)
    assert (bare.do_not_mail, bare.do_not_service, bare.tag_type_ids) == (False, False, ())
    assert (bare.address, bare.custom_fields) == ({}, {})


def test_customer_with_nulls_is_the_same() -> None:
    """Null says no more than nothing."""
    names = "name type modifiedOn address customFields tagTypeIds doNotMail doNotService mergedToId"
    assert customer(**dict.fromkeys(names.split())) == customer()
    assert customer(mergedToId=0) == customer()


def test_customer_with_everything() -> None:
    """All that mappings and filters read; blank parts and values are left out, the order is ours."""
    full = customer(
        name="Lovelace, Ada",
        type="Residential",
        active=False,
        modifiedOn="2026-01-03T00:00:00+02:00",
        address={"street": "1 Main St", "unit": None, "city": "", "zip": "01234", "latitude": 1.5},
        customFields=[
            {"typeId": 12, "name": "Level", "value": "Gold"},
            {"typeId": 11, "name": "Link", "value": None},
            {"typeId": 10},
            {"typeId": 8, "value": "x"},
            {"typeId": 7, "value": ""},
        ],
        tagTypeIds=[3, 1, 2],
        doNotMail=True,
        doNotService=True,
        mergedToId=5,
        balance=12.5,
    )
    assert (full.name, full.type, full.active) == ("Lovelace, Ada", "Residential", False)
    assert full.modified_on == datetime(2026, 1, 2, 22, tzinfo=UTC)
    assert full.address == {"street": "1 Main St", "zip": "01234"}
    assert list(full.custom_fields.items()) == [(8, "x"), (12, "Gold")]
    assert full.tag_type_ids == (1, 2, 3)
    assert (full.do_not_mail, full.do_not_service, full.merged_to_id) == (True, True, 5)


@pytest.mark.parametrize("missing", ["id", "active", "createdOn"])
def test_customer_without_what_decides_is_none(missing: str) -> None:
    """Whether somebody is active is never guessed."""
    known = {"id": 9, "active": True, "createdOn": TIME}
    del known[missing]
    with pytest.raises(msgspec.ValidationError, match=missing):
        st.CUSTOMER.decode(json.dumps(known))


def contact(**fields: Any) -> Any:
    known = {"id": 4, "customerId": 9, "active": True, "modifiedOn": TIME, "type": "Email"}
    feed = {"hasMore": False, "data": [{**known, "value": "ada@example.com", **fields}]}
    found = st.CONTACTS_FEED.decode(json.dumps(feed))
    assert found.data is not None
    return found.data[0].record()


@pytest.mark.parametrize(
    ("fields", "marketing"),
    [
        ({}, True),
        ({"preferences": None}, True),
        ({"preferences": {}}, True),
        ({"preferences": {"marketingUpdatesEnabled": None}}, True),
        ({"preferences": {"marketingUpdatesEnabled": True}}, True),
        ({"preferences": {"jobRemindersEnabled": False}}, True),
        ({"preferences": {"marketingUpdatesEnabled": False, "jobRemindersEnabled": True}}, False),
    ],
)
def test_marketing_is_off_only_where_it_was_switched_off(fields: Any, marketing: bool) -> None:
    """No preferences and null ones are nobody's wish."""
    assert contact(**fields).marketing is marketing


def test_contact_of_any_kind() -> None:
    """Kind and value may be missing; whether it is active may not."""
    found = contact(type=None, value=None, active=False, memo="Ada's", phoneSettings=None)
    assert (found.id, found.customer_id, found.type, found.value) == (4, 9, "", "")
    assert (found.active, found.modified_on) == (False, AT)
    with pytest.raises(msgspec.ValidationError):
        contact(active=None)


def test_suppression() -> None:
    """Those that are no longer active are told apart; an entry without an address is none."""
    page = {
        "data": [{"id": 1, "email": "Ada@example.com", "active": False, "modifiedOn": TIME}],
        "hasMore": False,
    }
    found = st.SUPPRESSIONS.decode(json.dumps(page))
    one = found.data[0].record()
    assert (one.email, one.active, one.modified_on) == ("Ada@example.com", False, AT)
    with pytest.raises(msgspec.ValidationError):
        st.SUPPRESSIONS.decode(
            json.dumps({"data": [{"active": True, "modifiedOn": TIME}], "hasMore": False})
        )


@pytest.mark.parametrize(
    ("fields", "jobs"),
    [
        ({"customerId": 9}, [(9, AT)]),
        (
            {"customerId": 9, "completedOn": "2026-02-01T00:00:00Z"},
            [(9, datetime(2026, 2, 1, tzinfo=UTC))],
        ),
        ({"customerId": 9, "jobStatus": "Completed", "completedOn": None}, [(9, AT)]),
        ({"customerId": 9, "jobStatus": "Canceled"}, []),
        ({"customerId": None}, []),
        ({"customerId": 0}, []),
        ({}, []),
    ],
)
def test_whose_a_job_is(fields: Any, jobs: Any) -> None:
    """Done counts by its end, else by its making; a canceled one and one of nobody count for none."""
    feed = {"hasMore": False, "data": [{"id": 1, "createdOn": TIME, **fields}]}
    found = st.CUSTOMER_JOBS_FEED.decode(json.dumps(feed))
    assert found.data is not None
    assert [(job.customer_id, job.at) for job in found.data[0].records()] == jobs


def test_custom_field_types() -> None:
    """All but the number may be missing."""
    page = {
        "data": [
            {"id": 3, "name": "Choice", "dataType": "Dropdown", "dataTypeOptions": ["A", "B"]},
            {"id": 4, "name": None, "dataType": None, "dataTypeOptions": None},
        ],
        "hasMore": False,
    }
    found = st.CUSTOM_FIELD_TYPES.decode(json.dumps(page))
    full, bare = [document.record() for document in found.data]
    assert (full.name, full.data_type, full.options) == ("Choice", "Dropdown", ("A", "B"))
    assert (bare.id, bare.name, bare.data_type, bare.options) == (4, "", "", ())


def test_nothing_but_custom_fields_is_written() -> None:
    """The body names the fields that are set, and none of the customer's own properties."""
    assert json.loads(st.custom_fields_request({11: "a", 12: "3"})) == {
        "customFields": [{"typeId": 11, "value": "a"}, {"typeId": 12, "value": "3"}]
    }


def test_new_referrer() -> None:
    """No referrer is named, so that one is made; blank form fields are left out."""
    values = {"first_name": "Ada", "email": "ada@example.com", "meta.Phone": "", "meta.a.b": "x"}
    for welcome_mail in (False, True):
        body = rf.new_referrer_request(RfCampaignId(7), values, welcome_mail=welcome_mail)
        assert json.loads(body) == {
            "campaign_id": 7,
            "first_name": "Ada",
            "email": "ada@example.com",
            "notify": welcome_mail,
            "meta": [{"field": "a.b", "value": "x"}],
        }


@pytest.mark.parametrize(
    ("changes", "meta", "body"),
    [
        ({"first_name": "Ada"}, {}, {"first_name": "Ada"}),
        ({"email": "a@example.com"}, {"Phone": "1"}, {"email": "a@example.com"}),
        (
            {"meta.City": "Bath"},
            {"Phone": "1", "City": "York"},
            {"meta": [{"field": "Phone", "value": "1"}, {"field": "City", "value": "Bath"}]},
        ),
        (
            {"first_name": "Ada", "meta.Phone": ""},
            {"Phone": "1"},
            {"first_name": "Ada", "meta": [{"field": "Phone", "value": None}]},
        ),
    ],
)
def test_changes_of_a_user(changes: Any, meta: Any, body: Any) -> None:
    """Only what changed is sent, and of the form fields the others along with it."""
    assert json.loads(rf.changes_request(changes, meta)) == body


@pytest.mark.parametrize(
    ("analytics", "counts"),
    [
        ({"referrals": 3, "qualified_referrals": 1, "reach": 9}, (3, 1)),
        ({"referrals": 0, "qualified_referrals": 0}, (0, 0)),
        ({"referrals": 3}, (3, None)),
        ({"referrals": None, "qualified_referrals": None}, (None, None)),
        ({}, (None, None)),
        ([], (None, None)),
        (None, (None, None)),
    ],
)
def test_counts_of_a_user(analytics: Any, counts: Any) -> None:
    """None referred is known; an empty list is an empty object, and nothing is known from it."""
    person = user(analytics=analytics)
    assert (person.referrals, person.qualified_referrals) == counts
    assert (user().referrals, user().qualified_referrals) == (None, None)


def test_counts_of_a_user_as_text() -> None:
    """Referral Factory sends numbers as text at times."""
    person = user(analytics={"referrals": "3", "qualified_referrals": "1"})
    assert (person.referrals, person.qualified_referrals) == (3, 1)


def test_numbers_of_a_user_as_text() -> None:
    """Ids and values of form fields come as text or as numbers."""
    person = user(id="12", campaign_id="3", referrer_id="11", meta=[{"field": "N", "value": 1.5}])
    assert (person.id, person.campaign_id, person.referrer_id) == (12, 3, 11)
    assert person.meta == {"N": "1.5"}
    assert user(referrer_id=0).referrer_id is user(referrer_id="").referrer_id is None


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
    assert explained("", [], "HTTP 400") == "HTTP 400"


@pytest.mark.parametrize(
    "body",
    [
        {},
        {"title": "An internal error occurred.", "status": 500, "traceId": "00-abc", "data": None},
        {"title": "Bad", "status": 400, "errors": {}, "data": {}},
        {"data": None, "hasMore": False, "continueFrom": "x"},
        {"hasMore": False, "continueFrom": "x"},
        {"data": []},
    ],
)
def test_an_error_is_no_empty_list(body: Any) -> None:
    """Whatever came with 200: without records and an end that is told, it is no list."""
    for decoder in (st.BOOKINGS, st.SUPPRESSIONS, st.CUSTOM_FIELD_TYPES, st.BOOKINGS_FEED):
        with pytest.raises(msgspec.ValidationError):
            decoder.decode(json.dumps(body))


@pytest.mark.parametrize("body", [{}, {"code": 500, "message": "Server error."}, {"data": None}])
def test_an_error_is_no_empty_list_of_referral_factory(body: Any) -> None:
    """Its pages need not tell more than their records."""
    for decoder in (rf.USERS, rf.CAMPAIGNS, rf.REWARDS):
        with pytest.raises(msgspec.ValidationError):
            decoder.decode(json.dumps(body))


@pytest.mark.parametrize("number", [-1, 2**63, 10**30])
def test_an_identifier_without_room_is_none(number: int) -> None:
    """A database could not keep it; the answer is refused as a whole."""
    with pytest.raises(msgspec.ValidationError):
        st.BOOKING.decode(json.dumps({"id": number, "createdOn": TIME}))


@pytest.mark.parametrize("text", ["0001-01-01T00:00:00+05:00", "9999-12-31T23:59:59-05:00"])
def test_a_time_at_the_end_of_times_is_kept(text: str) -> None:
    """One odd record must not end a feed."""
    assert st.BOOKING.decode(json.dumps({"id": 1, "createdOn": text})).record().created_on.tzinfo


def test_an_answer_that_is_nested_without_end_is_unexpected() -> None:
    """Told, and no defect."""
    body = b'{"a":' + b"[" * 100_000 + b"]" * 100_000 + b',"id":1}'
    answer = Answer(200, "application/json", "", "", body)
    with pytest.raises(UnexpectedAnswer):
        decoded(answer, st.BOOKING, "ServiceTitan", is_write=False)
    assert error_document(answer) == {}
