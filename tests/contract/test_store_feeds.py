"""Export feeds, people and runs: on a real database file."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from datetime import UTC, date, datetime, timedelta
from itertools import permutations

import pytest

from stcli.domain.ids import (
    BookingId,
    CampaignName,
    JobId,
    ProviderId,
    RfCampaignId,
    RunId,
    UserId,
)
from stcli.domain.records import Booking, FeedPage, Job, JobEvent, Person, PersonType
from stcli.store.engine import Lease
from stcli.store.feeds import Cursor, Feed
from stcli.store.ledger import Booked, LedgerScope
from stcli.store.locks import Locks, Process
from stcli.store.people import CHUNK, CompleteRead
from stcli.store.qualifications import Evaluated, QualificationState
from stcli.store.state import State
from stcli.store.statements import VARIABLES
from tests.contract.conftest import Place

NOW = datetime(2026, 11, 23, 12, tzinfo=UTC)
TENANT = "production/1"
CREATED = NOW - timedelta(days=9)
BOOKING = Booking(BookingId(77), "aB3x9", ProviderId(4), "New", CREATED, NOW)
JOB = Job(JobId(5), "Scheduled", CREATED, NOW, booking_id=BookingId(77))


@pytest.fixture
def state(place: Place) -> Iterator[State]:
    """A fresh state of its own."""
    database = place.opened()
    opened = State(database)
    yield opened
    opened.close()


def later(minutes: float) -> datetime:
    return NOW + timedelta(minutes=minutes)


def page(*records: object, token: str = "t1", more: bool = False) -> FeedPage:  # type: ignore[type-arg]
    return FeedPage(records, token, more)


def save_jobs(state: State, *jobs: Job) -> None:
    """A page of the jobs feed, from wherever it was read to."""
    cursor = state.feeds.cursor(TENANT, Feed.JOBS) or state.feeds.open(TENANT, Feed.JOBS, None, NOW)
    assert state.feeds.save_jobs(TENANT, cursor.token, page(*jobs, token=cursor.token + "x"), NOW)


def save_bookings(state: State, *bookings: Booking) -> None:
    """A page of the bookings feed, from wherever it was read to."""
    feed = Feed.BOOKINGS
    cursor = state.feeds.cursor(TENANT, feed) or state.feeds.open(TENANT, feed, None, NOW)
    saved = page(*bookings, token=cursor.token + "x")
    assert state.feeds.save_bookings(TENANT, cursor.token, saved, NOW)


def save_events(state: State, *events: JobEvent) -> None:
    """A page of the job history feed, from wherever it was read to."""
    feed = Feed.JOB_HISTORY
    cursor = state.feeds.cursor(TENANT, feed) or state.feeds.open(TENANT, feed, None, NOW)
    saved = page(*events, token=cursor.token + "x")
    assert state.feeds.save_history(TENANT, cursor.token, saved, NOW)


@pytest.mark.parametrize("feed", list(Feed))
@pytest.mark.parametrize(("since", "start"), [(date(2026, 11, 1), "2026-11-01"), (None, "")])
def test_a_feed_is_opened_from_a_day(
    state: State, feed: Feed, since: date | None, start: str
) -> None:
    """The day is the first token; opening again starts again."""
    assert state.feeds.cursor(TENANT, feed) is None
    assert state.feeds.open(TENANT, feed, since, NOW) == Cursor(start, start)
    assert state.feeds.cursor(TENANT, feed) == Cursor(start, start)
    assert state.feeds.cursor("production/2", feed) is None
    assert state.feeds.open(TENANT, feed, date(2026, 1, 1), NOW).token == "2026-01-01"


def test_page_and_token_are_committed_together(state: State) -> None:
    """The token goes on where the page ended; the day it was opened from is kept."""
    state.feeds.open(TENANT, Feed.BOOKINGS, date(2026, 11, 1), NOW)
    assert state.feeds.save_bookings(TENANT, "2026-11-01", page(BOOKING), NOW)
    assert state.feeds.cursor(TENANT, Feed.BOOKINGS) == Cursor("t1", "2026-11-01")
    assert state.feeds.bookings(TENANT, [BookingId(77)]) == {77: BOOKING}


def test_a_page_behind_a_moved_token_is_not_kept(state: State) -> None:
    """Of two processes that read the same page one saves it; neither skips anything."""
    feeds = (Feed.BOOKINGS, Feed.JOBS, Feed.JOB_HISTORY)
    for feed in feeds:
        state.feeds.open(TENANT, feed, None, NOW)
    event = JobEvent(1, JOB.id, "Completed", NOW)
    assert state.feeds.save_bookings(TENANT, "", page(), NOW)
    assert state.feeds.save_jobs(TENANT, "", page(), NOW)
    assert state.feeds.save_history(TENANT, "", page(), NOW)
    state.feeds.save_job(TENANT, replace(JOB, id=JobId(6)))
    assert not state.feeds.save_bookings(TENANT, "", page(BOOKING, token="t2"), NOW)
    assert not state.feeds.save_jobs(TENANT, "", page(JOB, token="t2"), NOW)
    behind = page(replace(event, job_id=JobId(6)), token="t2")
    assert not state.feeds.save_history(TENANT, "", behind, NOW)
    assert state.feeds.bookings(TENANT, [BOOKING.id]) == {}
    assert state.feeds.jobs(TENANT, [JOB.id]) == {}
    assert state.feeds.events(TENANT, JobId(6)) == []
    assert {state.feeds.cursor(TENANT, feed).token for feed in feeds} == {"t1"}  # type: ignore[union-attr]


def test_a_feed_that_was_never_opened_takes_no_page(state: State) -> None:
    """A token without its beginning is worth nothing."""
    assert not state.feeds.save_bookings(TENANT, "", page(BOOKING), NOW)
    assert state.feeds.bookings(TENANT, [BOOKING.id]) == {}


VERSIONS = [
    replace(BOOKING, modified_on=later(n), status=status, job_id=job)
    for n, (status, job) in enumerate([("New", None), ("Accepted", None), ("Converted", JobId(5))])
]


@pytest.mark.parametrize("order", list(permutations(range(3))))
@pytest.mark.parametrize("one_page", [True, False])
def test_the_newer_booking_wins_in_any_order(
    state: State, order: tuple[int, ...], one_page: bool
) -> None:
    """``modifiedOn`` decides, within one page and over several."""
    versions = [VERSIONS[number] for number in order]
    for part in [versions] if one_page else [[version] for version in versions]:
        save_bookings(state, *part)
    assert state.feeds.bookings(TENANT, [BOOKING.id])[BOOKING.id] == VERSIONS[2]


@pytest.mark.parametrize("order", list(permutations(range(3))))
@pytest.mark.parametrize("one_page", [True, False])
def test_the_newer_job_wins_and_every_status_is_kept(
    state: State, order: tuple[int, ...], one_page: bool
) -> None:
    """What it is now is decided by ``modifiedOn``; what it ever was is a union."""
    versions = [
        replace(JOB, modified_on=later(n), status=("Scheduled", "Completed", "Hold")[n], total=n)
        for n in order
    ]
    for part in [versions] if one_page else [[version] for version in versions]:
        save_jobs(state, *part)
    stored, read = state.feeds.jobs(TENANT, [JOB.id])[JOB.id]
    assert (stored.status, stored.total, stored.modified_on) == ("Hold", 2, later(2))
    assert not read
    assert [(r.status, r.at) for r in state.feeds.reached(TENANT, [JOB.id])[JOB.id]] == [
        ("Scheduled", later(0)),
        ("Completed", later(1)),
        ("Hold", later(2)),
    ]


def test_every_fact_of_a_job_survives(state: State) -> None:
    """What conditions look at is stored as it came."""
    job = replace(
        JOB,
        completed_on=later(1),
        job_type_id=2**40,
        business_unit_id=3,
        tag_type_ids=(9, 4),
        total=99.5,
        recall_for_id=6,
        warranty_id=7,
        no_charge=True,
    )
    save_jobs(state, job)
    assert state.feeds.jobs(TENANT, [JOB.id]) == {JOB.id: (job, False)}
    assert state.feeds.jobs("production/2", [JOB.id]) == {}


def test_jobs_without_a_booking_are_kept_only_when_known(state: State) -> None:
    """A tenant has many jobs that no referral made."""
    stray = replace(JOB, id=JobId(8), booking_id=None)
    save_jobs(state, stray, JOB)
    assert set(state.feeds.jobs(TENANT, [JobId(5), JobId(8)])) == {5}
    state.feeds.save_job(TENANT, stray)
    save_jobs(state, replace(stray, status="Completed", modified_on=later(1)))
    assert state.feeds.jobs(TENANT, [JobId(8)])[JobId(8)][0].status == "Completed"


def test_repeats_are_harmless(state: State) -> None:
    """The same pages again leave everything as it is."""
    event = JobEvent(1, JOB.id, "Completed", later(3))
    for _ in range(2):
        save_bookings(state, BOOKING, BOOKING)
        save_jobs(state, JOB, JOB)
        save_events(state, event, event)
    assert state.feeds.bookings_with(TENANT, ["aB3x9"]) == {"aB3x9": [BOOKING]}
    assert state.feeds.events(TENANT, JOB.id) == [event]
    assert [r.status for r in state.feeds.reached(TENANT, [JOB.id])[JOB.id]] == [
        "Scheduled",
        "Completed",
    ]


def test_history_names_statuses_and_keeps_what_it_does_not_know(state: State) -> None:
    """Unknown events are listed and count for nothing; events of strange jobs are left out."""
    save_jobs(state, JOB)
    save_events(
        state,
        JobEvent(2, JOB.id, "Job Completed", later(-5)),
        JobEvent(1, JOB.id, "Technician sneezed", later(-9)),
        JobEvent(3, JobId(999), "Completed", NOW),
    )
    assert [e.event_type for e in state.feeds.events(TENANT, JOB.id)] == [
        "Technician sneezed",
        "Job Completed",
    ]
    found = state.feeds.reached(TENANT, [JOB.id, JobId(999)])
    assert [(r.status, r.seen_in) for r in found[JOB.id]] == [
        ("Completed", "job history"),
        ("Scheduled", "jobs feed"),
    ]
    assert JobId(999) not in found
    assert state.feeds.events(TENANT, JobId(999)) == []


@pytest.mark.parametrize("feed_first", [True, False])
def test_the_history_tells_the_earlier_time(state: State, feed_first: bool) -> None:
    """The feed shows a status some time after it was reached; the earliest counts."""
    save_jobs(state, replace(JOB, modified_on=later(-60)))
    job, event = (
        replace(JOB, status="Completed", modified_on=later(5)),
        JobEvent(1, JOB.id, "Completed", later(2)),
    )
    if feed_first:
        save_jobs(state, job)
        save_events(state, event)
    else:
        save_events(state, event)
        save_jobs(state, job)
    reached = state.feeds.reached(TENANT, [JOB.id])[JOB.id][-1]
    assert (reached.status, reached.at, reached.seen_in) == ("Completed", later(2), "job history")


def test_a_jobs_own_history_is_read_once(state: State) -> None:
    """It is remembered that it was, also where it was empty."""
    state.feeds.save_job(TENANT, JOB)
    state.feeds.save_own_history(TENANT, JOB.id, [])
    assert state.feeds.jobs(TENANT, [JOB.id])[JOB.id][1]
    save_jobs(state, replace(JOB, modified_on=later(1), status="Hold"))
    assert state.feeds.jobs(TENANT, [JOB.id])[JOB.id][1]


def test_bookings_are_found_by_external_id(state: State) -> None:
    """All of any provider and status, told apart by case, of this tenant only."""
    other = replace(BOOKING, id=BookingId(78), provider_id=ProviderId(9), status="Dismissed")
    lower = replace(BOOKING, id=BookingId(79), external_id="ab3x9")
    save_bookings(state, other, BOOKING, lower)
    state.feeds.save_listed("production/2", [replace(BOOKING, id=BookingId(80))])
    assert state.feeds.bookings_with(TENANT, ["aB3x9", "none"]) == {"aB3x9": [BOOKING, other]}


def test_many_are_asked_for_at_once(state: State) -> None:
    """More than one statement can list, on either side of the limit."""
    numbers = range(1, 2 * VARIABLES + 2)
    made = [replace(BOOKING, id=BookingId(n), external_id=f"e{n}") for n in numbers]
    save_bookings(state, *made)
    assert len(state.feeds.bookings(TENANT, [b.id for b in made])) == len(made)
    assert len(state.feeds.bookings_with(TENANT, [b.external_id for b in made])) == len(made)
    assert state.feeds.bookings_with(TENANT, []) == {}


def test_jobs_of_a_booking_by_age(state: State) -> None:
    """A job that was canceled and the one made anew."""
    save_jobs(state, replace(JOB, id=JobId(9)), JOB, replace(JOB, id=JobId(3), booking_id=None))
    assert state.feeds.jobs_of(TENANT, [BookingId(77), BookingId(1)]) == {77: [5, 9]}


# --- who becomes due -------------------------------------------------------------------------


def book(state: State, campaign: str, booking: int, tenant: str = TENANT, user: int = 1) -> Lease:
    """A booked lead of a campaign, looked at already; gives a lease of that campaign."""
    name = CampaignName(campaign)
    locks = Locks(state.database, Process("here", 1, "s"), lambda p: True, lambda: NOW)
    with locks.hold(name, "leads") as held:
        scope = LedgerScope(name, "leads", tenant, RfCampaignId(7))
        booked = Booked(UserId(user), f"c{user}", f"c{user}", BookingId(booking), NOW, found=False)
        state.ledger.settle(held.lease, scope, [booked], RunId("r"), NOW)
        seen = Evaluated(UserId(user), QualificationState.OPEN)
        state.qualifications.save(held.lease, name, tenant, [seen], NOW)
    assert state.qualifications.due(name, tenant, NOW) == []
    return held.lease


def due(state: State, campaign: str, tenant: str = TENANT) -> list[int]:
    return [w.user_id for w in state.qualifications.due(CampaignName(campaign), tenant, NOW)]


def test_a_change_makes_leads_of_every_campaign_due(state: State) -> None:
    """The feeds are the tenant's: whoever reads them, all campaigns on it profit."""
    book(state, "spring", 77)
    book(state, "autumn", 77, user=2)
    book(state, "autumn", 78, user=3)
    book(state, "elsewhere", 77, tenant="production/2", user=4)
    save_jobs(state, JOB)
    assert (due(state, "spring"), due(state, "autumn")) == ([1], [2])
    assert due(state, "elsewhere", "production/2") == []


@pytest.mark.parametrize("change", [{"status": "Accepted"}, {"job_id": JobId(5)}])
def test_a_changed_booking_makes_its_lead_due(state: State, change: dict[str, object]) -> None:
    """A new status or a job; a booking that only came again does not."""
    save_bookings(state, BOOKING)
    book(state, "spring", 77)
    save_bookings(state, replace(BOOKING, modified_on=later(1)))
    assert due(state, "spring") == []
    save_bookings(state, replace(BOOKING, modified_on=later(2), **change))  # type: ignore[arg-type]
    assert due(state, "spring") == [1]


def test_an_older_booking_makes_nobody_due(state: State) -> None:
    """A late arrival of an old version changes nothing."""
    save_bookings(state, replace(BOOKING, modified_on=later(5), status="Converted"))
    book(state, "spring", 77)
    save_bookings(state, BOOKING)
    assert due(state, "spring") == []


def test_a_job_known_only_from_the_booking_makes_its_lead_due(state: State) -> None:
    """The booking's ``jobId`` is evidence although the job names no booking."""
    save_bookings(state, replace(BOOKING, job_id=JobId(8)))
    state.feeds.save_job(TENANT, replace(JOB, id=JobId(8), booking_id=None))
    book(state, "spring", 77)
    done = replace(JOB, id=JobId(8), booking_id=None, status="Completed", modified_on=later(1))
    save_jobs(state, done)
    assert due(state, "spring") == [1]


def test_an_event_of_a_job_makes_its_lead_due(state: State) -> None:
    """A status that passed between two polls comes from the history alone."""
    save_jobs(state, JOB)
    book(state, "spring", 77)
    save_events(state, JobEvent(1, JOB.id, "Dispatched", NOW))
    assert due(state, "spring") == [1]


def test_a_job_linked_by_hand_makes_its_lead_due(state: State) -> None:
    """Evidence given by hand is followed like any other."""
    lease = book(state, "spring", 77)
    scope = LedgerScope(CampaignName("spring"), "leads", TENANT, RfCampaignId(7))
    stray = replace(JOB, id=JobId(8), booking_id=None)
    state.feeds.save_job(TENANT, stray)
    state.ledger.bind(scope, UserId(1), "c1", booking=None, job=JobId(8), booked_on=None, now=NOW)
    locks = Locks(state.database, Process("here", 1, "s"), lambda p: True, lambda: NOW)
    with locks.hold(lease.name, "qualify") as held:
        seen = Evaluated(UserId(1), QualificationState.OPEN)
        state.qualifications.save(held.lease, CampaignName("spring"), TENANT, [seen], NOW)
    assert due(state, "spring") == []
    save_jobs(state, replace(stray, status="Completed", modified_on=later(1)))
    assert due(state, "spring") == [1]


def test_a_change_while_a_lead_is_judged_is_not_lost(state: State) -> None:
    """Another campaign's pass may read the feed between reading the evidence and the verdict."""
    lease = book(state, "spring", 77)
    save_jobs(state, JOB)
    (watched,) = state.qualifications.due(CampaignName("spring"), TENANT, NOW)
    save_jobs(state, replace(JOB, status="Completed", modified_on=later(1)))
    verdict = Evaluated(watched.user_id, QualificationState.OPEN, seen=watched.due)
    state.qualifications.save(lease, CampaignName("spring"), TENANT, [verdict], NOW)
    assert due(state, "spring") == [1]


# --- people ----------------------------------------------------------------------------------

LEAD = Person(
    id=UserId(1001),
    campaign_id=RfCampaignId(7),
    type=PersonType.LEAD,
    code="aB3x9",
    first_name="Ada",
    email="ada@example.com",
    url="https://x.test/aB3x9",
    source="Referred",
    referrer_id=UserId(900),
    signed_up_at=date(2026, 11, 23),
    qualified_at=date(2026, 11, 24),
    unsubscribed_at=date(2026, 11, 25),
    promotion_code="SAVE20",
    meta={"Straße": "字", "Zip": "01234"},
)
PLAIN = replace(
    LEAD, id=UserId(5), code="b", referrer_id=None, signed_up_at=None, qualified_at=None,
    unsubscribed_at=None, promotion_code="", meta={},
)  # fmt: skip


@pytest.mark.parametrize("person", [LEAD, PLAIN])
def test_a_person_comes_back_as_it_was(state: State, person: Person) -> None:
    """Days, labels in any script and what is absent survive."""
    state.people.save([person])
    assert state.people.get(person.id) == person
    assert state.people.with_code(person.code) == person
    assert state.people.get(UserId(1)) is None
    assert state.people.with_code(person.code.swapcase()) is None


def test_a_later_read_refreshes_and_removes_nobody(state: State) -> None:
    """Who is missing from a read is never taken as deleted."""
    state.people.save([LEAD, PLAIN])
    state.people.save([])
    state.people.save([replace(LEAD, email="new@example.com", qualified_at=None)])
    assert state.people.get(LEAD.id).email == "new@example.com"  # type: ignore[union-attr]
    assert state.people.get(LEAD.id).qualified_at is None  # type: ignore[union-attr]
    assert state.people.count(RfCampaignId(7), PersonType.LEAD) == 2


def test_known_tells_which_of_a_page(state: State) -> None:
    """Only those that are stored."""
    state.people.save([LEAD])
    assert state.people.known([LEAD.id, UserId(2)]) == {LEAD.id}
    assert state.people.known([]) == set()


@pytest.mark.parametrize("number", [0, 1, CHUNK - 1, CHUNK, CHUNK + 1, 2 * CHUNK])
def test_chunks_give_everyone_once(state: State, number: int) -> None:
    """By id, each once, none empty, whatever the number."""
    state.people.save([replace(PLAIN, id=UserId(n), code=str(n)) for n in range(number, 0, -1)])
    chunks = list(state.people.of_campaign(RfCampaignId(7), PersonType.LEAD))
    assert [person.id for chunk in chunks for person in chunk] == list(range(1, number + 1))
    assert all(0 < len(chunk) <= CHUNK for chunk in chunks)


def test_a_campaign_has_its_own_people_of_a_kind(state: State) -> None:
    """Other campaigns and the other role are left out."""
    state.people.save(
        [
            LEAD,
            replace(LEAD, id=UserId(2), type=PersonType.REFERRER),
            replace(LEAD, id=UserId(3), campaign_id=RfCampaignId(8)),
        ]
    )
    chunks = list(state.people.of_campaign(RfCampaignId(7), PersonType.LEAD))
    assert [[person.id for person in chunk] for chunk in chunks] == [[LEAD.id]]
    assert state.people.count(RfCampaignId(7), PersonType.REFERRER) == 1
    assert state.people.count(RfCampaignId(9), PersonType.LEAD) == 0


def test_without_booking_leaves_out_who_has_a_row(state: State) -> None:
    """Booked on this tenant and in this tab, under any name; a resend is asked for again."""
    state.people.save([replace(LEAD, id=UserId(n), code=f"c{n}") for n in (1, 2, 3)])
    book(state, "spring", 77, user=1)
    book(state, "spring", 78, user=2)
    scope = LedgerScope(CampaignName("spring"), "leads", TENANT, RfCampaignId(7))
    state.ledger.resend(scope, UserId(2), [BookingId(78)], NOW)

    def wanted(tenant: str, tab: str) -> list[int]:
        chunks = state.people.without_booking(RfCampaignId(7), PersonType.LEAD, tenant, tab)
        return [person.id for chunk in chunks for person in chunk]

    assert wanted(TENANT, "leads") == [2, 3]
    assert wanted(TENANT, "referrers") == [1, 2, 3]
    assert wanted("integration:1", "leads") == [1, 2, 3]


def test_the_last_complete_read_is_remembered(state: State) -> None:
    """One for each account; a newer one replaces it."""
    assert state.people.complete_read("main") is None
    for read in (CompleteRead(NOW, True, 10, 999), CompleteRead(later(1), False, 11, 1005)):
        state.people.remember_read("main", read)
        assert state.people.complete_read("main") == read
    assert state.people.complete_read("other") is None


# --- runs ------------------------------------------------------------------------------------


def test_a_run_is_running_until_it_ends(state: State) -> None:
    """Its report comes back as it was, with times and exit code."""
    state.runs.start(RunId("r1"), "spring", "leads", NOW, "here", 5)
    run = state.runs.last("spring")["leads"]
    assert (run.status, run.exit_code, run.finished_at) == ("running", None, None)
    report = {"counts": {"seen": 3}, "note": "ü"}
    state.runs.finish(RunId("r1"), "partial", 5, later(2), report)
    run = state.runs.last("spring")["leads"]
    assert (run.status, run.exit_code, run.report) == ("partial", 5, report)
    assert (run.started_at, run.finished_at) == (NOW, later(2))


def test_last_is_the_newest_of_each_kind(state: State) -> None:
    """By when it started, for each kind of pass of that campaign."""
    for number, (campaign, kind, minute) in enumerate(
        [
            ("spring", "leads", 5),
            ("spring", "leads", 1),
            ("spring", "qualify", 0),
            ("autumn", "leads", 9),
        ]
    ):
        state.runs.start(RunId(f"r{number}"), campaign, kind, later(minute), "here", 5)
    found = state.runs.last("spring")
    assert {kind: run.run_id for kind, run in found.items()} == {"leads": "r0", "qualify": "r2"}
    assert state.runs.last("none") == {}
