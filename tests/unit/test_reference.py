"""The reference pages are what the help says; shells complete."""

from __future__ import annotations

import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from stcli.domain.campaign import AccountSettings, Alarms
from stcli.errors import EXIT_CODE_MEANINGS
from tests.reference import DOCS, documented, pages

STCLI = Path(sys.executable).with_name("stcli")


def test_the_pages_are_up_to_date() -> None:
    """Written by ``python -m tests.reference``."""
    for path, text in pages().items():
        assert path.read_text(encoding="utf-8") == text, path.name


def test_every_command_and_parameter_is_explained() -> None:
    """With a text, and each command with an example of itself."""
    for one in documented():
        assert one.text, one.words
        assert f"stcli {' '.join(one.words)}" in one.example, one.words
        for name, text in one.parameters:
            assert text, (one.words, name)


@pytest.mark.skipif(shutil.which("groff") is None, reason="groff is not installed")
def test_the_man_page_has_no_fault() -> None:
    """As groff reads it."""
    ended = subprocess.run(
        ["groff", "-man", "-Tutf8", "-P-c", "-ww", str(DOCS / "stcli.1")],
        capture_output=True,
        text=True,
        check=True,
    )
    assert ended.stderr == ""
    assert "stcli" in ended.stdout


@pytest.mark.parametrize(
    ("words", "expected"),
    [
        (["stcli", "sched"], "schedule"),
        (["stcli", "schedule", "in"], "install"),
        (["stcli", "schedule", "install", "--ev"], "--every"),
        (["stcli", "map", "set", "--sel"], "--select"),
        (["stcli", "run", "spring"], "spring-hvac"),
        (["stcli", "status", "roo"], "roofing"),
    ],
)
@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_shells_complete(tmp_path: Path, shell: str, words: list[str], expected: str) -> None:
    """Commands, options and the names of campaigns; as the script of each shell asks."""
    for name in ("spring-hvac", "roofing"):
        (tmp_path / "campaigns").mkdir(exist_ok=True)
        (tmp_path / "campaigns" / f"{name}.yaml").write_text("version: 1\n")
    line = " ".join(words)
    environment = {
        "STCLI_HOME": str(tmp_path),
        "_STCLI_COMPLETE": f"complete_{shell}",
        "COMP_WORDS": line,
        "COMP_CWORD": str(len(words) - 1),
        "_TYPER_COMPLETE_ARGS": line,
        "_TYPER_COMPLETE_FISH_ACTION": "get-args",
    }
    ended = subprocess.run(
        [str(STCLI)], env=environment, capture_output=True, text=True, check=True, timeout=30
    )
    assert expected in ended.stdout


@pytest.mark.skipif(shutil.which("bash") is None, reason="bash is not installed")
def test_bash_takes_the_script(tmp_path: Path) -> None:
    """The one that ``--show-completion`` prints, sourced by a real bash that then completes."""
    script = subprocess.run(
        [str(STCLI)],
        env={"_STCLI_COMPLETE": "source_bash", "PATH": "/usr/bin:/bin"},
        capture_output=True,
        text=True,
        check=True,
        timeout=30,
    ).stdout
    file = tmp_path / "completion.sh"
    file.write_text(script)
    asked = (
        f"source {file}; COMP_WORDS=(stcli sched); COMP_CWORD=1; "
        f"{_completer(script)} stcli sched stcli; printf '%s\\n' \"${{COMPREPLY[@]}}\""
    )
    ended = subprocess.run(
        ["bash", "-c", asked],
        capture_output=True,
        text=True,
        check=True,
        env={"PATH": f"{STCLI.parent}:/usr/bin:/bin", "HOME": str(tmp_path)},
        timeout=30,
    )
    assert ended.stdout.split() == ["schedule"]


def _completer(script: str) -> str:
    """The name of the function that the script gives to ``complete``."""
    line = next(line for line in script.splitlines() if line.startswith("complete "))
    words = line.split()
    return words[words.index("-F") + 1]


def test_every_variable_is_documented() -> None:
    """Those that the source reads, and no others."""
    source = "".join(
        path.read_text(encoding="utf-8")
        for path in (DOCS.parent / "stcli").rglob("*.py")
        if "sandbox" not in path.parts
    )
    read = set(re.findall(r'"(STCLI_[A-Z_]+[A-Z])"', source))
    page = (DOCS / "reference" / "configuration.md").read_text(encoding="utf-8")
    told = set(re.findall(r"^\| `(STCLI_[A-Z_]+[A-Z])`", page, re.MULTILINE))
    assert read == told


def test_every_setting_is_documented() -> None:
    """The keys of ``settings.yaml``, and those of ``alarms``."""
    page = (DOCS / "reference" / "configuration.md").read_text(encoding="utf-8")
    part = page[page.index("## settings.yaml") : page.index("## Campaign files")]
    assert set(re.findall(r"^\| `(\w+)`", part, re.MULTILINE)) == set(AccountSettings.model_fields)
    alarms = (DOCS / "unattended.md").read_text(encoding="utf-8")
    block = alarms[alarms.index("\nalarms:\n") :].partition("```")[0]
    assert set(re.findall(r"^  (\w+):", block, re.MULTILINE)) == set(Alarms.model_fields)


def test_exit_codes_are_documented() -> None:
    """As the errors have them."""
    page = (DOCS / "reference" / "configuration.md").read_text(encoding="utf-8")
    for code, meaning in EXIT_CODE_MEANINGS.items():
        assert f"| {int(code)} | {meaning} |" in page
