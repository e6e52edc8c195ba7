"""Many writes to a remote system at once, each prepared durably before and settled durably after.

Batches are prepared (their intents committed), sent by many workers, and their results settled in
batches as they come in, so that one slow answer holds up nothing and one commit serves many writes.
A stop lets what is under way finish for a few seconds; what was prepared but not sent is handed back
as unsent, what was cut off as unknown. A fatal error stops the sending in the same way.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from dataclasses import dataclass, field
from typing import Generic, TypeVar

from stcli.errors import StcliError
from stcli.usecases.passes.concurrency import StopSignal

Item = TypeVar("Item")
Outcome = TypeVar("Outcome")

WORKERS = 64
BATCH = 64
GRACE_SECONDS = 1.5
"""How long requests under way may go on after a stop; the whole stop stays under five seconds."""


@dataclass(slots=True)
class Pipeline(Generic[Item, Outcome]):
    """``send`` returns an outcome for whatever happens to one record, and raises only what concerns
    all of them; ``unsent`` and ``unknown`` make the outcome of an item that was not sent, or whose
    answer was not waited for."""

    stop: StopSignal
    prepare: Callable[[Sequence[Item]], Awaitable[None]]
    send: Callable[[Item], Awaitable[Outcome]]
    settle: Callable[[Sequence[Outcome]], Awaitable[None]]
    unsent: Callable[[Item], Outcome]
    unknown: Callable[[Item], Outcome]
    workers: int = WORKERS
    _queue: asyncio.Queue[Item | None] = field(init=False)
    _outbox: list[Outcome] = field(init=False, default_factory=list)
    _news: asyncio.Event = field(init=False, default_factory=asyncio.Event)
    _under_way: set[asyncio.Task[Outcome]] = field(init=False, default_factory=set)
    _fatal: BaseException | None = field(init=False, default=None)
    _is_over: bool = field(init=False, default=False)

    async def run(self, items: Sequence[Item]) -> None:
        """Send all items; raises the fatal error, or the reason of the stop, after settling."""
        if items:
            await self.run_batches(_batches(items), min(self.workers, len(items)))

    async def run_batches(
        self, batches: AsyncIterator[Sequence[Item]], workers_needed: int = WORKERS
    ) -> None:
        """The same for items that come batch by batch, each asked for when there is room for it, so
        that no more than a few are in memory."""
        self._queue = asyncio.Queue(maxsize=BATCH)
        watcher = asyncio.create_task(self._watch_stop())
        settler = asyncio.create_task(self._settle_as_they_come())
        workers = [asyncio.create_task(self._work()) for _ in range(workers_needed)]
        try:
            await self._feed(batches, len(workers))
            await asyncio.gather(*workers)
        finally:
            watcher.cancel()
            for worker in workers:
                worker.cancel()
            await asyncio.gather(watcher, *workers, return_exceptions=True)
            self._is_over = True
            self._news.set()
            await settler
        if self._fatal is not None:
            raise self._fatal
        self.stop.check()

    @property
    def _is_halted(self) -> bool:
        return self._fatal is not None or self.stop.reason is not None

    async def _feed(self, batches: AsyncIterator[Sequence[Item]], workers: int) -> None:
        try:
            while not self._is_halted and (batch := await anext(batches, None)) is not None:
                await self.prepare(batch)
                for item in batch:
                    await self._queue.put(item)
        except StcliError as error:
            self._fatal = self._fatal or error
        for _ in range(workers):
            await self._queue.put(None)

    async def _work(self) -> None:
        while (item := await self._queue.get()) is not None:
            if self._is_halted:
                self._put(self.unsent(item))
                continue
            task = asyncio.ensure_future(self.send(item))
            self._under_way.add(task)
            try:
                await asyncio.wait({task})
            finally:
                self._under_way.discard(task)
            self._put(self._outcome(item, task))

    def _outcome(self, item: Item, task: asyncio.Task[Outcome]) -> Outcome:
        if task.cancelled():
            return self.unknown(item)
        error = task.exception()
        if error is None:
            return task.result()
        self._fatal = self._fatal or error
        return self.unsent(item) if _is_definite(error) else self.unknown(item)

    def _put(self, outcome: Outcome) -> None:
        self._outbox.append(outcome)
        self._news.set()

    async def _settle_as_they_come(self) -> None:
        # A commit takes as long as several answers: those that arrive meanwhile share the next.
        while self._outbox or not self._is_over:
            await self._news.wait()
            self._news.clear()
            await self._settle_outbox()

    async def _settle_outbox(self) -> None:
        batch, self._outbox = self._outbox, []
        if batch:
            try:
                await self.settle(batch)
            except StcliError as error:
                self._fatal = self._fatal or error

    async def _watch_stop(self) -> None:
        await self.stop.wait()
        await asyncio.sleep(GRACE_SECONDS)
        for task in tuple(self._under_way):
            task.cancel()


async def _batches(items: Sequence[Item]) -> AsyncIterator[Sequence[Item]]:
    for start in range(0, len(items), BATCH):
        yield items[start : start + BATCH]


def _is_definite(error: BaseException) -> bool:
    """Whether an error of a request says that the request certainly had no effect."""
    return bool(getattr(error, "definite", isinstance(error, StcliError)))
