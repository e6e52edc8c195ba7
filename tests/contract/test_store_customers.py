"""Customers, enrolments and what makes whom due again: on a real database file."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, date, datetime, timedelta
from pathlib import Path

import pytest

from stcli.domain.enrolment import Enrolment, EnrolmentState
from stcli.domain.ids import CampaignName, CustomerId, RfCampaignId, UserId
from stcli.domain.records import CustomerJob, FeedPage, Suppression
from stcli.errors import LeaseLost, StateError
from stcli.store.canaries import Canary, CanaryState
from stcli.store.customers import changed_since, known_customers, suppressed
from stcli.store.engine import Lease, open_sqlite
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
from stcli.store.feeds import Feed
from stcli.store.locks import Locks, Process
from stcli.store.migrations import migrate
from stcli.store.state import State
from stcli.store.statements import VARIABLES
from tests.unit.domain.customers import contact, customer, person

NOW = datetime(2026, 11, 23, 12, tzinfo=UTC)
LATER = NOW + timedelta(hours=1)
TENANT, OTHER = "production:1", "production:2"
SPRING = CampaignName("spring")
RF = RfCampaignId(7)
S = EnrolmentState
ONE, TWO, THREE = CustomerId(1), CustomerId(2), CustomerId(3)


@pytest.fixture
def state(tmp_path: Path) -> Iterator[State]:
    """A fresh state in a file of its own, with the feeds opened and one look behind it."""
    file = tmp_path / "state" / "stcli.db"
    database = open_sqlite(file)
    migrate(database, version="1.0.0", file=file, backups=tmp_path / "backups")
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
    state.enrolments.apply_rule(lease, SPRING, TENANT, RF, "rule")
    with state.enrolments.looking(lease, TENANT) as sql:
        move_on(sql, SPRING, position)


def save(state: State, lease: Lease, *rows: Enrolment) -> None:
    with state.database.write(lease) as sql:
        save_enrolments(sql, SPRING, TENANT, rows, NOW)


def due(state: State) -> list[int]:
    with state.database.read() as sql:
        return list(to_recheck(sql, SPRING, -1, 1000))


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
    state.customers.save_own_write(TENANT, customer(1, custom_fields={5: "x"}, modified_on=LATER))
    assert changes(state, position)[0] == []
    save_customers(state, customer(1, custom_fields={5: "x"}, modified_on=LATER))
    assert changes(state, position)[0] == []
    newer = LATER + timedelta(seconds=1)
    state.customers.save_own_write(
        TENANT, customer(1, do_not_mail=True, custom_fields={5: "x"}, modified_on=newer)
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
    state.enrolments.apply_rule(lease, SPRING, TENANT, RF, "rule")
    assert state.enrolments.progress(SPRING).position == 9
    state.enrolments.apply_rule(lease, SPRING, TENANT, RF, "another")
    assert state.enrolments.progress(SPRING).position == 0
    assert state.enrolments.of(SPRING, ONE) is not None
    for tenant, rf_campaign in ((TENANT, RfCampaignId(8)), (OTHER, RfCampaignId(8))):
        save(state, lease, Enrolment(ONE, S.SKIPPED, "no_email"))
        state.enrolments.apply_rule(lease, SPRING, tenant, rf_campaign, "another")
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
