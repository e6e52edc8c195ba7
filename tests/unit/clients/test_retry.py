"""The retry loop: bounds, jitter, the server's delay; no network, no real time."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from stcli.clients.retry import Again, RetryPolicy, at_once, retry_after_seconds
from stcli.errors import CredentialsRefused, NoAnswer, RecordRejected, Unavailable

NOW = 1_767_607_200.0  # 2026-01-05 10:00:00 UTC


class VirtualTime:
    """Moves when slept on; keeps what was slept."""

    def __init__(self) -> None:
        self.now = 0.0
        self.slept: list[float] = []

    def monotonic(self) -> float:
        return self.now

    async def sleep(self, seconds: float) -> None:
        self.slept.append(seconds)
        self.now += seconds


def policy(time: VirtualTime, **options: Any) -> RetryPolicy:
    settings = {"attempts": 5, "total_seconds": 1000.0, "random": lambda: 1.0, **options}
    return RetryPolicy(monotonic=time.monotonic, sleep=time.sleep, **settings)


def failing(waits: list[float | None], time: VirtualTime, lasts: float = 0.0) -> Any:
    """An attempt that fails once for each of ``waits`` and then answers."""
    left = list(waits)

    async def attempt(_: object) -> str:
        time.now += lasts
        if left:
            raise Again(Unavailable(f"failure {len(left)}"), left.pop(0))
        return "done"

    return attempt


def test_waits_grow_and_are_bounded() -> None:
    """Without a delay of the server waits double up to the longest."""
    time = VirtualTime()
    p = policy(time, first_wait_seconds=1.0, longest_wait_seconds=3.0)
    assert asyncio.run(p.run(at_once, failing([None] * 4, time))) == "done"
    assert time.slept == [1.0, 2.0, 3.0, 3.0]


def test_jitter_is_drawn_between_nothing_and_the_bound() -> None:
    """Full jitter: the wait is the bound times the random number."""
    time = VirtualTime()
    draws = iter([0.0, 0.25])
    p = policy(time, first_wait_seconds=4.0, random=lambda: next(draws))
    asyncio.run(p.run(at_once, failing([None, None], time)))
    assert time.slept == [0.0, 2.0]


def test_delay_of_the_server_is_honoured_without_jitter() -> None:
    """What the server asks for is waited, longer than any wait of our own too."""
    time = VirtualTime()
    p = policy(time, longest_wait_seconds=3.0, random=lambda: 0.0)
    asyncio.run(p.run(at_once, failing([120.0, 0.0], time)))
    assert time.slept == [120.0, 0.0]


def test_attempts_end_it_with_the_last_failure() -> None:
    """The failure of the last attempt is what is raised."""
    time = VirtualTime()
    with pytest.raises(Unavailable, match="failure 8"):
        asyncio.run(policy(time, attempts=3).run(at_once, failing([None] * 10, time)))
    assert len(time.slept) == 2


def test_budget_counts_answers_and_waits() -> None:
    """No further attempt begins when the wait before it would go beyond the budget."""
    time = VirtualTime()
    with pytest.raises(Unavailable, match="failure 9"):
        asyncio.run(
            policy(time, total_seconds=230.0).run(at_once, failing([20.0] * 10, time, lasts=100.0))
        )
    assert time.slept == [20.0]


def test_waiting_for_a_turn_is_not_counted() -> None:
    """Time before an attempt may begin is no failure and uses up no budget."""
    time = VirtualTime()

    async def ready() -> None:
        time.now += 500.0

    p = policy(time, total_seconds=10.0)
    assert asyncio.run(p.run(ready, failing([1.0, 1.0], time))) == "done"


def test_other_exceptions_pass_at_once() -> None:
    """Only the signal is repeated; a cancellation passes through."""
    time = VirtualTime()

    async def attempt(_: None) -> None:
        raise asyncio.CancelledError

    with pytest.raises(asyncio.CancelledError):
        asyncio.run(policy(time).run(at_once, attempt))
    assert time.slept == []


def attempts(*outcomes: Exception | str) -> Any:
    """An attempt for each outcome: an exception, or an answer."""
    left = list(outcomes)

    async def attempt(_: object) -> str:
        outcome = left.pop(0)
        if isinstance(outcome, Exception):
            raise outcome
        return outcome

    return attempt


def in_doubt(text: str) -> Again:
    return Again(NoAnswer(text))


def definite(text: str) -> Again:
    return Again(Unavailable(text))


@pytest.mark.parametrize(
    ("outcomes", "raised"),
    [
        ([in_doubt("first"), definite("second"), definite("third")], "first"),
        ([definite("first"), in_doubt("second"), definite("third")], "second"),
        ([in_doubt("first"), in_doubt("second"), definite("third")], "second"),
        ([in_doubt("first"), definite("second"), in_doubt("third")], "third"),
        ([in_doubt("first"), Unavailable("refused at once")], "first"),
    ],
)
def test_a_definite_failure_does_not_undo_a_doubt(outcomes: list[Exception], raised: str) -> None:
    """An earlier attempt may have had an effect: the last one in doubt is what is raised."""
    with pytest.raises(NoAnswer) as caught:
        asyncio.run(policy(VirtualTime(), attempts=3).run(at_once, attempts(*outcomes)))
    assert caught.value.message == raised
    assert not caught.value.definite


def test_a_turn_that_never_comes_does_not_undo_a_doubt() -> None:
    """Who is not let in any more still does not know about the attempt before."""
    turns = 0

    async def ready() -> None:
        nonlocal turns
        turns += 1
        if turns > 1:
            raise Unavailable("blocked")

    with pytest.raises(NoAnswer, match="first"):
        asyncio.run(policy(VirtualTime()).run(ready, attempts(in_doubt("first"))))
    with pytest.raises(Unavailable, match="blocked") as caught:
        turns = 1
        asyncio.run(policy(VirtualTime()).run(ready, attempts()))
    assert type(caught.value) is Unavailable


def test_only_definite_failures_stay_definite() -> None:
    """Where no attempt can have had an effect, the last failure is raised as it is."""
    outcomes = [definite("first"), definite("second")]
    with pytest.raises(Unavailable, match="second") as caught:
        asyncio.run(policy(VirtualTime(), attempts=2).run(at_once, attempts(*outcomes)))
    assert type(caught.value) is Unavailable
    assert caught.value.definite


def test_a_budget_that_is_used_up_does_not_undo_a_doubt() -> None:
    """A delay beyond the budget ends it with the doubt, not with the throttling."""
    outcomes = [in_doubt("first"), Again(Unavailable("throttled"), 5000.0)]
    with pytest.raises(NoAnswer, match="first"):
        asyncio.run(policy(VirtualTime()).run(at_once, attempts(*outcomes)))


def test_an_answer_after_a_doubt_is_the_answer() -> None:
    """What was repeated and answered is in doubt no longer; nor is what was refused."""
    p = policy(VirtualTime())
    assert asyncio.run(p.run(at_once, attempts(in_doubt("first"), "done"))) == "done"
    for refusal in (RecordRejected("no"), CredentialsRefused("no")):
        with pytest.raises(type(refusal)):
            asyncio.run(p.run(at_once, attempts(in_doubt("first"), refusal)))


@pytest.mark.parametrize(
    ("header", "server_date", "expected"),
    [
        ("7", "", 7.0),
        (" 0 ", "", 0.0),
        ("Mon, 05 Jan 2026 10:00:30 GMT", "", 30.0),
        ("Mon, 05 Jan 2026 09:00:00 GMT", "", 0.0),
        ("Mon, 05 Jan 2026 11:00:30 GMT", "Mon, 05 Jan 2026 11:00:00 GMT", 30.0),
        ("Mon, 05 Jan 2026 10:00:30 GMT", "garbage", 30.0),
        ("", "", None),
        ("soon", "", None),
        ("-5", "", None),
        ("1.5", "", None),
        ("²", "", None),
    ],
)
def test_retry_after(header: str, server_date: str, expected: float | None) -> None:
    """Both forms are read; anything else counts as no delay named."""
    assert retry_after_seconds(header, server_date, NOW) == expected


def test_a_system_that_is_down_is_waited_for_once() -> None:
    """After a request that failed in all its attempts the next have two each."""
    time = VirtualTime()
    p = policy(time)
    tried = []
    for failures in (9, 9, 1, 4):
        attempt = failing([None] * failures, time)
        before = len(time.slept)
        try:
            asyncio.run(p.run(at_once, attempt))
        except Unavailable:
            tried.append(len(time.slept) - before + 1)
        else:
            tried.append(0)
    assert tried == [5, 2, 0, 0]


def test_a_delay_of_the_server_discourages_nobody() -> None:
    """One that names a delay is there."""
    time = VirtualTime()
    p = policy(time, total_seconds=100.0)
    with pytest.raises(Unavailable):
        asyncio.run(p.run(at_once, failing([200.0], time)))
    assert asyncio.run(p.run(at_once, failing([None] * 4, time))) == "done"


@pytest.mark.parametrize(
    "header",
    [
        "Mon, 01 Jan 2024 00:00:00 +9999999999999999",
        "Mon, 01 Jan 99999999999999999999 00:00:00 GMT",
        "-1",
        "1e9",
        "\u0663",
    ],
)
def test_a_delay_that_is_none_is_none(header: str) -> None:
    """Whatever a server writes there."""
    assert retry_after_seconds(header, "", NOW) is None
    assert retry_after_seconds("5", header, NOW) == 5.0
