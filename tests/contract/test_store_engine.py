"""Opening the database, its transactions and what goes wrong with them; connections."""

from __future__ import annotations

import os
import sqlite3
import stat
import threading
import time
from collections.abc import Iterator
from contextlib import closing, nullcontext
from dataclasses import replace
from datetime import UTC, datetime, timedelta, timezone
from pathlib import Path

import pytest

from stcli.domain.connection import Connection, Environment, Proof
from stcli.domain.connection import State as Stage
from stcli.domain.ids import (
    BookingId,
    CampaignName,
    ProviderId,
    RfCampaignId,
    RunId,
    TenantId,
    UserId,
)
from stcli.errors import ExitCode, Interrupted, StateError, UsageError
from stcli.store import engine
from stcli.store.copies import saving
from stcli.store.engine import Database, optional_instant, utc_instant, utc_text
from stcli.store.ledger import Booked, LedgerScope
from stcli.store.locks import Locks, Process
from stcli.store.migrations import migrate
from stcli.store.sqlite import open_sqlite
from stcli.store.state import State

NOW = datetime(2026, 11, 23, 12, tzinfo=UTC)
SPRING = CampaignName("spring")


@pytest.fixture
def file(tmp_path: Path) -> Path:
    """Where the database of this test lies."""
    return tmp_path / "state" / "stcli.db"


@pytest.fixture
def database(file: Path, tmp_path: Path) -> Iterator[Database]:
    """A fresh state in that file."""
    opened = open_sqlite(file)
    migrate(opened, version="1.0.0", save=saving(file, tmp_path / "backups"))
    yield opened
    opened.close()


@pytest.fixture
def state(database: Database) -> State:
    """All parts of that state."""
    return State(database)


def count(database: Database) -> int:
    with database.read() as sql:
        return int(sql.execute("SELECT count(*) FROM people_reads").scalar_one())


def write(database: Database, *statements: str, then: Exception | None = None) -> None:
    """One transaction, which may end badly."""
    with database.write() as sql:
        for statement in statements:
            sql.execute(statement)
        if then is not None:
            raise then


INSERT = (
    "INSERT INTO people_reads (account, completed_at, newest_first, last_page, highest_id) "
    "VALUES ('a', 'now', 1, 1, 1)"
)


def test_file_and_folder_are_private(database: Database, file: Path) -> None:
    """Names and addresses of customers lie in it; so do those of what is not yet written back."""
    assert stat.S_IMODE(file.parent.stat().st_mode) == 0o700
    with database.write() as sql:
        sql.execute(INSERT)
    for path in file.parent.iterdir():
        assert stat.S_IMODE(path.stat().st_mode) == 0o600, path


def test_a_write_commits_at_its_end(database: Database, file: Path) -> None:
    """What was written is there for other programs."""
    with database.write() as sql:
        sql.execute(INSERT)
    with closing(sqlite3.connect(file)) as other:
        assert other.execute("SELECT account FROM people_reads").fetchall() == [("a",)]


def test_a_write_that_raises_has_no_effect(database: Database) -> None:
    """Whatever raised."""
    with pytest.raises(KeyError):
        write(database, INSERT, then=KeyError())
    assert count(database) == 0


def test_what_a_read_writes_is_not_kept(database: Database) -> None:
    """A read is a read."""
    with database.read() as sql:
        sql.execute(INSERT)
    assert count(database) == 0


def test_a_read_sees_one_moment(database: Database) -> None:
    """What others commit meanwhile does not appear in the middle of it, and nobody waits."""
    with database.read() as reading:
        query = "SELECT count(*) FROM people_reads"
        assert reading.execute(query).scalar_one() == 0
        with database.write() as sql:
            sql.execute(INSERT)
        assert reading.execute(query).scalar_one() == 0
    assert count(database) == 1


def test_a_commit_survives_a_power_cut(database: Database) -> None:
    """An intent that was lost is a booking made twice: full synchronisation, and a log."""
    with database.read() as sql:
        assert sql.execute("PRAGMA synchronous").scalar_one() == 2
        assert sql.execute("PRAGMA journal_mode").scalar_one() == "wal"


# --- what goes wrong -------------------------------------------------------------------------


def test_a_locked_database_is_told_so(
    file: Path, database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    """After the time that a write waits; the hint names what may hold it."""
    monkeypatch.setattr(engine, "BUSY_SECONDS", 0.1)
    impatient = open_sqlite(file)
    try:
        with closing(sqlite3.connect(file)) as other:
            other.execute("BEGIN IMMEDIATE")
            with pytest.raises(StateError, match="locked") as caught, impatient.write():
                pass
        assert caught.value.exit_code is ExitCode.CONFIGURATION
        assert "backup" in caught.value.hint
        with impatient.write() as sql:
            sql.execute(INSERT)
    finally:
        impatient.close()
    assert count(database) == 1


def test_a_wait_in_vain_is_not_repeated_in_full(
    file: Path, database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What a failing pass has left to write does not prolong it; once it works, all is as before."""
    monkeypatch.setattr(engine, "BUSY_SECONDS", 1.5)

    def waited(opened: Database) -> float:
        began = time.monotonic()
        with pytest.raises(StateError, match="locked"), opened.write():
            pass
        return time.monotonic() - began

    opened = open_sqlite(file)
    try:
        with closing(sqlite3.connect(file, isolation_level=None)) as other:
            for _ in range(2):
                other.execute("BEGIN IMMEDIATE")
                assert waited(opened) >= 1.5
                assert waited(opened) < 1.5
                other.execute("ROLLBACK")
                with opened.write() as sql:
                    sql.execute("UPDATE people_reads SET last_page = 1")
    finally:
        opened.close()


def test_a_wait_for_a_lock_ends_with_a_stop(file: Path, database: Database) -> None:
    """Within the time that SQLite waits by itself; without a lock nobody looks for a stop."""

    def stopped() -> None:
        raise Interrupted("stopped by Ctrl-C")

    stoppable = open_sqlite(file, stopped)
    try:
        with stoppable.write() as sql:
            sql.execute(INSERT)
        with closing(sqlite3.connect(file)) as other:
            other.execute("BEGIN IMMEDIATE")
            began = time.monotonic()
            with pytest.raises(Interrupted), stoppable.write():
                pass
            assert time.monotonic() - began < 2
            with stoppable.read() as sql:
                assert sql.execute("SELECT count(*) FROM people_reads").scalar_one() == 1
    finally:
        stoppable.close()


def test_a_view_waits_for_a_lock_too(file: Path, database: Database) -> None:
    """A program that locks readers out for a while does not fail the pass."""
    database.close()
    with closing(sqlite3.connect(file, isolation_level=None, check_same_thread=False)) as other:
        other.execute("PRAGMA locking_mode = EXCLUSIVE")
        other.execute("BEGIN EXCLUSIVE")
        timer = threading.Timer(1, other.close)
        timer.start()
        assert count(database) == 0
        timer.join()


def test_a_read_only_database_is_told_so(database: Database) -> None:
    """As SQLite itself says it."""
    with pytest.raises(StateError, match="read-only") as caught:
        write(database, "PRAGMA query_only = ON", INSERT)
    assert "permissions" in caught.value.hint


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write to read-only files")
def test_a_read_only_file_is_refused(database: Database, file: Path) -> None:
    """Before anything is done, with what to look at."""
    database.close()
    file.chmod(0o400)
    with pytest.raises(StateError, match="cannot be opened for writing") as caught:
        open_sqlite(file)
    assert "permissions" in caught.value.hint


def test_a_folder_in_its_place_is_refused(tmp_path: Path) -> None:
    """The message names the path and what the system said."""
    with pytest.raises(StateError, match="directory") as caught:
        open_sqlite(tmp_path)
    assert str(tmp_path) in caught.value.message


def test_a_file_that_is_no_database_is_told_so(tmp_path: Path) -> None:
    """At the first use; the file is left as it is."""
    path = tmp_path / "stcli.db"
    path.write_text("this is not a database, whatever its name says\n" * 100)
    before = path.read_bytes()
    opened = open_sqlite(path)
    with pytest.raises(StateError, match="damaged") as caught:
        migrate(opened, version="1.0.0", save=saving(path, tmp_path / "backups"))
    opened.close()
    assert "stcli state restore" in caught.value.hint
    assert path.read_bytes() == before


def test_a_damaged_database_is_told_so(database: Database, file: Path) -> None:
    """Pages that were overwritten are noticed and said in words."""
    with database.write() as sql:
        sql.execute(INSERT)
    database.close()
    with closing(sqlite3.connect(file)) as plain:
        plain.execute("PRAGMA wal_checkpoint(TRUNCATE)")
    content = bytearray(file.read_bytes())
    content[4096:] = b"\xff" * (len(content) - 4096)
    file.write_bytes(content)
    opened = open_sqlite(file)
    with pytest.raises(StateError, match="damaged"):
        count(opened)
    opened.close()


def test_a_full_disk_is_told_so(database: Database) -> None:
    """SQLite's own limit stands in for the disk's."""
    full = "PRAGMA max_page_count = 1"  # SQLite takes the number of pages there are
    with pytest.raises(StateError, match="disk is full") as caught:
        write(database, full, "CREATE TABLE big AS SELECT randomblob(1000000) AS content")
    assert "space" in caught.value.hint


def test_any_other_refusal_is_a_state_error(database: Database) -> None:
    """No error of the library reaches a use case."""
    with pytest.raises(StateError, match="no such table"), database.read() as sql:
        sql.execute("SELECT * FROM absent")


@pytest.mark.parametrize("in_use", [False, True], ids=["idle", "in use"])
def test_another_file_in_its_place_is_noticed(database: Database, file: Path, in_use: bool) -> None:
    """What is still open is the one that was moved away: `state restore` beside a long pass. A
    transaction that was under way meanwhile brings its file back to nobody, and what was committed
    to the new one stays."""
    with database.write() as sql:
        sql.execute(INSERT)
    with closing(sqlite3.connect(file)) as plain:
        plain.execute("PRAGMA wal_checkpoint(TRUNCATE)")

    def account() -> str:
        with database.read() as sql:
            return str(sql.execute("SELECT account FROM people_reads").scalar_one())

    with database.read() if in_use else nullcontext():
        aside = file.with_suffix(".old")
        for part in ("", "-wal", "-shm"):
            Path(f"{file}{part}").rename(f"{aside}{part}")
        file.write_bytes(aside.read_bytes())
        other = sqlite3.connect(file)
        other.execute("UPDATE people_reads SET account = 'put back'")
        other.commit()
        assert account() == "put back"
    assert account() == "put back"
    other.close()
    assert account() == "put back"


def test_a_file_that_was_removed_is_not_begun_anew(database: Database, file: Path) -> None:
    """A state without what it knew, in the middle of a pass, would be taken for the whole."""
    assert count(database) == 0
    file.unlink()
    with pytest.raises(StateError, match="moved or removed"):
        count(database)
    assert not file.exists()


def test_bytes_that_are_no_text_are_a_mistake_of_who_typed_them(database: Database) -> None:
    """Python hands them on as characters that no database takes."""
    with pytest.raises(UsageError, match="UTF-8"), database.read() as sql:
        sql.execute("SELECT ?", ("\udcff",))


# --- times -----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "instant",
    [
        NOW,
        NOW + timedelta(microseconds=1),
        datetime(2026, 11, 23, 2, tzinfo=timezone(timedelta(hours=-10))),
    ],
)
def test_an_instant_comes_back(instant: datetime) -> None:
    """To the microsecond, in UTC, whatever zone it was given in."""
    assert utc_instant(utc_text(instant)) == instant
    assert optional_instant(utc_text(instant)) == instant
    assert utc_instant(utc_text(instant)).utcoffset() == timedelta(0)
    assert optional_instant(None) is None


def test_text_order_is_time_order() -> None:
    """The database compares instants as text."""
    times = [NOW + timedelta(microseconds=n) for n in (0, 1, 999_999, 1_000_000, 86_400_000_000)]
    texts = [utc_text(time) for time in times]
    assert texts == sorted(texts)
    assert len({len(text) for text in texts}) == 1


# --- connections -----------------------------------------------------------------------------

FULL = Connection(
    SPRING,
    Stage.CONNECTED,
    TenantId(985798691),
    Environment.INTEGRATION,
    NOW,
    NOW + timedelta(days=1),
    "grace",
    "a reason",
    NOW + timedelta(days=2),
    Proof(Environment.INTEGRATION, TenantId(985798691), "cid.8f3k", ProviderId(4521)),
    "the token was refused",
    RfCampaignId(7),
)
EMPTY = Connection(CampaignName("autumn"), Stage.PENDING)


def save(state: State, connection: Connection, step: str = "connect") -> None:
    state.connections.save(
        connection, step=step, before=Stage.NOT_CONNECTED, actor="ada", note="n", now=NOW
    )


def test_a_campaign_that_was_never_connected(state: State) -> None:
    """It is not connected, and no row says so."""
    assert state.connections.get(SPRING) == Connection(SPRING, Stage.NOT_CONNECTED)
    assert state.connections.all() == []
    assert state.connections.events(SPRING) == []


@pytest.mark.parametrize("connection", [FULL, EMPTY])
def test_a_connection_comes_back_as_it_was(state: State, connection: Connection) -> None:
    """With all it knows, or with nothing but its state."""
    save(state, connection)
    assert state.connections.get(connection.campaign) == connection


def test_a_connection_is_replaced_and_its_steps_are_kept(state: State) -> None:
    """Values that are gone are gone; the history has every step in order."""
    save(state, FULL)
    gone = replace(EMPTY, campaign=SPRING, state=Stage.DISCONNECTED)
    save(state, gone, "disconnect")
    save(state, EMPTY)
    assert state.connections.get(SPRING) == gone
    assert state.connections.all() == [EMPTY, gone]
    assert [(e[1], e[3], e[4], e[5]) for e in state.connections.events(SPRING)] == [
        ("connect", "connected", "ada", "n"),
        ("disconnect", "disconnected", "ada", "n"),
    ]


def test_attention_comes_and_goes(state: State) -> None:
    """It is set on a known connection only and changes nothing else."""
    save(state, replace(FULL, attention=""))
    state.connections.set_attention(SPRING, "refused")
    assert state.connections.get(SPRING).shown_state is Stage.ATTENTION
    assert state.connections.get(SPRING) == replace(FULL, attention="refused")
    state.connections.set_attention(SPRING, "")
    assert state.connections.get(SPRING).shown_state is Stage.CONNECTED
    state.connections.set_attention(CampaignName("other"), "refused")
    assert len(state.connections.all()) == 1


def test_purge_forgets_one_campaign_whole(state: State) -> None:
    """Connection, steps, bookings, qualifications, failures and runs; the other one keeps all."""
    names = (SPRING, CampaignName("autumn"))
    scopes = [
        LedgerScope(name, "leads", "t", RfCampaignId(7 + number))
        for number, name in enumerate(names)
    ]
    for name, scope in zip(names, scopes, strict=True):
        save(state, replace(FULL, campaign=name))
        state.runs.start(RunId(name), name, "leads", NOW, "here", 1)
        locks = Locks(state.database, Process("here", 1, "s"), lambda p: True, lambda: NOW)
        booked = Booked(UserId(scope.rf_campaign), "c", "c", BookingId(7), NOW, found=False)
        with locks.hold(name, "leads") as held:
            state.ledger.settle(held.lease, scope, [booked], RunId(name), NOW)
    state.connections.purge(SPRING)
    for name, scope, left in zip(names, scopes, (0, 1), strict=True):
        assert len(state.connections.events(name)) == left
        assert len(state.runs.last(name)) == left
        assert len(state.qualifications.all(name, "t")) == left
        assert state.ledger.count_done(scope) == left
    assert state.connections.all() == [replace(FULL, campaign=names[1])]
