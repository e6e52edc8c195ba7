"""stcli as stcli itself calls it: from a schedule, by a worker, in the demo."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest

from stcli.own_program import own_program


@pytest.mark.parametrize("module", ["yaml", "httpx", "stcli", "json"])
def test_what_lies_where_it_is_called_from_is_no_part_of_it(tmp_path: Path, module: str) -> None:
    """A schedule runs in a home folder, where anything may lie."""
    (tmp_path / f"{module}.py").write_text(
        "raise SystemExit('another program')\n", encoding="utf-8"
    )
    ended = subprocess.run(
        [*own_program(), "config", "schema"],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
    )
    assert (ended.returncode, ended.stderr) == (0, "")
    assert ended.stdout.startswith("{")
