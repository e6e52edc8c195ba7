"""Documents have the keys that the reference promises, and one document is all there is."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

PAGE = Path(__file__).parents[2] / "docs" / "reference" / "json.md"
ROWS = dict(re.findall(r"^\| (`.+?) \| (.+) \|$", PAGE.read_text(encoding="utf-8"), re.MULTILINE))

COMMANDS = {
    "leads run": ["leads", "run"],
    "qualify run": ["qualify", "run"],
    "run": ["run"],
    "status": ["status"],
    "history list": ["history", "list"],
    "failures list": ["failures", "list"],
    "map validate": ["map", "validate"],
    "doctor": ["doctor"],
    "schedule status": ["schedule", "status"],
    "rewards due": ["rewards", "due"],
    "state check": ["state", "check"],
}


@pytest.mark.parametrize("command", COMMANDS)
def test_promised_keys_are_there(connected, cli, command) -> None:
    """Those before the semicolon; more may come."""
    row = next(keys for commands, keys in ROWS.items() if f"`{command}`" in commands)
    promised = set(re.findall(r"`(\w+)`", re.split(r";|, each", row)[0]))
    cli("run")
    document = cli(*COMMANDS[command], "--json").document
    assert promised <= set(document)
    assert document["schema_version"] == 1


def test_every_command_of_the_page_is_tried() -> None:
    """But for those that change the machine or fail."""
    told = {name for commands in ROWS for name in re.findall(r"`([^`]+)`", commands)}
    assert told - set(COMMANDS) == {
        "referrers run",
        "sync run",
        "history show",
        "schedule install",
        "state copy",
        "worker status",
    }
