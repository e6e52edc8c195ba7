"""What only both systems know: ``map validate --online``, ``map fields --online``, ``map preview``;
and two campaigns side by side: ``diff`` and ``copy``."""

from __future__ import annotations

import json
import re
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from stcli.config.load import load_campaign
from tests.integration.conftest import CLIENT_ID, edit


def test_a_good_campaign_is_good_online_too(returning, cli) -> None:
    """Every name and field in it exists."""
    edit(returning, ("leads:\n  action: nothing", "leads:\n  action: create_booking"))
    ran = cli("map", "validate", "--online", "--json")
    assert ran.code == 0, ran.text
    assert ran.document["ready"]
    assert ran.document["problems"] == []


def test_every_wrong_name_is_found_at_once_with_its_place(returning, cli) -> None:
    """All are well-formed, so only the systems can tell; each gets the nearest name."""
    edit(
        returning,
        ("leads:\n  action: nothing", "leads:\n  action: create_booking"),
        ("from: meta.Phone", "from: meta.Fone"),
        ("    phone:", "    job_type: {type: manual_input, value: Instalation}\n    phone:"),
        ("  value: Completed", "  value: Completed\n  conditions: {business_unit: [Plumbing]}"),
        ("  type: ongoing", "  type: ongoing\n  filter: {tags: [VIPP]}"),
        ("meta.Phone: {type: dynamic, from: mobile_phone}",
         'meta.Hpone: {type: dynamic, from: "custom_field:Heard About"}'),
        ('"custom_field:Referrals": ', '"custom_field:Referals": '),
        ('"custom_field:Referral Link": {type: dynamic, from: referral_link}',
         '"custom_field:Heard About Us": {type: dynamic, from: referral_link}'),
    )  # fmt: skip
    assert cli("map", "validate").code == 0
    ran = cli("map", "validate", "--online", "--json")
    assert ran.code == 3, ran.text
    assert not ran.document["ready"]
    lines = returning.read_text(encoding="utf-8").splitlines()
    told = " ".join(f"{p['message']} {p['hint']}" for p in ran.document["problems"])
    for word in (
        "did you mean meta.Phone?",
        "did you mean Installation?",
        "did you mean Plumbing Service?",
        "did you mean VIP?",
        "no field 'Hpone'",
        "did you mean Heard About Us?",
        "did you mean Referrals?",
        "is Dropdown, not Text",
    ):
        assert word in told, told
    for problem in ran.document["problems"]:
        wrong = re.findall(r"(?<!\w)'([^']+)'", problem["message"])
        assert any(word in lines[problem["line"] - 1] for word in wrong), problem


def test_a_field_that_the_campaign_requires_is_asked_for(returning, cli, world) -> None:
    """Setup Required, by what Referral Factory says of the form; a draft is a warning."""
    form = [
        {"id": 1, "type": "input", "label": label, "value": None, "required": True}
        for label in ("First Name", "Email", "Phone", "Last Name")
    ]
    world.post("/rf/campaigns/spring-hvac", fields={"person_referring": form}, status="draft")
    ran = cli("map", "validate", "--online")
    assert ran.code == 3
    assert "requires meta.Last Name of every referrer" in ran.out
    assert "sync: not mapped: meta.Last Name" in ran.out
    assert "draft, so the sync enrols nobody" in ran.err
    tabs = cli("map", "validate", "--online", "--json").document["tabs"]
    assert tabs["sync"] == {"ready": False, "missing": ["meta.Last Name"]}
    assert tabs["leads"] == {"ready": True, "missing": []}
    assert cli("map", "validate", "--json").document["tabs"]["sync"]["ready"]


def test_a_campaign_that_is_gone_and_a_system_that_is_down(connected, cli, world) -> None:
    """4 with the place for the first; for the second the failure's own code, and no verdict."""
    edit(connected, ("referral_campaign: spring-hvac", "referral_campaign: spring-hvacc"))
    ran = cli("map", "validate", "--online", "--json")
    assert ran.code == 4
    assert [p["path"] for p in ran.document["problems"]] == ["referral_campaign"]
    assert ran.document["error"]["kind"] == "gone"
    for command in (("map", "preview"), ("sync", "setup", "--yes"), ("action", "set", "--help")):
        ran = cli(*command)
        assert ran.code == (0 if "--help" in command else 4), ran.text
    told = cli("map", "validate", "--online")
    assert told.text.count("has no campaign 'spring-hvacc'") == 1
    edit(
        connected,
        ("spring-hvacc", "spring-hvac"),
        ("    phone:", "    job_type: {type: manual_input, value: Installation}\n    phone:"),
    )
    world.fault("status", api="st", status=403)
    ran = cli("map", "validate", "--online", "--json")
    assert ran.code == 4, ran.text
    assert not ran.document["ready"]
    assert ran.document["error"]["exit_code"] == 4


@pytest.mark.parametrize("variable", ["STCLI_ST_APP_KEY", "STCLI_ST_CLIENT_SECRET"])
def test_both_systems_are_asked_whatever_is_mapped(connected, cli, monkeypatch, variable) -> None:
    """No mapping here needs a name of ServiceTitan; a secret that it refuses is found all the same."""
    assert cli("map", "validate", "--online").code == 0
    monkeypatch.setenv(variable, "wrong-secret")
    ran = cli("map", "validate", "--online", "--json")
    assert ran.code == 4, ran.text
    assert not ran.document["ready"]
    assert ran.document["error"]["kind"] == "credentials_refused"


def test_all_campaigns_online(connected, cli, home: Path) -> None:
    """One that is not connected keeps the others from nothing; the worst code counts."""
    assert cli("copy", "spring-hvac", "autumn-hvac").code == 0
    file = home / "campaigns" / "autumn-hvac.yaml"
    edit(file, (f"  client_id: {CLIENT_ID}\n", ""))
    ran = cli("map", "validate", "--online", "--all", "--json")
    assert ran.code == 4, ran.text
    by_name = {one["campaign"]: one for one in ran.document["campaigns"]}
    assert by_name["spring-hvac"]["ready"]
    assert "not finalized" in by_name["autumn-hvac"]["error"]["message"]


@pytest.mark.parametrize(
    ("tab", "words"),
    [
        ("leads", ("meta.Last Name", "referrer.meta.Phone", "Plumbing Service", "Installation")),
        ("sync", ("custom_field:Heard About Us", "meta.Last Name")),
        ("return", ("custom_field:Referral Link", "Numeric")),
    ],
)
def test_fields_online_are_the_real_ones(connected, cli, tab, words) -> None:
    """In place of what the catalogue leaves open."""
    ran = cli("map", "fields", "--tab", tab, "--online")
    assert ran.code == 0, ran.text
    assert all(word in ran.out for word in words), ran.out
    assert "meta.LABEL" not in ran.out
    assert "custom_field:NAME" not in ran.out
    offline = cli("map", "fields", "--tab", tab)
    assert not all(word in offline.out for word in words)


def test_fields_online_say_what_could_not_be_asked(connected, cli, world) -> None:
    """The rest is there all the same."""
    world.fault("status", api="st", route="/settings", status=403)
    ran = cli("map", "fields", "--online")
    assert ran.code == 0
    assert "ServiceTitan could not be asked" in ran.err
    assert "meta.Last Name" in ran.out


def test_a_preview_shows_the_newest_people(connected, cli, world) -> None:
    """Blank values and stand-ins are marked, what a transform was to do is not; nothing is
    written."""
    edit(
        connected,
        (
            "    phone: ",
            "    mobile_phone: {type: dynamic, from: meta.Cell, default: 555-0100}\n    phone: ",
        ),
        (
            "name:                 {type: dynamic, from: first_name}",
            "name:                 {type: dynamic, from: first_name, transform: [first_name]}",
        ),
    )
    lead = world.someone_new("Anna Maria")
    ran = cli("map", "preview", "--count", "2", "--json")
    assert ran.code == 0, ran.text
    first, second = ran.document["previews"]
    assert first["record"] == lead["code"]
    assert second["request"]["externalId"] == second["record"]
    remarks = {row["to"]: row["remark"] for row in first["fields"]}
    assert remarks["name"] == ""
    assert remarks["mobile_phone"] == "default"
    assert remarks["phone"] == "blank"
    text = cli("map", "preview").out
    assert text.count("Request:") == 3
    assert world.bookings() == []


def test_a_preview_marks_what_nobody_asked_to_leave_out(connected, cli, world) -> None:
    """Digits of a phone number are the whole of it; a line break in a name is not meant."""
    edit(
        connected,
        ("{type: dynamic, from: meta.Phone}", "{type: dynamic, from: meta.P, transform: [digits]}"),
        ("{type: dynamic, from: first_name}", "{type: dynamic, from: meta.N, transform: [title]}"),
    )
    meta = {"P": "217-555-0131", "N": "anna \n\n maria"}
    lead = world.post("/leads", first_name="Anna", email="anna@example.com", meta=meta)
    ran = cli("map", "preview", "--lead", lead["code"], "--json")
    rows = {row["to"]: row for row in ran.document["fields"]}
    assert rows["phone"]["value"] == "2175550131"
    assert rows["phone"]["remark"] == ""
    assert rows["name"]["value"] == "Anna Maria"
    assert rows["name"]["remark"] == "blanks taken out"


def test_a_preview_of_a_tab_that_is_not_there_is_refused(connected, cli) -> None:
    """Exit 3 with the next step, as ``map set`` says it; not a preview of nothing."""
    for tab in ("sync", "return"):
        ran = cli("map", "preview", "--tab", tab)
        assert ran.code == 3, ran.text
        assert "the campaign has no sync tab yet" in ran.err
        assert "stcli sync setup" in ran.err
        assert ran.out == ""


def test_a_preview_without_a_mapping_is_refused(synced, cli) -> None:
    """A sync that gives nothing back has no requests to show."""
    ran = cli("map", "preview", "--tab", "return", "--json")
    assert ran.code == 3, ran.text
    assert "nothing is mapped in return of" in ran.document["error"]["message"]
    assert "--tab return --from" in ran.document["error"]["hint"]


def test_a_preview_says_whom_a_pass_leaves_alone(connected, cli, world) -> None:
    """Test people and old ones; what is looked up beside the mapping is told. Nobody of them is a
    failure."""
    lead = world.someone_new("Anna Maria")
    edit(
        connected,
        ("leads:\n", "leads:\n  since: 2099-01-01\n  existing_customers: skip\n"),
        ("{type: dynamic, from: first_name}", "{type: dynamic, from: meta.Nick}"),
    )
    ran = cli("map", "preview", "--lead", lead["code"], "--json")
    assert ran.code == 0, ran.text
    assert ran.document["skipped"] == "before_since"
    assert ran.document["problem"]
    assert "existing_customers is skip" in ran.err
    assert "Would be left alone: before_since" in cli("map", "preview", "--count", "1").out
    assert cli("map", "preview", "--lead", lead["code"], "--count", "2").code == 2


def test_a_preview_of_customers_obeys_the_filter(returning, cli) -> None:
    """Only those who are wanted at all; a tag that does not exist is told like in a pass."""
    ran = cli("map", "preview", "--tab", "sync", "--count", "1", "--json")
    assert len(ran.document["previews"]) == 1
    assert cli("sync", "setup", "--created-since", "2099-01-01", "--yes").code == 0
    ran = cli("map", "preview", "--tab", "sync", "--json")
    assert ran.document["previews"] == []
    assert "nobody yet" in ran.err
    assert cli("sync", "setup", "--tag", "No Such Tag", "--yes").code == 0
    ran = cli("map", "preview", "--tab", "sync")
    assert ran.code == 3
    assert "No Such Tag" in ran.err


def test_a_preview_of_a_record_that_cannot_be_booked(connected, cli, world) -> None:
    """Exit 5, and which field is blank."""
    edit(connected, ("{type: dynamic, from: first_name}", "{type: dynamic, from: meta.Nick}"))
    ran = cli("map", "preview", "--count", "1")
    assert ran.code == 5
    assert "Cannot be sent: required but blank: name" in ran.out


def test_a_preview_of_customers_and_of_what_goes_back(returning, cli, world) -> None:
    """The other two tabs: the referrer that would be made, the custom fields that would be set."""
    ran = cli("map", "preview", "--tab", "sync", "--count", "2", "--json")
    assert ran.code == 0, ran.text
    first = ran.document["previews"][0]
    assert first["record"].startswith("customer ")
    assert first["request"]["notify"] is False
    assert first["request"]["email"].endswith("@example.com")
    assert {row["to"] for row in first["fields"]} == {"first_name", "email", "meta.Phone"}
    ran = cli("map", "preview", "--tab", "return", "--count", "1", "--json")
    assert ran.code == 0, ran.text
    (shown,) = ran.document["previews"]
    values = {row["to"]: row["value"] for row in shown["fields"]}
    assert values["custom_field:Referral Link"].endswith(shown["record"])
    assert [field["value"] for field in shown["request"]["customFields"]] == [
        values["custom_field:Referral Link"],
        values["custom_field:Referrals"],
    ]
    assert world.requests("st").keys() >= {"GET /crm/v2/tenant/{tenant}/customers/custom-fields"}
    assert cli("map", "preview", "--tab", "sync", "--lead", "x").code == 2


def test_a_copy_is_the_same_but_for_what_makes_it_another(connected, cli, home: Path) -> None:
    """Comments stay; nothing is switched on, nobody is left out by an old date."""
    edit(connected, ("leads:\n", "leads:   # ours\n  since: 2026-01-01\n"))
    assert cli("copy", "spring-hvac", "autumn-hvac", "--referral-campaign", "fall").code == 0
    file = home / "campaigns" / "autumn-hvac.yaml"
    text = file.read_text(encoding="utf-8")
    assert "leads:   # ours" in text
    assert "since" not in text
    config = load_campaign(file, "autumn-hvac").config
    assert (config.referral_campaign, config.leads.action.value) == ("fall", "nothing")
    ran = cli("diff", "spring-hvac", "autumn-hvac", "--json")
    assert {d["path"] for d in ran.document["differences"]} == {
        "referral_campaign",
        "leads.action",
        "leads.since",
        "qualification.method",
    }
    before = file.read_bytes()
    ran = cli("copy", "spring-hvac", "autumn-hvac")
    assert ran.code == 3
    assert file.read_bytes() == before


@pytest.mark.parametrize("value", ["", " "])
@pytest.mark.parametrize(
    "words", [("copy", "spring-hvac"), ("connect", "--tenant-id", "985798691")], ids=" ".join
)
def test_an_empty_name_of_a_campaign_is_wrong_usage(
    connected, cli, home: Path, words, value
) -> None:
    """An unset variable of a script stands for no campaign."""
    ran = cli(*words, "autumn-hvac", "--referral-campaign", value)
    assert ran.code == 2, ran.text
    assert "--referral-campaign" in ran.err
    assert "is empty" in ran.err
    assert not (home / "campaigns" / "autumn-hvac.yaml").exists()


def test_a_copy_enrols_nobody_by_itself(connected, cli, home: Path) -> None:
    """The sync tab comes along, held back by its limit, and the command says how to let it go."""
    setup = (
        "sync",
        "setup",
        "--type",
        "ongoing",
        "--map",
        "first_name=name",
        "--map",
        "email=email",
    )
    ran = cli(*setup, "--max-creates", "50", "--yes")
    assert ran.code == 0, ran.text
    ran = cli("copy", "spring-hvac", "autumn-hvac")
    assert ran.code == 0
    assert "sync setup autumn-hvac --max-creates" in ran.err
    config = load_campaign(home / "campaigns" / "autumn-hvac.yaml", "autumn-hvac").config
    assert config.sync is not None
    assert config.sync.limits.max_creates == 0
    assert config.sync.fields


def test_a_copy_qualifies_nobody_by_itself(connected, cli, home: Path) -> None:
    """Its rule comes along and is off; one flag, which the command names, puts it on."""
    edit(connected, ("_and_reaches\n", "_and_reaches   # agreed\n"))
    ran = cli("copy", "spring-hvac", "autumn-hvac")
    assert ran.code == 0
    flags = "autumn-hvac --method booking_becomes_job_and_reaches"
    assert f"qualify set {flags}" in ran.err
    file = home / "campaigns" / "autumn-hvac.yaml"
    assert "method: do_not_qualify   # agreed\n" in file.read_text(encoding="utf-8")
    assert cli("qualify", "set", *flags.split()).code == 0
    rules = [load_campaign(one, one.stem).config.qualification for one in (file, connected)]
    assert rules[0] == rules[1]
    assert "qualifies nobody" not in cli("copy", "spring-hvac", "other", "--json").out


def test_a_copy_for_another_tenant_has_no_connection_values(connected, cli, home: Path) -> None:
    """They belong to the tenant they were proved for."""
    assert cli("copy", "spring-hvac", "autumn-hvac", "--tenant-id", "77").code == 0
    file = home / "campaigns" / "autumn-hvac.yaml"
    settings = load_campaign(file, "autumn-hvac").config.servicetitan
    assert (settings.tenant_id, settings.client_id, settings.booking_provider) == (77, None, None)


def test_a_difference_is_shown_side_by_side(connected, cli, tmp_path: Path) -> None:
    """With a file from anywhere; mappings are one line each; equal ones say so."""
    other = tmp_path / "other.yaml"
    other.write_text(connected.read_text(encoding="utf-8"), encoding="utf-8")
    assert cli("diff", "spring-hvac", str(other)).out.endswith("say the same.\n")
    edit(other, ("from: first_name}", "from: email}"), ("  value: Completed", "  value: Hold"))
    ran = cli("diff", "spring-hvac", str(other))
    assert ran.code == 0
    rows = [line.split() for line in ran.out.splitlines()[1:]]
    assert [row[0] for row in rows] == ["leads.fields.name", "qualification.value"]
    assert rows[1][1:] == ["Completed", "Hold"]


@pytest.mark.parametrize(("number", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
def test_a_signal_ends_the_asking_at_once(connected, cli, world, number, code) -> None:
    """However long the systems let one wait; under --json with one document."""
    world.fault("delay", api="rf", seconds=20)
    world.post("/requests/reset")
    process = subprocess.Popen(
        [sys.executable, "-m", "stcli", "map", "fields", "--online", "--json"],
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
    )
    while not world.requests("rf"):
        time.sleep(0.02)
    asked = time.monotonic()
    process.send_signal(number)
    out, _ = process.communicate(timeout=15)
    assert time.monotonic() - asked < 5
    assert process.returncode == code
    assert json.loads(out)["error"]["exit_code"] == code
    world.no_faults()


def test_a_link_to_nothing_keeps_the_other_campaigns_from_nothing(
    connected, cli, home: Path
) -> None:
    """``--all`` names it and goes on."""
    (home / "campaigns" / "autumn-hvac.yaml").symlink_to(home / "nowhere.yaml")
    ran = cli("map", "validate", "--all", "--json")
    assert ran.code == 3
    by_name = {one["campaign"]: one for one in ran.document["campaigns"]}
    assert by_name["spring-hvac"]["ready"]
    assert "link to a file that is not there" in by_name["autumn-hvac"]["problems"][0]["message"]
    ran = cli("run", "--all", "--dry-run", "--json")
    assert ran.code == 3
    assert {one["campaign"] for one in ran.document["passes"]} >= {"spring-hvac"}
    assert cli("status").code == 0


@pytest.mark.parametrize("name", ["Bad Name.yaml", "spring.yml", "acme-file.yaml"])
def test_files_that_are_no_campaigns_are_told(connected, cli, home: Path, name: str) -> None:
    """Whoever thinks that ``--all`` looked at them would be wrong."""
    (home / "campaigns" / name).write_text("version: 1\n", encoding="utf-8")
    (home / "campaigns" / "notes.txt").write_text("ours", encoding="utf-8")
    for words in (("map", "validate", "--all"), ("config", "upgrade")):
        ran = cli(*words)
        assert ran.code == 0, ran.text
        assert ran.err.count("Passed over") == 1
        assert f"campaigns/{name}" in ran.err


def test_validate_takes_a_campaign_or_all(connected, cli) -> None:
    """Both is wrong usage, as in ``run``: the name would be ignored."""
    ran = cli("map", "validate", "spring-hvac", "--all")
    assert ran.code == 2
    assert "not both" in ran.err
    assert ran.out == ""


def test_fields_of_a_campaign_that_there_is_not_are_wrong_usage(connected, cli) -> None:
    """The catalogue is for all; a name that was given has to be one."""
    assert cli("map", "fields").code == 0
    ran = cli("map", "fields", "nosuch")
    assert ran.code == 2
    assert "no campaign 'nosuch'" in ran.err


def test_what_no_number_or_name_can_be_is_wrong_usage(connected, cli) -> None:
    """Neither a defect nor a traceback."""
    link = ("leads", "link", "spring-hvac", "x")
    assert cli(*link, "--booking", "99999999999999999999").code == 2
    assert cli("diff", "spring-hvac", "a" * 300 + ".yaml").code == 2
    assert cli("action", "leads", "nothing", "--backfill").code == 2


@pytest.mark.parametrize(
    ("other", "code"), [("nobody", 2), ("no/such/file.yaml", 2), ("../x", 2), ("Bad Name", 2)]
)
def test_a_difference_with_nothing_is_wrong_usage(connected, cli, other, code) -> None:
    """Naming what is not there."""
    ran = cli("diff", "spring-hvac", other)
    assert ran.code == code, ran.text
    assert ran.err.startswith("Error: ")
