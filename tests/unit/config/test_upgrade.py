"""Files of older versions: each step edits the text, and what comes out has to read."""

from __future__ import annotations

from pathlib import Path

import pytest

from stcli.config.document import Document
from stcli.config.edit import remove_value, set_value
from stcli.config.upgrade import CAMPAIGN_STEPS, SETTINGS_STEPS, upgrade_file, upgraded
from stcli.domain.campaign import FILE_VERSION
from stcli.errors import ConfigurationError

OLD = """\
# ours
version: 1   # as it began
colour:  red # of the van
other: {a: 1,   b: 2}
"""
NEW = """\
# ours
version: 3   # as it began
color: red
other: {a: 1,   b: 2, c: 3}
"""


def _american(text: str) -> str:
    text = set_value(text, ("color",), "red")
    return remove_value(text, ("colour",))


def _with_c(text: str) -> str:
    return set_value(text, ("other", "c"), 3)


STEPS = (_american, _with_c)


def _accept(document: Document) -> None:
    if document.value.get("refused"):
        raise ConfigurationError("refused", "", [])


def test_there_is_a_step_for_each_version_before_this_one() -> None:
    """Whoever raises the version of the files says how the older ones become it."""
    assert len(CAMPAIGN_STEPS) == len(SETTINGS_STEPS) == FILE_VERSION - 1


def test_a_file_goes_through_all_steps_that_it_lacks(tmp_path: Path) -> None:
    """Comments, order and spacing elsewhere stay; the second time there is nothing to do."""
    file = tmp_path / "old.yaml"
    file.write_text(OLD, encoding="utf-8")
    done = upgrade_file(file, STEPS, _accept, dry_run=False)
    assert (done.before, done.after) == (1, 3)
    assert "-colour:  red # of the van" in done.diff
    text = file.read_text(encoding="utf-8")
    assert sorted(text.splitlines()) == sorted(NEW.splitlines())
    assert text.startswith("# ours\nversion: 3   # as it began\n")
    again = upgrade_file(file, STEPS, _accept, dry_run=False)
    assert (again.before, again.after, again.diff) == (3, 3, "")
    assert file.read_text(encoding="utf-8") == text
    assert upgraded(OLD.replace("version: 1", "version: 2"), STEPS).count("colour") == 1


def test_a_dry_run_tells_the_difference_and_writes_nothing(tmp_path: Path) -> None:
    """Not even a lock beside the file."""
    file = tmp_path / "old.yaml"
    file.write_text(OLD, encoding="utf-8")
    done = upgrade_file(file, STEPS, _accept, dry_run=True)
    assert "+version: 3   # as it began" in done.diff
    assert file.read_text(encoding="utf-8") == OLD
    assert list(tmp_path.iterdir()) == [file]


@pytest.mark.parametrize("dry_run", [True, False])
def test_what_would_not_read_afterwards_is_not_written(tmp_path: Path, dry_run: bool) -> None:
    """A step that meets what nobody thought of spoils no file."""
    file = tmp_path / "old.yaml"
    file.write_text(OLD + "refused: true\n", encoding="utf-8")
    with pytest.raises(ConfigurationError, match="refused"):
        upgrade_file(file, STEPS, _accept, dry_run=dry_run)
    assert file.read_text(encoding="utf-8") == OLD + "refused: true\n"


def test_a_newer_file_is_refused_naming_the_version(tmp_path: Path) -> None:
    """It is not ours to change."""
    file = tmp_path / "new.yaml"
    file.write_text("version: 4\n", encoding="utf-8")
    with pytest.raises(ConfigurationError, match="version 4, and this stcli reads 3") as caught:
        upgrade_file(file, STEPS, _accept, dry_run=False)
    assert "reads version 4" in caught.value.hint


def test_a_file_without_a_version_is_of_the_first(tmp_path: Path) -> None:
    """``settings.yaml`` need not name it."""
    file = tmp_path / "settings.yaml"
    file.write_text("colour: red\nother: {}\n", encoding="utf-8")
    assert upgrade_file(file, STEPS, _accept, dry_run=False).before == 1
    assert "version: 3" in file.read_text(encoding="utf-8")
