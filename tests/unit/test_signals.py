"""Ctrl-C and SIGTERM between two questions: Python swallows what is raised while it tidies up."""

from __future__ import annotations

import signal
import sys
import weakref
from collections.abc import Iterator

import pytest

from stcli.cli import choosing
from stcli.cli.prompts import confirm
from stcli.cli.signals import Termination, hear_signals
from stcli.errors import Interrupted, Terminated


class Thing:
    """Something that goes away between two questions."""


@pytest.fixture
def swallowed(monkeypatch: pytest.MonkeyPatch) -> Iterator[list[object]]:
    """The handlers of a command line; answers what Python did not let out."""
    numbers = (signal.SIGINT, signal.SIGTERM)
    before = {number: signal.getsignal(number) for number in numbers}
    signal.signal(signal.SIGINT, signal.default_int_handler)
    signal.signal(signal.SIGTERM, signal.SIG_DFL)
    kept: list[object] = []
    monkeypatch.setattr(sys, "unraisablehook", lambda event: kept.append(event.exc_type))
    hear_signals()
    yield kept
    for number, handler in before.items():
        signal.signal(number, handler)


def _lose(number: signal.Signals) -> None:
    thing = Thing()
    watch = weakref.ref(thing, lambda _gone: signal.raise_signal(number))
    del thing
    assert watch() is None


@pytest.mark.parametrize(
    ("number", "raised", "told"),
    [
        (signal.SIGINT, KeyboardInterrupt, Interrupted),
        (signal.SIGTERM, Termination, Terminated),
    ],
)
def test_a_swallowed_signal_ends_the_next_question(swallowed, number, raised, told) -> None:
    """It is not asked, and the signal is told as what it is."""
    _lose(number)
    assert swallowed == [raised]
    with pytest.raises(told, match="stopped by"):
        choosing.type_in("Which one")


def test_a_swallowed_signal_ends_a_confirmation(swallowed, monkeypatch) -> None:
    """The plain questions look for it too."""
    monkeypatch.setattr(sys.stdin, "isatty", lambda: True, raising=False)
    _lose(signal.SIGINT)
    with pytest.raises(KeyboardInterrupt):
        confirm("Really", yes=False)


def test_handlers_of_others_stay(swallowed) -> None:
    """A program that was started with SIGINT ignored, as by nohup, goes on ignoring it."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    hear_signals()
    assert signal.getsignal(signal.SIGINT) is signal.SIG_IGN
