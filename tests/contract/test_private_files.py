"""Files and folders of a home: private, and what else holds them is not disturbed."""

from __future__ import annotations

import sqlite3
import stat
import subprocess
import sys
from collections.abc import Callable
from contextlib import closing, suppress
from datetime import UTC, datetime
from pathlib import Path

import pytest

from stcli.clients.ratelimit import Limit, RateLimiter
from stcli.clients.slots import SlotFile
from stcli.domain.ids import RunId
from stcli.errors import StateError
from stcli.paths import private_file
from stcli.store.sent_marks import SentMarks
from stcli.store.sqlite import open_sqlite

NOW = datetime(2026, 11, 26, tzinfo=UTC)
OTHER_PROCESS = """
import sqlite3, sys
try:
    sqlite3.connect(sys.argv[1], timeout=0.1, isolation_level=None).execute("BEGIN IMMEDIATE")
except sqlite3.OperationalError as error:
    sys.exit(str(error))
"""


def test_a_file_is_made_once_and_is_private(tmp_path: Path) -> None:
    """What is there stays as it is."""
    file = tmp_path / "x.db"
    private_file(file)
    assert stat.S_IMODE(file.stat().st_mode) == 0o600
    file.write_text("something", encoding="utf-8")
    private_file(file)
    assert file.read_text(encoding="utf-8") == "something"


@pytest.mark.parametrize(
    "use",
    [
        lambda file: open_sqlite(file).close(),
        lambda file: SentMarks(file).note("tenant", RunId("run"), NOW),
        lambda file: RateLimiter(SlotFile(file))._reserve(Limit("key", 60, 1.0), 1, 0.0),
    ],
    ids=["state", "marks", "limits"],
)
def test_a_lock_that_another_thread_holds_is_kept(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, use: Callable[[Path], object]
) -> None:
    """POSIX frees the locks of a whole process when it closes any descriptor of the file."""
    file = tmp_path / "some.db"
    connect = sqlite3.connect
    with closing(connect(file, isolation_level=None)) as sql:
        sql.execute("CREATE TABLE t (x)")
        sql.execute("BEGIN IMMEDIATE")
        monkeypatch.setattr(sqlite3, "connect", lambda *a, **k: connect(*a, **{**k, "timeout": 0}))
        with suppress(StateError):  # it is locked
            use(file)
        ran = subprocess.run(
            [sys.executable, "-c", OTHER_PROCESS, str(file)],
            capture_output=True,
            text=True,
            check=False,
        )
        assert "locked" in ran.stderr
