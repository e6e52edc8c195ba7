"""Setting a sync up: with flags, and in three steps on a real pseudo-terminal."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from stcli.config.document import parse_document
from stcli.config.load import interpret
from stcli.domain.campaign import SyncType
from stcli.errors import ChangedMeanwhile
from stcli.usecases.new_rule import rule_from
from stcli.usecases.sync_setup import SyncChanges, present_answers
from tests.integration.synced import SYNC
from tests.integration.terminal import DOWN, Terminal

SETUP = ("sync", "setup")


def _sync_part(file: Path) -> str:
    text = file.read_text(encoding="utf-8")
    return text[text.index("\nsync:") :] if "\nsync:" in text else ""


def _answers(terminal: Terminal) -> None:
    _answers_but_type(terminal)
    terminal.answer("Sync type")


def _answers_but_type(terminal: Terminal) -> None:
    terminal.answer(r"First Name \* comes from")
    terminal.answer(r"Email \* comes from")
    terminal.answer("Last Name comes from", DOWN * 2 + "\r")
    terminal.answer("Phone comes from")
    terminal.answer("Referral Link goes to")
    terminal.answer("Referral Code goes to", "\x1b[A" + "\r")
    terminal.answer("Referrals Count goes to", DOWN * 2 + "\r")
    terminal.answer("Converted Referrals Count goes to")


FLAGS = (
    "--type", "ongoing",
    "--map", "meta.Last Name=name>last_name",
    "--return", "Referral Link=referral_link",
    "--return", "Referrals=referrals_count",
)  # fmt: skip


def test_three_steps_and_flags_write_the_same_file(connected, cli, world) -> None:
    """With the real fields of both sides; the recommended mapping is one Enter away."""
    before = connected.read_text(encoding="utf-8")
    terminal = Terminal(*SETUP)
    _answers(terminal)
    terminal.answer("Write this")
    assert terminal.end() == 0, terminal.seen
    asked = _sync_part(connected)
    assert connected.read_text(encoding="utf-8").startswith(before.rstrip("\n"))
    assert "Heard About Us" in terminal.text
    connected.write_text(before, encoding="utf-8")
    ran = cli("sync", "setup", *FLAGS)
    assert ran.code == 0, ran.text
    flagged = _sync_part(connected)
    assert "custom_field:Referrals" in flagged
    assert "transform: [last_name]" in flagged
    assert asked.splitlines()[:5] == flagged.splitlines()[:5]
    assert {line.strip() for line in asked.splitlines()} == {
        line.strip() for line in flagged.splitlines()
    }
    ran = cli("sync", "run", "--json")
    assert ran.code == 0, ran.text


def test_ctrl_c_in_the_middle_changes_nothing(connected) -> None:
    """Exit 130, the file as it was."""
    before = connected.read_bytes()
    terminal = Terminal(*SETUP)
    terminal.answer(r"First Name \* comes from")
    terminal.answer(r"Email \* comes from", "\x03")
    assert terminal.end() == 130, terminal.seen
    assert "Traceback" not in terminal.seen
    assert connected.read_bytes() == before


def test_a_no_at_the_end_changes_nothing(connected) -> None:
    """Said so, exit 2."""
    before = connected.read_bytes()
    terminal = Terminal(*SETUP)
    _answers(terminal)
    terminal.answer("Write this", "n\r")
    assert terminal.end() == 2
    assert "nothing was changed" in terminal.seen
    assert connected.read_bytes() == before


def test_a_narrow_window_without_colour(connected) -> None:
    """Every question can be answered in forty columns, and NO_COLOR is obeyed."""
    terminal = Terminal(*SETUP, columns=40, NO_COLOR="1")
    _answers(terminal)
    terminal.answer("Write this")
    assert terminal.end() == 0, terminal.seen
    assert not re.search(r"\x1b\[[0-9;]*3[0-7]m", terminal.seen)
    assert _sync_part(connected)


def test_a_second_setup_starts_from_what_is_there(connected, cli) -> None:
    """Unchanged answers change nothing; comments and spacing survive a changed one."""
    text = connected.read_text(encoding="utf-8")
    mine = SYNC.replace("  type: ongoing", "  type: ongoing      # mine")
    connected.write_text(text + mine, encoding="utf-8")
    ran = cli("sync", "setup", "--yes")
    assert ran.code == 0, ran.text
    assert "nothing to change" in ran.out
    ran = cli("sync", "setup", "--map", "meta.Phone=", "--map", "meta.Last Name=name>last_name")
    assert ran.code == 0, ran.text
    after = _sync_part(connected)
    assert "# mine" in after
    assert "meta.Phone" not in after
    assert "meta.Last Name" in after


BLOCK = """\
sync:
  type: ongoing
  fields:
    # who they are
    first_name:  # as in the office
      type: dynamic  # never a fixed one
      # out of Name
      from: name
      transform: [first_name]  # or last_name
    email: {type: dynamic, from: email}
"""


def test_comments_inside_a_mapping_survive(connected, cli) -> None:
    """Only the word that changes changes, as with ``map set``."""
    connected.write_text(connected.read_text(encoding="utf-8") + BLOCK, encoding="utf-8")
    ran = cli("sync", "setup", "--map", "first_name=name>last_name")
    assert ran.code == 0, ran.text
    assert _sync_part(connected).lstrip("\n") == BLOCK.replace("[first_name]", "[last_name]")


HEAD = "version: 1\nreferral_campaign: x\nservicetitan: {tenant_id: 1}\n"
THEIRS = (
    "--yes", "--type", "one_time", "--map", "meta.Phone=phone", "--max-creates", "5",
    "--return", "Referral Link=referral_link", "--return", "Referrals=referrals_count",
)  # fmt: skip


@pytest.mark.parametrize(("keys", "kind"), [("\r", "one_time"), (DOWN + "\r", "ongoing")])
def test_what_somebody_else_set_up_meanwhile_is_not_lost(connected, cli, keys, kind) -> None:
    """A whole tab, with its brake, made while the questions were open: what only they set stays, and
    what both set is asked about."""
    terminal = Terminal(*SETUP)
    terminal.answer(r"First Name \* comes from", "")
    assert cli("sync", "setup", *THEIRS).code == 0
    terminal.child.send("\r")
    terminal.answer(r"Email \* comes from")
    terminal.answer("Last Name comes from")
    terminal.answer("Phone comes from")
    terminal.answer("Referral Link goes to")
    terminal.answer("Referral Code goes to", "\x1b[A" + "\r")
    terminal.answer("Referrals Count goes to")
    terminal.answer("Converted Referrals Count goes to")
    terminal.answer("Sync type")
    terminal.answer("Write this")
    terminal.answer("Changed by somebody else meanwhile: sync.type", keys)
    assert terminal.end() == 0, terminal.seen
    after = _sync_part(connected)
    assert f"type: {kind}" in after
    for theirs in ("max_creates: 5", "meta.Phone: {type: dynamic, from: phone}", "Referrals"):
        assert theirs in after


def test_single_changes_meanwhile_stay_beside_the_answers(connected, cli) -> None:
    """A return field that they added stays; a mapping that both changed is asked about."""
    text = connected.read_text(encoding="utf-8")
    connected.write_text(text + BLOCK, encoding="utf-8")
    terminal = Terminal(*SETUP, "--return", "Referral Link=referral_link")
    terminal.answer(r"First Name \* comes from", "")
    count = ("custom_field:Referrals", "--tab", "return", "--from", "referrals_count")
    assert cli("map", "set", *count).code == 0
    assert cli("map", "set", "first_name", "--tab", "sync", "--from", "name").code == 0
    terminal.child.send(DOWN + "\r")
    terminal.answer(r"Email \* comes from")
    terminal.answer("Last Name comes from")
    terminal.answer("Phone comes from")
    terminal.answer("Write this")
    terminal.answer("meanwhile: sync.fields.first_name", DOWN + "\r")
    assert terminal.end() == 0, terminal.seen
    after = _sync_part(connected)
    assert "transform: [last_name]" in after
    assert "custom_field:Referrals" in after
    assert "custom_field:Referral Link" in after
    for comment in re.findall("#.*", BLOCK.replace("  # or last_name", "")):
        assert comment in after


def test_without_a_terminal_what_both_set_is_refused() -> None:
    """Naming it, with exit 3; what both set to the same is no matter."""
    begun, theirs = (
        interpret(parse_document(HEAD + BLOCK.replace("[first_name]", transform))).config
        for transform in ("[first_name]", "[trim]")
    )
    answers = present_answers(begun)
    answers.type, answers.max_creates = SyncType.ONE_TIME, 5
    answers.fields["first_name"] = rule_from("name>last_name")
    with pytest.raises(ChangedMeanwhile, match=r"sync\.fields\.first_name;") as caught:
        SyncChanges(begun, answers).plan(theirs)
    assert caught.value.exit_code == 3
    answers.fields["first_name"] = rule_from("name>trim")
    values, _ = SyncChanges(begun, answers).plan(theirs)
    assert values == {("sync", "type"): "one_time", ("sync", "limits", "max_creates"): 5}


def test_a_tab_that_is_taken_out_meanwhile_stays_out(connected, cli) -> None:
    """Refused with exit 3: half a tab is none."""
    text = connected.read_text(encoding="utf-8")
    connected.write_text(text + BLOCK, encoding="utf-8")
    terminal = Terminal(*SETUP, "--type", "one_time")
    _answers_but_type(terminal)
    connected.write_text(text, encoding="utf-8")
    terminal.answer("Write this")
    assert terminal.end() == 3
    assert "taken out of the file by somebody else" in terminal.seen
    assert connected.read_text(encoding="utf-8") == text


@pytest.mark.parametrize(
    ("words", "code", "message"),
    [
        ((), 2, "no terminal to ask on"),
        (("--type", "sometimes"), 2, "It is ongoing or one_time"),
        (("--type", "ongoing", "--map", "email"), 2, "is not TARGET=FIELD"),
        (("--type", "ongoing", "--map", "emial=email"), 3, "did you mean email"),
        (("--type", "ongoing", "--map", "email=emial"), 3, "did you mean email"),
        (("--type", "ongoing", "--map", "email="), 3, "has no mapping for email"),
        (("--type", "ongoing", "--map", 'email="a@example.com"'), 3, "same email address"),
        (("--type", "ongoing", "--map", "meta.Lst Name=name"), 3, "did you mean meta.Last Name"),
        (("--type", "ongoing", "--map", "first_name=name>frist_name"), 3, "first_name"),
        (("--type", "ongoing", "--return", "Referal Link=referral_link"), 3, "Referral Link"),
        (("--type", "ongoing", "--return", "Referrals=referral_link"), 3, "is Numeric, not Text"),
        (("--type", "ongoing", "--created-since", "soon"), 3, "must be a day"),
        (("--type", "ongoing", "--customer-type", "Industrial"), 3, "Industrial"),
    ],
)
def test_wrong_answers_are_refused_with_the_nearest(
    connected, cli, words: tuple[str, ...], code: int, message: str
) -> None:
    """Exit 2 or 3, naming the flag or the name; the file is not touched."""
    before = connected.read_bytes()
    ran = cli("sync", "setup", *words)
    assert ran.code == code, ran.text
    assert message in ran.text
    assert connected.read_bytes() == before


def test_required_fields_of_the_campaign_are_asked_for(connected, cli, world) -> None:
    """Setup Required, naming the flag."""
    form = [
        {"id": 1, "type": "input", "label": label, "value": None, "required": True}
        for label in ("First Name", "Email", "Last Name")
    ]
    world.post("/rf/campaigns/spring-hvac", fields={"person_referring": form})
    ran = cli("sync", "setup", "--type", "ongoing")
    assert ran.code == 3
    assert '--map "meta.Last Name=' in ran.text
    ran = cli("sync", "setup", "--type", "ongoing", "--map", "meta.Last Name=name>last_name")
    assert ran.code == 0, ran.text


def test_before_the_connection_stands_names_are_taken_as_they_are(pointed, cli) -> None:
    """Mappings may be set up in any state; what could not be checked is said."""
    assert cli("connect", "spring-hvac", "--tenant-id", "985798691").code == 0
    ran = cli("sync", "setup", "--type", "one_time", "--return", "My Link=referral_link")
    assert ran.code == 0, ran.text
    assert "not finalized yet" in ran.err
    assert cli("map", "validate").code == 0
    assert "My Link" in cli("map", "show", "--tab", "return").out
    assert "first_name *" in cli("map", "show", "--tab", "sync").out
    assert "custom_field:NAME" in cli("map", "fields", "--tab", "sync").out
