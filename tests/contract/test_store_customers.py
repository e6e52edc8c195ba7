"""Customers, enrolments and what makes whom due again: on a real database file."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from datetime import UTC, date, datetime, timedelta, timezone

import pytest

from stcli.domain.enrolment import Enrolment, EnrolmentState
from stcli.domain.ids import CampaignName, CustomerId, RfCampaignId, UserId
from stcli.domain.records import CustomerJob, FeedPage, Suppression
from stcli.errors import LeaseLost, StateError
from stcli.store.canaries import Canary, CanaryState
from stcli.store.customers import changed_since, known_customers, suppressed
from stcli.store.engine import Lease, utc_text
from stcli.store.enrolments import (
    Settled,
    enrolments_of,
    mark_sharers,
    merged_referrers,
    move_on,
    release,
    save_enrolments,
    to_recheck,
)
from stcli.store.feeds import Cursor, Feed
from stcli.store.locks import Locks, Process
from stcli.store.state import State
from stcli.store.statements import VARIABLES
from tests.contract.conftest import Place
from tests.unit.domain.customers import contact, customer, person

NOW = datetime(2026, 11, 23, 12, tzinfo=UTC)
LATER = NOW + timedelta(hours=1)
TENANT, OTHER = "production:1", "production:2"
SPRING = CampaignName("spring")
RF = RfCampaignId(7)
S = EnrolmentState
ONE, TWO, THREE = CustomerId(1), CustomerId(2), CustomerId(3)


@pytest.fixture
def state(place: Place) -> Iterator[State]:
    """A fresh state of its own, with the feeds opened and one look behind it."""
    database = place.opened()
    opened = State(database)
    for feed in (Feed.CUSTOMERS, Feed.CONTACTS, Feed.CUSTOMER_JOBS, Feed.SUPPRESSIONS):
        opened.feeds.open(TENANT, feed, None, NOW)
    yield opened
    opened.close()


def locks_of(state: State, pid: int, *, alive: bool) -> Locks:
    return Locks(state.database, Process("here", pid, "s"), lambda process: alive, lambda: NOW)


@pytest.fixture
def lease(state: State) -> Iterator[Lease]:
    with locks_of(state, 1, alive=True).hold(SPRING, "sync") as held:
        yield held.lease


def save_customers(state: State, *found: object, asked: str | None = None, token: str = "") -> bool:
    cursor = state.feeds.cursor(TENANT, Feed.CUSTOMERS)
    assert cursor is not None
    page = FeedPage(tuple(found), token or cursor.token + "x", has_more=False)
    asked = cursor.token if asked is None else asked
    return state.customers.save_customers(TENANT, asked, page, NOW)  # type: ignore[arg-type]


def save_contacts(state: State, *found: object) -> bool:
    cursor = state.feeds.cursor(TENANT, Feed.CONTACTS)
    assert cursor is not None
    page = FeedPage(tuple(found), cursor.token + "x", has_more=False)
    return state.customers.save_contacts(TENANT, cursor.token, page, NOW)  # type: ignore[arg-type]


def changes(state: State, position: int = 0) -> tuple[list[int], int]:
    with state.database.read() as sql:
        ids, reached = changed_since(sql, TENANT, position, 1000)
    return list(ids), reached


def looked(state: State, lease: Lease, position: int) -> None:
    state.enrolments.begin(lease, SPRING, TENANT, RF)
    state.enrolments.apply_rule(lease, SPRING, "rule")
    with state.enrolments.looking(lease, TENANT) as sql:
        move_on(sql, SPRING, position)


def save(state: State, lease: Lease, *rows: Enrolment) -> None:
    with state.database.write(lease) as sql:
        save_enrolments(sql, SPRING, TENANT, rows, NOW)


def due(state: State) -> list[int]:
    with state.database.read() as sql:
        return list(to_recheck(sql, SPRING, -1, 1000))


@pytest.mark.parametrize("microsecond", [0, 1, 120000, 999999])
@pytest.mark.parametrize("hours", [0, -7, 14])
def test_times_are_stored_as_everywhere_else(state: State, microsecond: int, hours: int) -> None:
    """In UTC and of one width, so that the order of the texts is that of the times."""
    at = NOW.replace(microsecond=microsecond, tzinfo=timezone(timedelta(hours=hours)))
    save_customers(state, customer(1)._replace(created_on=at, modified_on=at))
    save_contacts(state, contact(1, "a@example.com")._replace(modified_on=at))
    with state.database.read() as sql:
        stored = sql.execute(
            "SELECT c.created_on, c.modified_on, k.modified_on FROM crm_customers c, crm_contacts k"
        ).one()
    assert stored == (utc_text(at),) * 3


@pytest.mark.parametrize("text", ["plain", 'q"uo\\te', "né\U0001f600", "\x01\x1f\x7f\u2028"])
def test_values_come_back_as_they_were(state: State, text: str) -> None:
    made = customer(1)._replace(address={"street": text}, custom_fields={2**40: text, 3: text})
    save_customers(state, made)
    with state.database.read() as sql:
        assert known_customers(sql, TENANT, [ONE])[ONE].customer == made


def test_a_page_and_its_token_are_kept_together_or_not_at_all(state: State) -> None:
    """Where another process moved the cursor, nothing of the page stays."""
    assert save_customers(state, customer(1))
    assert not save_customers(state, customer(2), asked="elsewhere")
    assert changes(state)[0] == [1]


def test_only_effective_changes_get_a_higher_number(state: State) -> None:
    """A repeat and an older version change nothing; other content does, also of the same instant."""
    save_customers(state, customer(1, modified_on=NOW), customer(2, modified_on=NOW))
    _, reached = changes(state)
    save_customers(state, customer(1, modified_on=NOW))
    save_customers(state, customer(2, name="Older", modified_on=NOW - timedelta(days=1)))
    assert changes(state, reached)[0] == []
    save_customers(state, customer(2, name="Newer", modified_on=NOW))
    assert changes(state, reached)[0] == [2]


def test_a_changed_contact_makes_its_customer_due(state: State, lease: Lease) -> None:
    """Once somebody has looked; one that moved to another customer makes both due."""
    save_customers(state, customer(1), customer(2), customer(3))
    save_contacts(state, contact(10, "a@example.com"))
    looked(state, lease, changes(state)[1])
    _, position = changes(state)
    save_contacts(state, contact(10, "a@example.com"))
    assert changes(state, position)[0] == []
    save_contacts(state, contact(10, "b@example.com", modified_on=LATER))
    ids, position = changes(state, position)
    assert ids == [1]
    looked(state, lease, position)
    moved = contact(10, "b@example.com", customer_id=TWO, modified_on=LATER + timedelta(hours=1))
    save_contacts(state, moved)
    assert sorted(changes(state, position)[0]) == [1, 2]


def test_our_own_write_is_a_change_only_where_it_says_something_else(state: State) -> None:
    """The echo of a written field is none; a name that came with the answer is."""
    save_customers(state, customer(1, modified_on=NOW))
    _, position = changes(state)
    state.customers.save_own_write(
        TENANT, customer(1, custom_fields={5: "x"}, modified_on=LATER), [5]
    )
    assert changes(state, position)[0] == []
    save_customers(state, customer(1, custom_fields={5: "x"}, modified_on=LATER))
    assert changes(state, position)[0] == []
    newer = LATER + timedelta(seconds=1)
    state.customers.save_own_write(
        TENANT, customer(1, do_not_mail=True, custom_fields={5: "x"}, modified_on=newer), [5]
    )
    assert changes(state, position)[0] == [1]


def test_suppressions_are_kept_whoever_reads_them_first(state: State, lease: Lease) -> None:
    """Newer wins, also from a reader that came too late; exactly those concerned are due."""
    save_customers(state, customer(1), customer(2))
    save_contacts(
        state, contact(10, "A@example.com"), contact(20, "b@example.com", customer_id=TWO)
    )
    save(
        state,
        lease,
        Enrolment(ONE, S.SKIPPED, "filtered"),
        Enrolment(TWO, S.SKIPPED, "filtered"),
        Enrolment(THREE, S.ENROLLED, email_key="c@example.com", user_id=UserId(3)),
    )
    found = [Suppression("a@EXAMPLE.com", active=True, modified_on=NOW)]
    state.customers.save_suppressions(TENANT, "too late", found, "mark", NOW)
    assert due(state) == [1]
    found = [Suppression("c@example.com", active=True, modified_on=NOW)]
    state.customers.save_suppressions(TENANT, "", found, "mark", NOW)
    assert due(state) == [1, 3]
    older = [Suppression("a@example.com", active=False, modified_on=NOW - timedelta(days=1))]
    state.customers.save_suppressions(TENANT, "mark", older, "mark", NOW)
    keys = {"a@example.com", "b@example.com", "c@example.com"}
    with state.database.read() as sql:
        assert suppressed(sql, TENANT, keys) == {"a@example.com", "c@example.com"}
        assert suppressed(sql, OTHER, keys) == set()


def test_a_job_wakes_whom_a_filter_left_out(state: State, lease: Lease) -> None:
    """The newest counts; nobody else is looked at."""
    save_customers(state, customer(1), customer(2))
    save(
        state,
        lease,
        Enrolment(ONE, S.SKIPPED, "filtered"),
        Enrolment(TWO, S.SKIPPED, "no_email"),
    )
    jobs = tuple(CustomerJob(one, at) for one in (ONE, TWO) for at in (LATER, NOW))
    assert state.customers.save_customer_jobs(TENANT, "", FeedPage(jobs, "t", has_more=False), NOW)
    assert due(state) == [1]
    with state.database.read() as sql:
        assert known_customers(sql, TENANT, [ONE])[ONE].last_job_at == LATER


def test_many_customers_are_known_at_once(state: State) -> None:
    """More than one statement lists, each with the contacts of its own."""
    number = VARIABLES + 20
    save_customers(state, *(customer(n) for n in range(1, number + 1)))
    save_contacts(
        state,
        *(contact(n, f"c{n}@example.com", customer_id=CustomerId(n)) for n in range(1, number + 1)),
    )
    with state.database.read() as sql:
        found = known_customers(sql, TENANT, [CustomerId(n) for n in range(1, number + 1)])
    assert len(found) == number
    assert all(one.contacts[0].value == f"c{n}@example.com" for n, one in found.items())


def test_a_customer_is_found_by_address_and_number(state: State) -> None:
    """Active ones only, the one with the lowest id first, whatever the spelling."""
    save_customers(state, customer(1, active=False), customer(2), customer(3))
    save_contacts(
        state,
        *(contact(n * 10, "X@example.com", customer_id=CustomerId(n)) for n in (1, 2, 3)),
        contact(31, "+1 (217) 555-0101", "MobilePhone", customer_id=THREE),
    )
    found = state.customers.with_contact(TENANT, ["x@example.com", "2175550101", "", "nobody"])
    assert found == {"x@example.com": 2, "2175550101": 3}


def test_an_address_and_a_person_have_one_holder(state: State, lease: Lease) -> None:
    """The database itself refuses a second one; what is released first may be taken."""
    save(state, lease, Enrolment(ONE, S.ENROLLED, email_key="a", user_id=UserId(1)))
    for row in (
        Enrolment(TWO, S.PLANNED, email_key="a"),
        Enrolment(TWO, S.LINKED, email_key="b", user_id=UserId(1)),
    ):
        with pytest.raises(StateError):
            save(state, lease, row)
    with state.database.write(lease) as sql:
        release(sql, SPRING, [ONE])
        rows = [
            Enrolment(TWO, S.ENROLLED, email_key="a", user_id=UserId(1)),
            Enrolment(ONE, S.SKIPPED, "merged"),
        ]
        save_enrolments(sql, SPRING, TENANT, rows, NOW)
        assert enrolments_of(sql, SPRING, [ONE, TWO])[TWO].user_id == 1


def test_settling_leaves_the_marks_of_others(state: State, lease: Lease) -> None:
    """A row that was made due meanwhile stays due."""
    save(state, lease, Enrolment(ONE, S.INTENT, email_key="a", sent={"email": "a"}))
    state.enrolments.make_due(lease, SPRING, RF, [])
    assert due(state) == [1]
    settled = Settled(ONE, S.ENROLLED, "a", UserId(5), {"email": "a"}, tell=True)
    state.enrolments.settle(lease, SPRING, [settled], NOW)
    assert due(state) == [1]
    (row,) = state.enrolments.to_return(SPRING, -1, 10)
    state.people.save([person(5, "a@example.com")])
    state.people.save([person(5, "a@example.com", referrals=2)])
    state.enrolments.mark_return(lease, SPRING, [(row, {7: "x"})], NOW)
    (row,) = state.enrolments.to_return(SPRING, -1, 10)
    assert row.returned == {7: "x"}
    state.enrolments.mark_return(lease, SPRING, [(row, {7: "y"})], NOW)
    assert state.enrolments.to_return(SPRING, -1, 10) == []


def test_what_people_do_makes_their_customers_due(state: State, lease: Lease) -> None:
    """Unsubscribing, and giving up an address that somebody else waits for."""
    save_customers(state, customer(1), customer(2))
    save_contacts(state, contact(20, "old@example.com", customer_id=TWO))
    state.people.save([person(5, "old@example.com", referrals=1)])
    save(
        state,
        lease,
        Enrolment(ONE, S.ENROLLED, email_key="a", user_id=UserId(5)),
        Enrolment(TWO, S.SKIPPED, "duplicate_email"),
    )
    state.people.save([person(5, "old@example.com")])
    assert due(state) == []
    assert state.people.get(UserId(5)).referrals == 1  # type: ignore[union-attr]
    state.people.save([person(5, "new@example.com")])
    assert due(state) == [2]
    state.people.save([person(5, "new@example.com", unsubscribed_at=date(2026, 11, 23))])
    assert due(state) == [1, 2]


def test_who_came_with_an_answer_is_not_listed_yet(state: State) -> None:
    """The list has to show them before it is known who stands beside them."""
    state.people.save([person(5, "a@example.com")], listed=False)
    assert state.people.known([UserId(5)]) == set()
    state.people.save([person(5, "a@example.com")])
    state.people.save([person(5, "a@example.com")], listed=False)
    assert state.people.known([UserId(5)]) == {5}


def test_another_rule_looks_again_and_another_tenant_forgets(state: State, lease: Lease) -> None:
    """The same rule keeps the place."""
    save(state, lease, Enrolment(ONE, S.SKIPPED, "no_email"))
    looked(state, lease, 9)
    state.enrolments.begin(lease, SPRING, TENANT, RF)
    state.enrolments.apply_rule(lease, SPRING, "rule")
    assert state.enrolments.progress(SPRING).position == 9
    state.enrolments.apply_rule(lease, SPRING, "another")
    assert state.enrolments.progress(SPRING).position == 0
    assert state.enrolments.of(SPRING, ONE) is not None
    for tenant, rf_campaign in ((TENANT, RfCampaignId(8)), (OTHER, RfCampaignId(8))):
        save(state, lease, Enrolment(ONE, S.SKIPPED, "no_email"))
        state.enrolments.begin(lease, SPRING, tenant, rf_campaign)
        assert state.enrolments.of(SPRING, ONE) is None


def test_merged_referrers_and_sharers_are_found(state: State, lease: Lease) -> None:
    """By the survivor, and by an address that became free."""
    save_customers(state, customer(1, merged_to_id=THREE), customer(2), customer(3))
    save_contacts(state, contact(20, "free@example.com", customer_id=TWO))
    save(
        state,
        lease,
        Enrolment(ONE, S.ENROLLED, "merged", email_key="a", user_id=UserId(1)),
        Enrolment(TWO, S.SKIPPED, "duplicate_email"),
    )
    with state.database.write(lease) as sql:
        assert [r.customer_id for r in merged_referrers(sql, SPRING, TENANT, [THREE])[THREE]] == [1]
        assert merged_referrers(sql, SPRING, OTHER, [THREE]) == {}
        mark_sharers(sql, SPRING, TENANT, ["free@example.com", ""])
    assert due(state) == [2]


def test_a_lost_lease_writes_nothing(state: State) -> None:
    """Whoever was taken over can neither look nor settle."""
    with locks_of(state, 1, alive=True).hold(SPRING, "sync") as held:  # noqa: SIM117 - in order
        with locks_of(state, 2, alive=False).hold(SPRING, "sync"):
            with pytest.raises(LeaseLost), state.enrolments.looking(held.lease, TENANT):
                raise AssertionError("the lease is lost")
            with pytest.raises(LeaseLost):
                save(state, held.lease, Enrolment(ONE, S.PLANNED, email_key="a"))
    assert state.enrolments.counts(SPRING) == {}


def test_a_canary_comes_back_as_it_was(state: State) -> None:
    """One for a tenant, the newest; forgotten on request."""
    assert state.canaries.of(TENANT) is None
    for canary in (
        Canary(CanaryState.BEGUN, ONE, 5, {7: "größe"}),
        Canary(CanaryState.PASSED, TWO, 5, {}),
    ):
        state.canaries.save(TENANT, canary, NOW)
        assert state.canaries.of(TENANT) == canary
    state.canaries.forget(TENANT)
    assert state.canaries.of(TENANT) is None


# --- pages of the feeds, one promise at a time -----------------------------------------------

PAGES: dict[Feed, Callable[[State, str, str], bool]] = {
    Feed.CUSTOMERS: lambda s, asked, token: s.customers.save_customers(
        TENANT, asked, FeedPage((customer(1),), token, has_more=False), NOW
    ),
    Feed.CONTACTS: lambda s, asked, token: s.customers.save_contacts(
        TENANT, asked, FeedPage((contact(10, "a@example.com"),), token, has_more=False), NOW
    ),
    Feed.CUSTOMER_JOBS: lambda s, asked, token: s.customers.save_customer_jobs(
        TENANT, asked, FeedPage((CustomerJob(ONE, NOW),), token, has_more=False), NOW
    ),
}


def contents(state: State) -> list[Sequence[object]]:
    """All rows of what a tenant told, change numbers included."""
    tables = ("crm_customers", "crm_contacts", "crm_customer_jobs", "crm_suppressions", "feeds")
    with state.database.read() as sql:
        return [
            sql.execute(f"SELECT * FROM {table} ORDER BY 1, 2").all()
            for table in (*tables, "crm_changes")
        ]


@pytest.mark.parametrize("feed", PAGES)
def test_a_page_behind_a_moved_cursor_leaves_no_trace(state: State, feed: Feed) -> None:
    """Of two processes that read the same page one keeps it; the other learns that it did not."""
    state.feeds.open(OTHER, feed, None, NOW)
    assert PAGES[feed](state, "", "t1")
    before = contents(state)
    for asked in ("", "t2"):
        assert not PAGES[feed](state, asked, "t3")
    assert contents(state) == before
    assert state.feeds.cursor(TENANT, feed) == Cursor("t1", "")
    assert state.feeds.cursor(OTHER, feed) == Cursor("", "")


@pytest.mark.parametrize("feed", PAGES)
def test_a_page_of_a_feed_that_was_not_opened_is_not_kept(state: State, feed: Feed) -> None:
    """After ``sync reset`` of another process there is no cursor to move."""
    state.customers.forget_feeds(TENANT)
    before = contents(state)
    assert not PAGES[feed](state, "", "t1")
    assert contents(state) == before


def test_an_empty_page_moves_the_cursor_alone(state: State) -> None:
    """Nothing new is still an answer."""
    numbered = contents(state)[-1]
    assert save_customers(state)
    assert save_contacts(state)
    for feed in (Feed.CUSTOMERS, Feed.CONTACTS):
        assert state.feeds.cursor(TENANT, feed) == Cursor("x", "")
    assert contents(state)[-1] == numbered


@pytest.mark.parametrize(
    "difference",
    [
        {"name": "Other"},
        {"type": "Commercial"},
        {"active": False},
        {"merged_to_id": CustomerId(9)},
        {"do_not_mail": True},
        {"do_not_service": True},
        {"tag_type_ids": (3,)},
        {"address": {"city": "Köln"}},
        {"custom_fields": {5: "gold"}},
    ],
)
def test_every_part_of_a_customer_counts(state: State, difference: dict[str, object]) -> None:
    """Other content of the same instant is a change, of whatever part, and comes back as sent."""
    save_customers(state, customer(1))
    _, reached = changes(state)
    save_customers(state, customer(1, **difference))
    assert changes(state, reached)[0] == [1]
    with state.database.read() as sql:
        assert known_customers(sql, TENANT, [ONE])[ONE].customer == customer(1, **difference)


@pytest.mark.parametrize(
    "difference",
    [{"type": "Phone"}, {"value": "b@example.com"}, {"active": False}, {"marketing": False}],
)
def test_every_part_of_a_contact_counts(
    state: State, lease: Lease, difference: dict[str, object]
) -> None:
    """Other content of the same instant makes the customer due; a marketing wish above all."""
    made = contact(10, "a@example.com")
    save_customers(state, customer(1), customer(2))
    save_contacts(state, made)
    looked(state, lease, changes(state)[1])
    _, position = changes(state)
    save_contacts(state, made._replace(**difference))  # type: ignore[arg-type]
    assert changes(state, position)[0] == [1]
    with state.database.read() as sql:
        kept = known_customers(sql, TENANT, [ONE])[ONE].contacts
    assert list(kept) == [made._replace(**difference)]  # type: ignore[arg-type]


def test_newer_is_told_by_the_time_not_by_the_place(state: State) -> None:
    """Within one page too: an older version behind a newer one is ignored."""
    older = NOW - timedelta(seconds=1)
    save_customers(
        state,
        customer(1, name="New", modified_on=NOW),
        customer(1, name="Old", modified_on=older),
    )
    save_contacts(
        state,
        contact(10, "new@example.com", modified_on=NOW),
        contact(10, "old@example.com", modified_on=older),
    )
    with state.database.read() as sql:
        found = known_customers(sql, TENANT, [ONE])[ONE]
    assert found.customer.name == "New"
    assert [c.value for c in found.contacts] == ["new@example.com"]


def test_change_numbers_rise_with_every_change(state: State) -> None:
    """Who changed again comes behind all others, and is given once."""
    save_customers(state, customer(1), customer(2), customer(3))
    assert changes(state)[0] == [1, 2, 3]
    save_customers(state, customer(2, name="B"))
    assert changes(state)[0] == [1, 3, 2]
    save_customers(state, customer(1, name="A"), customer(3, name="C"))
    ids, reached = changes(state)
    assert ids == [2, 1, 3]
    assert changes(state, reached) == ([], reached)


def test_changes_are_taken_in_parts(state: State) -> None:
    """Each part goes on behind the last one; together they give everybody once."""
    save_customers(state, *(customer(n) for n in range(1, 8)))
    found: list[int] = []
    position, numbers = 0, []
    with state.database.read() as sql:
        while True:
            ids, position = changed_since(sql, TENANT, position, 3)
            if not ids:
                break
            found += ids
            numbers.append(state.customers.count_changed(TENANT, position))
    assert found == [1, 2, 3, 4, 5, 6, 7]
    assert numbers == [4, 1, 0]


def test_contacts_before_the_first_look_bump_nobody(state: State, lease: Lease) -> None:
    """Everybody is to be looked at anyway; so a first import writes each customer once."""
    save_customers(state, customer(1))
    before = changes(state)
    save_contacts(state, contact(10, "a@example.com"))
    state.enrolments.begin(lease, SPRING, TENANT, RF)
    state.enrolments.apply_rule(lease, SPRING, "rule")
    save_contacts(state, contact(10, "b@example.com", modified_on=LATER))
    assert changes(state) == before


def test_a_contact_bumps_for_whoever_has_looked_furthest(state: State) -> None:
    """A campaign that lags behind sees the customer once; the one that was done sees it again."""
    autumn = CampaignName("autumn")
    save_customers(state, customer(1), customer(2))
    save_contacts(state, contact(10, "a@example.com"))
    _, end = changes(state)
    for name, position in ((SPRING, end), (autumn, 0)):
        with locks_of(state, 1, alive=True).hold(name, "sync") as held:
            state.enrolments.begin(held.lease, name, TENANT, RF)
            state.enrolments.apply_rule(held.lease, name, "rule")
            with state.enrolments.looking(held.lease, TENANT) as sql:
                move_on(sql, name, position)
    save_contacts(state, contact(10, "b@example.com", modified_on=LATER))
    assert changes(state, end)[0] == [1]
    assert changes(state, 0)[0] == [2, 1]


def test_a_customer_who_waits_for_a_look_is_not_moved_back(state: State, lease: Lease) -> None:
    """However often its contacts change meanwhile; so nobody is put off for ever."""
    save_customers(state, customer(1), customer(2))
    save_contacts(state, contact(10, "a@example.com"), contact(20, "b@x.test", customer_id=TWO))
    _, end = changes(state)
    looked(state, lease, end)
    for number, (contact_id, owner) in enumerate(((10, ONE), (20, TWO), (10, ONE))):
        at = LATER + timedelta(minutes=number)
        save_contacts(
            state, contact(contact_id, f"n{number}@x.test", customer_id=owner, modified_on=at)
        )
    assert changes(state, end)[0] == [1, 2]


def test_a_look_at_another_tenant_is_no_look_at_this_one(state: State, lease: Lease) -> None:
    """Positions are change numbers of one tenant."""
    save_customers(state, customer(1))
    before = changes(state)
    state.enrolments.begin(lease, SPRING, OTHER, RF)
    state.enrolments.apply_rule(lease, SPRING, "rule")
    with state.enrolments.looking(lease, OTHER) as sql:
        move_on(sql, SPRING, 1000)
    save_contacts(state, contact(10, "a@example.com"))
    assert changes(state) == before


def test_a_contact_may_come_before_its_customer(state: State, lease: Lease) -> None:
    """The two feeds are read one after the other; nothing is lost in between."""
    save_customers(state, customer(2))
    looked(state, lease, changes(state)[1])
    _, position = changes(state)
    save_contacts(state, contact(10, "a@example.com"))
    assert changes(state, position)[0] == []
    save_customers(state, customer(1))
    assert changes(state, position)[0] == [1]
    with state.database.read() as sql:
        found = known_customers(sql, TENANT, [ONE, THREE])
    assert [c.value for c in found.pop(ONE).contacts] == ["a@example.com"]
    assert found == {}


def test_an_ignored_contact_makes_nobody_due(state: State, lease: Lease) -> None:
    """An old version that names the owner before changes nothing, so nobody is looked at."""
    save_customers(state, customer(1), customer(2))
    save_contacts(state, contact(10, "a@example.com", customer_id=TWO, modified_on=LATER))
    looked(state, lease, changes(state)[1])
    _, position = changes(state)
    save_contacts(state, contact(10, "a@example.com", customer_id=ONE, modified_on=NOW))
    assert changes(state, position)[0] == []


# --- our own writes --------------------------------------------------------------------------


def test_an_answer_older_than_what_is_known_is_ignored(state: State) -> None:
    """The feed was faster than the answer to our own write."""
    newest = customer(1, name="New", modified_on=LATER)
    save_customers(state, newest)
    before = contents(state)[0]
    state.customers.save_own_write(
        TENANT, customer(1, custom_fields={5: "x"}, modified_on=NOW), [5]
    )
    state.customers.save_own_write(TENANT, newest._replace(modified_on=NOW), [5])
    assert contents(state)[0] == before


def test_an_answer_about_somebody_unknown_is_a_change(state: State) -> None:
    """The feed has not told of this customer yet, so nobody has looked at it."""
    state.customers.save_own_write(TENANT, customer(1, custom_fields={5: "x"}), [5])
    assert changes(state)[0] == [1]


def test_a_field_that_the_office_changed_meanwhile_is_still_told(state: State) -> None:
    """Our write's answer shows it first, the feed then says the same; somebody has to look."""
    save_customers(state, customer(1, custom_fields={5: "", 7: "silver"}, modified_on=NOW))
    _, position = changes(state)
    answer = customer(1, custom_fields={5: "our link", 7: "gold"}, modified_on=LATER)
    state.customers.save_own_write(TENANT, answer, [5])
    save_customers(state, answer)
    assert changes(state, position)[0] == [1]


# --- suppressions ----------------------------------------------------------------------------


def suppress(state: State, email: str, at: datetime, *, active: bool, tenant: str = TENANT) -> None:
    found = [Suppression(email, active=active, modified_on=at)]
    state.customers.save_suppressions(tenant, "", found, "", NOW)


def is_suppressed(state: State, email: str, tenant: str = TENANT) -> bool:
    with state.database.read() as sql:
        return suppressed(sql, tenant, [email]) == {email}


def test_a_suppression_is_switched_on_and_off(state: State) -> None:
    """By the newest word on it; of one instant the last one counts."""
    for minutes, active, expected in (
        (0, True, True),
        (-1, False, True),
        (1, False, False),
        (0, True, False),
        (1, True, True),
    ):
        suppress(state, "a@example.com", NOW + timedelta(minutes=minutes), active=active)
        assert is_suppressed(state, "a@example.com") is expected
    suppress(state, "  ", NOW, active=True)
    assert not is_suppressed(state, "")


def test_only_a_switch_makes_its_customers_due(state: State, lease: Lease) -> None:
    """The same word again costs no look; switching off is one as well."""
    save_contacts(
        state, contact(10, "a@example.com"), contact(20, "b@example.com", customer_id=TWO)
    )
    rows = [Enrolment(c, S.SKIPPED, "suppressed") for c in (ONE, TWO)]
    for minutes, active, expected in (
        (0, False, []),
        (1, True, [1]),
        (2, True, []),
        (3, False, [1]),
        (2, True, []),
    ):
        save(state, lease, *rows)
        suppress(state, "A@Example.com", NOW + timedelta(minutes=minutes), active=active)
        assert due(state) == expected


def test_a_suppression_concerns_its_own_tenant(state: State, lease: Lease) -> None:
    """The same address at another tenant is another customer's."""
    save_contacts(state, contact(10, "a@example.com"))
    save(state, lease, Enrolment(ONE, S.ENROLLED, email_key="a@example.com", user_id=UserId(1)))
    suppress(state, "a@example.com", NOW, active=True, tenant=OTHER)
    assert due(state) == []
    assert is_suppressed(state, "a@example.com", OTHER)
    assert not is_suppressed(state, "a@example.com")


def test_the_mark_of_suppressions_moves_only_from_where_it_was(state: State) -> None:
    """Who read from an older mark keeps what it read, and does not set the mark back."""
    assert state.feeds.cursor(TENANT, Feed.SUPPRESSIONS) == Cursor("", "")
    state.customers.save_suppressions(TENANT, "", [], "m2", NOW)
    one = [Suppression("a@example.com", active=True, modified_on=NOW)]
    state.customers.save_suppressions(TENANT, "", one, "m1", NOW)
    assert state.feeds.cursor(TENANT, Feed.SUPPRESSIONS) == Cursor("m2", "")
    assert is_suppressed(state, "a@example.com")


# --- jobs, look-ups, forgetting --------------------------------------------------------------


def test_an_older_job_does_not_replace_a_newer_one(state: State) -> None:
    """Whatever the order of pages and of the jobs in them."""
    token = ""
    for at, newest in ((NOW, NOW), (LATER, LATER), (NOW, LATER)):
        page = FeedPage((CustomerJob(ONE, at),), token + "x", has_more=False)
        assert state.customers.save_customer_jobs(TENANT, token, page, NOW)
        token += "x"
        save_customers(state, customer(1))
        with state.database.read() as sql:
            assert known_customers(sql, TENANT, [ONE])[ONE].last_job_at == newest
            assert known_customers(sql, OTHER, [ONE]) == {}


def test_customers_of_two_tenants_are_two(state: State) -> None:
    """The same number at another tenant is somebody else, with changes of its own."""
    state.feeds.open(OTHER, Feed.CUSTOMERS, None, NOW)
    save_customers(state, customer(1, name="Here"))
    there = FeedPage((customer(1, name="There"), customer(2)), "t", has_more=False)
    assert state.customers.save_customers(OTHER, "", there, NOW)
    with state.database.read() as sql:
        assert known_customers(sql, TENANT, [ONE, TWO]).keys() == {1}
        assert known_customers(sql, OTHER, [ONE])[ONE].customer.name == "There"
    assert (state.customers.count(TENANT), state.customers.count(OTHER)) == (1, 2)
    assert changes(state)[0] == [1]


def test_a_customer_comes_back_as_it_was(state: State) -> None:
    """Every part, also what is absent, in any script and to the microsecond."""
    at = NOW.replace(microsecond=123456)
    full = customer(
        1,
        name="Łucja 字",
        type="Commercial",
        active=False,
        merged_to_id=TWO,
        do_not_mail=True,
        do_not_service=True,
        tag_type_ids=(4, 9),
        address={"street": "Straße 1", "zip": "01234"},
        custom_fields={5: 'a "b"', 11: "ü"},
        created_on=at - timedelta(days=9),
        modified_on=at,
    )
    save_customers(state, full, customer(2))
    with state.database.read() as sql:
        found = known_customers(sql, TENANT, [ONE, TWO])
    assert {c: one.customer for c, one in found.items()} == {1: full, 2: customer(2)}


@pytest.mark.parametrize(
    ("kind", "value", "key"),
    [
        ("Email", " Ada@Example.COM ", "ada@example.com"),
        ("Phone", "(217) 555-0101", "2175550101"),
        ("MobilePhone", "+1 217.555.0101", "2175550101"),
    ],
)
def test_spellings_of_one_contact_are_one(state: State, kind: str, value: str, key: str) -> None:
    """Addresses without case, numbers by their digits; a fax is nobody's."""
    save_customers(state, customer(1), customer(2))
    save_contacts(state, contact(5, value, "Fax"), contact(10, value, kind, customer_id=TWO))
    assert state.customers.with_contact(TENANT, [key]) == {key: 2}
    assert state.customers.with_contact(OTHER, [key]) == {}


def test_an_inactive_contact_finds_nobody(state: State) -> None:
    """Nor does one that says too little to tell people apart."""
    save_customers(state, customer(1))
    save_contacts(state, contact(10, "a@example.com", active=False), contact(11, "12345", "Phone"))
    assert state.customers.with_contact(TENANT, ["a@example.com", "12345", ""]) == {}


def test_many_contacts_are_looked_for_at_once(state: State) -> None:
    """More than one statement lists."""
    numbers = range(1, VARIABLES + 3)
    save_customers(state, *(customer(n) for n in numbers))
    save_contacts(
        state, *(contact(n, f"c{n}@example.com", customer_id=CustomerId(n)) for n in numbers)
    )
    wanted = [f"c{n}@example.com" for n in numbers]
    assert state.customers.with_contact(TENANT, wanted) == dict(zip(wanted, numbers, strict=True))


def test_forgetting_the_feeds_keeps_the_records(state: State) -> None:
    """Those four of this tenant begin anew; what they said, and all others, stay."""
    save_customers(state, customer(1))
    for feed in Feed:
        state.feeds.open(OTHER, feed, None, NOW)
    for feed in (Feed.BOOKINGS, Feed.JOBS, Feed.JOB_HISTORY):
        state.feeds.open(TENANT, feed, None, NOW)
    state.customers.forget_feeds(TENANT)
    left = {feed for feed in Feed if state.feeds.cursor(TENANT, feed) is not None}
    assert left == {Feed.BOOKINGS, Feed.JOBS, Feed.JOB_HISTORY}
    assert all(state.feeds.cursor(OTHER, feed) is not None for feed in Feed)
    assert changes(state)[0] == [1]


def test_canaries_of_two_tenants_are_two(state: State) -> None:
    """Forgetting one leaves the other."""
    passed = Canary(CanaryState.PASSED, ONE, 5, {})
    failed = Canary(CanaryState.FAILED, TWO, 6, {8: "kept"})
    state.canaries.save(TENANT, passed, NOW)
    state.canaries.save(OTHER, failed, NOW)
    assert (state.canaries.of(TENANT), state.canaries.of(OTHER)) == (passed, failed)
    state.canaries.forget(TENANT)
    assert (state.canaries.of(TENANT), state.canaries.of(OTHER)) == (None, failed)
