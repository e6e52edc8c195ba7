"""``stcli rewards due`` against the sandbox's account."""

from __future__ import annotations


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
