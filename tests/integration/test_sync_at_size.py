"""Thousands of customers over real HTTP. More of them: ``python -m tests.scale.sync_memory``."""

from __future__ import annotations

import pytest

from stcli.sandbox.server import RunningSandbox
from stcli.sandbox.settings import SandboxSettings
from tests.integration.synced import SYNC, writes

CUSTOMERS = 2_000


@pytest.fixture
def sandbox():
    """Many customers, and limits that a test can wait for."""
    settings = SandboxSettings(
        customers=CUSTOMERS,
        feed_page_size=1000,
        rf_requests_per_window=10**8,
        st_requests_per_window=10**6,
    )
    with RunningSandbox(settings) as running:
        yield running


@pytest.mark.timeout(600)
def test_thousands_are_enrolled_once(connected, cli, world, monkeypatch) -> None:
    """Everybody is either enrolled or left out with a reason; the second pass writes nothing, asks
    ServiceTitan three times and reads the user list only where it grew."""
    monkeypatch.setenv("STCLI_RF_RATE_PER_MINUTE", "900000")
    text = connected.read_text(encoding="utf-8").replace("create_booking", "nothing")
    connected.write_text(text + SYNC, encoding="utf-8")
    first = cli("sync", "run", "--json")
    assert first.code == 0, first.text
    counts = first.document["counts"]
    assert counts["created"] + counts["linked"] + counts["skipped"] == CUSTOMERS
    assert counts["created"] > CUSTOMERS // 2
    enrolled = [u for u in world.users() if u["source"] == "Api"]
    assert len({u["email"].casefold() for u in enrolled}) == len(enrolled) == counts["created"]
    cli("sync", "run")
    world.post("/requests/reset")
    second = cli("sync", "run", "--json")
    assert second.code == 0, second.text
    assert second.document["counts"]["unchanged"] == counts["created"] + counts["linked"]
    assert second.document["skipped"] == first.document["skipped"]
    assert writes(world) == {}
    assert second.document["requests"]["servicetitan"] <= 6
    assert world.requests("rf")["GET /users"] == 1
