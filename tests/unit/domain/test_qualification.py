"""When a lead is qualified: methods, conditions, hold, cancellation, several jobs."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from stcli.domain.campaign import Excluded, Qualification
from stcli.domain.catalog import JOB_STATUSES
from stcli.domain.ids import BookingId, JobId
from stcli.domain.qualification import (
    Decision,
    Evidence,
    JobEvidence,
    ReachedStatus,
    ResolvedConditions,
    Rule,
    Verdict,
    is_taken_back,
    judge,
    status_named_by,
)
from stcli.domain.records import Job

NOW = datetime(2026, 11, 23, 12, tzinfo=UTC)
CREATED = NOW - timedelta(days=10)
JOB = Job(JobId(5), "Scheduled", CREATED, CREATED, booking_id=BookingId(1))


def ago(**span: float) -> datetime:
    return NOW - timedelta(**span)


def reached(status: str, at: datetime = NOW, where: str = "jobs feed") -> ReachedStatus:
    return ReachedStatus(status, at, where)


def evidence(*jobs: JobEvidence) -> Evidence:
    return Evidence(BookingId(1), "Converted", jobs)


def job(*history: ReachedStatus, known_by: str = "booking", **facts: Any) -> JobEvidence:
    return JobEvidence(replace(JOB, **facts), known_by, history)


def rule(method: str = "reaches", **settings: Any) -> Rule:
    conditions = settings.pop("conditions", ResolvedConditions())
    if method == "reaches":
        method = "booking_becomes_job_and_reaches"
        settings = {"property": "job_status", "value": "Completed"} | settings
    return Rule(Qualification.model_validate({"method": method, **settings}), conditions)


def verdict(found: Evidence, now: datetime = NOW, **settings: Any) -> Verdict:
    return judge(rule(**settings), found, now)


COMPLETED = reached("Completed", ago(days=1))


def test_do_not_qualify_qualifies_nobody() -> None:
    """However far the job got, people qualify by hand."""
    found = evidence(job(COMPLETED, status="Completed"))
    assert verdict(found, method="do_not_qualify").decision is Decision.NOT_YET


def test_becoming_a_job_is_enough_where_the_method_says_so() -> None:
    """The lead is qualified from the moment the job was made."""
    judged = verdict(evidence(job()), method="booking_becomes_job")
    assert judged.decision is Decision.QUALIFY
    assert (judged.job_id, judged.reached_at) == (JobId(5), CREATED)


@pytest.mark.parametrize("method", ["booking_becomes_job", "reaches"])
@pytest.mark.parametrize("status", ["New", "Accepted", "Dismissed", ""])
def test_a_booking_without_a_job_is_not_yet(method: str, status: str) -> None:
    """The check shows which booking was seen and how it stands."""
    judged = verdict(Evidence(BookingId(1), status, ()), method=method)
    assert judged.decision is Decision.NOT_YET
    assert "booking 1" in judged.checks[0].seen
    assert (status or "not read yet") in judged.checks[0].seen


def test_no_booking_at_all_is_not_yet() -> None:
    """Nothing is known, nothing is claimed."""
    judged = verdict(Evidence(None, "", ()))
    assert (judged.decision, judged.checks[0].seen) == (Decision.NOT_YET, "none")


@pytest.mark.parametrize("value", JOB_STATUSES)
@pytest.mark.parametrize("seen", JOB_STATUSES)
def test_only_the_value_asked_for_counts(value: str, seen: str) -> None:
    """Each status is reached by itself and by no other."""
    judged = verdict(evidence(job(reached(seen), status=seen)), value=value)
    assert (judged.decision is Decision.QUALIFY) == (value == seen)


def test_a_status_that_passed_between_two_polls_counts() -> None:
    """The history knows it although no poll ever saw it."""
    found = evidence(
        job(
            reached("Dispatched", ago(hours=3), "job history"),
            reached("Completed", ago(hours=2)),
            status="Completed",
        )
    )
    judged = verdict(found, value="Dispatched")
    assert judged.decision is Decision.QUALIFY
    assert judged.reached_at == ago(hours=3)
    check = judged.checks[-1]
    assert (check.seen_in, check.at) == ("job history", ago(hours=3))
    assert check.seen == "Dispatched, Completed"


def test_completed_on_alone_proves_nothing() -> None:
    """It is set by mistake and by imports too."""
    found = evidence(job(reached("Scheduled"), status="Scheduled", completed_on=ago(days=2)))
    assert verdict(found).decision is Decision.NOT_YET


@pytest.mark.parametrize(
    ("event", "status"),
    [
        ("Completed", "Completed"),
        ("completed", "Completed"),
        ("Job Completed", "Completed"),
        ("JobCompleted", "Completed"),
        ("In Progress", "InProgress"),
        ("in-progress", "InProgress"),
        ("InProgress", "InProgress"),
        ("Working", "InProgress"),
        ("Job Started", "InProgress"),
        ("On Hold", "Hold"),
        ("Hold", "Hold"),
        ("Cancelled", "Canceled"),
        ("JOB CANCELED", "Canceled"),
        ("Dispatched", "Dispatched"),
        ("Scheduled", "Scheduled"),
        ("Job Complete", "Completed"),
        ("", ""),
        ("Job", ""),
        ("Paused", ""),
        ("Job Rescheduled", ""),
        ("Job Booked", ""),
        ("Uncompleted", ""),
        ("Completed by mistake", ""),
        ("Technician Dispatched", ""),
        ("完了", ""),
    ],
)
def test_which_status_an_event_names(event: str, status: str) -> None:
    """Case and spaces do not count; what is not known counts for nothing."""
    assert status_named_by(event) == status


@given(st.text(max_size=30))
def test_an_event_names_a_known_status_or_none(event: str) -> None:
    """Whatever the server sends, no new status appears."""
    assert status_named_by(event) in (*JOB_STATUSES, "")


@pytest.mark.parametrize("method", ["booking_becomes_job", "reaches"])
@pytest.mark.parametrize(
    ("since", "decision"),
    [
        (timedelta(days=3, seconds=-1), Decision.WAIT),
        (timedelta(days=3), Decision.QUALIFY),
        (timedelta(days=9), Decision.QUALIFY),
        (timedelta(0), Decision.WAIT),
    ],
)
def test_hold_days_are_counted_from_the_event(
    method: str, since: timedelta, decision: Decision
) -> None:
    """N times 24 hours from the event, to the second."""
    at = NOW - since
    found = evidence(job(reached("Completed", at), created_on=at))
    judged = verdict(found, method=method, hold_days=3)
    assert judged.decision is decision
    assert judged.due_at == at + timedelta(days=3)


@pytest.mark.parametrize("method", ["booking_becomes_job", "reaches"])
@pytest.mark.parametrize("status", ["Canceled", "Cancelled"])
@pytest.mark.parametrize("settings", [{"hold_days": 3}, {"on_cancel": "unqualify"}])
def test_a_job_canceled_meanwhile_does_not_qualify(
    method: str, status: str, settings: dict[str, Any]
) -> None:
    """After the hold it is tested again; nobody is qualified only to be unqualified."""
    found = evidence(job(reached("Completed", ago(days=9)), status=status))
    judged = verdict(found, method=method, **settings)
    assert judged.decision is Decision.NOT_YET
    assert judged.checks[-1].condition == "job is not canceled now"


def test_without_hold_a_status_once_reached_stays_reached() -> None:
    """Reached at any time is reached; ``keep`` is the default."""
    found = evidence(job(COMPLETED, reached("Canceled"), status="Canceled"))
    assert verdict(found).decision is Decision.QUALIFY


def test_canceled_itself_may_be_asked_for() -> None:
    """Then being canceled now is no obstacle, with hold or without."""
    found = evidence(job(reached("Canceled", ago(days=9)), status="Canceled"))
    assert verdict(found, value="Canceled", hold_days=3).decision is Decision.QUALIFY
    assert verdict(found, value="Canceled", on_cancel="unqualify").decision is Decision.QUALIFY


def test_a_value_of_another_method_has_no_say() -> None:
    """``value: Canceled`` means nothing to booking_becomes_job."""
    settings = {"method": "booking_becomes_job", "value": "Canceled", "on_cancel": "unqualify"}
    found = evidence(job(status="Canceled"))
    assert verdict(found, **settings).decision is Decision.NOT_YET
    assert is_taken_back(rule(**settings), found, JobId(5))


@pytest.mark.parametrize(
    ("conditions", "good", "bad", "named"),
    [
        ({"job_types": {7, 8}}, {"job_type_id": 7}, {"job_type_id": 9}, "job type"),
        ({"job_types": {7}}, {"job_type_id": 7}, {"job_type_id": None}, "job type"),
        ({"business_units": {3}}, {"business_unit_id": 3}, {"business_unit_id": 4}, "business"),
        ({"tags": {1, 2}}, {"tag_type_ids": (2, 9)}, {"tag_type_ids": (9,)}, "tag"),
        ({"tags": {1}}, {"tag_type_ids": (1,)}, {"tag_type_ids": ()}, "tag"),
        ({"minimum_total": 99.5}, {"total": 99.5}, {"total": 99.49}, "total"),
        ({"minimum_total": 1.0}, {"total": 1.0}, {"total": None}, "total"),
        ({"exclude": {Excluded.RECALL}}, {}, {"recall_for_id": 4}, "recall"),
        ({"exclude": {Excluded.WARRANTY}}, {}, {"warranty_id": 4}, "warranty"),
        ({"exclude": {Excluded.NO_CHARGE}}, {}, {"no_charge": True}, "no_charge"),
    ],
)
def test_each_condition(
    conditions: dict[str, Any], good: dict[str, Any], bad: dict[str, Any], named: str
) -> None:
    """A job qualifies only where the condition holds, and the check shows it."""
    asked = ResolvedConditions(
        **{k: frozenset(v) if isinstance(v, set) else v for k, v in conditions.items()}
    )
    fits = verdict(evidence(job(COMPLETED, **good)), conditions=asked)
    lacks = verdict(evidence(job(COMPLETED, **bad)), conditions=asked)
    assert (fits.decision, lacks.decision) == (Decision.QUALIFY, Decision.NOT_YET)
    (check,) = [check for check in lacks.checks if not check.holds]
    assert named in check.condition
    without = verdict(evidence(job(COMPLETED, **bad)))
    assert without.decision is Decision.QUALIFY


def test_all_conditions_must_hold() -> None:
    """One that does not is enough to wait; every one of them is shown."""
    asked = ResolvedConditions(job_types=frozenset({7}), tags=frozenset({1}))
    judged = verdict(evidence(job(COMPLETED, job_type_id=7)), conditions=asked)
    assert judged.decision is Decision.NOT_YET
    assert [check.holds for check in judged.checks] == [True, True, True, False]


def test_conditions_do_not_replace_the_status() -> None:
    """A job that fits but did not reach the value is not there yet."""
    asked = ResolvedConditions(job_types=frozenset({7}))
    assert verdict(evidence(job(job_type_id=7)), conditions=asked).decision is Decision.NOT_YET


@pytest.mark.parametrize("order", [1, -1])
def test_any_job_of_a_booking_may_qualify(order: int) -> None:
    """A job canceled and made anew counts, in whatever order they are known."""
    jobs = [
        job(reached("Canceled"), status="Canceled"),
        job(COMPLETED, id=JobId(6), status="Completed"),
    ][::order]
    judged = verdict(evidence(*jobs), on_cancel="unqualify")
    assert (judged.decision, judged.job_id) == (Decision.QUALIFY, JobId(6))


def test_conditions_hold_for_one_and_the_same_job() -> None:
    """The status of one job and the type of another do not add up."""
    asked = ResolvedConditions(job_types=frozenset({7}))
    found = evidence(job(COMPLETED, job_type_id=8), job(job_type_id=7, id=JobId(6)))
    assert verdict(found, conditions=asked).decision is Decision.NOT_YET


@pytest.mark.parametrize("order", [1, -1])
def test_a_job_that_waits_comes_before_one_that_does_not(order: int) -> None:
    """While one job is on hold the lead is looked at again when that ends."""
    jobs = [job(), job(COMPLETED, id=JobId(6))][::order]
    judged = verdict(evidence(*jobs), hold_days=3)
    assert (judged.decision, judged.job_id) == (Decision.WAIT, JobId(6))


def test_of_two_jobs_that_wait_the_earlier_counts() -> None:
    """The lead is due when the first of its jobs is."""
    late = job(reached("Completed", ago(days=1)))
    early = job(reached("Completed", ago(days=2)), id=JobId(6))
    judged = verdict(evidence(late, early), hold_days=3)
    assert judged.due_at == ago(days=2) + timedelta(days=3)


@pytest.mark.parametrize(
    ("known_by", "shown"),
    [("booking", "booking"), ("job", "job's bookingId"), ("hand", "link by hand")],
)
def test_explain_shows_how_a_job_is_known(known_by: str, shown: str) -> None:
    """Where each fact was seen is part of the verdict."""
    check = verdict(evidence(job(COMPLETED, known_by=known_by))).checks[0]
    assert (check.seen_in, check.seen, check.at) == (shown, "job 5", CREATED)


@pytest.mark.parametrize(
    ("on_cancel", "status", "qualified_by", "value", "taken_back"),
    [
        ("unqualify", "Canceled", 5, "Completed", True),
        ("unqualify", "Cancelled", 5, "Completed", True),
        ("keep", "Canceled", 5, "Completed", False),
        ("unqualify", "Completed", 5, "Completed", False),
        ("unqualify", "Canceled", 6, "Completed", False),
        ("unqualify", "Canceled", None, "Completed", False),
        ("unqualify", "Canceled", 5, "Canceled", False),
    ],
)
def test_what_is_taken_back(
    on_cancel: str, status: str, qualified_by: int | None, value: str, taken_back: bool
) -> None:
    """Only the cancellation of the very job that qualified the lead undoes it, where asked for."""
    found = evidence(job(COMPLETED, status=status), job(status="Scheduled", id=JobId(7)))
    by = None if qualified_by is None else JobId(qualified_by)
    assert is_taken_back(rule(value=value, on_cancel=on_cancel), found, by) is taken_back


def test_a_rule_has_another_fingerprint_whenever_a_verdict_could_change() -> None:
    """All open leads are judged again then; limits change no verdict."""
    prints = [
        rule().fingerprint,
        rule(value="Dispatched").fingerprint,
        rule(method="booking_becomes_job").fingerprint,
        rule(hold_days=1).fingerprint,
        rule(on_cancel="unqualify").fingerprint,
        Rule(
            Qualification.model_validate(
                {
                    "method": "booking_becomes_job_and_reaches",
                    "property": "job_status",
                    "value": "Completed",
                    "conditions": {"minimum_total": 5},
                }
            )
        ).fingerprint,
        rule(conditions=ResolvedConditions(tags=frozenset({1}))).fingerprint,
        rule(conditions=ResolvedConditions(job_types=frozenset({1}))).fingerprint,
        rule(conditions=ResolvedConditions(business_units=frozenset({1}))).fingerprint,
    ]
    assert len(set(prints)) == len(prints)
    assert rule(limits={"max_qualifies": 1}).fingerprint == rule().fingerprint


@given(st.permutations([reached(s, ago(hours=n)) for n, s in enumerate(JOB_STATUSES)]))
def test_the_order_of_the_evidence_does_not_matter(history: list[ReachedStatus]) -> None:
    """Reached is a union: it has no order."""
    assert verdict(evidence(job(*history))).decision is Decision.QUALIFY
