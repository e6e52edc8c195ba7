"""The engines that keep the state; every test of the store runs on each."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import pytest

from stcli.store.copies import saving
from stcli.store.engine import Database
from stcli.store.migrations import migrate
from stcli.store.postgres import open_postgres
from stcli.store.sqlite import open_sqlite


@dataclass(frozen=True)
class Place:
    """Where one database is; ``where`` names it, also to another process."""

    where: str

    def opened(self, check_stop: Callable[[], None] = lambda: None) -> Database:
        """It, opened once more."""
        return opened(self.where, check_stop)


def opened(where: str, check_stop: Callable[[], None] = lambda: None) -> Database:
    if where.startswith("postgresql"):
        return open_postgres(where, check_stop)
    return open_sqlite(Path(where), check_stop)


@pytest.fixture(params=["sqlite", "postgres"])
def place(request: pytest.FixtureRequest, tmp_path: Path) -> Place:
    """A fresh state with all its tables, on each engine."""
    if request.param == "sqlite":
        file = tmp_path / "state" / "stcli.db"
        database = open_sqlite(file)
        migrate(database, version="1.0.0", save=saving(file, tmp_path / "backups"))
        database.close()
        return Place(str(file))
    return Place(request.getfixturevalue("postgres"))


@pytest.fixture(autouse=True)
def _fences_are_counted(monkeypatch: pytest.MonkeyPatch) -> None:
    """So that a test can tell the next one; that they are drawn on a server has a test of its own."""
    monkeypatch.setattr("stcli.store.locks.FENCE_STEP", 1)
