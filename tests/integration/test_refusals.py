"""Every refusal of the product for the main job: the message names the thing, the code is right."""

from __future__ import annotations

import subprocess
import sys
import time
from typing import Any

import keyring.backend
import keyring.errors
import pytest

from tests.integration.conftest import CLIENT_ID, CLIENT_SECRET, Ran


def _refused(ran: Ran, code: int, *words: str) -> None:
    assert ran.code == code, ran.text
    assert "Traceback" not in ran.text
    for word in words:
        assert word in ran.err, ran.err


def _finalize(cli: Any, **changed: str) -> Ran:
    values = {"client_id": CLIENT_ID, "provider": "4521"} | changed
    return cli(
        "finalize",
        "spring-hvac",
        "--client-id",
        values["client_id"],
        "--booking-provider",
        values["provider"],
    )


@pytest.fixture
def approved(pointed, cli) -> None:
    assert cli("connect", "spring-hvac", "--tenant-id", "985798691").code == 0
    assert cli("requests", "approve", "spring-hvac").code == 0


@pytest.mark.parametrize("words", [("leads", "run"), ("qualify", "run"), ("referrers", "run")])
def test_passes_before_connected_name_the_missing_step(pointed, cli, words) -> None:
    """Not connected, pending, waiting for finalize, disconnected: exit 4 and the next command."""
    _refused(cli(*words, "nobody"), 2, "no campaign 'nobody'", "stcli connect nobody")
    cli("connect", "spring-hvac", "--tenant-id", "985798691")
    _refused(cli(*words), 4, "pending", "stcli requests approve spring-hvac")
    cli("requests", "approve", "spring-hvac")
    _refused(cli(*words), 4, "finalize", "stcli finalize spring-hvac")
    cli("disconnect", "spring-hvac", "--yes")
    _refused(cli(*words), 4, "disconnected", "stcli connect spring-hvac")


def test_a_missing_required_field_is_setup_required(connected, cli, world) -> None:
    """The pass does not run, says which field, and nothing is written."""
    text = connected.read_text(encoding="utf-8")
    connected.write_text("".join(r for r in text.splitlines(True) if " summary:" not in r))
    _refused(cli("leads", "run"), 3, "Setup Required", "summary", "stcli map show")
    assert cli("map", "validate", "--json").document["tabs"]["leads"]["missing"] == ["summary"]
    assert "Setup Required: summary" in cli("status").out
    assert world.bookings() == []


def test_an_unknown_field_gets_its_place_and_the_nearest_name(connected, cli) -> None:
    """file:line:column, the key's path and what was probably meant."""
    text = connected.read_text(encoding="utf-8")
    connected.write_text(text.replace("from: first_name}", "from: frist_name}"))
    ran = cli("map", "validate")
    assert ran.code == 3
    line = next(n for n, row in enumerate(text.splitlines(), 1) if "from: first_name}" in row)
    assert f"spring-hvac.yaml:{line}:" in ran.out
    assert "leads.fields.name.from" in ran.out
    assert "did you mean first_name?" in ran.out
    _refused(cli("leads", "run"), 3, "frist_name")


def test_a_constant_external_id_is_refused(connected, cli, world) -> None:
    """It would make all bookings one."""
    text = connected.read_text(encoding="utf-8")
    connected.write_text(
        text.replace(
            "external_id:          {type: dynamic, from: code}",
            "external_id:          {type: manual_input, value: same}",
        )
    )
    _refused(cli("leads", "run"), 3, "external_id", "must contain code or id")
    assert world.bookings() == []


def test_a_wrong_secret_is_told(approved, cli, monkeypatch) -> None:
    """Client id or client secret, and nothing is stored."""
    monkeypatch.setenv("STCLI_ST_CLIENT_SECRET", "wrong-secret")
    ran = _finalize(cli)
    _refused(ran, 4, "client id or the client secret was refused")
    assert "wrong-secret" not in ran.text
    assert cli("status", "--json").document["campaigns"][0]["connection"] == "finalize"


def test_a_wrong_app_key_is_told(approved, cli, monkeypatch) -> None:
    """401 at the first booking means the app key."""
    monkeypatch.setenv("STCLI_ST_APP_KEY", "ak1.wrong")
    ran = _finalize(cli)
    _refused(ran, 4, "app key was refused")
    assert "ak1.wrong" not in ran.text


def test_a_wrong_booking_provider_is_told(approved, cli) -> None:
    """400, 403 or 404 of the provider's list means the provider."""
    _refused(_finalize(cli, provider="9999"), 4, "booking provider 9999 was refused")
    _refused(_finalize(cli, provider="abc"), 2, "digits only")


def test_a_tenant_that_granted_nothing_is_told(approved, cli, world) -> None:
    """403 at the first booking means the grant or its scope."""
    world.post("/st/grants", granted=False)
    _refused(_finalize(cli), 4, "tenant 985798691 has not granted")
    world.post("/st/grants", granted=True, without_scopes=["tn.crm.bookings:r"])
    _refused(_finalize(cli), 4, "tenant 985798691 has not granted")


def test_a_failed_finalize_stores_nothing(approved, cli, home, world) -> None:
    """The file has no client id and the keyring no secret until everything was proven."""
    _finalize(cli, provider="9999")
    assert "client_id" not in (home / "campaigns" / "spring-hvac.yaml").read_text()
    assert _finalize(cli).code == 0
    assert f"client_id: {CLIENT_ID}" in (home / "campaigns" / "spring-hvac.yaml").read_text()


def test_a_file_changed_since_finalize_is_refused(connected, cli) -> None:
    """Another tenant in the file than was proven: finalize again."""
    text = connected.read_text(encoding="utf-8")
    connected.write_text(text.replace("tenant_id: 985798691", "tenant_id: 985798692"))
    _refused(cli("leads", "run"), 4, "servicetitan.tenant_id", "stcli finalize spring-hvac")
    connected.write_text(text)
    assert cli("leads", "run").code == 0


class _NoKeyring(keyring.backend.KeyringBackend):
    priority = 1  # type: ignore[assignment] # the library reads a number here

    def get_password(self, service: str, username: str) -> str | None:
        raise keyring.errors.NoKeyringError("none")

    set_password = delete_password = get_password  # type: ignore[assignment] # all refuse alike


class _HangingKeyring(_NoKeyring):
    def get_password(self, service: str, username: str) -> str | None:
        time.sleep(60)
        return None


def test_without_a_keyring_it_is_said_before_asking(approved, cli, monkeypatch) -> None:
    """Never a silent fall-back: the ways out are named, and --insecure-storage is one."""
    monkeypatch.delenv("STCLI_ST_CLIENT_SECRET")
    keyring.set_keyring(_NoKeyring())
    ran = _finalize(cli)
    _refused(ran, 4, "no keyring", "--insecure-storage")
    words = (
        "finalize",
        "spring-hvac",
        "--client-id",
        CLIENT_ID,
        "--booking-provider",
        "4521",
        "--client-secret-stdin",
        "--insecure-storage",
    )
    assert cli(*words, stdin=f"{CLIENT_SECRET}\n").code == 0


def test_a_keyring_that_hangs_is_given_up_after_five_seconds(approved, cli, monkeypatch) -> None:
    """Bounded, told, and not asked a second time."""
    monkeypatch.delenv("STCLI_ST_CLIENT_SECRET")
    keyring.set_keyring(_HangingKeyring())
    started = time.monotonic()
    ran = _finalize(cli)
    assert time.monotonic() - started < 8
    _refused(ran, 4, "keyring did not answer within 5 s")


def test_missing_secrets_name_every_way(connected, cli, monkeypatch) -> None:
    """Variable, file, systemd credential, command and keyring are named."""
    monkeypatch.delenv("STCLI_RF_TOKEN")
    _refused(cli("leads", "run"), 4, "STCLI_RF_TOKEN_FILE", "systemd", "command", "auth login")


def test_no_terminal_names_the_flag(approved, cli) -> None:
    """No prompt where stdin is no terminal."""
    _refused(cli("finalize", "spring-hvac"), 2, "no terminal", "--client-id")
    _refused(cli("disconnect", "spring-hvac"), 2, "no terminal", "--yes")


def test_the_tenant_id_is_digits(pointed, cli) -> None:
    """Else refused, with where to find it."""
    _refused(cli("connect", "x", "--tenant-id", "12a"), 2, "digits only", "API Application Access")


def test_connecting_again_changes_nothing_and_another_tenant_is_refused(connected, cli) -> None:
    """The same tenant is fine; another one first needs a disconnect."""
    before = connected.read_text(encoding="utf-8")
    assert cli("connect", "spring-hvac", "--tenant-id", "985798691").code == 0
    _refused(cli("connect", "spring-hvac", "--tenant-id", "1"), 3, "stcli disconnect spring-hvac")
    assert connected.read_text(encoding="utf-8") == before


@pytest.mark.parametrize("name", ["../../x", "Upper", "a-file", "-x", "x" * 64, ""])
def test_names_that_are_none_are_refused(pointed, cli, name) -> None:
    """No path leaves the folder and no name looks like a secret's file."""
    _refused(cli("connect", "--tenant-id", "1", "--", name), 2, "cannot be a campaign's name")


def test_a_campaign_that_does_not_exist_gets_the_nearest(pointed, cli) -> None:
    """connect asks Referral Factory where it can."""
    _refused(cli("connect", "spring-hvca", "--tenant-id", "1"), 3, "did you mean spring-hvac?")


def test_a_rejected_request_says_why(pointed, cli) -> None:
    """The reason is kept, finalize refused, connect begins again."""
    cli("connect", "spring-hvac", "--tenant-id", "985798691")
    assert cli("requests", "reject", "spring-hvac", "--reason", "wrong tenant").code == 0
    assert "wrong tenant" in cli("requests", "list").out
    _refused(_finalize(cli), 3, "rejected")
    assert cli("connect", "spring-hvac", "--tenant-id", "985798691").code == 0


def test_a_refused_call_is_attention_until_the_next_accepted_one(connected, cli, world) -> None:
    """It blocks nothing, says what to do, and ends by itself."""
    world.post("/st/grants", granted=False)
    assert cli("leads", "run").code == 4
    shown = cli("status", "--json").document["campaigns"][0]
    assert shown["connection"] == "attention"
    assert "stcli finalize" in shown["advice"]
    world.post("/st/grants", granted=True)
    assert cli("leads", "run").code == 0
    assert cli("status", "--json").document["campaigns"][0]["connection"] == "connected"


def test_a_token_replaced_elsewhere_is_explained(connected, cli, world) -> None:
    """Referral Factory's 401: one active token an account."""
    world.post("/rf/token")
    _refused(cli("leads", "run"), 4, "newer", "stcli auth login")


def test_a_campaign_that_is_gone_is_told(connected, cli, world) -> None:
    """Deleted in Referral Factory: exit 4."""
    world.post("/rf/campaigns/spring-hvac", deleted=True)
    _refused(cli("leads", "run"), 4, "no campaign 'spring-hvac' (any more)")


def test_disconnect_forgets_the_secret_and_keeps_the_file(
    pointed, cli, isolated, monkeypatch, home
) -> None:
    """Secret and token go; mappings and history stay unless purged."""
    monkeypatch.delenv("STCLI_ST_CLIENT_SECRET")
    cli("connect", "spring-hvac", "--tenant-id", "985798691")
    cli("requests", "approve", "spring-hvac")
    words = (
        "finalize",
        "spring-hvac",
        "--client-id",
        CLIENT_ID,
        "--booking-provider",
        "4521",
        "--client-secret-stdin",
    )
    ran = cli(*words, stdin=f"{CLIENT_SECRET}\n")
    assert ran.code == 0, ran.text
    assert list(isolated.entries.values()) == [CLIENT_SECRET]
    cli("disconnect", "spring-hvac", "--yes")
    assert isolated.entries == {}
    file = home / "campaigns" / "spring-hvac.yaml"
    assert file.exists()
    assert cli("disconnect", "spring-hvac", "--purge", "--yes").code == 0
    assert not file.exists()
    assert cli("status", "--json").document["campaigns"] == []


def test_secrets_never_reach_output_files_or_logs(connected, cli, home, pointed) -> None:
    """Nothing under the home but the token cache holds a secret, and nothing printed does."""
    said = "".join(cli(*w).text for w in (("leads", "run"), ("status",), ("auth", "status")))
    known = pointed.credentials
    for secret in (known.rf_token, known.app_key, known.client_secret):
        assert secret not in said
        for path in home.rglob("*"):
            if path.is_file():
                assert secret.encode() not in path.read_bytes(), path
    for path in home.rglob("*"):
        if path.parent.name in ("state", "tokens", "logs") and path.is_file():
            assert path.stat().st_mode & 0o077 == 0, path


@pytest.mark.parametrize(
    ("text", "hint"),
    [
        ("version: [1\n", "Close it with ']'."),
        ("version: 2\n", "Install an stcli that reads version 2."),
    ],
)
def test_the_next_step_is_told_once(connected, cli, text, hint) -> None:
    """Where the only problem has the same one."""
    connected.write_text(text, encoding="utf-8")
    ran = cli("config", "validate")
    assert ran.code == 3
    assert ran.err.count(hint) == 1


@pytest.mark.parametrize(
    "words",
    [
        ("map", "set", "priority", "--select", "{}"),
        ("map", "set", "start", "--value", "on {}"),
        ("map", "preview", "--lead", "{}"),
        ("map", "{}"),
        ("qualify", "explain", "{}"),
        ("status", "{}"),
    ],
)
@pytest.mark.parametrize("typed", ["joe@example.com", "217-555-0131"])
def test_what_somebody_typed_is_masked_in_errors(connected, cli, words, typed) -> None:
    """Addresses and numbers of people, unless they are asked for."""
    command = [word.format(typed) for word in words]
    shown = cli("--show-pii", *command)
    assert shown.code in (2, 3), shown.text
    assert typed in shown.err
    assert typed in cli("--show-pii", *command, "--json").out
    masked = cli(*command)
    assert masked.code == shown.code
    assert masked.err == shown.err.replace(typed, "***")
    assert typed not in cli(*command, "--json").text


def test_secrets_are_masked_in_errors_always(connected, cli, pointed) -> None:
    """Whoever gives one in the wrong place need not see it in a log of the terminal."""
    known = pointed.credentials
    for secret in (known.rf_token, known.app_key, known.client_secret):
        for options in ((), ("--show-pii",)):
            for last in ((), ("--json",)):
                ran = cli(*options, "map", "set", "priority", "--select", secret, *last)
                assert ran.code == 3, ran.text
                assert secret not in ran.text
                assert "is not an option of priority" in ran.text


def test_usage_errors_are_one_document_under_json(cli) -> None:
    """Unknown commands and options: exit 2, JSON on stdout, nothing else there."""
    for words in (("laeds", "run", "--json"), ("status", "--jsno", "--json"), ("leads", "--json")):
        ran = cli(*words)
        assert ran.code == 2, ran.text
        if ran.out:
            assert ran.document["error"]["exit_code"] == 2
    assert "'leads'" in cli("laeds").err


def test_finalize_proves_only_the_approved_tenant(approved, cli, home) -> None:
    """A file that names another tenant than was approved is refused before anything is asked."""
    file = home / "campaigns" / "spring-hvac.yaml"
    text = file.read_text(encoding="utf-8")
    file.write_text(text.replace("985798691", "985798692"), encoding="utf-8")
    _refused(_finalize(cli), 3, "approved for tenant 985798691", "985798692")


def test_disconnect_works_without_a_keyring(connected, cli) -> None:
    """On a server whose secrets come from variables there is nothing to forget."""
    keyring.set_keyring(_NoKeyring())
    ran = cli("disconnect", "spring-hvac", "--yes")
    assert ran.code == 0, ran.text
    assert "no keyring" in ran.err


def test_connect_does_not_need_referral_factory(pointed, cli, world) -> None:
    """The request is submitted also while Referral Factory refuses or fails."""
    world.post("/rf/token")
    ran = cli("connect", "spring-hvac", "--tenant-id", "985798691")
    assert ran.code == 0, ran.text
    assert "is not known" in ran.err


def test_a_broken_file_does_not_keep_the_others_from_their_work(connected, cli, home) -> None:
    """run --all: the broken one is named and makes the exit code, the good one is done."""
    (home / "campaigns" / "broken.yaml").write_text("version: [", encoding="utf-8")
    ran = cli("run", "--all", "--json")
    assert ran.code == 3
    assert [e["campaign"] for e in ran.document["errors"]] == ["broken"]
    done = {p["pass"]: p["status"] for p in ran.document["passes"]}
    assert done == {"leads": "succeeded", "qualify": "succeeded"}


def test_two_names_for_one_campaign_book_nobody_twice(connected, cli, world, home) -> None:
    """The second finds what the first has booked."""
    assert cli("leads", "run", "spring-hvac", "--limit", "4").code == 0
    words = ("--tenant-id", "985798691", "--referral-campaign", "spring-hvac")
    assert cli("connect", "twin", *words).code == 0
    assert cli("requests", "approve", "twin").code == 0
    assert cli("finalize", "twin", "--client-id", CLIENT_ID, "--booking-provider", "4521").code == 0
    twin = home / "campaigns" / "twin.yaml"
    twin.write_text(connected.read_text(encoding="utf-8"), encoding="utf-8")
    ran = cli("leads", "run", "twin", "--json")
    assert ran.document["counts"]["unchanged"] == 4, ran.text
    assert ran.document["counts"]["created"] == 7
    ran = cli("leads", "run", "spring-hvac", "--json")
    assert ran.document["counts"]["unchanged"] == 11, ran.text
    assert set(world.per_external_id().values()) == {1}


@pytest.mark.parametrize(
    "words",
    [("connect", "x", "--tenant-id", "1"), ("status",), ("requests", "list"), ("campaigns",)],
)
def test_a_home_that_cannot_be_used_is_told(pointed, cli, tmp_path, monkeypatch, words) -> None:
    """A file where the home should be: exit 3 and the next step, or nothing to say; no defect."""
    (tmp_path / "a file").write_text("", encoding="utf-8")
    monkeypatch.setenv("STCLI_HOME", str(tmp_path / "a file"))
    ran = cli(*words)
    if words == ("status",):
        assert ran.code == 0, ran.text
    else:
        _refused(ran, 3, "cannot be")


def test_a_long_delay_of_servicetitan_is_kept_by_later_runs(connected, cli, world) -> None:
    """Longer than a pass waits: it ends, and the next ones say so without a single request."""
    world.fault("status", api="st", status=429, retry_after=400)
    _refused(cli("leads", "run"), 6, "too many requests")
    world.no_faults()
    world.post("/requests/reset")
    _refused(cli("leads", "run"), 6, "left alone for another")
    assert world.requests("st") == {}
    assert world.bookings() == []


@pytest.mark.parametrize("options", [(), ("--purge",)])
def test_nobody_is_disconnected_in_the_middle_of_a_pass(connected, cli, world, options) -> None:
    """Exit 7 and who is at work; the pass ends as it would, and afterwards it goes."""
    world.fault("delay", method="POST", route="/bookings", seconds=3, times=1)
    process = subprocess.Popen(
        [sys.executable, "-m", "stcli", "leads", "run"], stderr=subprocess.DEVNULL
    )
    while not any("POST" in route for route in world.requests("st")):
        time.sleep(0.02)
    _refused(cli("disconnect", "--yes", *options), 7, f"process {process.pid}")
    assert connected.exists()
    assert process.wait(timeout=60) == 0
    assert len(world.bookings()) == 11
    assert cli("leads", "run", "--json").document["counts"]["unchanged"] == 11
    assert cli("disconnect", "--yes", *options).code == 0
    assert cli("leads", "run").code == (2 if options else 4)
