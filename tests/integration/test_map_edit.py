"""``map edit`` on a real pseudo-terminal: walked through, left, stopped, in narrow windows."""

from __future__ import annotations

import re
import signal
from pathlib import Path

import pytest

from stcli.cli.output import columns_of
from stcli.config.load import load_campaign
from stcli.domain.campaign import Tab
from tests.integration.conftest import edit
from tests.integration.terminal import CTRL_C, DOWN, UP, Terminal

EDIT = ("map", "edit")


@pytest.fixture
def unmapped(pointed, cli, home: Path) -> Path:
    """A campaign as ``connect`` begins it: nothing mapped, not finalized."""
    assert cli("connect", "spring-hvac", "--tenant-id", "985798691").code == 0
    return home / "campaigns" / "spring-hvac.yaml"


def _leads(file: Path) -> dict:
    return dict(load_campaign(file, file.stem).config.rules_of(Tab.LEADS))


def test_a_newcomer_maps_what_is_required(connected, cli) -> None:
    """From an empty mapping to All required fields: each data type once, the heading counts down."""
    text = connected.read_text(encoding="utf-8")
    start, end = text.index("  fields:\n"), text.index("qualification:")
    connected.write_text(text[:start] + text[end:], encoding="utf-8")
    terminal = Terminal(*EDIT, columns=160)
    terminal.answer(
        "no mapping for source, name, email, summary, is_first_time_client, external_id"
    )
    # source: manual input
    terminal.answer(r"source \(text", DOWN + "\r")
    terminal.answer(", for everyone", "Spring HVAC\r")
    terminal.answer("no mapping for name, email")
    # name: a field, found by typing a part of its name
    terminal.answer(r"name \(text")
    terminal.answer("which field", "first_name\r")
    terminal.answer("transforms", "title\r")
    terminal.answer("is empty", "Customer\r")
    terminal.answer("no mapping for email")
    terminal.answer(r"email \(email")
    terminal.answer("which field", DOWN + "\r")
    terminal.answer("transforms")
    terminal.answer("is empty")
    terminal.answer("no mapping for summary")
    terminal.answer(r"summary \(text", DOWN * 2 + "\r")
    terminal.answer(", a text with fields", "From {referrer.first_name}\r")
    terminal.answer("no mapping for is_first_time_client")
    terminal.answer(r"is_first_time_client \(yes or no", DOWN * 2 + "\r")
    terminal.answer("which one")
    terminal.answer("no mapping for external_id")
    terminal.answer(r"external_id \(text")
    terminal.answer("which field", DOWN * 2 + "\r")
    terminal.answer("transforms")
    terminal.answer("is empty")
    terminal.answer("All required fields of leads are mapped", UP * 7 + "\r")
    assert terminal.end() == 0, terminal.text
    assert "spring-hvac: saved." in terminal.text
    ran = cli("map", "show", "--json")
    assert {row["to"]: row["from"] for row in ran.document["fields"]} == {
        "source": '"Spring HVAC"',
        "name": "first_name > title (else 'Customer')",
        "email": "email",
        "summary": "From {referrer.first_name}",
        "is_first_time_client": '"Yes"',
        "external_id": "code",
    }
    assert cli("map", "validate").code == 0


def test_the_real_fields_are_there_to_choose(connected) -> None:
    """The form's own labels and the tenant's own names."""
    terminal = Terminal(*EDIT)
    terminal.answer("All required fields", DOWN * 7 + "\r")
    terminal.answer(r"mobile_phone|address", CTRL_C)
    assert terminal.end() == 130
    assert "Traceback" not in terminal.seen


def test_before_the_connection_stands_the_catalogue_is_offered(unmapped) -> None:
    """With a remark; a name that the catalogue leaves open is asked for."""
    terminal = Terminal(*EDIT, STCLI_RF_TOKEN="")
    terminal.answer("is not finalized, so ServiceTitan was not asked", "")
    terminal.answer("no mapping for source", "\r")
    terminal.answer(r"source \(text", "\r")
    terminal.answer("which field", "meta.l\r")
    terminal.answer("which one", "Heard\r")
    terminal.answer("meta.Heard: transforms", CTRL_C)
    assert terminal.end() == 130
    assert _leads(unmapped) == {}


@pytest.mark.parametrize("key", [CTRL_C, "\r" + "\r" + "\x15\x04"])
def test_ctrl_c_in_the_middle_changes_nothing(connected, key) -> None:
    """Exit 130, the file as it was, whatever was chosen before."""
    before = connected.read_bytes()
    terminal = Terminal(*EDIT)
    terminal.answer("All required fields")
    terminal.answer(r"source \(text", DOWN + "\r")
    terminal.answer(", for everyone", "Other\r")
    terminal.answer(r"1 unsaved", key)
    assert terminal.end() == 130, terminal.text
    assert "Nothing was changed" in terminal.text
    assert "Traceback" not in terminal.seen
    assert connected.read_bytes() == before


@pytest.mark.parametrize("command", [EDIT, ("sync", "setup"), ("disconnect", "spring-hvac")])
def test_sigterm_at_a_question_ends_with_a_word(connected, command) -> None:
    """Exit 143, the terminal as it was, and nothing changed."""
    before = connected.read_bytes()
    terminal = Terminal(*command)
    terminal.answer(r"All required fields|arrow keys|\[y/N\]", "")
    terminal.child.kill(signal.SIGTERM)
    assert terminal.end() == 143
    assert "stopped by SIGTERM" in terminal.seen
    assert "Traceback" not in terminal.seen
    assert connected.read_bytes() == before


@pytest.mark.parametrize(("choice", "saved"), [("\r", True), (DOWN + "\r", False)])
def test_leaving_with_unsaved_changes_asks(connected, choice, saved) -> None:
    """Save them, throw them away, or go on."""
    before = connected.read_bytes()
    terminal = Terminal(*EDIT)
    terminal.answer("All required fields")
    terminal.answer(r"source \(text", DOWN + "\r")
    terminal.answer(", for everyone", "\x15Other\r")
    terminal.answer("1 unsaved", UP + "\r")
    terminal.answer("1 change is not saved", DOWN * 2 + "\r")
    terminal.answer("1 unsaved", UP + "\r")
    terminal.answer("not saved", choice)
    assert terminal.end() == 0, terminal.text
    assert (connected.read_bytes() != before) is saved
    if saved:
        assert _leads(connected)["source"].value == "Other"


def test_a_narrow_window_without_colour(connected) -> None:
    """Every question can be answered in forty columns, and NO_COLOR is obeyed."""
    terminal = Terminal(*EDIT, columns=40, NO_COLOR="1")
    terminal.answer("All required")
    terminal.answer(r"source \(text", DOWN + "\r")
    terminal.answer(", for everyone", "\x15Narrow\r")
    terminal.answer("1 unsaved", UP * 2 + "\r")
    assert terminal.end() == 0, terminal.text
    assert not re.search(r"\x1b\[[0-9;]*3[0-7]m", terminal.seen)
    assert _leads(connected)["source"].value == "Narrow"


def test_a_wrong_choice_is_told_and_asked_again(connected) -> None:
    """An external id that is the same for everyone never reaches the sheet."""
    before = connected.read_bytes()
    terminal = Terminal(*EDIT)
    terminal.answer("All required fields", DOWN * 5 + "\r")
    terminal.answer(r"external_id \(text", DOWN + "\r")
    terminal.answer(", for everyone", "same\r")
    terminal.answer("it must contain code or id", "")
    terminal.answer(r"external_id \(text", UP + "\r")
    terminal.answer("All required fields", UP * 6 + "\r")
    assert terminal.end() == 0, terminal.text
    assert "nothing was changed" in terminal.text
    assert connected.read_bytes() == before


def test_an_edit_of_the_file_meanwhile_is_not_lost(connected, cli) -> None:
    """Only what was changed on the sheet is changed in the file, as it is by then."""
    terminal = Terminal(*EDIT)
    terminal.answer("All required fields")
    terminal.answer(r"source \(text", DOWN + "\r")
    terminal.answer(", for everyone", "\x15Mine\r")
    terminal.child.expect("1 unsaved")
    edit(connected, ("{referrer.first_name}", "{referrer.email}"))
    terminal.child.send(UP * 2 + "\r")
    assert terminal.end() == 0, terminal.text
    rules = _leads(connected)
    assert (rules["source"].value, rules["summary"].template) == (
        "Mine",
        "Referred by {referrer.email}",
    )


def test_the_same_target_changed_meanwhile_is_told_first(connected, cli) -> None:
    """Saving once more puts this one there; leaving keeps the other's."""
    terminal = Terminal(*EDIT)
    terminal.answer("All required fields")
    terminal.answer(r"source \(text", DOWN + "\r")
    terminal.answer(", for everyone", "\x15Mine\r")
    terminal.child.expect("1 unsaved")
    assert cli("map", "set", "source", "--value", "Theirs").code == 0
    terminal.child.send(UP * 2 + "\r")
    terminal.answer("Changed by somebody else meanwhile: source", "")
    assert _leads(connected)["source"].value == "Theirs"
    terminal.answer("1 unsaved", UP * 2 + "\r")
    assert terminal.end() == 0, terminal.text
    assert _leads(connected)["source"].value == "Mine"


def test_what_could_not_be_saved_is_still_on_the_sheet(connected, cli) -> None:
    """A file that is not valid any more is told of; once it is mended, saving works."""
    terminal = Terminal(*EDIT)
    terminal.answer("All required fields")
    terminal.answer(r"source \(text", DOWN + "\r")
    terminal.answer(", for everyone", "\x15Mine\r")
    terminal.child.expect("1 unsaved")
    edit(connected, ("version: 1", "version: 1\nbogus: 1"))
    terminal.child.send(UP * 2 + "\r")
    terminal.answer("there is no setting 'bogus' here", "")
    edit(connected, ("\nbogus: 1", ""))
    terminal.answer("1 unsaved", UP * 2 + "\r")
    assert terminal.end() == 0, terminal.text
    assert _leads(connected)["source"].value == "Mine"


def test_a_search_that_leaves_one_row_can_be_walked_through(connected) -> None:
    """Up and Down stay where they are, and Ctrl-C still ends it."""
    before = connected.read_bytes()
    terminal = Terminal(*EDIT)
    terminal.answer("type to search", "summ")
    terminal.answer("summ", DOWN + UP + DOWN)
    terminal.child.send("\r")
    terminal.answer(r"summary \(text", CTRL_C)
    assert terminal.end() == 130, terminal.text
    assert connected.read_bytes() == before


def test_enter_leaves_a_value_as_it_is(connected) -> None:
    """Spaces at its ends are somebody's."""
    edit(connected, ("{type: dynamic, from: campaign.name}", '{type: manual_input, value: " x "}'))
    before = connected.read_bytes()
    terminal = Terminal(*EDIT)
    terminal.answer("All required fields")
    terminal.answer(r"source \(text")
    terminal.answer(", for everyone")
    terminal.answer("All required fields", UP + "\r")
    assert terminal.end() == 0, terminal.text
    assert connected.read_bytes() == before


def test_what_the_campaign_requires_is_in_the_heading(synced, world) -> None:
    """Not only in the rows: the catalogue knows two fields, the campaign's form three."""
    form = [
        {"id": 1, "type": "input", "label": label, "value": None, "required": True}
        for label in ("First Name", "Email", "Last Name")
    ]
    world.post("/rf/campaigns/spring-hvac", fields={"person_referring": form})
    terminal = Terminal(*EDIT, "--tab", "sync")
    terminal.answer("sync has no mapping for meta.Last Name", CTRL_C)
    assert terminal.end() == 130


def test_without_a_terminal_it_names_the_other_way(connected, cli) -> None:
    """Exit 2, and what to type instead."""
    ran = cli("map", "edit")
    assert ran.code == 2
    assert "stcli map set" in ran.err


def test_a_search_that_finds_nothing_chooses_nothing(connected) -> None:
    """It is told; Enter and the arrows do nothing until something fits again."""
    terminal = Terminal(*EDIT)
    terminal.answer("type to search", "summx")
    terminal.answer("nothing fits", "\r" + DOWN + "\r")
    terminal.child.send("\x7f\r")
    terminal.answer(r"(?<!for )\w+ \((text|email)", CTRL_C)
    assert terminal.end() == 130, terminal.text
    assert "summary (text" in terminal.text
    assert "source (text" not in terminal.text


def test_ctrl_d_leaves_a_list_too(connected) -> None:
    """As it leaves a question for text; nothing is written."""
    before = connected.read_bytes()
    for first in ("", "\r"):
        terminal = Terminal(*EDIT)
        terminal.answer("type to search", first)
        terminal.answer(r"source \(text" if first else "", "\x04")
        assert terminal.end() == 130, terminal.text
        assert "stopped by Ctrl-D" in terminal.text
    assert connected.read_bytes() == before


def test_ctrl_z_is_no_letter(connected) -> None:
    """Neither in a search nor in a text."""
    terminal = Terminal(*EDIT)
    terminal.answer("type to search", "\x1asour\r")
    terminal.answer(r"source \(text", DOWN + "\r")
    terminal.answer(", for everyone", "\x15\x1aMine\x1a\r")
    terminal.answer("1 unsaved", UP * 2 + "\r")
    assert terminal.end() == 0, terminal.text
    assert "^Z" not in terminal.text
    assert _leads(connected)["source"].value == "Mine"


def test_wide_letters_are_searched_cut_and_aligned(synced, world) -> None:
    """They take two columns each."""
    edit(
        synced,
        (
            "meta.Phone: {type: dynamic, from: mobile_phone}",
            f'meta.電話: {{type: manual_input, value: "{"日本語" * 40}"}}',
        ),
    )
    terminal = Terminal(*EDIT, "--tab", "sync", columns=100)
    terminal.answer("日本語", "")
    terminal.answer("Leave without saving", CTRL_C)
    assert terminal.end() == 130
    rows = [row.strip("\r") for row in terminal.text.split("\n")]
    wide = next(row for row in rows if "meta.電話" in row)
    plain = next(row for row in rows if "first_name" in row and "dynamic" in row)
    assert "日…" in wide or "本…" in wide or "語…" in wide
    assert columns_of(wide.split("manual_input")[0]) == columns_of(plain.split("dynamic")[0])
    assert columns_of(wide.rstrip()) <= 100
