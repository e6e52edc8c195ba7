"""What only a server can do to a state: migrate for many hosts, go away, fail over, disagree on time."""

from __future__ import annotations

import subprocess
import threading
from collections.abc import Iterator
from contextlib import closing
from datetime import UTC, datetime, timedelta
from pathlib import Path

import psycopg
import pytest

from stcli.database_address import driver_address
from stcli.errors import ExitCode, StateError, StateUnreachable, UsageError
from stcli.store import postgres as engine
from stcli.store.copies import examine
from stcli.store.identity import history_began, note_identity
from stcli.store.migrations import MIGRATIONS, migrate
from stcli.store.places import FilePlace, ServerPlace
from stcli.store.postgres import PostgresDatabase, open_postgres
from tests.contract.test_store_migrations import DATA
from tests.postgres_server import USER, fresh_database

NOW = datetime(2026, 11, 27, 5, tzinfo=UTC)
NAMES = [name for name, _ in MIGRATIONS]
INSERT = (
    "INSERT INTO people_reads (account, completed_at, newest_first, last_page, highest_id) "
    "VALUES ('a', 'now', 1, 1, 1)"
)
_made = iter(range(10**6))


@pytest.fixture
def empty(postgres_server: str) -> str:
    """A database without tables."""
    return fresh_database(postgres_server, f"empty_{next(_made)}")


@pytest.fixture
def database(postgres: str) -> Iterator[PostgresDatabase]:
    opened = open_postgres(postgres)
    yield opened
    opened.close()


def place(url: str, folder: Path) -> ServerPlace:
    return ServerPlace(url, folder / "backups", lambda: None)


def applied(url: str) -> list[str]:
    with psycopg.connect(driver_address(url)) as sql:
        return [row[0] for row in sql.execute("SELECT name FROM schema_migrations ORDER BY name")]


def end_connections(url: str) -> None:
    """As a server that is restarted does."""
    with psycopg.connect(driver_address(url), autocommit=True) as sql:
        sql.execute(
            "SELECT pg_terminate_backend(pid) FROM pg_stat_activity "
            "WHERE datname = current_database() AND pid != pg_backend_pid()"
        )


@pytest.mark.parametrize("steps", [1, 8, len(MIGRATIONS) - 1])
def test_an_older_state_is_saved_and_brought_up(empty: str, tmp_path: Path, steps: int) -> None:
    """Its rows stay, and the copy is a state of the version that it had, which can be put back."""
    with closing(open_postgres(empty)) as older:
        migrate(older, version="1.0.0", names=NAMES[:steps])
        with older.write() as sql:
            there = {table.name for table in older.tables(sql)}
            for name, statement in DATA.items():
                # In the shape of the first release, which two of them lost.
                if name in there and not (name in ("ledger", "qualifications") and steps > 10):
                    sql.execute(statement)
    place(empty, tmp_path).open().close()
    assert applied(empty) == NAMES
    (copy,) = (tmp_path / "backups").glob("before-migration-*.db")
    found = examine(copy)
    assert not found.problems
    assert found.rows["schema_migrations"] == steps
    assert found.rows["connections"] == 1
    with closing(FilePlace(copy, tmp_path / "other", lambda: None).open()) as state:
        assert [one.campaign for one in state.connections.all()] == ["spring"]


def test_several_migrate_at_once(empty: str, tmp_path: Path) -> None:
    """Each migration is applied once, and everybody goes on."""
    start = threading.Barrier(4)
    failed: list[BaseException] = []

    def go() -> None:
        start.wait()
        try:
            place(empty, tmp_path).open().close()
        except BaseException as error:  # noqa: BLE001 - told below
            failed.append(error)

    threads = [threading.Thread(target=go) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not failed
    assert applied(empty) == NAMES


def test_a_newer_state_is_refused(empty: str, tmp_path: Path) -> None:
    """Naming the version that wrote it."""
    place(empty, tmp_path).open().close()
    with psycopg.connect(driver_address(empty)) as sql:
        sql.execute("INSERT INTO schema_migrations VALUES ('9999_later', 'now', '7.3.0')")
    with pytest.raises(StateError, match=r"7\.3\.0"):
        place(empty, tmp_path).open()


def test_a_failed_migration_leaves_no_half(empty: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """All of them are one transaction."""
    broken = (*MIGRATIONS, ("9999_broken", ("CREATE TABLE half (x TEXT)", "SELECT nothing")))
    monkeypatch.setattr("stcli.store.migrations.MIGRATIONS", broken)
    with closing(open_postgres(empty)) as database:
        with pytest.raises(StateError):
            migrate(database, version="1.0.0")
        with database.read() as sql:
            assert database.tables(sql) == []


def test_a_restarted_server_is_noticed_by_nobody(database: PostgresDatabase, postgres: str) -> None:
    """Between two transactions a connection is made anew."""
    with database.write() as sql:
        sql.execute(INSERT)
    end_connections(postgres)
    with database.read() as sql:
        assert sql.execute("SELECT count(*) FROM people_reads").scalar_one() == 1
    end_connections(postgres)
    with database.write() as sql:
        sql.execute("DELETE FROM people_reads")


def test_a_transaction_that_lost_its_server_has_no_effect(
    database: PostgresDatabase, postgres: str
) -> None:
    """It is told as what may work again later, and the next one does."""
    with pytest.raises(StateUnreachable) as told, database.write() as sql:
        sql.execute(INSERT)
        end_connections(postgres)
        sql.execute("SELECT 1")
    assert told.value.exit_code is ExitCode.UNAVAILABLE
    with database.read() as sql:
        assert sql.execute("SELECT count(*) FROM people_reads").scalar_one() == 0


def test_a_server_that_is_away_is_waited_for(
    database: PostgresDatabase, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Once it was there; in the end it is told."""
    with database.read():
        pass
    monkeypatch.setattr("stcli.store.engine.BUSY_SECONDS", 0.6)
    database._address = "postgresql://stcli@127.0.0.1:9/made"
    while database._idle:
        database._idle.pop().close()
    with pytest.raises(StateUnreachable), database.read():
        pass


def test_a_server_that_was_never_there_is_told_at_once() -> None:
    """A wrong address should not be waited for, and its password not be told."""
    away = open_postgres("postgresql+psycopg://stcli:hunter2@127.0.0.1:9/made")
    with pytest.raises(StateUnreachable) as told, away.read():
        pass
    assert "hunter2" not in f"{told.value.message}{told.value.hint}{told.value.__cause__}"


@pytest.mark.parametrize(
    ("url", "kind"),
    [
        ("postgresql+psycopg://127.0.0.1/x?no_such_parameter=hunter2", UsageError),
        ("{server}/no_such_database", StateError),
    ],
)
def test_an_address_that_is_none_is_told_without_its_password(
    postgres_server: str, url: str, kind: type[Exception]
) -> None:
    """Also where the driver's own words quote the address."""
    with (
        pytest.raises(kind) as told,
        open_postgres(url.replace("{server}", postgres_server)).read(),
    ):
        pass
    assert "hunter2" not in str(told.value)
    assert not isinstance(told.value, StateUnreachable)


def test_a_host_that_died_in_a_transaction_frees_the_others(database: PostgresDatabase) -> None:
    """The server ends what stands still, and asks a silent host whether it lives."""
    with database.read() as sql:
        told = {
            name: sql.execute(f"SHOW {name}").scalar_one()
            for name in ("idle_in_transaction_session_timeout", "synchronous_commit")
        }
    assert told == {"idle_in_transaction_session_timeout": "25s", "synchronous_commit": "on"}


@pytest.mark.parametrize("seconds", [-90, 90])
def test_a_clock_that_is_wrong_is_refused(
    postgres: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, seconds: int
) -> None:
    """Hosts judge by their clocks how long ago another one sent a request."""

    class Wrong(datetime):
        @classmethod
        def now(cls, tz: object = None) -> datetime:  # type: ignore[override]
            return datetime.now(UTC) + timedelta(seconds=seconds)

    monkeypatch.setattr(engine, "datetime", Wrong)
    with pytest.raises(StateError, match="clock is 90 s"):
        place(postgres, tmp_path).open()


def test_a_failover_is_remembered(database: PostgresDatabase) -> None:
    """The first history is none that took another one's place."""
    note_identity(database, NOW)
    assert history_began(database) is None
    note_identity(database, NOW + timedelta(seconds=1))
    assert history_began(database) is None
    with database.write() as sql:
        # As in a standby's copy of the row, once it is the primary.
        sql.execute("UPDATE database_identity SET identity = replace(identity, '00000001', '7')")
    note_identity(database, NOW + timedelta(seconds=2))
    assert history_began(database) == NOW + timedelta(seconds=2)
    note_identity(database, NOW + timedelta(seconds=3))
    assert history_began(database) == NOW + timedelta(seconds=2)


def test_a_promoted_standby_has_another_identity(tmp_path: Path) -> None:
    """Seen with a real one: a server's files copied, and recovered to a history of their own."""
    from tests.postgres_server import binaries, copied_and_promoted, running_server

    assert (binaries() / "pg_basebackup").exists()
    with running_server() as address:
        url = fresh_database(address, "state")
        with closing(place(url, tmp_path).open()) as state:
            before = state.database.identity()  # type: ignore[attr-defined]
        with copied_and_promoted(address) as other:
            there = place(f"postgresql+psycopg{other.removeprefix('postgresql')}/state", tmp_path)
            with closing(there.open()) as state:
                database = state.database
                assert isinstance(database, PostgresDatabase)
                assert database.identity() != before
                assert history_began(database) is not None


def test_a_user_without_rights_is_told(postgres: str, postgres_server: str, tmp_path: Path) -> None:
    """Which step helps."""
    with psycopg.connect(f"{postgres_server}/postgres", autocommit=True) as sql:
        sql.execute("DROP ROLE IF EXISTS stranger")
        sql.execute("CREATE ROLE stranger LOGIN")
    with pytest.raises(StateError, match="may not do"):
        place(postgres.replace(f"{USER}@", "stranger@"), tmp_path).open()


def test_without_the_extra_it_is_named(tmp_path: Path) -> None:
    """A plain installation has no driver."""
    code = (
        "import sys; sys.modules['psycopg'] = None\n"
        "from stcli.store.postgres import open_postgres\n"
        "from stcli.errors import ConfigurationError\n"
        "try: open_postgres('postgresql://x/y')\n"
        "except ConfigurationError as error: print(error.hint)"
    )
    import sys

    told = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True, timeout=60
    )
    assert "stcli[postgres]" in told.stdout
