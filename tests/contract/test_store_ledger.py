"""The ledger's life, fencing, failures: on a real database file."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from stcli.domain.ids import BookingId, CampaignName, JobId, RfCampaignId, RunId, UserId
from stcli.errors import ExitCode, LeaseLost, UsageError
from stcli.store.engine import Lease
from stcli.store.failures import FailureState
from stcli.store.ledger import (
    Booked,
    Doubtful,
    Intent,
    LedgerScope,
    LedgerState,
    Refused,
    Withdrawn,
)
from stcli.store.locks import Locks, Process
from stcli.store.qualifications import Evaluated, QualificationState
from stcli.store.state import State
from tests.contract.conftest import Place

NOW = datetime(2026, 11, 23, 12, 0, 0, 123456, tzinfo=UTC)
SPRING = CampaignName("spring")
LEADS = LedgerScope(SPRING, "leads", "production/1", RfCampaignId(7))
REFERRERS = LedgerScope(SPRING, "referrers", "production/1", RfCampaignId(7))
RUN = RunId("run-1")
ADA, BOB = UserId(1001), UserId(1002)
ASKED = Intent(ADA, "aB3x9", "aB3x9", "draft-1")
MADE = Booked(ADA, "aB3x9", "aB3x9", BookingId(77), NOW, found=False)


@pytest.fixture
def state(place: Place) -> Iterator[State]:
    """A fresh state of its own."""
    database = place.opened()
    opened = State(database)
    yield opened
    opened.close()


def locks_of(state: State, pid: int, alive: bool) -> Locks:
    return Locks(state.database, Process("here", pid, "s"), lambda process: alive, lambda: NOW)


@pytest.fixture
def lease(state: State) -> Iterator[Lease]:
    with locks_of(state, 1, alive=True).hold(SPRING, "leads") as held:
        yield held.lease


@pytest.fixture
def lost(state: State) -> Iterator[Lease]:
    """A lease that a second process has taken over: the first one looked dead."""
    with locks_of(state, 1, alive=True).hold(SPRING, "leads") as held:  # noqa: SIM117 - in order
        with locks_of(state, 2, alive=False).hold(SPRING, "leads"):
            yield held.lease


def test_an_intent_is_unfinished_until_it_is_settled(state: State, lease: Lease) -> None:
    """It is on record before the POST, with the fingerprint of what is sent."""
    state.ledger.intend(lease, LEADS, [ASKED, replace(ASKED, user_id=BOB, code="b")], RUN, NOW)
    first, second = state.ledger.unfinished(LEADS)
    assert (first.user_id, first.state, first.draft) == (ADA, LedgerState.INTENT, "draft-1")
    assert second.user_id == BOB
    assert state.ledger.count_done(LEADS) == 0
    assert state.qualifications.all(SPRING, LEADS.tenant) == []


def test_a_booked_one_is_done(state: State, lease: Lease) -> None:
    """The booking is known, to the microsecond, and the lead waits for its qualification."""
    state.ledger.intend(lease, LEADS, [ASKED], RUN, NOW)
    state.ledger.settle(lease, LEADS, [MADE], RUN, NOW)
    entry = state.ledger.entry(LEADS, ADA)
    assert entry is not None
    assert (entry.state, entry.booking_id, entry.booked_on) == (LedgerState.BOOKED, 77, NOW)
    assert state.ledger.by_code(LEADS, "aB3x9") == entry
    assert state.ledger.unfinished(LEADS) == []
    assert state.ledger.count_done(LEADS) == 1
    (watched,) = state.qualifications.due(SPRING, LEADS.tenant, NOW)
    assert (watched.user_id, watched.booking_id) == (ADA, 77)
    assert not watched.look_up_job


def test_codes_are_told_apart_by_case(state: State, lease: Lease) -> None:
    """``aB3x9`` and ``ab3x9`` are two people."""
    state.ledger.settle(lease, LEADS, [MADE, replace(MADE, user_id=BOB, code="ab3x9")], RUN, NOW)
    assert state.ledger.by_code(LEADS, "ab3x9").user_id == BOB  # type: ignore[union-attr]
    assert state.ledger.by_code(LEADS, "AB3X9") is None


def test_a_found_one_is_linked_and_its_job_is_looked_up(state: State, lease: Lease) -> None:
    """Somebody else made it, so a job may have come of it already."""
    state.ledger.settle(lease, LEADS, [replace(MADE, found=True)], RUN, NOW)
    assert state.ledger.entry(LEADS, ADA).state is LedgerState.LINKED  # type: ignore[union-attr]
    assert state.qualifications.of(SPRING, LEADS.tenant, ADA).look_up_job  # type: ignore[union-attr]
    state.qualifications.job_looked_up(lease, LEADS.tenant, [ADA])
    assert not state.qualifications.of(SPRING, LEADS.tenant, ADA).look_up_job  # type: ignore[union-attr]


def test_referrers_are_not_watched_and_not_mixed_up(state: State, lease: Lease) -> None:
    """The same person may have one row in each tab; only leads are qualified."""
    state.ledger.settle(lease, REFERRERS, [MADE], RUN, NOW)
    assert state.ledger.entry(LEADS, ADA) is None
    assert state.ledger.count_done(REFERRERS) == 1
    assert state.qualifications.all(SPRING, LEADS.tenant) == []


def test_a_doubtful_one_stays_unfinished(state: State, lease: Lease) -> None:
    """It is in doubt since we stopped listening, and a later look-up settles it."""
    state.ledger.intend(lease, LEADS, [ASKED], RUN, NOW)
    state.ledger.settle(lease, LEADS, [Doubtful(ADA, NOW)], RUN, NOW)
    (entry,) = state.ledger.unfinished(LEADS)
    assert (entry.state, entry.doubt_since) == (LedgerState.IN_DOUBT, NOW)
    assert (entry.external_id, entry.draft) == ("aB3x9", "draft-1")
    state.ledger.settle(lease, LEADS, [MADE], RUN, NOW)
    entry_after = state.ledger.entry(LEADS, ADA)
    assert entry_after is not None
    assert (entry_after.state, entry_after.doubt_since) == (LedgerState.BOOKED, None)


@pytest.mark.parametrize("doubted", [False, True])
def test_a_withdrawn_one_was_never_there(state: State, lease: Lease, doubted: bool) -> None:
    """An intent that was not sent, or certainly had no effect, leaves nothing behind."""
    state.ledger.intend(lease, LEADS, [ASKED], RUN, NOW)
    if doubted:
        state.ledger.settle(lease, LEADS, [Doubtful(ADA, NOW)], RUN, NOW)
    state.ledger.settle(lease, LEADS, [Withdrawn(ADA)], RUN, NOW)
    assert state.ledger.entry(LEADS, ADA) is None
    assert state.failures.of(SPRING) == []


@pytest.mark.parametrize(
    "settled", [Withdrawn(ADA), Refused(ADA, "aB3x9", "no", "", "d", parked=True)]
)
def test_a_booking_that_exists_is_not_withdrawn(
    state: State, lease: Lease, settled: Withdrawn | Refused
) -> None:
    """A late settlement never forgets a booking."""
    state.ledger.settle(lease, LEADS, [MADE], RUN, NOW)
    state.ledger.settle(lease, LEADS, [settled], RUN, NOW)
    assert state.ledger.entry(LEADS, ADA).state is LedgerState.BOOKED  # type: ignore[union-attr]


@pytest.mark.parametrize(
    ("parked", "kind"), [(True, FailureState.PARKED), (False, FailureState.TRANSIENT)]
)
def test_a_refused_one_is_a_failure(
    state: State, lease: Lease, parked: bool, kind: FailureState
) -> None:
    """The intent is gone, the failure knows why and what was sent; success clears it."""
    state.ledger.intend(lease, LEADS, [ASKED], RUN, NOW)
    refused = Refused(ADA, "aB3x9", "no such zip", "trace-1", "draft-1", parked)
    state.ledger.settle(lease, LEADS, [refused], RUN, NOW)
    assert state.ledger.entry(LEADS, ADA) is None
    (failure,) = state.failures.of(SPRING, "leads")
    assert (failure.record, failure.reason, failure.trace_id) == ("aB3x9", "no such zip", "trace-1")
    assert (failure.fingerprint, failure.state) == ("draft-1", kind)
    state.ledger.settle(lease, LEADS, [MADE], RUN, NOW)
    assert state.failures.of(SPRING) == []


def test_a_resend_asks_for_one_more_beside_those_known(state: State, lease: Lease) -> None:
    """An intent that follows and is withdrawn falls back to the resend, not to nothing."""
    state.ledger.settle(lease, LEADS, [MADE], RUN, NOW)
    state.ledger.resend(LEADS, ADA, [BookingId(77), BookingId(78)], NOW)
    (entry,) = state.ledger.resends(LEADS)
    assert (entry.ignored, entry.booking_id, entry.booked_on) == ((77, 78), None, None)
    assert state.ledger.count_done(LEADS) == 0
    again = replace(ASKED, ignored=entry.ignored)
    state.ledger.intend(lease, LEADS, [again], RUN, NOW)
    assert state.ledger.resends(LEADS) == []
    assert state.ledger.unfinished(LEADS)[0].ignored == (77, 78)
    state.ledger.settle(lease, LEADS, [Withdrawn(ADA)], RUN, NOW)
    assert state.ledger.resends(LEADS)[0].ignored == (77, 78)
    state.ledger.intend(lease, LEADS, [again], RUN, NOW)
    state.ledger.settle(lease, LEADS, [replace(MADE, booking_id=BookingId(79))], RUN, NOW)
    assert state.ledger.resends(LEADS) == []
    assert state.ledger.entry(LEADS, ADA).booking_id == 79  # type: ignore[union-attr]


@pytest.mark.parametrize(
    ("booking", "job", "look_up"), [(BookingId(5), None, True), (None, JobId(6), False)]
)
def test_evidence_by_hand_binds_and_is_watched(
    state: State, lease: Lease, booking: BookingId | None, job: JobId | None, look_up: bool
) -> None:
    """A booking or a job may be given; the failure of that person is over."""
    refused = Refused(ADA, "aB3x9", "no", "", "d", parked=True)
    state.ledger.settle(lease, LEADS, [refused], RUN, NOW)
    state.ledger.bind(LEADS, ADA, "aB3x9", booking=booking, job=job, booked_on=None, now=NOW)
    entry = state.ledger.entry(LEADS, ADA)
    assert entry is not None
    assert (entry.state, entry.booking_id, entry.job_id) == (LedgerState.LINKED, booking, job)
    assert state.failures.of(SPRING) == []
    (watched,) = state.qualifications.due(SPRING, LEADS.tenant, NOW)
    assert (watched.hand_job_id, watched.look_up_job) == (job, look_up)


def test_a_job_by_hand_keeps_the_booking_that_is_known(state: State, lease: Lease) -> None:
    """Binding adds evidence and takes none away."""
    state.ledger.settle(lease, LEADS, [MADE], RUN, NOW)
    state.ledger.bind(LEADS, ADA, "aB3x9", booking=None, job=JobId(6), booked_on=None, now=NOW)
    entry = state.ledger.entry(LEADS, ADA)
    assert entry is not None
    assert (entry.booking_id, entry.job_id, entry.booked_on) == (77, 6, NOW)
    assert entry.external_id == "aB3x9"


def test_people_who_were_there_before_are_left_alone(state: State, lease: Lease) -> None:
    """They are remembered once, and somebody with a booking is not overwritten."""
    state.ledger.settle(lease, LEADS, [MADE], RUN, NOW)
    assert state.ledger.remember_present(LEADS, [(ADA, "aB3x9"), (BOB, "b")], NOW) == 1
    assert state.ledger.remember_present(LEADS, [(BOB, "b")], NOW) == 0
    assert state.ledger.remember_present(LEADS, [], NOW) == 0
    assert state.ledger.count_present(LEADS) == 1
    assert state.ledger.count_done(LEADS) == 1
    assert state.ledger.entry(LEADS, ADA).state is LedgerState.BOOKED  # type: ignore[union-attr]
    assert state.ledger.entry(LEADS, BOB).state is LedgerState.PRESENT  # type: ignore[union-attr]


def test_a_settlement_is_whole_or_nothing(state: State, lease: Lease) -> None:
    """Where one of several cannot be stored, none is."""
    broken = replace(MADE, user_id=BOB, code=None)  # type: ignore[arg-type]
    with pytest.raises(Exception, match=r"(?i)not.null"):
        state.ledger.settle(lease, LEADS, [MADE, broken], RUN, NOW)
    assert state.ledger.entry(LEADS, ADA) is None


def test_it_is_on_disk_once_the_call_returns(state: State, lease: Lease, place: Place) -> None:
    """Another process, or this one after a crash, sees the intent."""
    state.ledger.intend(lease, LEADS, [ASKED], RUN, NOW)
    other = State(place.opened())
    assert [entry.user_id for entry in other.ledger.unfinished(LEADS)] == [ADA]
    other.close()


FENCED: dict[str, Callable[[State, Lease], Any]] = {
    "intend": lambda s, lease: s.ledger.intend(lease, LEADS, [ASKED], RUN, NOW),
    "settle": lambda s, lease: s.ledger.settle(lease, LEADS, [MADE], RUN, NOW),
    "failure": lambda s, lease: s.failures.record(
        lease, campaign=SPRING, kind="leads", record="x", reason="r", trace_id="", fingerprint="",
        state=FailureState.PARKED, run_id=RUN, now=NOW,
    ),
    "clear": lambda s, lease: s.failures.clear(
        lease, campaign=SPRING, kind="leads", records=["old"]
    ),
    "rule": lambda s, lease: s.qualifications.apply_rule(lease, SPRING, LEADS.tenant, "rule", NOW),
    "looked up": lambda s, lease: s.qualifications.job_looked_up(lease, LEADS.tenant, [BOB]),
    "evaluated": lambda s, lease: s.qualifications.save(
        lease, SPRING, LEADS.tenant, [Evaluated(BOB, QualificationState.QUALIFIED)], NOW
    ),
}  # fmt: skip


def everything(state: State) -> list[object]:
    with state.database.read() as sql:
        return [
            sql.execute(f"SELECT * FROM {table} ORDER BY 1, 2, 3").all()
            for table in ("ledger", "failures", "qualifications")
        ]


@pytest.mark.parametrize("write", FENCED)
def test_a_write_under_a_lost_lease_changes_nothing(state: State, lost: Lease, write: str) -> None:
    """A process that slept while another took over cannot write any more; it ends with 7."""
    current = Lease(lost.name, lost.fence + 1)
    bob = replace(MADE, user_id=BOB, code="b", found=True)
    state.ledger.settle(current, LEADS, [bob], RUN, NOW)
    refused = Refused(ADA, "old", "no", "", "d", parked=True)
    state.ledger.settle(current, LEADS, [refused], RUN, NOW)
    before = everything(state)
    with pytest.raises(LeaseLost) as caught:
        FENCED[write](state, lost)
    assert caught.value.exit_code is ExitCode.LOCKED
    assert everything(state) == before
    FENCED[write](state, current)
    assert everything(state) != before


def test_a_lease_that_never_was_is_lost(state: State) -> None:
    """A restored old database knows no such lock."""
    with pytest.raises(LeaseLost):
        state.ledger.intend(Lease("other", 1), LEADS, [ASKED], RUN, NOW)


def record(state: State, lease: Lease, name: str, reason: str = "no", at: datetime = NOW) -> None:
    state.failures.record(
        lease,
        campaign=SPRING,
        kind="leads",
        record=name,
        reason=reason,
        trace_id="t",
        fingerprint="f",
        state=FailureState.PARKED,
        run_id=RUN,
        now=at,
    )


def test_a_repeated_failure_is_one_with_two_times(state: State, lease: Lease) -> None:
    """First and last time are kept, the newest reason counts, the number stays."""
    record(state, lease, "a")
    number = state.failures.of(SPRING)[0].id
    record(state, lease, "a", "still no", NOW + timedelta(days=1))
    (failure,) = state.failures.of(SPRING)
    assert (failure.id, failure.reason) == (number, "still no")
    assert (failure.first_at, failure.last_at) == (NOW, NOW + timedelta(days=1))


def test_failures_are_dismissed_and_retried_by_number(state: State, lease: Lease) -> None:
    """Dismissed ones are listed and not open; retried ones are due again."""
    for name in "abc":
        record(state, lease, name)
    first, second, third = state.failures.of(SPRING)
    assert state.failures.open_count(SPRING) == 3
    assert state.failures.dismiss(SPRING, [first.id]) == 1
    assert state.failures.retry(SPRING, [second.id]) == 1
    assert [f.state.value for f in state.failures.of(SPRING)] == [
        "dismissed",
        "transient",
        "parked",
    ]
    assert state.failures.open_count(SPRING) == 2
    assert state.failures.retry(SPRING, []) == 2
    assert state.failures.of(SPRING)[0].state is FailureState.DISMISSED
    assert state.failures.retry(SPRING, [first.id, first.id]) == 1
    assert state.failures.dismiss(SPRING, [third.id]) == 1


def test_a_number_that_there_is_not_changes_nothing(state: State, lease: Lease) -> None:
    """Not even the failures that were named beside it; another campaign's number is none either."""
    for name in "ab":
        record(state, lease, name)
    first, second = state.failures.of(SPRING)
    for change in (state.failures.retry, state.failures.dismiss):
        with pytest.raises(UsageError, match="has no failure 9998, 9999"):
            change(SPRING, [first.id, 9999, second.id, 9998])
        with pytest.raises(UsageError, match=f"other has no failure {first.id}"):
            change("other", [first.id])
    assert state.failures.of(SPRING) == [first, second]


def test_failures_belong_to_a_campaign_and_a_kind(state: State, lease: Lease) -> None:
    """Clearing one leaves the same record of another kind alone."""
    record(state, lease, "a")
    refused = Refused(ADA, "a", "no", "", "d", parked=True)
    state.ledger.settle(lease, REFERRERS, [refused], RUN, NOW)
    assert state.failures.of("other") == []
    state.failures.clear(lease, campaign=SPRING, kind="leads", records=["a", "absent"])
    (left,) = state.failures.of(SPRING)
    assert left.kind == "referrers"


def test_a_new_rule_makes_all_due_once(state: State, lease: Lease) -> None:
    """The same rule again changes nothing."""
    state.ledger.settle(lease, LEADS, [MADE], RUN, NOW)
    assert state.qualifications.apply_rule(lease, SPRING, LEADS.tenant, "one", NOW) == 1
    later = Evaluated(ADA, QualificationState.OPEN, evaluate_at=NOW + timedelta(days=2))
    state.qualifications.save(lease, SPRING, LEADS.tenant, [later], NOW)
    assert state.qualifications.due(SPRING, LEADS.tenant, NOW) == []
    assert len(state.qualifications.due(SPRING, LEADS.tenant, NOW + timedelta(days=2))) == 1
    assert state.qualifications.apply_rule(lease, SPRING, LEADS.tenant, "one", NOW) == 0
    assert state.qualifications.due(SPRING, LEADS.tenant, NOW) == []
    assert state.qualifications.apply_rule(lease, SPRING, LEADS.tenant, "two", NOW) == 1
    assert len(state.qualifications.due(SPRING, LEADS.tenant, NOW)) == 1
    assert state.qualifications.counts(SPRING, LEADS.tenant) == {QualificationState.OPEN: 1}


def test_an_intent_to_qualify_after_a_hold_is_still_due(state: State, lease: Lease) -> None:
    """A lead that came up by its time alone is picked up again if the pass dies now."""
    state.ledger.settle(lease, LEADS, [MADE], RUN, NOW)
    waits = Evaluated(ADA, QualificationState.OPEN, evaluate_at=NOW)
    state.qualifications.save(lease, SPRING, LEADS.tenant, [waits], NOW)
    assert len(state.qualifications.due(SPRING, LEADS.tenant, NOW)) == 1
    intent = Evaluated(ADA, QualificationState.INTENT, due=True, job_id=JobId(5))
    state.qualifications.save(lease, SPRING, LEADS.tenant, [intent], NOW)
    (watched,) = state.qualifications.due(SPRING, LEADS.tenant, NOW)
    assert watched.state is QualificationState.INTENT


def test_oldest_booking_tells_where_the_feeds_begin(state: State, lease: Lease) -> None:
    """The earliest of the tenant; none where nobody was booked."""
    assert state.qualifications.oldest_booking(LEADS.tenant) is None
    old = replace(MADE, user_id=BOB, code="b", booked_on=NOW - timedelta(days=9))
    state.ledger.settle(lease, LEADS, [MADE, old], RUN, NOW)
    assert state.qualifications.oldest_booking(LEADS.tenant) == NOW - timedelta(days=9)
    assert state.qualifications.oldest_booking("production/2") is None
