"""What a pass did: counts, status, exit codes."""

from __future__ import annotations

from collections import Counter
from datetime import UTC, datetime
from itertools import combinations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from stcli.domain.ids import CampaignName, RunId
from stcli.domain.outcome import (
    PLAN_LINES,
    Count,
    Failure,
    PassKind,
    PassResult,
    RunStatus,
    SkipReason,
    Tally,
)
from stcli.errors import (
    EXIT_CODE_MEANINGS,
    ExitCode,
    Interrupted,
    LeaseLost,
    Locked,
    NotConnected,
    SafetyStop,
    SetupRequired,
    StcliError,
    Terminated,
    Unavailable,
    worst,
)

NOW = datetime(2026, 11, 23, tzinfo=UTC)
ORDER = (143, 130, 1, 4, 3, 6, 7, 5, 0)


def result(tally: Tally, error: StcliError | None = None) -> PassResult:
    return PassResult(
        CampaignName("spring"), PassKind.LEADS, RunId("r"), False, NOW, NOW, tally, error=error
    )


def failed() -> Tally:
    tally = Tally()
    tally.fail(Failure("aB3x9", "refused"))
    return tally


@pytest.mark.parametrize(("first", "second"), list(combinations(ORDER, 2)))
def test_of_two_exit_codes_the_worse_wins(first: int, second: int) -> None:
    """The order is the product's, whatever order the passes ran in."""
    codes = [ExitCode(first), ExitCode(second)]
    assert worst(codes) == worst(reversed(codes)) == first


def test_no_pass_is_done() -> None:
    """Nothing to do is no failure."""
    assert worst([]) is ExitCode.DONE


@given(st.lists(st.sampled_from([ExitCode(code) for code in ORDER]), min_size=1))
def test_the_worst_is_one_that_occurred(codes: list[ExitCode]) -> None:
    """It is the first of the order that is among them."""
    assert worst(codes) == next(code for code in ORDER if code in codes)


def test_a_wrong_usage_is_never_called_done() -> None:
    """Exit 2 has no rank among passes, but it is not success."""
    assert worst([ExitCode.USAGE]) is not ExitCode.DONE


def test_every_exit_code_has_a_meaning() -> None:
    """The documented numbers are all there are."""
    assert {int(code) for code in ExitCode} == {*ORDER, 2}
    assert set(EXIT_CODE_MEANINGS) == set(ExitCode)


@given(st.lists(st.tuples(st.sampled_from(Count), st.integers(0, 50))))
def test_seen_is_the_sum_of_the_others(added: list[tuple[Count, int]]) -> None:
    """It is never kept apart, so it cannot differ."""
    tally = Tally()
    for count, number in added:
        tally.add(count, number)
    assert tally.seen == sum(number for _, number in added)


def test_skips_and_failures_are_seen_too() -> None:
    """Each adds to its count, to its reasons and to seen."""
    tally = failed()
    tally.skip(SkipReason.TEST)
    tally.skip(SkipReason.TEST, 2)
    tally.skip(SkipReason.BEFORE_SINCE, 0)
    tally.add(Count.CREATED)
    assert tally.seen == 5
    assert tally.counts[Count.SKIPPED] == 3
    assert dict(tally.skipped) == {SkipReason.TEST: 3}
    assert [failure.record for failure in tally.failures] == ["aB3x9"]


def test_a_plan_lists_the_first_thousand() -> None:
    """The counts cover all, the list does not."""
    tally = Tally()
    for number in range(PLAN_LINES + 5):
        tally.intend(str(number), "book")
    assert PLAN_LINES == 1000
    assert [line.record for line in tally.plan] == [str(number) for number in range(1000)]
    assert tally.seen == 0


@pytest.mark.parametrize(
    ("tally", "error", "status", "code"),
    [
        (Tally(), None, RunStatus.SUCCEEDED, 0),
        (failed(), None, RunStatus.PARTIAL, 5),
        (Tally(), NotConnected("x"), RunStatus.FAILED, 4),
        (failed(), Unavailable("x"), RunStatus.FAILED, 6),
        (Tally(), SetupRequired("x"), RunStatus.FAILED, 3),
        (Tally(), SafetyStop("x"), RunStatus.FAILED, 3),
        (Tally(), Locked("x"), RunStatus.FAILED, 7),
        (Tally(), LeaseLost("x"), RunStatus.FAILED, 7),
        (Tally(), StcliError("x"), RunStatus.FAILED, 1),
        (failed(), Interrupted("x"), RunStatus.INTERRUPTED, 130),
        (Tally(), Terminated("x"), RunStatus.INTERRUPTED, 143),
    ],
)
def test_status_and_exit_code(
    tally: Tally, error: StcliError | None, status: RunStatus, code: int
) -> None:
    """An error decides before failed records do; a stop is no failure."""
    assert (result(tally, error).status, result(tally, error).exit_code) == (status, code)


def test_words_of_the_json() -> None:
    """Other programs rely on these names, and the reasons on their order."""
    assert [str(count) for count in Count] == [
        "created", "updated", "linked", "qualified", "unqualified", "unchanged", "skipped",
        "failed",
    ]  # fmt: skip
    assert [str(kind) for kind in PassKind] == ["sync", "leads", "referrers", "qualify", "return"]
    assert [str(reason) for reason in SkipReason] == [
        "before_since", "test", "source_excluded", "enrolled_by_sync", "inactive", "merged",
        "no_name", "no_email", "invalid_email", "do_not_mail", "do_not_service", "marketing_off",
        "suppressed", "duplicate_email", "filtered", "opted_out", "gone", "existing_customer",
    ]  # fmt: skip
    assert [str(s) for s in RunStatus] == ["succeeded", "partial", "failed", "interrupted"]


@pytest.mark.parametrize(
    ("tally", "error", "is_eventful"),
    [
        (Tally(), None, False),
        (Tally(counts=Counter({Count.UNCHANGED: 5, Count.SKIPPED: 3})), None, False),
        (Tally(counts=Counter({Count.LINKED: 1, Count.SKIPPED: 3})), None, True),
        (failed(), None, True),
        (Tally(), Unavailable("down", "again"), True),
    ],
)
def test_only_what_did_something_or_went_wrong_is_eventful(
    tally: Tally, error: StcliError | None, is_eventful: bool
) -> None:
    """Looking at people and leaving them alone is neither."""
    assert result(tally, error).is_eventful is is_eventful
