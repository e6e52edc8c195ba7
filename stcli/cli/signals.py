"""Ctrl-C and SIGTERM outside a pass: a word and an exit code of its own, whenever they come.

Loads little, because a signal may come while the rest is still being loaded.
"""

from __future__ import annotations

import signal
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from stcli.errors import Interrupted, StcliError, Terminated


class Termination(KeyboardInterrupt):
    """SIGTERM where no event loop hears it, so that everything that cleans up after Ctrl-C does."""


_heard: list[KeyboardInterrupt] = []
"""What was heard outside a pass. Python swallows what a handler raises while it clears objects away,
so it is looked for once more where somebody is asked."""


def hear_signals() -> None:
    """End with a word and an exit code of its own where Ctrl-C or SIGTERM comes outside a pass."""

    def received(number: int, _frame: object) -> None:
        _heard.append(Termination() if number == signal.SIGTERM else KeyboardInterrupt())
        raise _heard[-1]

    for number, unheard in (
        (signal.SIGINT, signal.default_int_handler),
        (signal.SIGTERM, signal.SIG_DFL),
    ):
        if signal.getsignal(number) is unheard:
            signal.signal(number, received)


def end_if_stopped() -> None:
    """Raise the signal that was heard, should Python have swallowed it."""
    if _heard:
        raise _heard.pop()


_loops: list[Callable[[], None]] = []
"""What raises if the event loop that runs now was asked to stop (see running.py)."""


@contextmanager
def heeded(check: Callable[[], None]) -> Iterator[None]:
    """In the block ``check_stop`` looks at this too."""
    _loops.append(check)
    try:
        yield
    finally:
        _loops.remove(check)


def check_stop() -> None:
    """Raise what was heard, in a loop or outside: for whoever waits where neither an event loop nor
    an exception can end the wait, such as for a lock, in whatever thread."""
    for check in tuple(_loops):
        check()
    end_if_stopped()


def stop_reason(stopped: KeyboardInterrupt, hint: str = "") -> StcliError:
    """What Ctrl-C or SIGTERM is told as."""
    if isinstance(stopped, Termination):
        return Terminated("stopped by SIGTERM", hint)
    return Interrupted("stopped by Ctrl-C", hint)


def let_signals_be() -> None:
    """Nothing is left to be told: from now on a signal ends the process as it ends any other."""
    for number in (signal.SIGINT, signal.SIGTERM):
        if signal.getsignal(number) is not signal.SIG_IGN:
            signal.signal(number, signal.SIG_DFL)
