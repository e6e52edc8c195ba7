"""The README and the samples say what is there."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest

from stcli.cli.app import COMMANDS
from stcli.config.load import load_campaign
from stcli.domain.campaign import in_use
from stcli.errors import EXIT_CODE_MEANINGS, ExitCode, StcliError
from tests.samples import samples
from tests.scale.recordings import SCENES

ROOT = Path(__file__).parents[2]
README = (ROOT / "README.md").read_text(encoding="utf-8")


def _errors(kind: type[StcliError]) -> list[type[StcliError]]:
    return [kind, *(found for sub in kind.__subclasses__() for found in _errors(sub))]


def test_every_error_has_a_code_of_the_product_and_a_kind() -> None:
    """The tree is walked; a new error cannot forget either."""
    for error in _errors(StcliError):
        assert isinstance(error.exit_code, ExitCode)
        assert error.kind
        assert error.exit_code is not ExitCode.DONE


def test_the_table_of_exit_codes_is_the_enum() -> None:
    """README and code name the same codes with the same meanings."""
    rows = dict(re.findall(r"^\| (\d+) \| (.+) \|$", README, re.MULTILINE))
    assert {int(code): text for code, text in rows.items()} == {
        int(code): text for code, text in EXIT_CODE_MEANINGS.items()
    }


def test_the_table_of_commands_is_complete() -> None:
    """Each command of the root stands in the README's table, and nothing else does."""
    rows = set(re.findall(r"^\| `([a-z]+)", README, re.MULTILINE))
    assert rows == set(COMMANDS)


def test_the_first_two_commands_set_up_and_test() -> None:
    """The first two code lines are whole: one runs the demo, one the tests."""
    block = re.search(r"```sh\n(.*?)```", README, re.DOTALL)
    assert block is not None
    lines = block.group(1).strip().splitlines()
    assert lines[0].endswith("stcli demo")
    assert lines[1].endswith("pytest -n auto")


@pytest.mark.parametrize("path", sorted((ROOT / "configs").glob("*.yaml")), ids=lambda p: p.name)
def test_a_sample_is_ready(path: Path) -> None:
    """Every sample campaign reads and could run."""
    loaded = load_campaign(path, path.stem)
    used = in_use(loaded.config)
    assert used
    for tab in used:
        assert not loaded.problems(tab)
        assert not loaded.verdicts[tab].missing


@pytest.mark.parametrize("name", sorted(SCENES))
def test_a_recording_is_whole(name: str) -> None:
    """Every scene was recorded, plays in any player of the format, and ends as it has to."""
    text = (ROOT / "docs" / "recordings" / f"{name}.cast").read_text(encoding="utf-8")
    head, *events = [json.loads(row) for row in text.splitlines()]
    words, _, columns, more, code = SCENES[name]
    assert (head["version"], head["width"]) == (2, columns)
    times = [event[0] for event in events]
    assert times == sorted(times)
    shown = "".join(event[2] for event in events)
    assert shown.startswith(f"$ stcli {' '.join(words)}")
    assert ("stopped by Ctrl-C" in shown) is (code == 130)
    assert not more or not re.search(r"\x1b\[[0-9;]*3[0-7]m", shown)
    assert str(ROOT) not in shown


def test_there_are_samples() -> None:
    """The glob above found something."""
    assert len(list((ROOT / "configs").glob("*.yaml"))) >= 2


def test_every_test_that_a_document_names_is_there() -> None:
    """``file.py::name`` in a table leads somewhere."""
    named = {
        pair
        for document in (ROOT / "docs").glob("*.md")
        for pair in re.findall(r"([a-z_]+\.py)::(\w+)", document.read_text(encoding="utf-8"))
    }
    assert len(named) > 20
    for file, name in named:
        found = list((ROOT / "tests").rglob(file))
        assert any(f"def {name}(" in path.read_text(encoding="utf-8") for path in found), (
            file,
            name,
        )


def test_sample_schedules_are_what_would_be_installed() -> None:
    """Written by ``python -m tests.samples``."""
    for name, text in samples().items():
        assert (ROOT / "configs" / name).read_text(encoding="utf-8") == text
