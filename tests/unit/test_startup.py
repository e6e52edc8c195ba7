"""What a command may load: each module that it need not costs every start of it."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

PROGRAM = """
import sys
bare = set(sys.modules)
sys.argv = ["stcli", *sys.argv[1:]]
from stcli.__main__ import main
try:
    main()
finally:
    print("\\n== loaded", *(set(sys.modules) - bare), sep="\\n", file=sys.stderr)
"""
TYPER = {"annotated_doc", "shellingham", "typer"}
DRAWING = {"attr", "markdown_it", "mdurl", "pygments", "rich"}
"""Rich, and what it takes where it is there."""
FILES = {
    "annotated_types",
    "cython_runtime",
    "pydantic",
    "pydantic_core",
    "typing_extensions",
    "typing_inspection",
    "yaml",
}
CAMPAIGN = Path(__file__).parents[2] / "configs" / "leads-and-qualification.yaml"
OF_A_PASS = {"stcli.clients", "stcli.usecases.passes.runner"}


@pytest.mark.parametrize(
    ("words", "libraries", "never"),
    [
        (("--version",), TYPER, {"stcli.domain", "stcli.config", "sqlite3"} | OF_A_PASS),
        (("--help",), TYPER | DRAWING, {"stcli.domain", "stcli.config", "sqlite3"} | OF_A_PASS),
        (("map", "validate"), TYPER | FILES, {"sqlite3", "stcli.domain.records"} | OF_A_PASS),
        (("map", "show"), TYPER | FILES, {"sqlite3"} | OF_A_PASS),
        (("status",), TYPER | FILES, OF_A_PASS),
        (("failures", "list"), TYPER | FILES, OF_A_PASS),
        (("history", "list"), TYPER | FILES, OF_A_PASS),
    ],
)
def test_a_command_loads_what_it_needs(tmp_path, words, libraries, never) -> None:
    """No other library than these, nor what the event loop or another command needs."""
    home = tmp_path / "home" / "campaigns"
    home.mkdir(parents=True)
    (home / "spring-hvac.yaml").write_bytes(CAMPAIGN.read_bytes())
    loaded = loaded_by(*words)
    assert sorted(({"asyncio"} | never) & loaded) == []
    assert sorted(_libraries(loaded) - libraries) == []


def loaded_by(*words: str) -> set[str]:
    """Every module that a command which ends well has loaded, beside those of a bare interpreter."""
    ran = subprocess.run(
        [sys.executable, "-c", PROGRAM, *words], capture_output=True, text=True, check=False
    )
    assert ran.returncode == 0, ran.stdout + ran.stderr
    return set(ran.stderr.partition("\n== loaded\n")[2].splitlines())


def _libraries(loaded: set[str]) -> set[str]:
    """The packages that are neither Python's nor ours; what begins with _ belongs to one of them."""
    names = {name.partition(".")[0] for name in loaded} - sys.stdlib_module_names - {"stcli"}
    return {name for name in names if not name.startswith("_")}
