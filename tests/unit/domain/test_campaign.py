"""The campaign file as a value: what is taken, what is refused, what stays text."""

from __future__ import annotations

from copy import deepcopy
from datetime import date
from typing import Any

import pytest
from pydantic import ValidationError

from stcli.domain.campaign import AccountSettings, Action, CampaignConfig, Tab, in_use

MINIMAL: dict[str, Any] = {
    "version": "1",
    "referral_campaign": "spring-hvac",
    "servicetitan": {"tenant_id": "985798691"},
}


def config(changes: dict[str, Any] | None = None, **top: Any) -> CampaignConfig:
    """A campaign from what a file gives: every scalar as text; paths are written with dots."""
    written = deepcopy(MINIMAL) | top
    for path, value in (changes or {}).items():
        *parents, last = path.split(".")
        at = written
        for name in parents:
            at = at.setdefault(name, {})
        at[last] = value
    return CampaignConfig.model_validate(written)


def refused(changes: dict[str, Any]) -> str:
    """Where the first error is, as a path, and what it says."""
    with pytest.raises(ValidationError) as caught:
        config(changes)
    error = caught.value.errors()[0]
    return ".".join(str(part) for part in error["loc"]) + ": " + error["msg"]


def test_a_minimal_file_has_every_action_off() -> None:
    """What is not written does nothing."""
    made = config()
    assert made.servicetitan.tenant_id == 985798691
    assert made.servicetitan.environment == "production"
    assert made.leads.action is made.referrers.action is Action.NOTHING
    assert made.qualification.method == "do_not_qualify"
    assert made.sync is None
    assert in_use(made) == ()
    assert made.proof is None


def test_a_setting_cannot_be_changed_afterwards() -> None:
    """The configuration of a pass is one value from beginning to end."""
    made = config()
    with pytest.raises(ValidationError, match="frozen"):
        made.referral_campaign = "other"  # type: ignore[misc]


@pytest.mark.parametrize("text", ["0123", "8:30", "NO", "1e3", "null", "2026-11-23", "~", "0x1F"])
def test_text_stays_text(text: str) -> None:
    """What YAML would take for a number, a time or a switch is kept as it was written."""
    made = config(
        {
            "referral_campaign": text,
            "servicetitan.client_id": text,
            "leads.fields": {
                "source": {"type": "manual_input", "value": text},
                "name": {"type": "dynamic", "from": "first_name", "default": text},
            },
        }
    )
    assert made.referral_campaign == made.servicetitan.client_id == text
    assert made.leads.fields["source"].value == text  # type: ignore[union-attr]
    assert made.leads.fields["name"].default == text  # type: ignore[union-attr]


SWITCHES = [("true", True), ("True", True), ("TRUE", True), ("false", False), ("FALSE", False)]


@pytest.mark.parametrize(("written", "meant"), SWITCHES)
def test_a_switch_is_true_or_false(written: str, meant: bool) -> None:
    """In any of YAML's three spellings."""
    made = config({"sync.type": "ongoing", "sync.welcome_mail": written})
    assert made.sync is not None
    assert made.sync.welcome_mail is meant


@pytest.mark.parametrize("written", ["yes", "no", "NO", "on", "1", "0", "y", "", "tRue", 1, None])
def test_a_switch_is_nothing_else(written: object) -> None:
    """Yes and no, on and off are not guessed at."""
    told = refused({"sync.type": "ongoing", "sync.welcome_mail": written})
    assert told.startswith("sync.welcome_mail: ")
    assert "true or false" in told


@pytest.mark.parametrize(
    "written", ["-1", "1.5", "1_000", "ten", "", " 5", "0x10", "٣", "+5", True]
)
def test_a_number_is_written_with_digits(written: object) -> None:
    """No sign, no fraction, no other script, no switch."""
    assert refused({"leads.limits.max_creates": written}).startswith("leads.limits.max_creates")


@pytest.mark.parametrize("written", ["0", "200"])
def test_a_limit_may_be_nothing(written: str) -> None:
    """Zero creates is a limit too."""
    assert config({"leads.limits.max_creates": written}).leads.limits.max_creates == int(written)


@pytest.mark.parametrize("path", ["servicetitan.tenant_id", "servicetitan.booking_provider"])
def test_ids_are_at_least_one(path: str) -> None:
    """There is no tenant and no provider 0."""
    assert refused({path: "0"}).startswith(path)


def test_a_number_is_never_cut_off() -> None:
    """A slip of the keyboard must not name another tenant."""
    assert refused({"servicetitan.tenant_id": "1" * 21}).startswith("servicetitan.tenant_id")


def test_since_is_a_day() -> None:
    """A day of the calendar; anything else is refused with an example."""
    assert config({"leads.since": "2026-11-23"}).leads.since == date(2026, 11, 23)
    for wrong in ("2026-11-31", "23.11.2026", "yesterday", "2026-11-23T10:00"):
        assert "2026-11-23" in refused({"leads.since": wrong})


@pytest.mark.parametrize(
    ("path", "value"),
    [
        ("version", "2"),
        ("version", "one"),
        ("referral_campaign", ""),
        ("servicetitan.environment", "sandbox"),
        ("leads.action", "create"),
        ("leads.existing_customers", "ignore"),
        ("qualification.method", "reaches"),
        ("qualification.on_cancel", "undo"),
        ("qualification.hold_days", "-1"),
        ("qualification.conditions.minimum_total", "-5"),
        ("qualification.conditions.minimum_total", "nan"),
        ("qualification.conditions.minimum_total", "inf"),
        ("qualification.conditions.exclude", ["recal"]),
        ("consent.suppressions", "maybe"),
    ],
)
def test_wrong_values_are_refused_where_they_stand(path: str, value: object) -> None:
    """The error points at the key."""
    assert refused({path: value}).startswith(path)


@pytest.mark.parametrize(
    ("path", "value"),
    [
        ("sinec", "x"),
        ("servicetitan.tenant", "1"),
        ("servicetitan.client_secret", "x"),
        ("leads.field", {}),
        ("leads.include_sources", ["Added"]),
        ("leads.limits.max_create", "1"),
        ("qualification.hold", "1"),
        ("qualification.conditions.tags", ["x"]),
    ],
)
def test_unknown_keys_are_refused(path: str, value: object) -> None:
    """A typo is never passed over in silence."""
    assert refused({path: value}).startswith(f"{path}: Extra inputs")


def test_reaches_needs_its_value() -> None:
    """Which status is to be reached cannot be guessed."""
    method = {"qualification.method": "booking_becomes_job_and_reaches"}
    assert "needs a value" in refused(method)
    assert "qualification.value" in refused(method | {"qualification.value": "completed"})
    made = config(method | {"qualification.value": "InProgress"})
    assert made.qualification.value == "InProgress"


@pytest.mark.parametrize("refresh", ["1d", "12h", "90m"])
def test_refresh_is_a_span(refresh: str) -> None:
    """Minutes, hours or days; the default is a day."""
    made = config({"sync.type": "one_time", "sync.refresh": refresh})
    assert made.sync is not None
    assert made.sync.refresh == refresh
    assert config(sync={"type": "ongoing"}).sync.refresh == "1d"  # type: ignore[union-attr]


@pytest.mark.parametrize("refresh", ["0d", "1w", "d", "1.5h", "10000d", "1d "])
def test_no_other_span_is_taken(refresh: str) -> None:
    """A wrong unit is an error and not a day."""
    told = refused({"sync.type": "one_time", "sync.refresh": refresh})
    assert told.startswith("sync.refresh")


@pytest.mark.parametrize(
    "rule",
    [
        {"type": "dynamic"},
        {"type": "dynamic", "from": ""},
        {"type": "dynamic", "from": "code", "value": "x"},
        {"type": "manual_input"},
        {"type": "manual_select", "from": "code"},
        {"type": "template", "template": ""},
        {"type": "constant", "value": "x"},
        {"value": "x"},
    ],
)
def test_a_mapping_has_exactly_the_keys_of_its_type(rule: dict[str, str]) -> None:
    """The four data types are told apart by ``type`` and take nothing else."""
    assert refused({"leads.fields": {"name": rule}}).startswith("leads.fields.name")


def test_the_order_of_mappings_is_kept() -> None:
    """A preview lists them as the file does."""
    names = ["summary", "name", "external_id", "email"]
    rule = {"type": "manual_input", "value": "x"}
    assert list(config({"leads.fields": dict.fromkeys(names, rule)}).leads.fields) == names


@pytest.mark.parametrize(
    ("changes", "tabs"),
    [
        ({"leads.action": "create_booking"}, (Tab.LEADS,)),
        ({"referrers.action": "create_booking"}, (Tab.REFERRERS,)),
        ({"sync.type": "ongoing"}, (Tab.SYNC,)),
        (
            {
                "leads.action": "create_booking",
                "sync.type": "ongoing",
                "sync.return_fields": {"custom_field:X": {"type": "dynamic", "from": "x"}},
            },
            (Tab.LEADS, Tab.SYNC, Tab.RETURN),
        ),
    ],
)
def test_tabs_in_use(changes: dict[str, Any], tabs: tuple[Tab, ...]) -> None:
    """A tab is in use once something is to be done by it."""
    assert in_use(config(changes)) == tabs


def test_booking_tab_gives_the_one_asked_for() -> None:
    """Leads and referrers are not mixed up."""
    made = config({"referrers.action": "create_booking", "referrers.include_sources": ["Api"]})
    assert made.booking_tab(Tab.REFERRERS) is made.referrers
    assert made.booking_tab(Tab.LEADS) is made.leads
    assert made.referrers.include_sources == ("Api",)


@pytest.mark.parametrize("missing", ["client_id", "booking_provider"])
def test_a_proof_needs_all_values(missing: str) -> None:
    """While one is missing there is nothing to compare with."""
    values = {"servicetitan.client_id": "cid.8f3k", "servicetitan.booking_provider": "4521"}
    proof = config(values | {"servicetitan.environment": "integration"}).proof
    assert proof is not None
    assert (proof.environment, proof.tenant_id) == ("integration", 985798691)
    assert (proof.client_id, proof.booking_provider) == ("cid.8f3k", 4521)
    del values[f"servicetitan.{missing}"]
    assert config(values).proof is None


def test_account_settings_know_three_secrets() -> None:
    """A command is a list of words for one of the three secrets, and never empty."""
    made = AccountSettings.model_validate(
        {"secrets": {"st_client_secret": {"command": ["pass", "show", "0123"]}}}
    )
    assert made.secrets["st_client_secret"].command == ("pass", "show", "0123")
    for wrong in ({"st_secret": {"command": ["x"]}}, {"rf_token": {"command": []}}):
        with pytest.raises(ValidationError):
            AccountSettings.model_validate({"secrets": wrong})
