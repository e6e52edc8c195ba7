"""The schema's history: fresh, from every older state, newer ones, several processes at once."""

from __future__ import annotations

import multiprocessing
import sqlite3
import stat
import threading
import time
from contextlib import closing
from datetime import UTC, datetime
from pathlib import Path

import pytest

from stcli.errors import ExitCode, StateError
from stcli.store.copies import COPIES_KEPT, saving
from stcli.store.engine import Database
from stcli.store.migrations import MIGRATIONS, migrate
from stcli.store.sqlite import open_sqlite

NAMES = [name for name, _ in MIGRATIONS]
DATA = {
    "connections": "INSERT INTO connections (campaign, state, environment) "
    "VALUES ('spring', 'connected', 'production')",
    "people": "INSERT INTO people (user_id, campaign_id, type, code, first_name, email, url, "
    "source, promotion_code, meta) VALUES (1, 7, 'person_invited', 'aB3x9', 'Ada', 'a@x.test', "
    "'u', 's', '', '{}')",
    "ledger": "INSERT INTO ledger (campaign, tab, user_id, code, state, tenant, updated_at) "
    "VALUES ('spring', 'leads', 1, 'aB3x9', 'booked', 't', 'now')",
    "crm_jobs": "INSERT INTO crm_jobs (tenant, job_id, status, tags, no_charge, created_on, "
    "modified_on) VALUES ('t', 5, 'Hold', '[]', 0, 'a', 'b')",
    "qualifications": "INSERT INTO qualifications (campaign, user_id, code, state, due, "
    "changed_at) VALUES ('spring', 1, 'aB3x9', 'open', 1, 'now')",
    "runs": "INSERT INTO runs (run_id, campaign, pass, status, started_at, host, pid) "
    "VALUES ('r', 'spring', 'leads', 'succeeded', 'now', 'h', 1)",
    "crm_contacts": "INSERT INTO crm_contacts VALUES ('t', 3, 2, 'Email', 'a@x.test', 'a@x.test', "
    "1, 1, 'now', 1)",
    "enrolments": "INSERT INTO enrolments (campaign, customer_id, tenant, state, updated_at) "
    "VALUES ('spring', 2, 't', 'planned', 'now')",
    "rate_slots": "INSERT INTO rate_slots VALUES ('k', 1.5, 0)",
    "accepted_files": "INSERT INTO accepted_files VALUES ('spring', 'hash', 'now', 'me')",
}
"""One row for a table of each migration, in the shape that the first release gave it."""
GIVEN_UP = {"alarms"}
"""Tables whose data a later migration forgets on purpose."""


@pytest.fixture
def file(tmp_path: Path) -> Path:
    """Where the database of this test lies."""
    return tmp_path / "stcli.db"


@pytest.fixture
def backups(tmp_path: Path) -> Path:
    """Where its backups go; absent until the first is made."""
    return tmp_path / "backups"


def up(file: Path, backups: Path, version: str = "1.0.0") -> None:
    database = open_sqlite(file)
    try:
        migrate(database, version=version, save=saving(file, backups))
    finally:
        database.close()


def older(file: Path, steps: int) -> None:
    """A database as the first ``steps`` migrations left it, with data."""
    with closing(sqlite3.connect(file)) as sql, sql:
        sql.execute("PRAGMA journal_mode=WAL")
        sql.execute(
            "CREATE TABLE schema_migrations "
            "(name TEXT PRIMARY KEY, applied_at TEXT NOT NULL, stcli_version TEXT NOT NULL)"
        )
        for name, statements in MIGRATIONS[:steps]:
            before = tables(sql)
            for statement in statements:
                sql.execute(statement)
            sql.execute("INSERT INTO schema_migrations VALUES (?, 'then', '0.1.0')", (name,))
            for table in set(DATA) & (tables(sql) - before):
                sql.execute(DATA[table])


def tables(sql: sqlite3.Connection) -> set[str]:
    return {row[0] for row in sql.execute("SELECT name FROM sqlite_master WHERE type = 'table'")}


def schema(file: Path) -> list[tuple[str, str]]:
    with closing(sqlite3.connect(file)) as sql:
        return sql.execute("SELECT name, sql FROM sqlite_master ORDER BY name").fetchall()


def columns(file: Path) -> dict[str, str]:
    """The columns of each table."""
    with closing(sqlite3.connect(file)) as sql:
        return {
            table: ", ".join(row[1] for row in sql.execute(f"PRAGMA table_info({table})"))
            for table in tables(sql) - {"schema_migrations"} - GIVEN_UP
        }


def rows(file: Path, wanted: dict[str, str] | None = None) -> dict[str, list[tuple[object, ...]]]:
    """The data of all tables that have any, without the record of migrations; of the ``wanted``
    columns only."""
    wanted = columns(file) if wanted is None else wanted
    with closing(sqlite3.connect(file)) as sql:
        found = {
            table: sql.execute(f"SELECT {names} FROM {table}").fetchall()
            for table, names in wanted.items()
        }
    return {table: content for table, content in found.items() if content}


def applied(file: Path) -> list[tuple[str, str]]:
    with closing(sqlite3.connect(file)) as sql:
        return sql.execute(
            "SELECT name, stcli_version FROM schema_migrations ORDER BY name"
        ).fetchall()


def test_a_fresh_database_gets_everything_and_no_backup(file: Path, backups: Path) -> None:
    """Every migration is recorded with the version; there was nothing to save."""
    up(file, backups)
    assert applied(file) == [(name, "1.0.0") for name in NAMES]
    assert not backups.exists()


def test_a_second_time_changes_nothing(file: Path, backups: Path) -> None:
    """A newer program with the same schema leaves it alone."""
    up(file, backups)
    before = schema(file)
    up(file, backups, "2.0.0")
    assert schema(file) == before
    assert {version for _, version in applied(file)} == {"1.0.0"}
    assert not backups.exists()


@pytest.mark.parametrize("steps", range(1, len(MIGRATIONS)))
def test_each_older_state_is_brought_up(
    file: Path, backups: Path, tmp_path: Path, steps: int
) -> None:
    """The data survives, the schema is that of a fresh one, and the state before is saved."""
    older(file, steps)
    data = rows(file)
    assert data
    before = columns(file)
    up(file, backups)
    assert rows(file, before) == data
    fresh = tmp_path / "fresh.db"
    up(fresh, backups)
    assert schema(file) == schema(fresh)
    assert [version for _, version in applied(file)] == ["0.1.0"] * steps + ["1.0.0"] * (
        len(MIGRATIONS) - steps
    )
    (saved,) = backups.iterdir()
    assert rows(saved) == data
    assert [name for name, _ in applied(saved)] == NAMES[:steps]


def test_people_of_an_older_state_are_found_by_address(file: Path, backups: Path) -> None:
    """The key that the migration gives them is the one that a customer's address is compared by."""
    older(file, NAMES.index("0009_people_by_email"))
    with closing(sqlite3.connect(file)) as sql, sql:
        sql.execute("UPDATE people SET email = ' Ada@X.test '")
    up(file, backups)
    with closing(sqlite3.connect(file)) as sql:
        assert sql.execute("SELECT email_key FROM people").fetchall() == [("ada@x.test",)]


def test_people_of_an_older_state_are_read_anew(file: Path, backups: Path) -> None:
    """SQLite knows the lower case of ASCII only, so whoever else is in the list is read again."""
    older(file, NAMES.index("0009_people_by_email"))
    with closing(sqlite3.connect(file)) as sql, sql:
        sql.execute("INSERT INTO people_reads VALUES ('main', 'now', 1, 10, 999)")
    up(file, backups)
    with closing(sqlite3.connect(file)) as sql:
        people = sql.execute("SELECT listed, referrals, qualified_referrals FROM people")
        assert people.fetchall() == [(1, None, None)]
        assert sql.execute("SELECT count(*) FROM people_reads").fetchone() == (0,)


def test_a_backup_is_private(file: Path, backups: Path) -> None:
    """Names and addresses of customers lie in it."""
    older(file, 2)
    up(file, backups)
    (saved,) = backups.iterdir()
    assert stat.S_IMODE(saved.stat().st_mode) == 0o600
    assert stat.S_IMODE(backups.stat().st_mode) == 0o700


def test_the_newest_three_backups_are_kept(tmp_path: Path, backups: Path) -> None:
    """Other files of the folder are nobody's business."""
    backups.mkdir()
    (backups / "mine.db").touch()
    for number in range(COPIES_KEPT + 2):
        path = tmp_path / f"{number}.db"
        older(path, 2)
        with closing(sqlite3.connect(path)) as sql, sql:
            sql.execute("UPDATE people SET first_name = ?", (str(number),))
        up(path, backups)
    saved = sorted(backups.glob("before-migration-*.db"))
    assert COPIES_KEPT == 3
    assert [rows(path)["people"][0][4] for path in saved] == ["2", "3", "4"]
    assert (backups / "mine.db").exists()


def newer(file: Path, **migrations: str) -> None:
    with closing(sqlite3.connect(file)) as sql, sql:
        sql.executemany(
            "INSERT INTO schema_migrations VALUES (?, 'then', ?)", list(migrations.items())
        )


@pytest.mark.parametrize("steps", [3, len(MIGRATIONS)])
def test_a_newer_database_is_refused_untouched(file: Path, backups: Path, steps: int) -> None:
    """The error names the version that wrote it; nothing is changed and nothing copied."""
    older(file, steps)
    newer(file, **{"9999_future": "7.3.1"})
    before = (schema(file), rows(file), applied(file))
    with pytest.raises(StateError) as caught:
        up(file, backups)
    assert "7.3.1" in caught.value.message
    assert "7.3.1" in caught.value.hint
    assert caught.value.exit_code is ExitCode.CONFIGURATION
    assert (schema(file), rows(file), applied(file)) == before
    assert not backups.exists()


def test_the_version_named_is_the_highest(file: Path, backups: Path) -> None:
    """1.10 is later than 1.9."""
    up(file, backups)
    newer(file, **{"9998_future": "1.9.0", "9999_future": "1.10.0"})
    with pytest.raises(StateError, match=r"1\.10\.0"):
        up(file, backups)


def test_a_newer_one_that_migrates_meanwhile_is_noticed(file: Path, backups: Path) -> None:
    """While this process waits for the write lock another, newer one may bring the state up."""
    older(file, 2)
    database = open_sqlite(file)
    ended: list[BaseException | None] = []

    def old_program() -> None:
        try:
            up(file, backups)
        except StateError as error:
            ended.append(error)
        else:
            ended.append(None)

    with database.write() as sql:
        thread = threading.Thread(target=old_program)
        thread.start()
        patience = time.monotonic() + 1
        while time.monotonic() < patience and not list(backups.glob("*.db")):
            time.sleep(0.02)  # until it has read the old state
        sql.execute("INSERT INTO schema_migrations VALUES ('9999_f', 'now', '7.3.1')")
    thread.join()
    database.close()
    assert isinstance(ended[0], StateError)


def test_a_migration_that_fails_leaves_the_state_as_it_was(file: Path, backups: Path) -> None:
    """All of it is one transaction."""
    older(file, 2)
    with closing(sqlite3.connect(file)) as sql, sql:
        sql.execute("CREATE TABLE crm_jobs (in_the_way TEXT)")
    before = (schema(file), rows(file), applied(file))
    with pytest.raises(StateError):
        up(file, backups)
    assert (schema(file), rows(file), applied(file)) == before
    (saved,) = backups.iterdir()
    assert rows(saved) == before[1]


def _process(file: str, backups: str, barrier: object) -> None:
    barrier.wait(30)  # type: ignore[attr-defined] # multiprocessing's types are not public
    up(Path(file), Path(backups))


@pytest.mark.parametrize(("steps", "processes"), [(0, 2), (0, 5), (2, 2), (2, 3)])
def test_several_processes_at_once(
    file: Path, backups: Path, tmp_path: Path, steps: int, processes: int
) -> None:
    """Each migration is applied once and every process goes on, whoever came first."""
    if steps:
        older(file, steps)
    context = multiprocessing.get_context("spawn")
    barrier = context.Barrier(processes)
    started = [
        context.Process(target=_process, args=(str(file), str(backups), barrier))
        for _ in range(processes)
    ]
    for process in started:
        process.start()
    for process in started:
        process.join(60)
    assert [process.exitcode for process in started] == [0] * processes
    assert [name for name, _ in applied(file)] == NAMES
    fresh = tmp_path / "fresh.db"
    up(fresh, backups)
    assert schema(file) == schema(fresh)


def test_several_at_once_make_one_backup(file: Path, backups: Path) -> None:
    """One changes the database, so one saves it; the older backups are not pushed out."""
    older(file, 2)
    database = open_sqlite(file)
    threads = [threading.Thread(target=up, args=(file, backups)) for _ in range(2)]
    with database.write():
        for thread in threads:
            thread.start()
        patience = time.monotonic() + 1
        while time.monotonic() < patience and len(list(backups.glob("*.db"))) < 2:
            time.sleep(0.02)
    for thread in threads:
        thread.join()
    database.close()
    assert [name for name, _ in applied(file)] == NAMES
    assert len(list(backups.glob("*.db"))) == 1


def test_names_are_in_order_and_differ() -> None:
    """They are applied by name, in the order of their numbers."""
    assert sorted(set(NAMES)) == NAMES
    assert [int(name[:4]) for name in NAMES] == list(range(1, len(NAMES) + 1))


def test_every_migration_has_data_in_these_tests(file: Path) -> None:
    """A new migration needs a row here, else its data is not known to survive the next."""
    older(file, len(MIGRATIONS))
    assert set(rows(file)) == set(DATA)
    for name, statements in MIGRATIONS[:-1]:
        made = {s.split()[2] for s in statements if s.startswith("CREATE TABLE")} - GIVEN_UP
        renamed = {s.split()[2]: s.split()[-1] for s in statements if " RENAME TO " in s}
        assert not made or {renamed.get(table, table) for table in made} & set(DATA), name


def test_rows_of_two_names_become_one_booking(file: Path, backups: Path) -> None:
    """The one that has a booking stays; both names go on watching for the qualification, and each
    knows the tenant that it is about."""
    older(file, NAMES.index("0011_bookings_by_tenant"))
    with closing(sqlite3.connect(file)) as sql, sql:
        sql.execute("UPDATE ledger SET booking_id = 70, updated_at = '9'")
        sql.execute(
            "INSERT INTO ledger (campaign, tab, user_id, code, state, tenant, updated_at) "
            "VALUES ('autumn', 'leads', 1, 'aB3x9', 'present', 't', '1')"
        )
        sql.execute(
            "INSERT INTO qualifications (campaign, user_id, code, state, due, changed_at) "
            "VALUES ('autumn', 1, 'aB3x9', 'qualified', 0, '1')"
        )
    up(file, backups)
    with closing(sqlite3.connect(file)) as sql:
        booked = sql.execute("SELECT tenant, rf_campaign_id, campaign, booking_id FROM ledger")
        assert booked.fetchall() == [("t", 7, "spring", 70)]
        watched = sql.execute(
            "SELECT campaign, tenant, state FROM qualifications ORDER BY campaign"
        )
        assert watched.fetchall() == [("autumn", "t", "qualified"), ("spring", "t", "open")]


def test_when_it_was_applied_is_recorded(file: Path, backups: Path) -> None:
    """In UTC, as every time of the state."""
    before = datetime.now(UTC)
    up(file, backups)
    with closing(sqlite3.connect(file)) as sql:
        texts = [row[0] for row in sql.execute("SELECT applied_at FROM schema_migrations")]
    times = [datetime.fromisoformat(text) for text in texts]
    assert all(before <= time <= datetime.now(UTC) for time in times)


def test_a_database_object_is_usable_afterwards(file: Path, backups: Path) -> None:
    """The same object goes on to read and write."""
    database: Database = open_sqlite(file)
    migrate(database, version="1.0.0", save=saving(file, backups))
    with database.write() as sql:
        sql.execute(DATA["connections"])
    with database.read() as sql:
        assert sql.execute("SELECT count(*) FROM connections").scalar_one() == 1
    database.close()
