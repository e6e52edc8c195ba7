"""Transactions of the database, whatever engine keeps it.

SQLite in the home by default, PostgreSQL for many hosts. Every transaction is short and none is held
over a network call. Of all processes one writes at a time: a write begins by waiting until no other
one does, so that what it read stays true until it commits. A write under a lease first checks the
lease's fencing number, so that a process which lost its lock can change nothing any more.
"""

from __future__ import annotations

import time
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from stcli.errors import LeaseLost, StateError, StcliError, UsageError
from stcli.store.transaction import Row, Transaction

BUSY_SECONDS = 30
"""How long a transaction waits for another one's write lock before it gives up."""
TRY_SECONDS = 0.25
"""How much of that an engine waits by itself. Nothing can interrupt it there, so between two tries a
stop is looked for."""


@dataclass(frozen=True, slots=True)
class Lease:
    """The right to write for a campaign; ``fence`` rises with every take-over."""

    name: str
    fence: int


class Busy(Exception):
    """Another process has held the lock for ``TRY_SECONDS``, or the server is away for a moment."""


class Broken(Exception):
    """An idle connection leads nowhere any more: the server ended it meanwhile."""


@dataclass(frozen=True, slots=True)
class Table:
    """A table as it stands in the database: its columns, those of its key, and those of text."""

    name: str
    columns: tuple[str, ...]
    key: tuple[str, ...]
    texts: frozenset[str]


class Database(ABC):
    """One database, shared by the threads of a process: each transaction has a connection for
    itself, which the next one uses again.

    Whoever waits for another program's lock calls ``check_stop``, which raises where a stop was asked
    for."""

    errors: tuple[type[Exception], ...]
    """What the engine's driver raises."""
    is_shared = False
    """Whether several hosts may use it at once."""

    def __init__(self, check_stop: Callable[[], None]) -> None:
        self._check_stop = check_stop
        self._idle: list[Any] = []
        self._was_in_vain = False

    @contextmanager
    def read(self) -> Iterator[Transaction]:
        """A consistent view; nothing written in it is kept."""
        with self._mapped_errors(), self._begun(self.begin_read) as raw:
            yield self.transaction(raw)

    @contextmanager
    def write(self, lease: Lease | None = None) -> Iterator[Transaction]:
        """A transaction that commits at its end, or has no effect where it raises."""
        with self._mapped_errors(), self._begun(self.begin_write) as raw:
            transaction = self.transaction(raw)
            if lease is not None:
                _check(transaction, lease)
            yield transaction
            raw.commit()

    def close(self) -> None:
        """Let go of the database; for when no transaction is open."""
        while self._idle:
            self._idle.pop().close()

    # What an engine is

    @abstractmethod
    def connect(self) -> Any:
        """A new connection; ``Busy`` where it has to wait."""

    @abstractmethod
    def is_current(self, raw: Any) -> bool:
        """Whether an idle connection still leads to the database that is there now."""

    @abstractmethod
    def begin_read(self, raw: Any) -> None:
        """Begin a view of one moment; ``Busy`` where it has to wait."""

    @abstractmethod
    def begin_write(self, raw: Any) -> None:
        """Begin a transaction that no other one writes beside; ``Busy`` where it has to wait."""

    @abstractmethod
    def transaction(self, raw: Any) -> Transaction:
        """What the statements of a begun transaction go through."""

    @abstractmethod
    def state_error(self, error: Exception) -> StcliError:
        """What an error of the driver means, and the next step."""

    @abstractmethod
    def has_table(self, sql: Transaction, name: str) -> bool:
        """Whether the database has a table."""

    @abstractmethod
    def tables(self, sql: Transaction) -> list[Table]:
        """Every table, in alphabetical order."""

    @abstractmethod
    def in_key_order(self, sql: Transaction, table: Table) -> Iterator[Row]:
        """All rows of a table in the order of its key (text by code point), a few at a time."""

    def count_on(self, sql: Transaction) -> None:  # noqa: B027 - most engines do it by themselves
        """Numbers that the database gives to rows itself go on behind those that are there."""

    def begin_history(self, sql: Transaction) -> None:  # noqa: B027 - a file's marks lie beside it
        """From now on it is another state than before: requests that it may not know of are waited
        for once."""

    def storable(self, row: Row) -> Row:
        """A row as this engine gives it back once it is stored."""
        return row

    def waited_in_vain(self, busy: Busy) -> StcliError:  # noqa: ARG002 - one engine looks at it
        """What it means that nothing else came for ``BUSY_SECONDS``."""
        return locked()

    # How they are used

    @contextmanager
    def _begun(self, begin: Callable[[Any], None]) -> Iterator[Any]:
        """A connection in a transaction; what is not committed at the end is undone."""
        raw = self._patiently(lambda: self._ready(begin))
        try:
            yield raw
        finally:
            self._put_back(raw)

    def _ready(self, begin: Callable[[Any], None]) -> Any:
        """A connection with a transaction begun on it."""
        while (raw := self._idle_one()) is not None:
            try:
                begin(raw)
            except Broken:
                raw.close()
            except BaseException:
                self._put_back(raw)
                raise
            else:
                return raw
        raw = self.connect()
        try:
            begin(raw)
        except BaseException as error:
            self._put_back(raw)
            if isinstance(error, Broken) and error.__cause__ is not None:
                raise error.__cause__ from None
            raise
        return raw

    def _put_back(self, raw: Any) -> None:
        """Undo what was begun, and keep the connection for the next transaction."""
        try:
            raw.rollback()
        except self.errors:
            # Closing undoes what was begun as well, and the next transaction has a fresh one.
            raw.close()
        else:
            self._idle.append(raw)

    def _idle_one(self) -> Any | None:
        """A connection that nobody uses; one that leads elsewhere by now is closed."""
        while True:
            try:
                raw = self._idle.pop()
            except IndexError:
                return None
            if self.is_current(raw):
                return raw
            raw.close()

    def _patiently(self, work: Callable[[], Any]) -> Any:
        """Do what may have to wait for another program's lock. After a wait in vain the next ones
        have one try each until one succeeds: a pass that ends for it has more to write, and would
        wait in full for each."""
        give_up_at = time.monotonic() + (0 if self._was_in_vain else BUSY_SECONDS)
        while True:
            try:
                done = work()
            except Busy as busy:
                self._check_stop()
                if time.monotonic() >= give_up_at:
                    self._was_in_vain = True
                    raise self.waited_in_vain(busy) from busy
            else:
                self._was_in_vain = False
                return done

    @contextmanager
    def _mapped_errors(self) -> Iterator[None]:
        try:
            yield
        except UnicodeEncodeError as error:
            # What the systems send is text; bytes that are none come from a command line.
            raise UsageError(
                "an argument holds bytes that are no text in UTF-8", "Type it anew."
            ) from error
        except self.errors as error:
            raise self.state_error(error) from error


def locked() -> StateError:
    """The write lock was waited for in vain."""
    return StateError(
        f"the state database stayed locked for {BUSY_SECONDS} s",
        "Another program holds it, such as a backup or an open SQL shell; end that first.",
    )


def refused(error: object) -> StateError:
    """Any other error of an engine."""
    return StateError(f"the state database refused: {error}", "See the log file.")


def _check(sql: Transaction, lease: Lease) -> None:
    row = sql.execute("SELECT fence FROM locks WHERE name = ?", (lease.name,)).one_or_none()
    if row is None or row[0] != lease.fence:
        raise LeaseLost(
            f"another process took over the work on {lease.name}",
            "Nothing was written after that; run the pass again.",
        )


def utc_text(instant: datetime) -> str:
    """An instant as it is stored: fixed width, so that text order is time order."""
    return instant.astimezone(UTC).isoformat(timespec="microseconds").removesuffix("+00:00") + "Z"


def utc_instant(text: str) -> datetime:
    """The instant that ``utc_text`` stored."""
    return datetime.fromisoformat(text)


def optional_instant(text: str | None) -> datetime | None:
    return None if text is None else utc_instant(text)
