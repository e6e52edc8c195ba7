"""Where the state of a home is kept: in a file of the home, or in a PostgreSQL that hosts share.

Both can do the same: be opened and brought to this version's tables, be copied to a file, be looked at
whole, and take a file's rows in the place of their own. A copy is always an SQLite file, whichever of
both it was made of.
"""

from __future__ import annotations

import os
import shutil
import tempfile
from abc import ABC, abstractmethod
from collections.abc import Callable, Collection, Iterator
from contextlib import closing, contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING

from stcli import __version__
from stcli.database_address import shown
from stcli.errors import StateError, UsageError
from stcli.paths import private_folder

if TYPE_CHECKING:
    from stcli.store.copies import Examined
    from stcli.store.engine import Database
    from stcli.store.postgres import PostgresDatabase
    from stcli.store.state import State
    from stcli.store.transaction import Transaction
    from stcli.store.transfer import Copied

CheckStop = Callable[[], None]
"""Raises where a stop was asked for."""

RefuseHeld = Callable[["Database"], None]
"""Raises where a pass works on a database."""


class Place(ABC):
    """One state. ``name`` is for people and logs: no password is in it."""

    name: str
    is_shared: bool
    backups: Path
    check_stop: CheckStop

    @property
    @abstractmethod
    def exists(self) -> bool:
        """Whether there is a state already."""

    @abstractmethod
    def database(self) -> Database:
        """It, with this version's tables."""

    def open(self) -> State:
        """The state, ready for use; ``StateError`` where only half of it was copied here."""
        from stcli.store.copying import refuse_half_copy
        from stcli.store.state import State

        database = self.database()
        try:
            with database.read() as sql:
                refuse_half_copy(sql)
        except BaseException:
            database.close()
            raise
        return State(database)

    @abstractmethod
    def back_up(self, target: Path) -> None:
        """A whole and consistent copy in a file that is not there yet, while others use the state."""

    @abstractmethod
    def examine(self) -> Examined:
        """What the state holds, and whether it is sound; nothing is changed."""

    @abstractmethod
    def put_back(self, copy: Path, refuse_held: RefuseHeld) -> Path | None:
        """Let the state be what a sound copy holds; where the present one was saved to. While a pass
        works on it ``refuse_held`` raises."""

    @contextmanager
    def thrown_away(self) -> Iterator[State]:
        """A private copy of the state, as a file that is gone afterwards."""
        folder = Path(tempfile.mkdtemp(prefix="stcli-dry-run-"))
        try:
            copy = folder / "stcli.db"
            if self.exists:
                self.back_up(copy)
            with closing(FilePlace(copy, folder, self.check_stop).open()) as state:
                with state.database.write() as sql:
                    sql.execute("UPDATE locks SET held = 0")
                yield state
        finally:
            shutil.rmtree(folder, ignore_errors=True)

    def refuse_itself(self, copy: Path) -> None:  # noqa: B027 - only a file can be itself
        """``UsageError`` where the copy to be put back is the state."""

    def save(self, why: str, *, keep_all: bool = False) -> Path:
        """A copy in the backups folder, named after what it was made for; the newest three of a kind
        are kept."""
        from stcli.store.copies import keep_newest, stamped

        target = stamped(self.backups, why, datetime.now(UTC))
        self.back_up(target)
        if not keep_all:
            keep_newest(self.backups, why)
        return target


class FilePlace(Place):
    """A file of the home."""

    is_shared = False

    def __init__(self, file: Path, backups: Path, check_stop: CheckStop) -> None:
        self.file = file
        self.name = str(file)
        self.backups = backups
        self.check_stop = check_stop

    @property
    def exists(self) -> bool:
        return self.file.exists()

    def database(self) -> Database:
        from stcli.store.copies import saving
        from stcli.store.migrations import migrate
        from stcli.store.sqlite import open_sqlite

        database = open_sqlite(self.file, self.check_stop)
        try:
            migrate(database, version=__version__, save=saving(self.file, self.backups))
        except BaseException:
            database.close()
            raise
        return database

    def back_up(self, target: Path) -> None:
        from stcli.store.copies import back_up

        back_up(self.file, target)

    def examine(self) -> Examined:
        from stcli.store.copies import examine

        return examine(self.file)

    def refuse_itself(self, copy: Path) -> None:
        if self.exists and copy.samefile(self.file):
            raise UsageError(
                f"{copy} is the state itself", f"Name a copy; they are in {self.backups}."
            )

    def put_back(self, copy: Path, refuse_held: RefuseHeld) -> Path | None:
        from stcli.store.copies import keep_newest, put_back, stamped

        if self.exists and not self.examine().problems:
            with closing(self.database()) as database:
                refuse_held(database)
        private_folder(self.file.parent)
        with _brought_up(copy, self.file.parent, self.check_stop) as candidate:
            aside = stamped(self.backups, "before-restore", datetime.now(UTC))
            kept = put_back(candidate, self.file, aside)
        keep_newest(self.backups, "before-restore")
        return kept


class ServerPlace(Place):
    """A PostgreSQL database. Copies of it go to the folder of the host that makes them."""

    is_shared = True

    def __init__(self, url: str, backups: Path, check_stop: CheckStop) -> None:
        self.url = url
        self.name = shown(url)
        self.backups = backups
        self.check_stop = check_stop

    def connected(self) -> PostgresDatabase:
        """It as it stands."""
        from stcli.store.postgres import open_postgres

        return open_postgres(self.url, self.check_stop)

    @property
    def exists(self) -> bool:
        with closing(self.connected()) as database, database.read() as sql:
            return database.has_table(sql, "schema_migrations")

    def database(self) -> PostgresDatabase:
        from stcli.store.identity import note_identity
        from stcli.store.migrations import migrate

        database = self.connected()

        def save(sql: Transaction, names: Collection[str]) -> None:
            self._save_before_migration(database, sql, names)

        try:
            migrate(database, version=__version__, save=save)
            database.refuse_wrong_clock()
            note_identity(database, datetime.now(UTC))
        except BaseException:
            database.close()
            raise
        return database

    def back_up(self, target: Path) -> None:
        from stcli.store.transfer import fill

        with closing(self.database()) as source, source.read() as sql, _new_file(target) as copy:
            fill(source, sql, copy)

    def _save_before_migration(
        self, database: Database, sql: Transaction, names: Collection[str]
    ) -> None:
        """The tables are those of an older version, so the copy has that version's."""
        from stcli.store.copies import keep_newest, stamped
        from stcli.store.transfer import fill

        target = stamped(self.backups, "before-migration", datetime.now(UTC))
        with _new_file(target, names) as copy:
            fill(database, sql, copy)
        keep_newest(self.backups, "before-migration")

    def examine(self) -> Examined:
        """Damage of its pages is the server's affair; looked at is whether it is a state at all."""
        from stcli.store.copies import Examined

        with closing(self.connected()) as database, database.read() as sql:
            tables = database.tables(sql)
            problems = []
            if not any(table.name == "schema_migrations" for table in tables):
                problems.append("it is no state of stcli")
            rows = {
                table.name: sql.execute(f"SELECT count(*) FROM {table.name}").scalar_one()
                for table in tables
            }
        return Examined(tuple(problems), rows)

    def put_back(self, copy: Path, refuse_held: RefuseHeld) -> Path | None:
        from stcli.store.transfer import begin_copy, copy_rows, finish_copy

        kept = self.save("before-restore") if not self._is_half_copied else None
        with (
            tempfile.TemporaryDirectory(prefix="stcli-restore-") as folder,
            _brought_up(copy, Path(folder), self.check_stop) as candidate,
            closing(FilePlace(candidate, Path(folder), self.check_stop).database()) as source,
            closing(self.database()) as target,
        ):
            begin_copy(target, str(copy), replace=True, refuse_held=refuse_held)
            copy_rows(source, target)
            finish_copy(source, target, str(copy))
        return kept

    @property
    def _is_half_copied(self) -> bool:
        from stcli.store.copying import half_copied_from

        with closing(self.database()) as database, database.read() as sql:
            return half_copied_from(sql) is not None


def copy_state(
    source: Place, target: Place, *, replace: bool, refuse_held: RefuseHeld = lambda _: None
) -> Copied:
    """Let the target be what the source is. ``UsageError`` where it holds another state and
    ``replace`` is not said; with it that one is saved first."""
    from stcli.store.copying import half_copied_from
    from stcli.store.transfer import begin_copy, copy_rows, finish_copy

    with closing(source.database()) as there, closing(target.database()) as here:
        with here.read() as sql:
            is_begun = half_copied_from(sql) is not None
        if replace and not is_begun:
            target.save("before-copy")
        begin_copy(here, source.name, replace=replace, refuse_held=refuse_held)
        copied = copy_rows(there, here)
        finish_copy(there, here, source.name)
    return copied


@contextmanager
def _brought_up(copy: Path, beside: Path, check_stop: CheckStop) -> Iterator[Path]:
    """A copy's copy with this version's tables, or refused because it is a newer one's."""
    from stcli.store.copies import back_up

    with tempfile.TemporaryDirectory(prefix="restore-", dir=beside) as folder:
        candidate = Path(folder) / "stcli.db"
        back_up(copy, candidate)
        FilePlace(candidate, Path(folder), check_stop).database().close()
        yield candidate


@contextmanager
def _new_file(target: Path, names: Collection[str] | None = None) -> Iterator[Database]:
    """A database in a file that is not there yet; it stays only if it was filled to the end."""
    from stcli.store.migrations import migrate
    from stcli.store.sqlite import open_sqlite

    private_folder(target.parent)
    if target.exists():
        raise UsageError(f"{target} exists already", "Give another name.")
    partial = target.with_name(f".{target.name}.{os.getpid()}.tmp")
    try:
        with closing(open_sqlite(partial)) as database:
            migrate(database, version=__version__, names=names)
            yield database
        os.replace(partial, target)
    except OSError as error:
        raise StateError(
            f"the state cannot be saved to {target}: {error.strerror or error}",
            f"Check the free space and the permissions of {target.parent}; nothing was changed.",
        ) from error
    finally:
        for ending in ("", "-wal", "-shm"):
            partial.with_name(partial.name + ending).unlink(missing_ok=True)
