"""``map set`` and ``map unset``, ``qualify set``: one change, everything else as it stands."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import pytest

from stcli.config.load import load_campaign
from stcli.domain.campaign import Tab
from tests.integration.conftest import edit


def _rules(file: Path, tab: str = "leads") -> dict:
    """What a tab's mappings say, in the words of a file."""
    rules = load_campaign(file, file.stem).config.rules_of(Tab(tab))
    return {
        name: {k: v for k, v in rule.model_dump(by_alias=True).items() if v not in ("", ())}
        for name, rule in rules.items()
    }


@pytest.mark.parametrize(
    ("flags", "rule"),
    [
        (("--from", "first_name"), {"type": "dynamic", "from": "first_name"}),
        (
            ("--from", "meta.Phone", "--transform", "trim", "--transform", "digits"),
            {"type": "dynamic", "from": "meta.Phone", "transform": ("trim", "digits")},
        ),
        (
            ("--from", "meta.Note", "--default", "none: at all # really"),
            {"type": "dynamic", "from": "meta.Note", "default": "none: at all # really"},
        ),
        (("--value", "yes"), {"type": "manual_input", "value": "yes"}),
        (("--value", "007"), {"type": "manual_input", "value": "007"}),
        (
            ("--template", "{first_name}: {{new}}"),
            {"type": "template", "template": "{first_name}: {{new}}"},
        ),
    ],
)  # fmt: skip
def test_a_mapping_reads_back_as_it_was_asked_for(connected, cli, flags, rule) -> None:
    """Whatever needs quotes gets them, and every other line stays."""
    before = connected.read_text(encoding="utf-8").splitlines()
    ran = cli("map", "set", "summary", *flags, "--json")
    assert ran.code == 0, ran.text
    assert ran.document["changed"]
    assert ran.document["ready"]
    assert _rules(connected)["summary"] == rule
    after = connected.read_text(encoding="utf-8").splitlines()
    assert [line for line in before if "summary" not in line] == [
        line for line in after if "summary" not in line
    ]


def test_an_option_and_a_name_are_selected(connected, cli) -> None:
    """``--select`` for the targets that have options, also those that only the tenant knows."""
    assert cli("map", "set", "priority", "--select", "High").code == 0
    assert cli("map", "set", "spring-hvac", "job_type", "--select", "Installation").code == 0
    assert _rules(connected)["priority"] == {"type": "manual_select", "value": "High"}
    assert _rules(connected)["job_type"] == {"type": "manual_select", "value": "Installation"}


@pytest.mark.parametrize(
    ("words", "code", "message"),
    [
        (("emial", "--from", "email"), 3, "did you mean email"),
        (("email", "--from", "emial"), 3, "did you mean email"),
        (("is_first_time_client", "--select", "yes"), 3, "did you mean Yes"),
        (("summary", "--select", "Yes"), 3, "has no options to select from"),
        (("external_id", "--value", "5"), 3, "must contain code or id"),
        (("external_id", "--from", "code", "--transform", "lower"), 3, "leave it out"),
        (("summary", "--template", "Hello {nobody}"), 3, "no field 'nobody'"),
        (("summary", "--template", "Hello {first_name"), 3, "nothing was changed"),
        (("name", "--from", "first_name", "--transform", "uper"), 3, "did you mean upper"),
        (("email",), 2, "nothing to map it to"),
        (("email", "--from", "email", "--value", "x"), 2, "exclude each other"),
        (("email", "--value", "x", "--transform", "lower"), 2, "--transform does not go with"),
        (("email", "--template", "{email}", "--default", "x"), 2, "--default does not go with"),
        (("email", "--from", ""), 2, "--from is empty"),
        (("spring-hvac", "leads", "email", "--from", "email"), 2, "too many words"),
        (("autumn", "email", "--from", "email"), 2, "there is no campaign 'autumn'"),
        (("Link", "--tab", "return", "--from", "referral_link"), 3, "has no sync tab"),
    ],
)
def test_what_would_be_wrong_is_not_written(connected, cli, words, code, message) -> None:
    """The word that is wrong, the next step, and the file byte for byte as it was."""
    before = connected.read_bytes()
    ran = cli("map", "set", *words)
    assert ran.code == code, ran.text
    assert message in ran.err
    assert connected.read_bytes() == before


def test_an_address_is_mapped_one_part_after_the_other(connected, cli) -> None:
    """Its parts are needed together, yet each can be set: the line says what is still missing."""
    for part in ("street", "city", "state", "zip"):
        ran = cli("map", "set", f"address.{part}", "--from", f"meta.{part}")
        assert ran.code == 0, ran.text
        assert ran.out.startswith("Setup Required: an address is taken only whole")
    assert cli("map", "validate").code == 3
    assert cli("map", "set", "address.country", "--value", "USA").out.startswith("All required")
    assert cli("map", "validate").code == 0


def test_unset_takes_out_one_mapping(connected, cli) -> None:
    """A required one is missing afterwards, and the tab says so."""
    ran = cli("map", "unset", "phone")
    assert (ran.code, ran.out) == (0, "All required fields of leads are mapped.\n")
    ran = cli("map", "unset", "name", "--json")
    assert ran.document["missing"] == ["name"]
    assert not ran.document["ready"]
    assert "phone" not in _rules(connected)
    ran = cli("map", "unset", "emial")
    assert ran.code == 2
    assert "did you mean email" in ran.err
    assert cli("leads", "run").code == 3


def test_comments_and_layout_stay(connected, cli) -> None:
    """Also inside a rule that is written over several lines."""
    mine = "    # for mail\n    email:\n      type: dynamic   # a\n      from: email     # b\n"
    edit(connected, ("    email:                {type: dynamic, from: email}\n", mine))
    assert cli("map", "set", "email", "--from", "referrer.email").code == 0
    text = connected.read_text(encoding="utf-8")
    assert mine.replace("from: email", "from: referrer.email") in text
    assert cli("map", "set", "email", "--from", "referrer.email").out
    assert connected.read_text(encoding="utf-8") == text


def test_an_edit_of_an_invalid_file_is_refused(connected, cli) -> None:
    """With what is wrong; setting something else is no way to mend it."""
    edit(connected, ("action: create_booking", "actoin: create_booking"))
    before = connected.read_bytes()
    ran = cli("map", "set", "email", "--from", "email")
    assert ran.code == 3
    assert "did you mean action" in ran.err
    assert connected.read_bytes() == before


def test_two_edits_at_the_same_time_lose_neither(connected) -> None:
    """Ten processes, each with a target of its own."""
    targets = [f"address.{part}" for part in ("street", "unit", "city", "state", "zip", "country")]
    targets += ["mobile_phone", "start", "campaign", "job_type"]
    running = [
        subprocess.Popen(
            [sys.executable, "-m", "stcli", "map", "set", target, "--from", "meta.Some Field"],
            stdout=subprocess.DEVNULL,
            stderr=subprocess.PIPE,
        )
        for target in targets
    ]
    for process in running:
        _, errors = process.communicate(timeout=60)
        assert process.returncode == 0, errors
    assert set(targets) <= set(_rules(connected))


def test_qualify_sets_every_part_of_a_rule(connected, cli) -> None:
    """And takes the conditions out again; what is not named stays."""
    ran = cli(
        "qualify", "set", "--method", "booking_becomes_job_and_reaches", "--value", "Completed",
        "--hold-days", "3", "--on-cancel", "unqualify", "--job-type", "Installation",
        "--job-type", "Estimate", "--business-unit", "HVAC Service", "--tag", "VIP",
        "--minimum-total", "500", "--exclude", "recall", "--exclude", "no_charge",
        "--max-qualifies", "50",
    )  # fmt: skip
    assert ran.code == 0, ran.text
    rule = load_campaign(connected, "spring-hvac").config.qualification
    assert (rule.hold_days, rule.on_cancel.value, rule.limits.max_qualifies) == (3, "unqualify", 50)
    assert rule.conditions.model_dump(mode="json") == {
        "job_type": ["Installation", "Estimate"],
        "business_unit": ["HVAC Service"],
        "tag": ["VIP"],
        "minimum_total": 500.0,
        "exclude": ["recall", "no_charge"],
    }
    shown = cli("qualify", "show").out
    assert "conditions.job_type: Installation, Estimate" in shown
    assert "minimum_total: 500" in connected.read_text(encoding="utf-8")
    assert cli("qualify", "set", "--no-conditions", "--tag", "VIP").code == 0
    rule = load_campaign(connected, "spring-hvac").config.qualification
    assert (rule.conditions.tag, rule.conditions.job_type) == (("VIP",), ())
    assert rule.value == "Completed"


def test_the_same_flag_twice_says_it_once(connected, cli) -> None:
    """In the order in which each came first."""
    words = ("--exclude", "recall", "--exclude", "warranty", "--exclude", "recall")
    assert cli("qualify", "set", *words, "--tag", "VIP", "--tag", "VIP").code == 0
    tags = ("--tag", "VIP", "--tag", "Gold", "--tag", "VIP")
    assert cli("sync", "setup", "--type", "ongoing", *tags).code == 0
    text = connected.read_text(encoding="utf-8")
    assert "exclude: [recall, warranty]" in text
    assert "tag: [VIP]" in text
    assert "tags: [VIP, Gold]" in text


@pytest.mark.parametrize(
    ("words", "message"),
    [
        ((), "nothing to set"),
        (("--exclude", "free"), "recall"),
        (("--minimum-total", "-1"), "minimum-total"),
        (("--hold-days", "4000"), "hold_days"),
        (("--value", "Done"), "Completed"),
        (("--method", "booking_becomes_job", "--value", "Completed"), "no effect"),
        (("--method", "do_not_qualify", "--property", "job_status"), "no effect"),
    ],
)
def test_a_wrong_rule_is_not_written(connected, cli, words, message) -> None:
    """Exit 2 or 3, with what would be right."""
    before = connected.read_bytes()
    ran = cli("qualify", "set", *words)
    assert ran.code in (2, 3), ran.text
    assert message in ran.err
    assert connected.read_bytes() == before


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (("qualify", "set", "--hold-days", "99999"), "hold_days: input should be less than"),
        (("qualify", "set", "--job-type", ""), "job_type[0]: "),
        (("qualify", "set", "--minimum-total", "inf"), "must be an amount below a billion"),
        (("qualify", "set", "--minimum-total", "1e300"), "must be an amount below a billion"),
        (("qualify", "set", "--max-qualifies", "9" * 30), "is too large a number"),
        (("qualify", "set", "--max-qualifies", "9" * 300), "more than 100 digits"),
        (("sync", "setup", "--type", "ongoing", "--customer-type", "residential"), "residential"),
        (("sync", "setup", "--type", "ongoing", "--created-since", "yesterday"), "must be a day"),
        (("sync", "setup", "--type", "ongoing", "--tag", ""), "sync.filter.tags[0]: "),
        (("sync", "setup", "--type", "ongoing", "--max-creates", "9" * 30), "too large a number"),
        (("copy", "spring-hvac", "autumn", "--tenant-id", "9" * 23), "is too large a number"),
    ],
)
def test_a_refused_flag_is_told_without_places(connected, cli, words, message) -> None:
    """The text that was not written has lines that nobody can look at."""
    before = connected.read_bytes()
    ran = cli(*words)
    assert ran.code == 3, ran.text
    assert message in ran.err
    assert "nothing was changed" in ran.err or "cannot be written" in ran.err
    assert "not understood" not in ran.err
    assert not re.search(r"\.yaml:\d|places named", ran.err)
    assert connected.read_bytes() == before
    assert [path.name for path in connected.parent.glob("*.yaml")] == [connected.name]


@pytest.mark.parametrize(
    "words",
    [
        ("map", "set", "dangling", "email", "--from", "email"),
        ("map", "unset", "dangling", "email"),
        ("map", "validate", "dangling"),
        ("map", "fields", "dangling"),
        ("config", "edit", "dangling"),
        ("qualify", "set", "dangling", "--hold-days", "3"),
        ("action", "dangling", "leads", "nothing"),
        ("copy", "spring-hvac", "dangling"),
        ("copy", "dangling", "autumn-hvac"),
        ("connect", "dangling", "--tenant-id", "985798691"),
    ],
    ids=" ".join,
)
def test_a_link_to_nothing_is_told_and_stays(connected, cli, monkeypatch, words) -> None:
    """By every command alike, with exit 3."""
    monkeypatch.setenv("EDITOR", "true")
    link = connected.with_name("dangling.yaml")
    link.symlink_to("nowhere.yaml")
    ran = cli(*words)
    assert ran.code == 3, ran.text
    assert "is a link to a file that is not there" in ran.text
    assert link.is_symlink()
    assert not link.exists()


def test_several_faults_of_one_change_are_told_without_places(connected, cli) -> None:
    """Each with its key."""
    connected.write_text("\n" * 50 + connected.read_text(encoding="utf-8"), encoding="utf-8")
    ran = cli("map", "set", "name", "--from", "nmae", "--transform", "uper", "--transform", "trm")
    assert ran.code == 3
    assert "leads.fields.name.from: " in ran.err
    assert "leads.fields.name.transform[1]: there is no transform 'trm'" in ran.err
    assert not re.search(r"\.yaml:\d", ran.err)


def test_every_condition_is_explained(connected, cli, world, pointed) -> None:
    """Each with what was asked for and what was seen."""
    cli(
        "qualify", "set", "--job-type", "Installation", "--business-unit", "HVAC Service",
        "--tag", "VIP", "--minimum-total", "500", "--exclude", "recall",
    )  # fmt: skip
    cli("leads", "run")
    booking = world.bookings()[0]
    numbers = {kind.name: number for number, kind in pointed.world.tenant.job_types.items()}
    world.job_of(booking, "Completed", job_type_id=numbers["Installation"], total=499.0)
    assert cli("qualify", "run", "--json").document["counts"]["qualified"] == 0
    ran = cli("qualify", "explain", booking["externalId"], "--json")
    held = {c["condition"].split(" is ")[0]: c["holds"] for c in ran.document["conditions"]}
    assert held["job type"] is True
    assert held["total"] is False
    assert held["tag"] is False
    assert held["not a recall job"] is True
