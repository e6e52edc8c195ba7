"""A state brought into another database: whole, proved, and resumed where it was cut off."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest

from stcli.errors import Locked, StateError, UsageError
from stcli.store import transfer
from stcli.store.engine import Database
from stcli.store.places import FilePlace, Place, ServerPlace, copy_state

PEOPLE = 250


def nobody() -> None:
    """Nobody asks for a stop."""


@pytest.fixture
def file(tmp_path: Path) -> FilePlace:
    return FilePlace(tmp_path / "a" / "stcli.db", tmp_path / "backups", nobody)


@pytest.fixture(params=["to a server", "back to a file"])
def pair(
    request: pytest.FixtureRequest, file: FilePlace, postgres: str, tmp_path: Path
) -> Iterator[tuple[Place, Place]]:
    """A source with rows in it, and an empty target."""
    server = ServerPlace(postgres, tmp_path / "backups", nobody)
    source, target = (file, server) if request.param == "to a server" else (server, file)
    with closing(source.database()) as database:
        fill(database)
    return source, target


def fill(database: Database) -> None:
    """Of each kind of column and key something, with text that sorts unlike in other languages."""
    with database.write() as sql:
        sql.execute_many(
            "INSERT INTO people (user_id, campaign_id, type, code, first_name, email, url, source, "
            "promotion_code, meta) VALUES (?, 7, 'person_invited', ?, ?, ?, 'u', 's', '', '{}')",
            [(n, f"c{n}", f"Ä{n}\u2028'\"", f"p{n}@example.com") for n in range(PEOPLE)],
        )
        sql.execute_many(
            "INSERT INTO crm_suppressions VALUES ('t', ?, 1, 'now')",
            [(key,) for key in ("a", "B", "_", "é", "e", "-", "Z", "\U0001f600", "\uffee", "")],
        )
        sql.execute(
            "INSERT INTO crm_jobs (tenant, job_id, status, tags, total, no_charge, created_on, "
            "modified_on) VALUES ('t', 9223372036854775807, 'Hold', '[]', 0.1, 0, 'a', 'b')"
        )
        for number in range(3):
            sql.execute(
                "INSERT INTO failures (campaign, pass, record, reason, state, run_id, first_at, "
                "last_at) VALUES ('c', 'leads', ?, 'r', 'open', 'r', 'a', 'b')",
                (str(number),),
            )
        sql.execute("INSERT INTO locks VALUES ('c', 41, 0, 'h', 1, 's', 'leads', 'a', 'b')")


def rows(place: Place) -> dict[str, list[tuple[object, ...]]]:
    with closing(place.database()) as database, database.read() as sql:
        return {
            table.name: list(database.in_key_order(sql, table))
            for table in database.tables(sql)
            if table.name not in transfer.STAYS
        }


def test_every_row_arrives(pair: tuple[Place, Place]) -> None:
    """With its values, in whatever order an engine sorts them; a second time changes nothing."""
    source, target = pair
    copied = copy_state(source, target, replace=False)
    assert rows(target) == rows(source)
    assert copied.changed == sum(copied.rows.values()) == PEOPLE + 10 + 1 + 3
    assert copy_state(source, target, replace=True).changed == 0


def test_numbers_and_fences_go_on(pair: tuple[Place, Place]) -> None:
    """The next failure has a number of its own, and who held a lock of old may not write."""
    source, target = pair
    copy_state(source, target, replace=False)
    with closing(target.database()) as database, database.write() as sql:
        sql.execute(
            "INSERT INTO failures (campaign, pass, record, reason, state, run_id, first_at, last_at) "
            "VALUES ('c', 'leads', 'new', 'r', 'open', 'r', 'a', 'b')"
        )
        assert sql.execute("SELECT count(*) FROM failures").scalar_one() == 4
        fence, held = sql.execute("SELECT fence, held FROM locks WHERE name = 'c'").one()
    assert (fence, held) == (41 + transfer.FENCES_LOST, 0)


def test_what_was_cut_off_is_no_state_and_goes_on(
    pair: tuple[Place, Place], monkeypatch: pytest.MonkeyPatch
) -> None:
    """In the middle of a table; what is there already is not sent again."""
    source, target = pair
    monkeypatch.setattr(transfer, "ROWS_AT_A_TIME", 40)
    change = transfer._change
    calls = 0

    def cut(*words: object) -> None:
        nonlocal calls
        calls += 1
        if calls > 4:
            raise KeyboardInterrupt
        change(*words)

    monkeypatch.setattr(transfer, "_change", cut)
    with pytest.raises(KeyboardInterrupt):
        copy_state(source, target, replace=False)
    with pytest.raises(StateError, match="unfinished copy"):
        target.open()
    there = sum(len(found) for found in rows(target).values())
    assert 0 < there < PEOPLE
    monkeypatch.setattr(transfer, "_change", change)
    copied = copy_state(source, target, replace=False)
    assert copied.changed == PEOPLE + 14 - there
    assert rows(target) == rows(source)
    target.open().close()


def test_what_changed_in_between_is_mended(pair: tuple[Place, Place]) -> None:
    """Rows that came, went or say something else; what was there is saved before."""
    source, target = pair
    copy_state(source, target, replace=False)
    with closing(source.database()) as database, database.write() as sql:
        sql.execute("DELETE FROM people WHERE user_id < 10")
        sql.execute("UPDATE people SET first_name = 'Neu' WHERE user_id = 20")
        sql.execute(
            "UPDATE failures SET record = CASE record WHEN '0' THEN '3' ELSE '0' END "
            "WHERE record IN ('0')"
        )
        sql.execute("INSERT INTO crm_suppressions VALUES ('t', 'c', 1, 'now')")
    with closing(target.database()) as database, database.write() as sql:
        sql.execute("DELETE FROM people WHERE user_id = 100")
    with pytest.raises(UsageError, match="holds a state already"):
        copy_state(source, target, replace=False)
    copied = copy_state(source, target, replace=True)
    # Ten went; of a changed one the old goes and the new comes; two came.
    assert copied.changed == 10 + 2 + 2 + 1 + 1
    assert rows(target) == rows(source)
    assert len(list(target.backups.glob("before-copy-*.db"))) == 1


def test_another_source_does_not_finish_it(
    pair: tuple[Place, Place], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """Half of one state and half of another would be none."""
    source, target = pair
    with monkeypatch.context() as patched:
        patched.setattr(transfer, "_compared", lambda *_: 1 / 0)
        with pytest.raises(ZeroDivisionError):
            copy_state(source, target, replace=False)
    other = FilePlace(tmp_path / "other.db", tmp_path / "backups", nobody)
    other.database().close()
    with pytest.raises(UsageError, match="unfinished copy of"):
        copy_state(other, target, replace=False)


def test_a_source_that_never_rests_is_told(
    pair: tuple[Place, Place], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Nothing is called done that is not the same."""
    source, target = pair
    compared = transfer._compared

    def busy(*words: Database) -> tuple[dict[str, int], int]:
        with words[0].write() as sql:
            sql.execute("UPDATE people SET first_name = first_name || '.' WHERE user_id = 3")
        return compared(*words)

    monkeypatch.setattr(transfer, "_compared", busy)
    with pytest.raises(StateError, match="as fast as it was copied"):
        copy_state(source, target, replace=False)
    with pytest.raises(StateError, match="unfinished copy"):
        target.open()


def test_a_pass_that_began_meanwhile_is_noticed(
    pair: tuple[Place, Place], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Right after the last comparison: compared once more."""
    source, target = pair
    compared = transfer._compared
    calls = 0

    def late(*words: Database) -> tuple[dict[str, int], int]:
        nonlocal calls
        calls += 1
        found = compared(*words)
        if calls == 1:
            with words[0].write() as sql:
                sql.execute("UPDATE locks SET fence = fence + 1")
                sql.execute("UPDATE people SET first_name = 'late' WHERE user_id = 3")
        return found

    monkeypatch.setattr(transfer, "_compared", late)
    copy_state(source, target, replace=False)
    assert calls == 2
    assert rows(target) == rows(source)


def test_what_one_engine_cannot_hold_is_the_same_on_both(file: FilePlace, postgres: str) -> None:
    """PostgreSQL has no NUL; the copy is proved all the same."""
    server = ServerPlace(postgres, file.backups, nobody)
    with closing(file.database()) as database, database.write() as sql:
        sql.execute("INSERT INTO worker_turns VALUES ('c', ?)", ("a\x00b",))
    copy_state(file, server, replace=False)
    assert rows(server)["worker_turns"] == [("c", "a\ufffdb")]


def test_a_backup_of_a_server_is_a_file_and_comes_back(postgres: str, tmp_path: Path) -> None:
    """Into the same database: with what was there kept, and waited for what it may have forgotten."""
    from stcli.store.identity import history_began
    from stcli.store.postgres import PostgresDatabase

    server = ServerPlace(postgres, tmp_path / "backups", nobody)
    with closing(server.database()) as database:
        fill(database)
    before = rows(server)
    copy = tmp_path / "copy.db"
    server.back_up(copy)
    with pytest.raises(UsageError, match="exists already"):
        server.back_up(copy)
    with closing(server.database()) as database, database.write() as sql:
        sql.execute("DELETE FROM people WHERE user_id < 100")
    kept = server.put_back(copy, lambda _: None)
    assert rows(server) == before
    assert kept is not None
    assert len(rows(FilePlace(kept, tmp_path, nobody))["people"]) == PEOPLE - 100
    with closing(server.open()) as state:
        assert isinstance(state.database, PostgresDatabase)
        assert history_began(state.database) is not None


def test_no_pass_begins_on_half_a_state(file: FilePlace) -> None:
    """Also not of a process that has had it open since before; and of two copies one is told."""
    from datetime import UTC, datetime

    from stcli.store.locks import Locks, Process

    with closing(file.database()) as database:
        locks = Locks(database, Process("here", 1, "s"), lambda _: True, lambda: datetime.now(UTC))

        def refuse(_: Database) -> None:
            locks.refuse_while_held()

        with locks.hold("spring", "leads"), pytest.raises(Locked):
            transfer.begin_copy(database, "one", replace=True, refuse_held=refuse)
        transfer.begin_copy(database, "one", replace=True, refuse_held=refuse)
        with (
            pytest.raises(StateError, match="unfinished copy of one"),
            locks.hold("spring", "leads"),
        ):
            pass
        transfer.begin_copy(database, "two", replace=True)
        with pytest.raises(StateError, match="another copy"):
            transfer.finish_copy(database, database, "one")
        transfer.finish_copy(database, database, "two")
        with locks.hold("spring", "leads"):
            pass
