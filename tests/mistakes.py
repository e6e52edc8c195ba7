"""Mistakes that people make in a campaign file, with what ``stcli map validate`` says of each.

    python -m tests.mistakes

writes ``docs/mistakes.md``; a test holds the document against the program.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory

from stcli.config.files import CampaignFiles
from stcli.domain.ids import CampaignName
from stcli.errors import ConfigurationError, Problem
from stcli.paths import Home
from stcli.usecases.readiness import tab_status

DOCUMENT = Path(__file__).parents[1] / "docs" / "mistakes.md"
NAME = CampaignName("spring-hvac")

GOOD = """\
version: 1
referral_campaign: spring-hvac
servicetitan:
  tenant_id: 985798691
  environment: production
leads:
  action: create_booking
  since: 2026-11-01
  limits: {max_creates: 200}
  fields:
    source:               {type: dynamic, from: campaign.name}
    name:                 {type: dynamic, from: first_name, transform: [title]}
    email:                {type: dynamic, from: email}
    summary:              {type: template, template: "Referred by {referrer.first_name}"}
    is_first_time_client: {type: manual_select, value: Yes}
    external_id:          {type: dynamic, from: code}
    phone:                {type: dynamic, from: meta.Phone}
    priority:             {type: manual_select, value: High}
    address.street:       {type: dynamic, from: meta.Street}
    address.city:         {type: dynamic, from: meta.City}
    address.state:        {type: manual_input, value: IL}
    address.zip:          {type: dynamic, from: meta.Zip}
    address.country:      {type: manual_input, value: USA}
qualification:
  method: booking_becomes_job_and_reaches
  property: job_status
  value: Completed
  hold_days: 7
sync:
  type: ongoing
  fields:
    first_name: {type: dynamic, from: name, transform: [first_name]}
    email:      {type: dynamic, from: email}
  return_fields:
    "custom_field:Referral Link": {type: dynamic, from: referral_link}
"""
"""A campaign without a mistake. ``Yes`` without quotes is none: a text is taken as it is written."""


HEAD = """\
# Mistakes in a campaign file, and what is said of them

`stcli map validate` reads a campaign file without asking anybody and names every problem at once: the
file, the line, the column, the setting, what is wrong, and below it the next step. Nothing runs before
it is mended. Below are mistakes that people make, as they were written, with what is said.

`Yes`, `No`, `on`, `007` and dates need no quotes: a text is taken as it is written.
"""


@dataclass(frozen=True, slots=True)
class Mistake:
    """A slip: the lines as they should be, and as they were written. ``encoding``: how the file was
    saved."""

    title: str
    old: str
    new: str
    encoding: str = "utf-8"

    @property
    def text(self) -> str:
        """The whole file with the slip in it."""
        if GOOD.count(self.old) != 1:
            raise ValueError(f"{self.title}: {self.old!r} is not in the file once")
        return GOOD.replace(self.old, self.new)


_EMAIL = "    email:                {type: dynamic, from: email}\n"
_SOURCE = "    source:               {type: dynamic, from: campaign.name}\n"

MISTAKES = (
    Mistake("A field's name is misspelt", "from: campaign.name", "from: campain.name"),
    Mistake("A target's name is misspelt", "    summary:    ", "    sumary:     "),
    Mistake("A setting's name is misspelt", "  action:", "  actoin:"),
    Mistake("A part of the file is misspelt", "qualification:", "qualifications:"),
    Mistake("A tab character instead of spaces", "  action:", "\taction:"),
    Mistake("A colon is missing", "  hold_days: 7", "  hold_days 7"),
    Mistake("No space behind the colon", "  hold_days: 7", "  hold_days:7"),
    Mistake("A colon in a text without quotes", "from: campaign.name}", "value: Spring: HVAC}"),
    Mistake("Two mappings of one target", _EMAIL, _EMAIL + _EMAIL),
    Mistake(
        "The same external id for everyone",
        "external_id:          {type: dynamic, from: code}",
        "external_id:          {type: manual_input, value: referral}",
    ),
    Mistake(
        "An external id that two people may share",
        "external_id:          {type: dynamic, from: code}",
        "external_id:          {type: dynamic, from: code, transform: [lower]}",
    ),
    Mistake(
        "An address without its zip",
        "    address.zip:          {type: dynamic, from: meta.Zip}\n",
        "",
    ),
    Mistake("An option in the wrong case", "value: High", "value: high"),
    Mistake(
        "A start that is no date and time",
        "    priority:             {type: manual_select, value: High}",
        "    start:                {type: manual_input, value: tomorrow}",
    ),
    Mistake("An option that does not exist", "value: High", "value: Immediately"),
    Mistake("A data type that does not exist", _SOURCE, _SOURCE.replace("dynamic", "dynamc")),
    Mistake("The data type is left out", _SOURCE, _SOURCE.replace("type: dynamic, ", "")),
    Mistake("Where it comes from is left out", _SOURCE, _SOURCE.replace(", from: campaign.name", "")),
    Mistake("Lines that do not line up", "  value: Completed", "   value: Completed"),
    Mistake("A quote is not closed", '{referrer.first_name}"}', "{referrer.first_name}}"),
    Mistake("A brace is not closed", "transform: [title]}", "transform: [title]"),
    Mistake(
        "Curly quotes from a word processor",
        '"Referred by {referrer.first_name}"',
        "\u201cReferred, by {referrer.first_name}\u201d",
    ),
    Mistake("A template with an unknown field", "{referrer.first_name}", "{referrer.name}"),
    Mistake("A template with a brace too few", "{referrer.first_name}", "{referrer.first_name"),
    Mistake("A transform that does not exist", "transform: [title]", "transform: [titel]"),
    Mistake("A list where one text belongs", "from: email}\n    summary", "from: [email]}\n    summary"),
    Mistake("Letters in the tenant's number", "tenant_id: 985798691", "tenant_id: 985-798-691"),
    Mistake("A day in another country's form", "since: 2026-11-01", "since: 11/01/2026"),
    Mistake("An action that does not exist", "action: create_booking", "action: book"),
    Mistake("A method without its status", "  value: Completed\n", ""),
    Mistake("A status that does not exist", "value: Completed", "value: Done"),
    Mistake("A limit below nothing", "max_creates: 200", "max_creates: -1"),
    Mistake("Part of a day", "hold_days: 7", "hold_days: 1.5"),
    Mistake("The environment is misspelt", "environment: production", "environment: prod"),
    Mistake(
        "A required field is not mapped",
        "    name:                 {type: dynamic, from: first_name, transform: [title]}\n",
        "",
    ),
    Mistake("A return field that is no custom field", '"custom_field:Referral Link"', "Referral Link"),
    Mistake(
        "One email address for every referrer",
        "    email:      {type: dynamic, from: email}",
        "    email:      {type: manual_input, value: office@example.com}",
    ),
    Mistake("A sync without its type", "  type: ongoing\n", ""),
    Mistake("The file of a newer stcli", "version: 1", "version: 2"),
    Mistake("Two files in one", "qualification:", "---\nqualification:"),
    Mistake("A tag copied from elsewhere", "tenant_id: 985798691", "tenant_id: !int 985798691"),
    Mistake("A remark without its #", "  since:", "  Spring leads only!\n  since:"),
    Mistake(
        "What a merge left behind",
        "  value: Completed\n",
        "<<<<<<< HEAD\n  value: Completed\n=======\n  value: Hold\n>>>>>>> theirs\n",
    ),
    Mistake("Saved in another encoding", "version: 1", "version: 1", encoding="utf-16"),
)  # fmt: skip


def problems_of(mistake: Mistake) -> list[Problem]:
    """What ``map validate`` finds in a file with this mistake, with the file's name alone."""
    with TemporaryDirectory() as folder:
        home = Home(Path(folder), Path(folder) / "state", Path(folder) / "logs")
        file = home.campaign_file(NAME)
        file.parent.mkdir()
        file.write_bytes(mistake.text.encode(mistake.encoding))
        try:
            loaded = CampaignFiles(home).load(NAME)
        except ConfigurationError as error:
            found = list(error.problems)
        else:
            tabs = tab_status(loaded.config, loaded.verdicts)
            found = [
                Problem(str(file), 0, 0, tab.value, f"not mapped: {', '.join(entry.missing)}")
                for tab, entry in tabs.items()
                if entry.missing
            ]
            found += [problem for tab in tabs for problem in loaded.problems(tab)]
        return [
            Problem(
                file.name, p.line, p.column, p.path, p.message.replace(str(file), file.name), p.hint
            )
            for p in found
        ]


def shown(problem: Problem) -> str:
    """A problem as the command prints it."""
    text = str(problem) if problem.line else f"{problem.path}: {problem.message}"
    return text + (f"\n    {problem.hint}" if problem.hint else "")


def document() -> str:
    """The whole document."""
    parts = [HEAD]
    for mistake in MISTAKES:
        parts.append(f"## {mistake.title}\n")
        written = mistake.new.strip("\n") or "(the line is missing: " + mistake.old.strip() + ")"
        if mistake.encoding != "utf-8":
            written = f"(the file was saved as {mistake.encoding.upper()})"
        parts.append(f"```yaml\n{written}\n```\n")
        told = "\n".join(shown(problem) for problem in problems_of(mistake))
        parts.append(f"```text\n{told}\n```\n")
    return "\n".join(parts)


if __name__ == "__main__":
    DOCUMENT.write_text(document(), encoding="utf-8")
