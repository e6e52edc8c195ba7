"""What a command may load: each module that it need not costs every start of it."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

PROGRAM = """
import sys
sys.argv = ["stcli", *sys.argv[1:]]
from stcli.__main__ import main
try:
    main()
finally:
    print("\\n" + "\\n".join(sys.modules), file=sys.stderr)
"""
SERVERS = {"starlette", "uvicorn"}
OF_THE_STATE = {"sqlite3"}
OF_A_PASS = {"httpx", "msgspec", "stcli.clients", "stcli.usecases.passes.runner"}
OF_FILES = {"pydantic", "yaml", "stcli.config"}
KEYRING = {"keyring"}
DRAWING = {"rich", "questionary", "prompt_toolkit"}
CAMPAIGN = Path(__file__).parents[2] / "configs" / "leads-and-qualification.yaml"


@pytest.mark.parametrize(
    ("words", "never"),
    [
        (
            ("--version",),
            {"stcli.domain"} | SERVERS | OF_THE_STATE | OF_A_PASS | OF_FILES | KEYRING | DRAWING,
        ),
        (("--help",), {"stcli.domain"} | SERVERS | OF_THE_STATE | OF_A_PASS | OF_FILES | KEYRING),
        (
            ("map", "validate"),
            SERVERS
            | OF_THE_STATE
            | OF_A_PASS
            | KEYRING
            | DRAWING
            | {"asyncio", "stcli.domain.records"},
        ),
        (("map", "show"), SERVERS | OF_THE_STATE | OF_A_PASS | KEYRING | DRAWING),
        (("status",), SERVERS | OF_A_PASS | KEYRING | DRAWING),
        (("failures", "list"), SERVERS | OF_A_PASS | KEYRING | DRAWING),
        (("history", "list"), SERVERS | OF_A_PASS | KEYRING | DRAWING),
    ],
)
def test_a_command_loads_what_it_needs(tmp_path, words, never) -> None:
    """A library that another command needs is not among the modules at its end."""
    home = tmp_path / "home" / "campaigns"
    home.mkdir(parents=True)
    (home / "spring-hvac.yaml").write_bytes(CAMPAIGN.read_bytes())
    ran = subprocess.run(
        [sys.executable, "-c", PROGRAM, *words], capture_output=True, text=True, check=False
    )
    loaded = set(ran.stderr.splitlines())
    assert "stcli.__main__" in loaded, ran.stderr
    assert sorted(never & loaded) == []
