"""Links and counts go back to the customers, where they changed, and nothing else is touched."""

from __future__ import annotations

import subprocess
import sys
import time
from pathlib import Path

import pytest

from stcli.sandbox.server import RunningSandbox
from stcli.sandbox.settings import SandboxSettings
from tests.integration.synced import PATCH, referrers, writes

ELIGIBLE = 15
GET_CUSTOMER = "GET /crm/v2/tenant/{tenant}/customers/{id}"


def _returned(cli, *words: str, code: int = 0) -> dict:
    ran = cli("sync", "run", *words, "--json")
    assert ran.code == code, ran.text
    return ran.document["return"]


def test_two_runs_and_the_second_writes_nothing(returning, cli, world, office) -> None:
    """Every referrer's customer gets the link; the echo of it costs no call to Referral Factory."""
    number = office.customer("Lina Linked", "lina@example.com")
    document = _returned(cli)
    assert document["counts"]["updated"] == ELIGIBLE + 1
    link = referrers(world)["lina@example.com"]["url"]
    assert office.fields_of(number)["Referral Link"] == link
    world.post("/requests/reset")
    document = _returned(cli)
    assert document["counts"]["updated"] == 0
    assert document["counts"]["unchanged"] == ELIGIBLE + 1
    assert writes(world) == {}
    assert world.requests("rf") == {"GET /campaigns/{identifier}": 2, "GET /users": 1}


def test_a_count_is_written_when_it_changes(returning, cli, world, office) -> None:
    """Read with the complete list, once in the time that `refresh` says."""
    number = office.customer("Carl Counted", "carl@example.com")
    _returned(cli)
    code = referrers(world)["carl@example.com"]["code"]
    world.post("/leads", first_name="One", email="one@example.com", referrer=code)
    assert _returned(cli)["counts"]["updated"] == 0
    text = returning.read_text(encoding="utf-8")
    returning.write_text(text.replace("  type: ongoing", "  type: ongoing\n  refresh: 1m"))
    _age_the_read(returning.parents[1])
    world.post("/requests/reset")
    _returned(cli)
    assert office.fields_of(number)["Referrals"] == "1"
    fields = office.fields_of(number)
    assert fields["Referral Link"] == referrers(world)["carl@example.com"]["url"]
    # Only what changed: the link was not written a second time.
    assert writes(world)[PATCH] >= 1


def _age_the_read(home: Path) -> None:
    """As if the last complete read were some hours old."""
    import sqlite3
    from contextlib import closing

    with closing(sqlite3.connect(home / "state" / "stcli.db")) as sql, sql:
        sql.execute("UPDATE people_reads SET counts_at = '2020-01-01T00:00:00.000000Z'")


def test_other_custom_fields_stay(returning, cli, world, office) -> None:
    """The first write is watched: read, one field, read; then the rest."""
    ids = office.field_ids()
    number = office.customer("Otto Other", "otto@example.com")
    office.change(number, custom_fields={str(ids["Referral Code"]): "keep me"})
    world.post("/requests/reset")
    _returned(cli)
    fields = office.fields_of(number)
    assert fields["Referral Code"] == "keep me"
    assert fields["Referral Link"]
    assert world.requests("st")[GET_CUSTOMER] >= 2


@pytest.mark.parametrize("sandbox", [SandboxSettings(custom_fields_patch="replace")], indirect=True)
def test_a_server_that_drops_other_fields_is_noticed(
    sandbox: RunningSandbox, returning, cli, world, office
) -> None:
    """What was dropped is put back, nothing more is written, then or later: exit 3."""
    ids = office.field_ids()
    number = office.customer("Otto Other", "otto@example.com")
    office.change(number, custom_fields={str(ids["Referral Code"]): "keep me"})
    world.post("/requests/reset")
    document = _returned(cli, code=3)
    assert "put back" in document["error"]["message"]
    assert office.fields_of(number)["Referral Code"] == "keep me"
    first = writes(world)[PATCH]
    assert first == 2
    document = _returned(cli, code=3)
    assert writes(world)[PATCH] == first
    assert document["error"]["kind"] == "brake"


@pytest.mark.parametrize("sandbox", [SandboxSettings(custom_fields_patch="replace")], indirect=True)
@pytest.mark.parametrize("how", ["refused", "stopped"])
def test_fields_that_could_not_be_put_back_are_later(
    sandbox: RunningSandbox, returning, cli, world, office, how
) -> None:
    """The second write fails, or the pass is stopped in it: the next pass puts back, a reset does not
    throw the only copy away, and what somebody typed meanwhile stays."""
    ids = office.field_ids()
    number = office.customer("Otto Other", "otto@example.com")
    code, count = str(ids["Referral Code"]), str(ids["Referrals"])
    office.change(number, custom_fields={code: "keep me"})
    if how == "refused":
        world.fault("status", method="PATCH", route="/customers", skip=1, status=400)
        document = _returned(cli, code=3)
        assert f"#{code} could not be put back" in document["error"]["message"]
    else:
        world.fault("reset_before", method="PATCH", route="/customers", skip=1)
        process = subprocess.Popen([sys.executable, "-m", "stcli", "run", "spring-hvac"])
        deadline = time.monotonic() + 30
        while not any(fault["applied"] for fault in world.get("/faults")):
            assert time.monotonic() < deadline
            time.sleep(0.05)
        process.terminate()
        assert process.wait(timeout=10) == 143
    world.no_faults()
    assert "Referral Code" not in office.fields_of(number)
    ran = cli("sync", "reset", "spring-hvac", "--yes")
    assert ran.code == 3, ran.text
    assert f"#{code} of customer {number}" in ran.err
    office.change(number, custom_fields={count: "7"})
    document = _returned(cli, code=3)
    assert (
        f"customer {number} changed others (#{code}); they were put back"
        in (document["error"]["message"])
    )
    fields = office.fields_of(number)
    assert (fields["Referral Code"], fields["Referrals"]) == ("keep me", "7")
    assert "support" in _returned(cli, code=3)["error"]["hint"]
    assert cli("sync", "reset", "spring-hvac", "--yes").code == 0


@pytest.mark.parametrize("sandbox", [SandboxSettings(custom_fields_patch="replace")], indirect=True)
def test_a_customer_without_other_fields_proves_nothing(
    sandbox: RunningSandbox, returning, cli, world, office
) -> None:
    """The first customer with other fields is watched as well, however late it comes."""
    text = returning.read_text(encoding="utf-8")
    one_field = text.replace(
        '    "custom_field:Referrals":     {type: dynamic, from: referrals_count}\n', ""
    )
    returning.write_text(one_field, encoding="utf-8")
    assert _returned(cli)["counts"]["updated"] == ELIGIBLE
    ids = office.field_ids()
    number = office.customer("Otto Other", "otto@example.com")
    office.change(number, custom_fields={str(ids["Referral Code"]): "keep me"})
    _returned(cli, code=3)
    assert office.fields_of(number)["Referral Code"] == "keep me"


@pytest.mark.parametrize(
    ("old", "new", "message", "hint"),
    [
        ("Referral Link", "Referal Link", "no custom field 'Referal Link'", "Referral Link"),
        ("Referral Link", "Referrals Total", "no custom field", ""),
        ('"custom_field:Referral Link"', '"custom_field:#9"', "no custom field '#9'", ""),
        ("from: referral_link", "from: referrals_cout", "has 1 problem", ""),
    ],
)
def test_a_wrong_name_is_told_with_the_nearest(
    returning, cli, world, old, new, message, hint
) -> None:
    """Exit 3, before anything is written to ServiceTitan."""
    text = returning.read_text(encoding="utf-8")
    returning.write_text(text.replace(old, new), encoding="utf-8")
    ran = cli("sync", "run", "--json")
    assert ran.code == 3, ran.text
    error = ran.document.get("error") or ran.document["return"]["error"]
    assert message in error["message"]
    assert hint in error["hint"]
    assert PATCH not in writes(world)


def test_a_link_in_a_numeric_field_is_refused(returning, cli, world) -> None:
    """Exit 3: links need Text."""
    text = returning.read_text(encoding="utf-8")
    returning.write_text(text.replace("from: referrals_count", "from: referral_link"))
    document = _returned(cli, code=3)
    assert "is Numeric, not Text" in document["error"]["message"]
    assert PATCH not in writes(world)


def test_the_offices_own_edit_stays_until_the_value_changes(returning, cli, world, office) -> None:
    """Only what changed in Referral Factory is written."""
    ids = office.field_ids()
    number = office.customer("Edith Edited", "edith@example.com")
    _returned(cli)
    office.change(number, custom_fields={str(ids["Referral Link"]): "written by hand"})
    assert _returned(cli)["counts"]["updated"] == 0
    assert office.fields_of(number)["Referral Link"] == "written by hand"


def test_opted_out_customers_are_not_written(returning, cli, world, office) -> None:
    """No write-back for whoever asked for no mail."""
    number = office.customer("Quiet Quinn", "quinn@example.com")
    cli("sync", "run", "--limit", "0")
    office.change(number, do_not_mail=True)
    _returned(cli)
    assert "Referral Link" not in office.fields_of(number)


def test_faults_of_the_write_change_nothing_in_the_end(returning, cli, world, office) -> None:
    """Setting a value twice is setting it once: lost answers and 5xx are simply tried again."""
    number = office.customer("Fay Faulty", "fay@example.com")
    world.fault("lose_answer", method="PATCH", every=4)
    ran = cli("sync", "run", "--json")
    assert ran.code in (0, 5), ran.text
    world.no_faults()
    document = _returned(cli)
    assert document["counts"]["failed"] == 0
    assert office.fields_of(number)["Referral Link"]


def test_a_refused_customer_is_parked(returning, cli, world) -> None:
    """400 is told once; it does not keep the others, and not the next passes."""
    world.fault("status", method="PATCH", status=400, times=1)
    ran = cli("sync", "run", "--json")
    assert ran.code == 5, ran.text
    assert ran.document["return"]["counts"]["failed"] == 1
    assert ran.document["return"]["counts"]["updated"] == ELIGIBLE - 1
    world.no_faults()
    world.post("/requests/reset")
    assert _returned(cli)["counts"]["failed"] == 0
    assert writes(world) == {}
    assert cli("failures", "retry").code == 0
    assert _returned(cli)["counts"]["updated"] == 1
