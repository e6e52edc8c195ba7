"""Mistakes that people make in a campaign file: each gets its place and the next step."""

from __future__ import annotations

from pathlib import Path

import pytest

from stcli.config.load import load_campaign, load_settings
from stcli.domain.campaign import Tab
from stcli.errors import ConfigurationError, ExitCode, Problem, UsageError

GOOD = """\
version: 1
referral_campaign: spring-hvac
servicetitan:
  tenant_id: 985798691
leads:
  action: create_booking
  limits: {max_creates: 200}
  fields:
    source:               {type: dynamic, from: campaign.name}
    name:                 {type: dynamic, from: first_name}
    email:                {type: dynamic, from: email}
    summary:              {type: template, template: "By {referrer.first_name} ({referrer.code})"}
    is_first_time_client: {type: manual_select, value: "Yes"}
    external_id:          {type: dynamic, from: code}
    phone:                {type: dynamic, from: meta.Phone}
qualification:
  method: booking_becomes_job_and_reaches
  property: job_status
  value: Completed
"""


def _problems(path: Path, text: str) -> list[Problem]:
    path.write_text(text, encoding="utf-8")
    try:
        loaded = load_campaign(path, "x")
    except ConfigurationError as error:
        assert error.exit_code is ExitCode.CONFIGURATION
        return list(error.problems)
    return loaded.problems(Tab.LEADS)


@pytest.mark.parametrize(
    ("old", "new", "line", "key", "words"),
    [
        ("referral_campaign:", "referal_campaign:", 2, "referal_campaign", "referral_campaign?"),
        ("  action: create", "  acton: create", 6, "leads.acton", "did you mean action?"),
        ("create_booking", "create_bookings", 6, "leads.action", "did you mean create_booking?"),
        ("dynamic, from: email", "dynamc, from: email", 11, "leads.fields.email.type", "dynamic?"),
        ("{type: dynamic, from: email}", "{from: email}", 11, "leads.fields.email", "add: type:"),
        ("{type: dynamic, from: email}", "{type: dynamic}", 11, "leads.fields.email", "add: from"),
        ("from: email}", "form: email}", 11, "leads.fields.email.form", "did you mean from?"),
        ("985798691", "98579x", 4, "servicetitan.tenant_id", "digits only"),
        ("985798691", '""', 4, "servicetitan.tenant_id", "digits only"),
        (
            "985798691\n",
            "985798691\n  environment: prod\n",
            5,
            "servicetitan.environment",
            "did you mean production?",
        ),
        ("  limits:", "  since: 23.11.2026\n  limits:", 7, "leads.since", "2026-11-23"),
        ("value: Completed", "value: completed", 19, "qualification.value", "Completed?"),
        ("property: job_status", "property: status", 18, "qualification.property", "job_status?"),
        ("\n  value: Completed", "", 17, "qualification", "needs a value"),
        ("  limits:", "  action: nothing\n  limits:", 7, "leads.action", "on line 6"),
        ("  tenant_id", "\ttenant_id", 4, "", "tab"),
        ("version: 1", "version 1", 1, "", "colon is missing"),
        ("    email:  ", "    - email:  ", 11, "", "Indent"),
        ("version: 1", "version: 2", 1, "version", "newer"),
        (
            "from: email}",
            "from: email, transform: lower}",
            11,
            "leads.fields.email.transform",
            "write [lower]",
        ),
        (
            "from: email}",
            "from: email, transform: [lowr]}",
            11,
            "leads.fields.email.transform[0]",
            "did you mean lower?",
        ),
        ('"Yes"', "yes", 13, "leads.fields.is_first_time_client.value", "did you mean Yes?"),
        ("max_creates: 200", "max_create: 200", 7, "leads.limits.max_create", "max_creates?"),
        ("max_creates: 200", "max_creates: -2", 7, "leads.limits.max_creates", "digits only"),
        (
            "referral_campaign: spring-hvac",
            "referral_campaign:",
            2,
            "referral_campaign",
            "the value is missing",
        ),
        (
            "    phone:",
            "    address.city: {type: dynamic, from: meta.City}\n    phone:",
            15,
            "leads.fields.address.city",
            "address.zip",
        ),
        (
            "{referrer.first_name}",
            "{referer.first_name}",
            12,
            "leads.fields.summary.template",
            "did you mean referrer.first_name?",
        ),
        ("{referrer.code}", "{referrer.code", 12, "leads.fields.summary.template", "has no '}'"),
        ("    phone:", "    phne:", 15, "leads.fields.phne", "did you mean phone?"),
        (
            "{type: dynamic, from: code}",
            "{type: manual_input, value: same}",
            14,
            "leads.fields.external_id",
            "must contain code or id",
        ),
        ("version: 1", "version: &a 1", 1, "version", "anchors"),
    ],
)
def test_a_mistake_has_its_place_and_the_next_step(tmp_path, old, new, line, key, words) -> None:
    """One mistake, one problem: file, line, the key's path, and what would be right."""
    assert old in GOOD
    problems = _problems(tmp_path / "x.yaml", GOOD.replace(old, new, 1))
    assert len(problems) == 1, problems
    problem = problems[0]
    assert problem.file.endswith("x.yaml")
    assert (problem.line, problem.path) == (line, key)
    assert problem.column > 0
    assert words in f"{problem.message} {problem.hint}"


def test_the_good_file_is_good(tmp_path) -> None:
    """Else the cases above would prove nothing."""
    assert _problems(tmp_path / "x.yaml", GOOD) == []


def test_all_problems_come_at_once(tmp_path) -> None:
    """In the order of the file."""
    text = GOOD.replace("action: create", "acton: create").replace("job_status", "status")
    assert [p.line for p in _problems(tmp_path / "x.yaml", text)] == [6, 18]


def test_of_very_many_problems_the_first_are_told(tmp_path) -> None:
    """And how many there are."""
    file = tmp_path / "x.yaml"
    more = "".join(f"x{number}: 1\n" for number in range(5000))
    file.write_text(GOOD + more, encoding="utf-8")
    with pytest.raises(ConfigurationError) as raised:
        load_campaign(file, "x")
    assert len(raised.value.problems) == 100
    assert "has 5000 problems, of which 100 are listed" in raised.value.message


@pytest.mark.parametrize("written", ["0123", "8:30", "NO", "1.10", "true", "0x10", "2026-11-23"])
def test_text_stays_what_was_written(tmp_path, written) -> None:
    """A postcode, a time, a word: YAML's guesses do not reach a text."""
    path = tmp_path / "x.yaml"
    path.write_text(
        GOOD.replace("{type: dynamic, from: email}", f"{{type: manual_input, value: {written}}}"),
        encoding="utf-8",
    )
    rule = load_campaign(path, "x").config.leads.fields["email"]
    assert getattr(rule, "value", None) == written


def test_yes_needs_no_quotes(tmp_path) -> None:
    """It is the text Yes, not a switch."""
    assert _problems(tmp_path / "x.yaml", GOOD.replace('"Yes"', "Yes")) == []


def test_a_missing_file_is_wrong_usage(tmp_path) -> None:
    """The campaign was never begun: the next step is connect."""
    with pytest.raises(UsageError, match="no campaign 'x'") as caught:
        load_campaign(tmp_path / "absent.yaml", "x")
    assert "stcli connect x" in caught.value.hint


def test_settings_are_checked_alike(tmp_path) -> None:
    """Absent and empty mean the defaults; a command is a list of words."""
    path = tmp_path / "settings.yaml"
    assert load_settings(path).secrets == {}
    path.write_text("", encoding="utf-8")
    assert load_settings(path).secrets == {}
    path.write_text("secrets: {st_client_secret: {command: [pass, show, acme]}}\n")
    assert load_settings(path).secrets["st_client_secret"].command == ("pass", "show", "acme")
    for text, words in (
        ("secrets: {st_client_secret: {command: pass show acme}}\n", "a list is expected"),
        ("secrets: {st_clientsecret: {command: [x]}}\n", "st_client_secret"),
        ("secret: {}\n", "did you mean secrets?"),
    ):
        path.write_text(text, encoding="utf-8")
        with pytest.raises(ConfigurationError) as caught:
            load_settings(path)
        assert any(words in f"{p.message} {p.hint}" for p in caught.value.problems), text
