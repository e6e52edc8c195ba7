"""A bar for whoever looks at a pass on a terminal; through a pipe there is nothing to see."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

from stcli.usecases.passes.progress import Progress, Unwatched

if TYPE_CHECKING:
    from rich.progress import Progress as Bar
    from rich.progress import TaskID

OF_THE_LIMIT = 0.98
"""How much of a limit is used (see ``clients/ratelimit.py``)."""


@contextmanager
def watched() -> Iterator[Progress]:
    """What a pass tells its progress to."""
    if not sys.stderr.isatty():
        yield Unwatched()
        return
    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, TextColumn
    from rich.progress import Progress as RichProgress

    bar = RichProgress(
        TextColumn("{task.description}"),
        BarColumn(bar_width=None),
        MofNCompleteColumn(),
        TextColumn("{task.fields[pace]}"),
        console=Console(stderr=True),
        transient=True,
    )
    with bar:
        yield _OnTerminal(bar)


class _OnTerminal:
    """Draws with Rich; a read of unknown length counts up, writes have a bar."""

    def __init__(self, bar: Bar) -> None:
        self._bar = bar
        self._reads: dict[str, TaskID] = {}
        self._task: TaskID | None = None
        self._per_second: float | None = None

    def read(self, what: str, number: int) -> None:
        if what not in self._reads:
            self._reads[what] = self._bar.add_task(f"reading {what}", total=None, pace="")
        self._bar.advance(self._reads[what], number)

    def begin(self, what: str, total: int, per_second: float | None) -> None:
        for task in self._reads.values():
            self._bar.remove_task(task)
        self._reads.clear()
        self._per_second = per_second
        self._task = self._bar.add_task(what, total=total, pace=self._pace(total, None))

    def advance(self, number: int = 1) -> None:
        if self._task is None:
            return
        self._bar.advance(self._task, number)
        task = next(task for task in self._bar.tasks if task.id == self._task)
        left = max((task.total or 0) - task.completed, 0)
        self._bar.update(self._task, pace=self._pace(left, task.speed))

    def end(self) -> None:
        if self._task is not None:
            self._bar.remove_task(self._task)
            self._task = None

    def _pace(self, left: float, speed: float | None) -> str:
        """The rate seen, and the time that what is left takes at the limit's rate."""
        parts = [f"{speed:.1f}/s"] if speed else []
        if self._per_second and left:
            parts.append(f"{_span(left / (self._per_second * OF_THE_LIMIT))} left at the limit")
        return ", ".join(parts)


def _span(seconds: float) -> str:
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    if hours:
        return f"{hours} h {minutes:02d} min"
    return f"{minutes} min {rest:02d} s" if minutes else f"{rest} s"
