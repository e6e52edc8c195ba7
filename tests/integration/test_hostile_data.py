"""What other people type into names and fields, wherever it is shown; and campaigns side by side."""

from __future__ import annotations

import subprocess
import sys
import unicodedata

import pytest

from stcli.sandbox.settings import SandboxSettings
from tests.integration.conftest import edit
from tests.integration.terminal import CSI, Terminal

EVIL = "\x1b[2J\x1b]0;owned\x07[red]Eve[/red]\n\u202etxet\u202c\u0085\u200b\x00 {code} 100%"
SHOWN = (
    ("map", "preview", "--count", "2"),
    ("leads", "run", "--dry-run"),
    ("failures", "list"),
    ("status",),
    ("sync", "show"),
    ("campaigns",),
    ("map", "fields", "--online"),
)


def _unprintable(text: str) -> set[str]:
    return {c for c in text if unicodedata.category(c) in ("Cc", "Cf") and c != "\n"}


@pytest.fixture
def hostile(returning, world, office):
    """Names that are escape sequences, in every place that a passer-by can fill in."""
    edit(returning, ("action: nothing", "action: create_booking"))
    edit(returning, ("    phone:", "    start: {type: dynamic, from: meta.When}\n    phone:"))
    world.post("/leads", first_name=EVIL, email="eve@example.com", meta={"Phone": EVIL})
    world.post("/leads", first_name="Bad", email="bad@example.com", meta={"When": EVIL})
    office.customer(EVIL, "eve.customer@example.com", mobile=EVIL)
    world.post("/rf/campaigns/spring-hvac", name=EVIL)
    return returning


def test_nothing_typed_by_others_reaches_a_terminal_as_it_is(hostile, cli, world, home) -> None:
    """Through a pipe and on a terminal: no escape sequence, no mark that turns the writing, and
    Rich's markup is text. The log too."""
    assert cli("run", "--allow-mass-change").code == 5
    for words in SHOWN:
        ran = cli(*words)
        assert ran.code in (0, 5), ran.text
        assert not _unprintable(ran.text), (words, ran.text)
        terminal = Terminal(*words, columns=200, NO_COLOR="1", TERM="dumb")
        assert terminal.end() in (0, 5)
        shown = CSI.sub("", terminal.seen).replace("\r\n", "\n")
        assert not _unprintable(shown), (words, shown)
    assert "[red]Eve[/red]" in cli("campaigns").out
    log = (home / "logs" / "stcli.log").read_text(encoding="utf-8")
    assert not _unprintable(log)
    for booking in world.bookings():
        assert not _unprintable(booking["name"])


def test_json_holds_what_was_typed_and_is_still_json(hostile, cli) -> None:
    """Escaped, as JSON does it: no byte of it acts on a terminal."""
    ran = cli("campaigns", "--json")
    assert EVIL in {one["name"] for one in ran.document["campaigns"]}
    assert "\x1b" not in ran.out


@pytest.mark.parametrize("sandbox", [SandboxSettings(leads=150, customers=10)], indirect=True)
def test_campaigns_side_by_side_keep_the_tenants_limit(
    connected, cli, world, home, monkeypatch
) -> None:
    """Two processes, two campaigns, one tenant: together no faster than one may be, no 429.

    Each alone may use fifty of the sixty in a second, so both by themselves would be far beyond it;
    the rest is left to a machine with other work, which delivers requests unevenly.
    """
    monkeypatch.setenv("STCLI_ST_RATE_PER_SECOND", "50")
    referral = next(
        c["code"]
        for c in cli("campaigns", "--json").document["campaigns"]
        if c["code"] != "spring-hvac"
    )
    assert cli("copy", "spring-hvac", "autumn-hvac", "--referral-campaign", referral).code == 0
    file = home / "campaigns" / "autumn-hvac.yaml"
    edit(file, ("action: nothing", "action: create_booking"))
    for words in (
        ("connect", "autumn-hvac", "--tenant-id", "985798691"),
        ("requests", "approve", "autumn-hvac"),
        ("finalize", "autumn-hvac"),
    ):
        assert cli(*words).code == 0
    for number in range(100):
        world.post("/leads", first_name="A", email=f"autumn{number}@example.com", campaign=referral)
    world.post("/requests/reset")
    running = [
        subprocess.Popen(
            [sys.executable, "-m", "stcli", "leads", "run", name], stderr=subprocess.DEVNULL
        )
        for name in ("spring-hvac", "autumn-hvac")
    ]
    assert [process.wait(timeout=100) for process in running] == [0, 0]
    seen = world.get("/requests")["apis"]["st"]
    assert seen["requests"] > 240
    assert seen["too_many_requests"] == 0
    assert seen["max_in_window"] <= 60
