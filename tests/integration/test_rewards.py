"""``stcli rewards due`` against the sandbox's account."""

from __future__ import annotations

import time

import pytest


def test_what_a_qualification_made_due_is_listed(connected, cli, world) -> None:
    """With the code of the referrer, who is known from the passes; nothing is written."""
    before = cli("rewards", "due", "--json").document["rewards"]
    cli("run")
    booking = world.bookings()[0]
    world.job_of(booking, "Dispatched", "InProgress", "Completed")
    cli("qualify", "run")
    asked = world.requests("rf")
    rewards = cli("rewards", "due", "--json").document["rewards"]
    (new,) = [reward for reward in rewards if reward not in before]
    lead = next(u for u in world.leads() if u["qualified_at"])
    assert new["recipient_id"] == lead["referrer_id"]
    referrer = next(u for u in world.users() if u["id"] == lead["referrer_id"])
    assert new["recipient_code"] == referrer["code"]
    assert (new["metric"], new["can_be_issued"], new["total"] > 0) == ("amount", True, True)
    text = cli("rewards", "due").out
    assert referrer["code"] in text
    assert f"amount: {len(rewards)} due" in text
    grown = {route for route, n in world.requests("rf").items() if n > asked.get(route, 0)}
    assert all(route.startswith("GET ") for route in grown)
    assert cli("rewards", "due", "--metric", "coupon").err == "No reward is due.\n"


def test_what_referral_factory_refuses_is_told(connected, cli, world, monkeypatch) -> None:
    """A token that is not known; a kind that is none."""
    monkeypatch.setenv("STCLI_RF_TOKEN", "made-up")
    assert cli("rewards", "due").code == 4
    assert cli("rewards", "due", "--metric", "cash").code == 2


@pytest.mark.parametrize(
    ("status", "code", "said"),
    [
        (403, 4, "does not let this account use /rewards/due/amount"),
        (404, 6, "Referral Factory has no list of the amount rewards that are due"),
        (429, 6, "asked to be left alone for another 60 seconds"),
        (500, 6, "Referral Factory failed by itself (HTTP 500)"),
    ],
)
def test_what_keeps_the_list_from_coming_is_told_soon(
    connected, cli, world, status, code, said
) -> None:
    """Nobody waits in front of the screen for minutes; the next step is told."""
    world.fault("status", api="rf", route="/rewards/due", status=status)
    began = time.monotonic()
    ran = cli("rewards", "due")
    assert time.monotonic() - began < 10
    assert (ran.code, said in ran.err) == (code, True), ran.err
    assert "{" not in ran.err
    assert ran.err.count("\n") == 2


def test_a_short_pause_is_waited_for(connected, cli, world) -> None:
    """As any other request waits for it."""
    world.fault("status", api="rf", route="/rewards/due", status=500, times=1, retry_after=1)
    assert cli("rewards", "due").code == 0


def test_every_page_is_read(connected, cli, world, monkeypatch) -> None:
    """Also where the account has more than one answer holds."""
    cli("run")
    for booking in world.bookings()[:3]:
        world.job_of(booking, "Completed")
    cli("qualify", "run")
    whole = cli("rewards", "due", "--json").document["rewards"]
    assert len(whole) >= 3
    monkeypatch.setattr("stcli.clients.referralfactory.client.PAGE_SIZE", 1)
    assert cli("rewards", "due", "--json").document["rewards"] == whole
    assert cli("rewards", "due", "--metric", "amount").out.count("amount: ") == 1
