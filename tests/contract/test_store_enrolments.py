"""Enrolments: who holds what, what is due, whose turn it is to write. On a real database file."""

from __future__ import annotations

import multiprocessing
import threading
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from datetime import UTC, date, datetime, timedelta
from typing import Any

import pytest

from stcli.domain.enrolment import Enrolment, EnrolmentState
from stcli.domain.ids import CampaignName, CustomerId, RfCampaignId, RunId, UserId
from stcli.domain.records import FeedPage
from stcli.errors import ExitCode, LeaseLost, StateError
from stcli.store.customers import changed_since
from stcli.store.engine import Lease
from stcli.store.enrolments import (
    Progress,
    Settled,
    asked_since,
    bound_users,
    enrolments_of,
    holders,
    mark_recheck,
    mark_sharers,
    merged_referrers,
    move_on,
    release,
    save_enrolments,
    stored_progress,
    to_recheck,
)
from stcli.store.failures import FailureState
from stcli.store.feeds import Cursor, Feed
from stcli.store.locks import Locks, Process
from stcli.store.people import people_by_email
from stcli.store.state import State
from stcli.store.statements import VARIABLES
from tests.contract.conftest import Place, opened
from tests.unit.domain.customers import contact, customer, person

NOW = datetime(2026, 11, 23, 12, tzinfo=UTC)
TENANT, OTHER = "production:1", "production:2"
SPRING, AUTUMN = CampaignName("spring"), CampaignName("autumn")
RF = RfCampaignId(7)
S = EnrolmentState
ONE, TWO, THREE, FOUR = (CustomerId(n) for n in range(1, 5))
ADA = Enrolment(ONE, S.ENROLLED, email_key="ada@example.com", user_id=UserId(11))
BOB = Enrolment(TWO, S.LINKED, email_key="bob@example.com", user_id=UserId(12))


@pytest.fixture
def state(place: Place) -> Iterator[State]:
    """A fresh state of its own, with the customers' feeds opened."""
    database = place.opened()
    opened = State(database)
    for feed in (Feed.CUSTOMERS, Feed.CONTACTS):
        opened.feeds.open(TENANT, feed, None, NOW)
    yield opened
    opened.close()


def locks_of(state: State, pid: int, *, alive: bool) -> Locks:
    return Locks(state.database, Process("here", pid, "s"), lambda process: alive, lambda: NOW)


@pytest.fixture
def lease(state: State) -> Iterator[Lease]:
    with locks_of(state, 1, alive=True).hold(SPRING, "sync") as held:
        yield held.lease


@pytest.fixture
def autumn(state: State) -> Iterator[Lease]:
    """The lease of another campaign."""
    with locks_of(state, 1, alive=True).hold(AUTUMN, "sync") as held:
        yield held.lease


@pytest.fixture
def lost(state: State) -> Iterator[Lease]:
    """A lease that a second process has taken over: the first one looked dead."""
    with locks_of(state, 1, alive=True).hold(SPRING, "sync") as held:  # noqa: SIM117 - in order
        with locks_of(state, 2, alive=False).hold(SPRING, "sync"):
            yield held.lease


def save(
    state: State,
    lease: Lease,
    *rows: Enrolment,
    campaign: CampaignName = SPRING,
    tenant: str = TENANT,
    at: datetime = NOW,
) -> None:
    with state.database.write(lease) as sql:
        save_enrolments(sql, campaign, tenant, rows, at)


def save_customers(state: State, *found: object) -> None:
    cursor = state.feeds.cursor(TENANT, Feed.CUSTOMERS)
    assert cursor is not None
    page = FeedPage(found, cursor.token + "x", has_more=False)
    assert state.customers.save_customers(TENANT, cursor.token, page, NOW)  # type: ignore[arg-type]


def save_contacts(state: State, *found: object) -> None:
    cursor = state.feeds.cursor(TENANT, Feed.CONTACTS)
    assert cursor is not None
    page = FeedPage(found, cursor.token + "x", has_more=False)
    assert state.customers.save_contacts(TENANT, cursor.token, page, NOW)  # type: ignore[arg-type]


def due(state: State, campaign: CampaignName = SPRING) -> list[int]:
    with state.database.read() as sql:
        return list(to_recheck(sql, campaign, -1, 1000))


def returns(state: State, campaign: CampaignName = SPRING) -> list[int]:
    return [row.customer_id for row in state.enrolments.to_return(campaign, -1, 1000)]


def row_of(state: State, customer_id: CustomerId, campaign: CampaignName = SPRING) -> Enrolment:
    found = state.enrolments.of(campaign, customer_id)
    assert found is not None
    return found


def everything(state: State) -> list[Sequence[object]]:
    with state.database.read() as sql:
        return [
            sql.execute(f"SELECT * FROM {table} ORDER BY 1, 2").all()
            for table in ("enrolments", "enrolment_progress", "failures", "crm_changes")
        ]


# --- rows ------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "row",
    [
        Enrolment(ONE, S.SKIPPED, "no_email"),
        replace(
            ADA,
            reason="opted_out",
            sent={"email": "ada@example.com", "meta.Straße": '字 "x"'},
            update_due=True,
            returned={5: "https://x.test/ü", 12: ""},
            return_due=3,
        ),
    ],
)
def test_a_row_comes_back_as_it_was(state: State, lease: Lease, row: Enrolment) -> None:
    """By its customer, among others, and in its state; no other campaign has it."""
    save(state, lease, row)
    assert state.enrolments.of(SPRING, ONE) == row
    assert state.enrolments.in_state(SPRING, row.state, -1, 10) == [row]
    with state.database.read() as sql:
        assert enrolments_of(sql, SPRING, [ONE, TWO]) == {ONE: row}
        assert enrolments_of(sql, AUTUMN, [ONE]) == {}
    assert state.enrolments.of(AUTUMN, ONE) is None


def test_saving_anew_replaces_all_of_it(state: State, lease: Lease) -> None:
    """The new row is what counts, and it was looked at just now."""
    save(state, lease, replace(ADA, sent={"email": "a"}, returned={5: "x"}, return_due=2))
    with state.database.write(lease) as sql:
        mark_recheck(sql, SPRING, [ONE, TWO])
    assert due(state) == [1]
    after = Enrolment(ONE, S.SKIPPED, "merged")
    save(state, lease, after)
    assert state.enrolments.of(SPRING, ONE) == after
    assert due(state) == []


@pytest.mark.parametrize(
    "second",
    [
        Enrolment(TWO, S.PLANNED, email_key=ADA.email_key),
        Enrolment(TWO, S.LINKED, email_key="other@example.com", user_id=ADA.user_id),
        Enrolment(TWO, S.GONE, "gone", user_id=ADA.user_id),
    ],
)
def test_the_database_refuses_a_second_holder(
    state: State, lease: Lease, autumn: Lease, second: Enrolment
) -> None:
    """Of an address or a person, with all that was to be saved beside; another campaign may."""
    save(state, lease, ADA)
    before = everything(state)
    with pytest.raises(StateError):
        save(state, lease, Enrolment(THREE, S.SKIPPED, "no_email"), second)
    assert everything(state) == before
    save(state, autumn, second, campaign=AUTUMN)
    assert state.enrolments.of(AUTUMN, TWO) == second


def test_many_may_hold_nothing(state: State, lease: Lease) -> None:
    """No address and no person is nobody's."""
    save(state, lease, *(Enrolment(c, S.SKIPPED, "no_email") for c in (ONE, TWO, THREE)))
    assert state.enrolments.counts(SPRING) == {(S.SKIPPED, "no_email"): 3}


def test_two_exchange_what_they_hold(state: State, lease: Lease) -> None:
    """Both give it up before either takes; one save holds all of it, or nothing of it."""
    save(state, lease, ADA, BOB)
    crossed = [
        replace(ADA, email_key=BOB.email_key, user_id=BOB.user_id),
        replace(BOB, email_key=ADA.email_key, user_id=ADA.user_id),
    ]
    with pytest.raises(StateError):
        save(state, lease, *crossed)
    assert row_of(state, ONE) == ADA
    with state.database.write(lease) as sql:
        release(sql, SPRING, [ONE, TWO])
        save_enrolments(sql, SPRING, TENANT, crossed, NOW)
    assert [row_of(state, ONE), row_of(state, TWO)] == crossed


def test_a_release_without_its_save_has_no_effect(state: State, lease: Lease) -> None:
    """Whoever dies in between has taken nothing from anybody."""
    save(state, lease, ADA)

    class DiesError(Exception):
        pass

    with pytest.raises(DiesError), state.database.write(lease) as sql:
        release(sql, SPRING, [ONE])
        raise DiesError
    assert row_of(state, ONE) == ADA


def test_release_leaves_others_alone(state: State, lease: Lease, autumn: Lease) -> None:
    """Only these, only in this campaign, and only address and person."""
    kept = replace(ADA, sent={"email": "a"}, return_due=1)
    save(state, lease, kept, BOB)
    save(state, autumn, ADA, campaign=AUTUMN)
    with state.database.write(lease) as sql:
        release(sql, SPRING, [ONE])
    assert row_of(state, ONE) == replace(kept, email_key="", user_id=None)
    assert row_of(state, TWO) == BOB
    assert row_of(state, ONE, AUTUMN) == ADA


def test_how_long_it_is_in_doubt_counts_from_the_asking(state: State, lease: Lease) -> None:
    """A look in between does not make it younger; a new intent does."""
    asked = Settled(ONE, S.INTENT, "a", None, {"email": "a"})
    save(state, lease, Enrolment(ONE, S.PLANNED, email_key="a"), BOB, at=NOW)
    state.enrolments.settle(lease, SPRING, [asked], NOW + timedelta(seconds=10))
    save(state, lease, row_of(state, ONE), at=NOW + timedelta(seconds=50))

    def since(seconds: int) -> set[CustomerId]:
        with state.database.read() as sql:
            return asked_since(sql, SPRING, [ONE, TWO], NOW + timedelta(seconds=seconds))

    assert since(9) == {ONE}
    assert since(10) == set()
    state.enrolments.settle(lease, SPRING, [asked], NOW + timedelta(seconds=60))
    assert since(59) == {ONE}
    state.enrolments.settle(
        lease, SPRING, [replace(asked, state=S.ENROLLED, user_id=UserId(1))], NOW
    )
    assert since(-9) == set()


# --- what became of a write ------------------------------------------------------------------


def test_settling_keeps_what_it_does_not_say(state: State, lease: Lease) -> None:
    """What was written back, the reason and the marks of others stay; the rest is replaced."""
    before = replace(ADA, sent={"email": "a"}, update_due=True, returned={5: "x"}, return_due=4)
    save(state, lease, replace(before, reason="opted_out"))
    with state.database.write(lease) as sql:
        mark_recheck(sql, SPRING, [ONE])
    settled = Settled(ONE, S.LINKED, "new@example.com", UserId(99), {"email": "n"})
    state.enrolments.settle(lease, SPRING, [settled], NOW)
    assert row_of(state, ONE) == Enrolment(
        ONE,
        S.LINKED,
        "opted_out",
        email_key="new@example.com",
        user_id=UserId(99),
        sent={"email": "n"},
        update_due=False,
        returned={5: "x"},
        return_due=4,
    )
    assert due(state) == [1]


def test_settling_tells_the_customer_on_request(state: State, lease: Lease) -> None:
    """On top of a mark that stands there already; an update may stay due."""
    save(state, lease, replace(ADA, return_due=4), BOB)
    told = Settled(ONE, S.ENROLLED, ADA.email_key, ADA.user_id, {}, update_due=True, tell=True)
    state.enrolments.settle(lease, SPRING, [told], NOW)
    assert row_of(state, ONE).return_due == 5
    assert [row.customer_id for row in state.enrolments.to_update(SPRING, -1, 10)] == [1]
    assert row_of(state, TWO) == BOB


def test_who_is_gone_is_so_by_reason_too(state: State, lease: Lease) -> None:
    """It is counted by it from now on, and never written back to."""
    save(state, lease, replace(ADA, return_due=1), BOB)
    gone = Settled(ONE, S.GONE, ADA.email_key, ADA.user_id, {})
    state.enrolments.settle(lease, SPRING, [gone], NOW)
    assert state.enrolments.counts(SPRING) == {(S.GONE, "gone"): 1, (S.LINKED, ""): 1}
    assert returns(state) == []
    assert state.enrolments.count_returns(SPRING) == 0


@pytest.mark.parametrize("turned", [False, True])
def test_what_one_gives_up_another_takes_in_one_settlement(
    state: State, lease: Lease, turned: bool
) -> None:
    """In whatever order they come."""
    save(state, lease, Enrolment(ONE, S.INTENT, email_key="a"), Enrolment(TWO, S.REFUSED))
    rows = [Settled(ONE, S.REFUSED, "", None, {}), Settled(TWO, S.INTENT, "a", None, {})]
    state.enrolments.settle(lease, SPRING, rows[::-1] if turned else rows, NOW)
    with state.database.read() as sql:
        assert holders(sql, SPRING, ["a"]) == {"a": TWO}


def test_a_settlement_is_whole_or_nothing(state: State, lease: Lease) -> None:
    """Where one of several would be a second holder, none is stored."""
    save(state, lease, ADA, BOB)
    before = everything(state)
    rows = [
        Settled(ONE, S.ENROLLED, "new@example.com", ADA.user_id, {"email": "n"}),
        Settled(TWO, S.LINKED, "new@example.com", BOB.user_id, {}),
    ]
    with pytest.raises(StateError):
        state.enrolments.settle(lease, SPRING, rows, NOW)
    assert everything(state) == before


def test_settling_concerns_its_own_campaign(state: State, lease: Lease, autumn: Lease) -> None:
    """The same customer's row in another one stays, and nothing is made where nothing was."""
    save(state, autumn, ADA, campaign=AUTUMN)
    state.enrolments.settle(lease, SPRING, [Settled(ONE, S.GONE, "", None, {})], NOW)
    assert row_of(state, ONE, AUTUMN) == ADA
    assert state.enrolments.of(SPRING, ONE) is None


def test_a_mark_that_rose_during_the_write_back_stays(state: State, lease: Lease) -> None:
    """A new link came while the old one was written; what was written is kept all the same."""
    save(state, lease, replace(ADA, return_due=1), replace(BOB, return_due=1))
    taken = state.enrolments.to_return(SPRING, -1, 10)
    state.people.save([person(11, "ada@example.com")])
    state.people.save([person(11, "ada@example.com", url="https://example.com/new")])
    later = NOW + timedelta(minutes=1)
    state.enrolments.mark_return(lease, SPRING, [(row, {5: "old"}) for row in taken], later)
    assert returns(state) == [1]
    assert [row_of(state, c).returned for c in (ONE, TWO)] == [{5: "old"}, {5: "old"}]
    (row,) = state.enrolments.to_return(SPRING, -1, 10)
    state.enrolments.mark_return(lease, SPRING, [(row, {5: "new"})], later)
    assert returns(state) == []
    assert row_of(state, ONE) == replace(ADA, returned={5: "new"})


def test_only_those_in_step_are_written_back(state: State, lease: Lease) -> None:
    """Marked, a referrer, and not left alone; by customer, in parts."""
    save(
        state,
        lease,
        replace(BOB, return_due=1),
        replace(ADA, return_due=2),
        Enrolment(THREE, S.ENROLLED, email_key="c", user_id=UserId(3)),
        Enrolment(FOUR, S.ENROLLED, "opted_out", email_key="d", user_id=UserId(4), return_due=1),
        Enrolment(CustomerId(5), S.INTENT, email_key="e", return_due=1),
        Enrolment(CustomerId(6), S.GONE, "gone", user_id=UserId(6), return_due=1),
    )
    assert returns(state) == [1, 2]
    assert [r.customer_id for r in state.enrolments.to_return(SPRING, -1, 1)] == [1]
    assert [r.customer_id for r in state.enrolments.to_return(SPRING, 1, 1)] == [2]
    assert state.enrolments.count_returns(SPRING) == 2
    assert state.enrolments.count_referrers(SPRING) == 3
    assert returns(state, AUTUMN) == []


# --- what is due -----------------------------------------------------------------------------


def test_a_pass_looks_again_at_what_may_have_changed(
    state: State, lease: Lease, autumn: Lease
) -> None:
    """Those named, those in doubt, and the refused whose address somebody of the campaign has."""
    rows = [
        Enrolment(ONE, S.INTENT, email_key="one@example.com"),
        Enrolment(TWO, S.REFUSED, email_key="two@example.com"),
        Enrolment(THREE, S.REFUSED, email_key="three@example.com"),
        Enrolment(FOUR, S.SKIPPED, "no_email"),
        Enrolment(CustomerId(5), S.REFUSED),
        Enrolment(CustomerId(6), S.PLANNED, email_key="six@example.com"),
        Enrolment(CustomerId(7), S.ENROLLED, email_key="seven@example.com", user_id=UserId(7)),
    ]
    save(state, lease, *rows)
    save(state, autumn, *rows, campaign=AUTUMN)
    state.people.save(
        [
            person(102, "TWO@example.com"),
            person(103, "three@example.com", campaign_id=RfCampaignId(8)),
            person(105, ""),
            person(106, "six@example.com"),
        ]
    )
    state.enrolments.make_due(lease, SPRING, RF, [])
    assert due(state) == [1, 2]
    state.enrolments.make_due(lease, SPRING, RF, [FOUR, FOUR, CustomerId(99)])
    assert due(state) == [1, 2, 4]
    assert due(state, AUTUMN) == []


def test_what_is_due_is_taken_in_parts(state: State, lease: Lease) -> None:
    """By customer; more than one statement marks."""
    ids = [CustomerId(n) for n in range(1, VARIABLES + 3)]
    save(state, lease, *(Enrolment(c, S.SKIPPED, "no_email") for c in ids))
    with state.database.write(lease) as sql:
        mark_recheck(sql, SPRING, reversed(ids))
        assert to_recheck(sql, SPRING, -1, 2) == [1, 2]
        assert to_recheck(sql, SPRING, 2, 10_000) == ids[2:]


def test_a_write_back_is_tried_again_once(state: State, lease: Lease) -> None:
    """Of these customers; a mark that stands there is not raised."""
    save(state, lease, ADA, replace(BOB, return_due=3))
    state.enrolments.make_return_due(lease, SPRING, [])
    assert returns(state) == [2]
    state.enrolments.make_return_due(lease, SPRING, [ONE, TWO, THREE])
    assert [row_of(state, c).return_due for c in (ONE, TWO)] == [1, 3]


def test_sharers_are_those_who_wait_for_the_address(state: State, lease: Lease) -> None:
    """For no other reason than ``duplicate_email``, by a contact that has it."""
    save_customers(state, *(customer(n) for n in range(1, 5)))
    save_contacts(
        state,
        *(contact(n * 10, "Free@example.com", customer_id=CustomerId(n)) for n in (1, 2)),
        contact(30, "other@example.com", customer_id=THREE),
        contact(40, "555-0101-22", "Phone", customer_id=FOUR),
    )
    save(
        state,
        lease,
        Enrolment(ONE, S.SKIPPED, "duplicate_email"),
        Enrolment(TWO, S.SKIPPED, "filtered"),
        Enrolment(THREE, S.SKIPPED, "duplicate_email"),
        Enrolment(FOUR, S.SKIPPED, "duplicate_email"),
    )
    with state.database.write(lease) as sql:
        mark_sharers(sql, SPRING, TENANT, [])
        mark_sharers(sql, SPRING, TENANT, [""])
        mark_sharers(sql, AUTUMN, TENANT, ["free@example.com"])
        mark_sharers(sql, SPRING, OTHER, ["free@example.com"])
    assert due(state) == []
    with state.database.write(lease) as sql:
        mark_sharers(sql, SPRING, TENANT, ["free@example.com"])
    assert due(state) == [1]


# --- rules and progress ----------------------------------------------------------------------


def applied(state: State, lease: Lease, position: int = 9) -> None:
    """A campaign that has looked, has one referrer, and two failures."""
    state.enrolments.begin(lease, SPRING, TENANT, RF)
    state.enrolments.apply_rule(lease, SPRING, "rule")
    with state.enrolments.looking(lease, TENANT) as sql:
        move_on(sql, SPRING, position)
    save(state, lease, ADA)
    for kind in ("sync", "leads"):
        state.failures.record(
            lease, campaign=SPRING, kind=kind, record="1", reason="no", trace_id="",
            fingerprint="f", state=FailureState.PARKED, run_id=RunId("r"), now=NOW,
        )  # fmt: skip


@pytest.mark.parametrize(("rule", "position"), [("rule", 9), ("another", 0)])
def test_another_rule_looks_at_everybody_again(
    state: State, lease: Lease, rule: str, position: int
) -> None:
    """The same one goes on from where it was; nobody is forgotten by either."""
    applied(state, lease)
    state.enrolments.apply_return_rule(lease, SPRING, "return rule")
    state.enrolments.imported(lease, SPRING, NOW)
    state.enrolments.apply_rule(lease, SPRING, rule)
    progress = state.enrolments.progress(SPRING)
    assert progress == Progress(position, rule, "return rule", NOW, TENANT)
    assert row_of(state, ONE).user_id == ADA.user_id
    assert len(state.failures.of(SPRING)) == 2
    with state.database.read() as sql:
        assert stored_progress(sql, SPRING) == position


@pytest.mark.parametrize(("tenant", "rf"), [(OTHER, RF), (TENANT, RfCampaignId(8))])
def test_between_other_systems_nothing_holds(
    state: State, lease: Lease, autumn: Lease, tenant: str, rf: RfCampaignId
) -> None:
    """Rows, place, import and the sync's failures go; other passes' and campaigns' things stay."""
    applied(state, lease)
    state.enrolments.imported(lease, SPRING, NOW)
    state.enrolments.begin(autumn, AUTUMN, TENANT, RF)
    state.enrolments.apply_rule(autumn, AUTUMN, "rule")
    save(state, autumn, ADA, campaign=AUTUMN)
    state.enrolments.begin(lease, SPRING, tenant, rf)
    state.enrolments.apply_rule(lease, SPRING, "rule")
    assert state.enrolments.progress(SPRING) == Progress(0, "rule", tenant=tenant)
    assert state.enrolments.counts(SPRING) == {}
    assert [failure.kind for failure in state.failures.of(SPRING)] == ["leads"]
    assert row_of(state, ONE, AUTUMN) == ADA


def test_the_first_rule_finds_what_the_write_back_began(state: State, lease: Lease) -> None:
    """Both begin in the same way, and neither forgets what the other has done."""
    state.enrolments.begin(lease, SPRING, TENANT, RF)
    state.enrolments.apply_return_rule(lease, SPRING, "return rule")
    save(state, lease, ADA)
    state.enrolments.begin(lease, SPRING, TENANT, RF)
    state.enrolments.apply_rule(lease, SPRING, "rule")
    assert state.enrolments.progress(SPRING) == Progress(0, "rule", "return rule", tenant=TENANT)
    assert row_of(state, ONE) == ADA
    state.enrolments.begin(lease, SPRING, TENANT, RfCampaignId(8))
    assert state.enrolments.of(SPRING, ONE) is None


def test_another_return_rule_makes_every_referrer_due(
    state: State, lease: Lease, autumn: Lease
) -> None:
    """Each once more than before; how far was looked stays."""
    applied(state, lease)
    save(state, lease, replace(BOB, return_due=2), Enrolment(THREE, S.PLANNED, email_key="c"))
    save(state, autumn, ADA, campaign=AUTUMN)
    state.enrolments.apply_return_rule(lease, SPRING, "links")
    assert state.enrolments.progress(SPRING) == Progress(9, "rule", "links", tenant=TENANT)
    assert [row_of(state, c).return_due for c in (ONE, TWO, THREE)] == [1, 3, 0]
    assert returns(state, AUTUMN) == []


def test_another_tenants_referrers_are_not_written_back(state: State, lease: Lease) -> None:
    """A customer's number says nothing at another tenant, also before the first sync there."""
    applied(state, lease)
    state.enrolments.begin(lease, SPRING, OTHER, RF)
    state.enrolments.apply_return_rule(lease, SPRING, "links")
    assert returns(state) == []


def test_nothing_is_known_of_a_campaign_that_never_looked(state: State) -> None:
    """It begins at the beginning."""
    assert state.enrolments.progress(SPRING) == Progress()
    with state.database.read() as sql:
        assert stored_progress(sql, SPRING) == 0


def test_reset_forgets_how_far_and_what_was_written(
    state: State, lease: Lease, autumn: Lease
) -> None:
    """Who is enrolled stays, and is due for a write-back; the others wait for the look."""
    applied(state, lease)
    save(
        state,
        lease,
        replace(ADA, sent={"email": "a"}, returned={5: "x"}),
        Enrolment(TWO, S.SKIPPED, "no_email"),
        Enrolment(THREE, S.PLANNED, email_key="c"),
    )
    state.enrolments.apply_return_rule(lease, SPRING, "links")
    state.enrolments.imported(lease, SPRING, NOW)
    state.enrolments.begin(autumn, AUTUMN, TENANT, RF)
    state.enrolments.apply_rule(autumn, AUTUMN, "rule")
    save(state, autumn, replace(BOB, returned={5: "y"}), campaign=AUTUMN)
    state.enrolments.reset(lease, SPRING)
    assert state.enrolments.progress(SPRING) == Progress(tenant=TENANT)
    assert row_of(state, ONE) == replace(ADA, sent={"email": "a"}, return_due=2)
    assert state.enrolments.counts(SPRING) == {
        (S.ENROLLED, ""): 1,
        (S.SKIPPED, "no_email"): 1,
        (S.PLANNED, ""): 1,
    }
    assert returns(state) == [1]
    assert row_of(state, TWO, AUTUMN).returned == {5: "y"}
    assert state.enrolments.progress(AUTUMN).rule == "rule"


def test_counts_are_by_state_and_reason(state: State, lease: Lease, autumn: Lease) -> None:
    """Of one campaign; a campaign without rows has none."""
    assert state.enrolments.counts(SPRING) == {}
    save(
        state,
        lease,
        replace(ADA, update_due=True),
        replace(BOB, reason="opted_out"),
        Enrolment(THREE, S.SKIPPED, "filtered"),
        Enrolment(FOUR, S.SKIPPED, "filtered"),
    )
    save(state, autumn, BOB, campaign=AUTUMN)
    assert state.enrolments.counts(SPRING) == {
        (S.ENROLLED, ""): 1,
        (S.LINKED, "opted_out"): 1,
        (S.SKIPPED, "filtered"): 2,
    }
    assert state.enrolments.count_updates(SPRING) == 1
    assert state.enrolments.count_referrers(SPRING) == 1


def test_planned_ones_are_counted_from_a_day_on(state: State, lease: Lease) -> None:
    """The day in UTC, from its first moment, of this tenant's customers."""
    midnight = datetime(2026, 11, 20, tzinfo=UTC)
    for number, created in (
        (1, midnight - timedelta(microseconds=1)),
        (2, midnight),
        (3, midnight + timedelta(days=3)),
        (4, midnight),
    ):
        save_customers(state, customer(number, created_on=created))
    save(
        state,
        lease,
        *(Enrolment(c, S.PLANNED, email_key=f"k{c}") for c in (ONE, TWO, THREE)),
        Enrolment(FOUR, S.SKIPPED, "no_email"),
    )
    day = date(2026, 11, 20)
    assert state.enrolments.count_planned(SPRING) == 3
    assert state.enrolments.count_in_states(SPRING, [S.PLANNED, S.SKIPPED]) == 4
    assert state.enrolments.count_planned(SPRING, since=day) == 2
    assert state.enrolments.count_planned(SPRING, since=day - timedelta(days=1)) == 3
    assert state.enrolments.count_planned(AUTUMN, since=day) == 0


def test_purging_a_campaign_forgets_its_enrolments(
    state: State, lease: Lease, autumn: Lease
) -> None:
    """And how far it looked; another campaign's stay."""
    applied(state, lease)
    save(state, autumn, ADA, campaign=AUTUMN)
    state.connections.purge(SPRING)
    assert state.enrolments.counts(SPRING) == {}
    assert state.enrolments.progress(SPRING) == Progress()
    assert row_of(state, ONE, AUTUMN) == ADA


# --- who holds what --------------------------------------------------------------------------


def test_holders_and_people_of_a_campaign(state: State, lease: Lease, autumn: Lease) -> None:
    """More than one statement lists; blanks and other campaigns' are nobody's."""
    numbers = range(1, VARIABLES + 3)
    save(
        state,
        lease,
        *(
            Enrolment(CustomerId(n), S.ENROLLED, email_key=f"c{n}", user_id=UserId(n + 5000))
            for n in numbers
        ),
        Enrolment(CustomerId(9000), S.SKIPPED, "no_email"),
        Enrolment(CustomerId(9001), S.PLANNED, email_key="planned"),
    )
    save(state, autumn, ADA, campaign=AUTUMN)
    keys = [f"c{n}" for n in numbers]
    users = [UserId(n + 5000) for n in numbers]
    with state.database.read() as sql:
        found = holders(sql, SPRING, ["", "planned", ADA.email_key, *keys, *keys])
        assert found == {"planned": 9001, **{f"c{n}": n for n in numbers}}
        assert holders(sql, SPRING, [""]) == {}
        assert bound_users(sql, SPRING, [*users, UserId(11)]) == {n + 5000: n for n in numbers}
        assert bound_users(sql, SPRING, []) == {}


def test_who_of_these_is_enrolled_by_sync(state: State, lease: Lease, autumn: Lease) -> None:
    """The people and the addresses, each asked for by itself."""
    save(state, lease, ADA)
    save(state, autumn, BOB, campaign=AUTUMN)
    ask = state.enrolments.enrolled_among
    both = [UserId(11), UserId(12)], [ADA.email_key, BOB.email_key, ""]
    assert ask(SPRING, *both) == ({11}, {ADA.email_key})
    assert ask(AUTUMN, *both) == ({12}, {BOB.email_key})
    assert ask(SPRING, [], []) == (set(), set())


def test_merged_referrers_are_found_by_the_survivor(
    state: State, lease: Lease, autumn: Lease
) -> None:
    """Referrers only, by their customer's number, merged straight into one of those asked for."""
    save_customers(
        state,
        customer(1, merged_to_id=FOUR),
        customer(2, merged_to_id=FOUR),
        customer(3, merged_to_id=TWO),
        customer(4),
        customer(5, merged_to_id=FOUR),
        customer(6, merged_to_id=FOUR),
    )
    chained = Enrolment(THREE, S.ENROLLED, email_key="c", user_id=UserId(3))
    save(
        state,
        lease,
        BOB,
        replace(ADA, reason="merged"),
        chained,
        Enrolment(CustomerId(5), S.SKIPPED, "merged"),
        Enrolment(CustomerId(6), S.GONE, "gone", user_id=UserId(6)),
    )
    save(state, autumn, replace(chained, customer_id=CustomerId(5)), campaign=AUTUMN)
    with state.database.read() as sql:
        found = merged_referrers(sql, SPRING, TENANT, [ONE, TWO, THREE, FOUR])
        assert found == {FOUR: [replace(ADA, reason="merged"), BOB], TWO: [chained]}
        assert merged_referrers(sql, SPRING, OTHER, [TWO, FOUR]) == {}
        assert merged_referrers(sql, SPRING, TENANT, []) == {}


# --- whose turn it is ------------------------------------------------------------------------


def _looking(state: State, lease: Lease) -> None:
    with state.enrolments.looking(lease, TENANT) as sql:
        move_on(sql, SPRING, 77)


FENCED: dict[str, Callable[[State, Lease], Any]] = {
    "looking": _looking,
    "save": lambda s, lease: save(s, lease, replace(ADA, reason="merged")),
    "rule": lambda s, lease: s.enrolments.apply_rule(lease, SPRING, "another"),
    "begin": lambda s, lease: s.enrolments.begin(lease, SPRING, OTHER, RF),
    "return rule": lambda s, lease: s.enrolments.apply_return_rule(lease, SPRING, "x"),
    "due": lambda s, lease: s.enrolments.make_due(lease, SPRING, RF, [ONE]),
    "return due": lambda s, lease: s.enrolments.make_return_due(lease, SPRING, [ONE]),
    "imported": lambda s, lease: s.enrolments.imported(lease, SPRING, NOW),
    "reset": lambda s, lease: s.enrolments.reset(lease, SPRING),
    "settle": lambda s, lease: s.enrolments.settle(
        lease, SPRING, [Settled(ONE, S.GONE, "", None, {})], NOW
    ),
    "written back": lambda s, lease: s.enrolments.mark_return(
        lease, SPRING, [(ADA, {5: "x"})], NOW
    ),
}


@pytest.mark.parametrize("write", FENCED)
def test_a_write_under_a_lost_lease_changes_nothing(state: State, lost: Lease, write: str) -> None:
    """A process that slept while another took over cannot write any more; it ends with 7."""
    current = Lease(lost.name, lost.fence + 1)
    applied(state, current)
    before = everything(state)
    with pytest.raises(LeaseLost) as caught:
        FENCED[write](state, lost)
    assert caught.value.exit_code is ExitCode.LOCKED
    assert everything(state) == before
    FENCED[write](state, current)
    assert everything(state) != before


def test_a_look_that_fails_keeps_its_place(state: State, lease: Lease) -> None:
    """What was judged and how far that is are kept together or not at all."""
    applied(state, lease)
    before = everything(state)

    class DiesError(Exception):
        pass

    with pytest.raises(DiesError), state.enrolments.looking(lease, TENANT) as sql:
        save_enrolments(sql, SPRING, TENANT, [BOB], NOW)
        move_on(sql, SPRING, 10)
        raise DiesError
    assert everything(state) == before


PAGE = FeedPage((customer(2, name="Fed meanwhile"),), "t2", has_more=False)


def _feed(where: str, ready: Any, done: Any) -> None:
    """Another process that reads the feed on."""
    other = State(opened(where))
    ready.set()
    other.customers.save_customers(TENANT, "x", PAGE, NOW)
    done.set()
    other.close()


@pytest.mark.parametrize("kind", ["thread", "process"])
def test_nobody_feeds_while_somebody_looks(
    state: State, lease: Lease, place: Place, kind: str
) -> None:
    """The page waits for the end of the look, so its change number lies beyond where that is."""
    save_customers(state, customer(1))
    state.enrolments.begin(lease, SPRING, TENANT, RF)
    state.enrolments.apply_rule(lease, SPRING, "rule")
    started: Any
    if kind == "thread":
        ready, done = threading.Event(), threading.Event()
        started = threading.Thread(target=_feed, args=(place.where, ready, done))
    else:
        context = multiprocessing.get_context("spawn")
        ready, done = context.Event(), context.Event()  # type: ignore[assignment]
        started = context.Process(target=_feed, args=(place.where, ready, done))
    with state.enrolments.looking(lease, TENANT) as sql:
        started.start()
        assert ready.wait(30)
        assert not done.wait(0.5)
        ids, reached = changed_since(sql, TENANT, 0, 100)
        move_on(sql, SPRING, reached)
        assert ids == [1]
        assert state.feeds.cursor(TENANT, Feed.CUSTOMERS) == Cursor("x", "")
    assert done.wait(30)
    started.join(30)
    assert state.feeds.cursor(TENANT, Feed.CUSTOMERS) == Cursor("t2", "")
    with state.database.read() as sql:
        assert changed_since(sql, TENANT, reached, 100)[0] == [2]


def test_a_look_waits_for_who_feeds(state: State, lease: Lease, place: Place) -> None:
    """It then sees the whole page: nothing is judged on half of what was told."""
    other = State(place.opened())
    looked: list[list[CustomerId]] = []
    begins = threading.Event()

    def look() -> None:
        begins.set()
        with state.enrolments.looking(lease, TENANT) as sql:
            looked.append(changed_since(sql, TENANT, 0, 100)[0])

    thread = threading.Thread(target=look)
    with other.database.write() as sql:
        thread.start()
        assert begins.wait(30)
        for number in (1, 2):
            sql.execute(
                "INSERT INTO crm_customers VALUES (?, ?, 'n', 't', 1, 0, 0, 0, '', '', '', 'a', "
                "'b', ?)",
                (TENANT, number, number),
            )
            thread.join(0.2)
            assert looked == []
    thread.join(30)
    other.close()
    assert looked == [[1, 2]]


# --- people whose enrolment rests on them ----------------------------------------------------


def people(state: State, **facts: Any) -> None:
    state.people.save([person(11, "ada@example.com", **facts), person(12, "bob@example.com")])


@pytest.mark.parametrize(
    ("facts", "look", "tell"),
    [
        ({}, [], []),
        ({"first_name": "Other", "meta": {"Zip": "1"}, "source": "Added"}, [], []),
        ({"unsubscribed_at": date(2026, 11, 23)}, [1], []),
        ({"url": "https://example.com/other"}, [], [1]),
        ({"code": "other"}, [], [1]),
        ({"referrals": 3, "qualified_referrals": 1}, [], [1]),
        ({"referrals": 2, "qualified_referrals": 2}, [], [1]),
        ({"referrals": 2, "qualified_referrals": 1}, [], []),
        ({"email": "ada.new@example.com"}, [], []),
    ],
)
def test_what_a_person_changed_concerns_its_row(
    state: State, lease: Lease, facts: dict[str, Any], look: list[int], tell: list[int]
) -> None:
    """A wish is looked at, a link or a count is written back; nobody else's row is touched."""
    people(state, referrals=2, qualified_referrals=1)
    save(state, lease, ADA, BOB)
    given = {"email": "ada@example.com", **facts}
    state.people.save([person(11, given.pop("email"), **given)])
    assert (due(state), returns(state)) == (look, tell)


def test_who_comes_back_is_looked_at_again(state: State, lease: Lease) -> None:
    """An unsubscription that ended is a change as well; the same one again is none."""
    left = date(2026, 11, 23)
    people(state, unsubscribed_at=left)
    save(state, lease, ADA, BOB)
    people(state, unsubscribed_at=left)
    assert due(state) == []
    people(state)
    assert due(state) == [1]


def test_a_person_concerns_every_campaign_that_has_it(
    state: State, lease: Lease, autumn: Lease
) -> None:
    """The list is the account's; two local campaigns may stand on one of Referral Factory's."""
    people(state)
    save(state, lease, ADA)
    save(state, autumn, replace(ADA, customer_id=TWO), campaign=AUTUMN)
    people(state, url="https://example.com/other", unsubscribed_at=date(2026, 11, 23))
    assert (due(state), due(state, AUTUMN)) == ([1], [2])
    assert (returns(state), returns(state, AUTUMN)) == ([1], [2])


def test_a_read_without_counts_keeps_those_that_are_known(state: State, lease: Lease) -> None:
    """It did not ask for them, so it says nothing of them; zero is a count."""
    people(state)
    save(state, lease, ADA, BOB)
    people(state, referrals=0, qualified_referrals=0)
    assert returns(state) == [1]
    state.enrolments.mark_return(lease, SPRING, [(row_of(state, ONE), {})], NOW)
    people(state)
    found = state.people.get(UserId(11))
    assert found is not None
    assert (found.referrals, found.qualified_referrals) == (0, 0)
    assert returns(state) == []
    unknown = state.people.get(UserId(12))
    assert unknown is not None
    assert (unknown.referrals, unknown.qualified_referrals) == (None, None)


def test_an_address_that_was_given_up_concerns_who_waits_for_it(state: State, lease: Lease) -> None:
    """By the address before; another spelling of it is the same, and others do not wait for it."""
    save_customers(state, customer(1), customer(2), customer(3))
    save_contacts(
        state,
        contact(10, "ada@example.com"),
        contact(20, "ada@example.com", customer_id=TWO),
        contact(30, "new@example.com", customer_id=THREE),
    )
    people(state)
    save(
        state,
        lease,
        Enrolment(ONE, S.SKIPPED, "duplicate_email"),
        Enrolment(TWO, S.SKIPPED, "no_name"),
        Enrolment(THREE, S.SKIPPED, "duplicate_email"),
    )
    state.people.save([person(11, " ADA@example.com")])
    assert due(state) == []
    state.people.save([person(11, "new@example.com")])
    assert due(state) == [1]


def test_who_came_with_an_answer_is_listed_by_the_list(state: State) -> None:
    """Until then the end of the list is read as if nothing was known of it."""
    known = [UserId(11), UserId(12)]
    state.people.save([person(11, "ada@example.com")], listed=False)
    state.people.save([person(12, "bob@example.com")])
    assert state.people.known(known) == {12}
    assert state.people.get(UserId(11)) == person(11, "ada@example.com")
    state.people.mark_listed([UserId(11), UserId(99)])
    assert state.people.known(known) == {11, 12}
    state.people.save([person(11, "ada@example.com")], listed=False)
    assert state.people.known(known) == {11, 12}


def test_people_are_found_by_address(state: State) -> None:
    """In one campaign, whatever the spelling; more than one statement lists."""
    numbers = range(1, VARIABLES + 3)
    state.people.save([person(n, f"C{n}@Example.com ") for n in numbers])
    state.people.save([person(9000, "c1@example.com", campaign_id=RfCampaignId(8))])
    state.people.save([person(9001, "")])
    with state.database.read() as sql:
        found = people_by_email(sql, RF, ["", "nobody", *(f"c{n}@example.com" for n in numbers)])
    assert {key: one.id for key, one in found.items()} == {f"c{n}@example.com": n for n in numbers}
