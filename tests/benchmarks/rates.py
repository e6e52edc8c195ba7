"""Enrolments and bookings through servers that answer as slowly as the live ones.

Ten minutes of their time: limits and latencies are scaled alike, so that a shorter run shows the same.
"""

from __future__ import annotations

import subprocess
import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

from stcli.sandbox.settings import SandboxSettings
from tests.benchmarks.measuring import Bench, Spread, bench, stcli_words
from tests.integration.conftest import FIELDS

MINUTES = 10
PARTS = 10
"""So many parts of that time are looked at by themselves."""
SYNC = """\
leads:
  action: nothing
referrers:
  action: nothing
sync:
  type: ongoing
  fields:
    first_name: {type: dynamic, from: name, transform: [first_name]}
    email:      {type: dynamic, from: email}
"""
LEADS = f"""\
leads:
  action: create_booking
  fields:
{FIELDS}
"""


def _settings(scale: float, *, leads: int, customers: int, campaigns: int) -> SandboxSettings:
    """Real limits and latencies, ``scale`` times as fast."""
    return SandboxSettings(
        leads=leads,
        customers=customers,
        more_campaigns=campaigns,
        st_window_seconds=1.0 / scale,
        rf_window_seconds=60.0 / scale,
        latency_median_seconds=0.3 / scale,
        latency_p98_seconds=5.0 / scale,
        latency_longest_seconds=25.0 / scale,
        feed_page_size=5000,
        feed_lag_seconds=0.0,
        token_requests_per_window=1000,
        request_log_size=1,
    )


def _variables(scale: float) -> dict[str, str]:
    return {
        "STCLI_RF_RATE_PER_MINUTE": f"{600 * scale:g}",
        "STCLI_ST_RATE_PER_SECOND": f"{60 * scale:g}",
        "STCLI_ST_TIMEOUT_SECONDS": f"{100 / scale:g}",
    }


@dataclass(frozen=True, slots=True)
class Rate:
    """Requests a second to one API while writes went on, in all and in each part of the time, how
    many got a 429, and the most that arrived in any window, with what a window allows."""

    per_second: float
    parts: Spread
    refused: int
    most: int
    allowed: int


def _watch(at: Bench, words: list[list[str]], api: str, seconds: float) -> Rate:
    """Run these at once for so long, from the moment at which all of them write."""
    running = [
        subprocess.Popen(
            stcli_words(*one),
            env=at.environment,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )
        for one in words
    ]
    write = {"rf": "POST /users", "st": "POST /crm"}[api]

    def traffic() -> dict[str, Any]:
        return dict(at.ask("/requests")["apis"][api])

    def writes() -> int:
        return sum(n for route, n in traffic()["routes"].items() if route.startswith(write))

    deadline = time.monotonic() + 300
    while writes() < 50 * len(words):
        if time.monotonic() > deadline or any(one.poll() is not None for one in running):
            raise SystemExit("the writing did not begin")
        time.sleep(0.2)
    looks = [(time.monotonic(), traffic())]
    for _ in range(PARTS):
        time.sleep(seconds / PARTS)
        looks.append((time.monotonic(), traffic()))
    for process in running:
        process.terminate()
    codes = {process.wait() for process in running}
    if codes != {143}:
        raise SystemExit(f"ended too early: {codes}")

    def per_second(first: tuple[float, Any], last: tuple[float, Any]) -> float:
        (since, before), (till, after) = first, last
        return float(after["requests"] - before["requests"]) / (till - since)

    return Rate(
        per_second(looks[0], looks[-1]),
        Spread(tuple(per_second(one, next_one) for one, next_one in pairwise(looks))),
        looks[-1][1]["too_many_requests"],
        looks[-1][1]["max_in_window"],
        {"rf": 600, "st": 60}[api],
    )


def _enrol(scale: float, processes: int) -> Rate:
    """Customers become referrers: bound by Referral Factory's 600 calls a minute."""
    seconds = MINUTES * 60 / scale
    count = int(10 * scale * (seconds + 40) * 1.4)
    settings = _settings(scale, leads=2, customers=count, campaigns=processes)
    with bench(settings, **_variables(scale)) as at:
        names = [f"campaign-{number}" for number in range(1, processes + 1)]
        for name in names:
            at.connect(name, SYNC)
        return _watch(at, [["sync", "run", name] for name in names], "rf", seconds)


def _book(scale: float, processes: int) -> Rate:
    """Leads become bookings: bound by ServiceTitan's 60 requests a second."""
    seconds = MINUTES * 60 / scale
    leads = int(60 * scale * (seconds + 40) / processes)
    settings = _settings(scale, leads=leads, customers=2, campaigns=processes)
    with bench(settings, **_variables(scale)) as at:
        names = [f"campaign-{number}" for number in range(1, processes + 1)]
        for name in names:
            at.connect(name, LEADS)
        return _watch(at, [["leads", "run", name] for name in names], "st", seconds)


def run(only: Sequence[str] = ()) -> str:
    """The table of both kinds of work, by one process and by three."""
    headers = (
        "work",
        "processes",
        "times as fast as real",
        "share of the allowed rate, all in all",
        "tenths of the time",
        "most in a window",
        "429",
    )
    rows = [
        f"| {' | '.join(headers)} |",
        "|---|---|---|---|---|---|---|",
    ]
    for name, work, per_second, scale in (
        ("enrolments", _enrol, 10.0, 10.0),
        # In real time: 180 requests a second would be more than one process can do.
        ("bookings", _book, 60.0, 1.0),
    ):
        for processes in (1, 3):
            if only and name not in only:
                continue
            found = work(scale, processes)
            allowed = per_second * scale
            share = Spread(tuple(part / allowed for part in found.parts.values))
            rows.append(
                f"| {name} | {processes} | {scale:g} | {found.per_second / allowed:.1%} | {share} "
                f"| {found.most} of {found.allowed} | {found.refused} |"
            )
            print(rows[-1], file=sys.stderr, flush=True)
    return "\n".join(rows)
