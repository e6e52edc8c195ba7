"""However a sync ends, the next one goes on, and the end is that of an undisturbed one."""

from __future__ import annotations

import json
import random
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from stcli.sandbox.server import RunningSandbox
from stcli.sandbox.settings import SandboxSettings
from tests.integration.synced import RETURN, SYNC, Office, enrolments, referrers, writes

CUSTOMERS = 150


@pytest.fixture
def sandbox():
    """Enough customers for a signal to come in the middle, and answers that take their time."""
    settings = SandboxSettings(customers=CUSTOMERS, rf_requests_per_window=100_000)
    with RunningSandbox(settings) as running:
        yield running


@pytest.fixture
def synced(connected: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A campaign with a sync tab and return fields, on an account with a high limit."""
    monkeypatch.setenv("STCLI_RF_RATE_PER_MINUTE", "6000")
    text = connected.read_text(encoding="utf-8").replace("create_booking", "nothing")
    connected.write_text(text + SYNC + RETURN, encoding="utf-8")
    return connected


def _spawn(*words: str) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, "-m", "stcli", *words],
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def _finished(cli, world, home: Path) -> dict[str, tuple[object, ...]]:
    """Run until nothing is left to do; the end state by email address."""
    for _ in range(4):
        ran = cli("sync", "run", "--json")
        assert ran.code in (0, 5), ran.text
        world.post("/requests/reset")
        again = cli("sync", "run", "--json")
        assert again.code == 0, again.text
        if writes(world) == {}:
            break
    else:
        raise AssertionError("never quiet")
    assert again.document["counts"]["failed"] == 0
    people = referrers(world)
    rows = enrolments(home)
    assert not {row[0] for row in rows.values()} & {"planned", "intent"}
    return {
        email: (user["first_name"], json.dumps(user["meta"]))
        for email, user in people.items()
        if user["source"] == "Api"
    }


def _expected(office: Office) -> set[str]:
    """The addresses of the customers who may be enrolled, from what ServiceTitan itself says."""
    found: set[str] = set()
    suppressed = {s["email"].casefold() for s in _suppressions(office)}
    page = 1
    while True:
        answer = office.read("/customers", page=page, pageSize=500)
        for customer in answer["data"]:
            if not customer["active"] or customer["mergedToId"] or customer["doNotMail"]:
                continue
            if customer["doNotService"] or not customer["name"].strip():
                continue
            emails = [
                c
                for c in office.contacts_of(customer["id"])
                if c["type"] == "Email" and "@example.com" in c["value"]
            ]
            permitted = [
                c["value"]
                for c in sorted(emails, key=lambda c: c["id"])
                if (c["preferences"] or {}).get("marketingUpdatesEnabled") is not False
                and c["value"].casefold() not in suppressed
            ]
            if permitted:
                found.add(permitted[0].casefold())
        if not answer["hasMore"]:
            return found
        page += 1


def _suppressions(office: Office) -> list[dict]:
    tenant = office.sandbox.credentials.tenant_id
    path = f"/../../../../marketing/v2/tenant/{tenant}/suppressions"
    return office.read(path, pageSize=5000)["data"]


@pytest.mark.parametrize("seed", range(4))
def test_kill_9_at_any_moment_enrols_nobody_twice_and_forgets_nobody(
    synced, cli, world, sandbox, home, seed
) -> None:
    """Killed from outside several times; then everybody who may be is enrolled exactly once."""
    source = random.Random(seed)
    world.fault("delay", route="/users", method="POST", every=2, seconds=0.05)
    world.fault("lose_answer", method="POST", route="/users", every=7)
    for _ in range(3):
        process = _spawn("sync", "run")
        time.sleep(source.uniform(0.7, 2.2))
        process.send_signal(signal.SIGKILL)
        process.communicate()
    world.no_faults()
    done = _finished(cli, world, home)
    assert {email.casefold() for email in done} == _expected(Office(world, sandbox))


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_stops_cleanly_and_the_next_run_goes_on(
    synced, cli, world, sandbox, home, number
) -> None:
    """Within five seconds, with the exit code of the signal; the end is the same."""
    world.fault("delay", route="/users", method="POST", every=1, seconds=0.4)
    process = _spawn("sync", "run", "--json")
    _wait_for_a_write(world)
    process.send_signal(number)
    began = time.monotonic()
    out, err = process.communicate(timeout=20)
    assert time.monotonic() - began < 5
    assert process.returncode == 128 + number, err
    document = json.loads(out)
    assert document["status"] == "interrupted"
    assert 0 < document["counts"]["created"] < CUSTOMERS
    assert "Traceback" not in err
    world.no_faults()
    done = _finished(cli, world, home)
    assert {email.casefold() for email in done} == _expected(Office(world, sandbox))


def test_every_goes_on_until_it_is_told_to_stop(synced, cli, world, sandbox) -> None:
    """A pass every so often, each as one line of JSON; SIGTERM in the pause ends at once."""
    process = _spawn("sync", "run", "--every", "1s", "--json")
    assert process.stdout is not None
    first = json.loads(process.stdout.readline())
    assert first["counts"]["created"] > 0
    Office(world, sandbox).customer("Late Comer", "late.comer@example.com")
    for _ in range(20):
        document = json.loads(process.stdout.readline())
        if document["counts"]["created"]:
            break
    assert document["counts"]["created"] == 1
    process.send_signal(signal.SIGTERM)
    began = time.monotonic()
    process.communicate(timeout=20)
    assert time.monotonic() - began < 5
    assert process.returncode == 143


def test_every_ends_where_a_person_is_needed(synced, cli, world) -> None:
    """A refused token does not heal by waiting: exit 4."""
    world.post("/rf/token")
    process = _spawn("sync", "run", "--every", "1s")
    _, err = process.communicate(timeout=30)
    assert process.returncode == 4, err


def _wait_for_a_write(world) -> None:
    for _ in range(200):
        if writes(world):
            return
        time.sleep(0.05)
    raise AssertionError("nothing was written")
