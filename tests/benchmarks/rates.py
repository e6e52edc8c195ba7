"""Enrolments and bookings through servers that answer as slowly as the live ones.

Ten minutes of their time, three at the real speed. Where it goes faster, limits and latencies are
scaled alike; what stcli sets itself is not: how many slots it reserves at once, how late one may be
used, how long connections stay.
"""

from __future__ import annotations

import sqlite3
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from typing import Any

from stcli.sandbox.settings import SandboxSettings
from tests.benchmarks.measuring import Bench, Spread, bench, stcli_words
from tests.integration.conftest import FIELDS

MINUTES = 10
MINUTES_AT_REAL_SPEED = 3
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
    """Requests a second to one API while writes went on, in all and in each part of the time; which
    part of them were writes; the share of the writes that the least busy process had; how many requests
    got a 429, and the most that arrived in any window, with what a window allows."""

    per_second: float
    parts: Spread
    writes: float
    least: float
    refused: int
    most: int
    allowed: int


def _watch(at: Bench, words: list[list[str]], api: str, done: str, seconds: float) -> Rate:
    """Run these at once for so long, from the moment at which all of them write. ``done``: the
    statement that counts what each of them wrote."""
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

    def writes(seen: dict[str, Any]) -> int:
        return sum(n for route, n in seen["routes"].items() if route.startswith(write))

    # The list of thousands is read before, page by page, from a slow server.
    deadline = time.monotonic() + 900
    while min((written := _written(at, words, done)).values()) < 20:
        if time.monotonic() > deadline or any(one.poll() is not None for one in running):
            raise SystemExit("the writing did not begin")
        time.sleep(0.2)
    looks = [(time.monotonic(), traffic())]
    first = written
    for _ in range(PARTS):
        time.sleep(seconds / PARTS)
        looks.append((time.monotonic(), traffic()))
    last = _written(at, words, done)
    for process in running:
        process.terminate()
    codes = {process.wait() for process in running}
    if codes != {143}:
        raise SystemExit(f"ended too early: {codes}")

    seen = looks[-1][1]
    odd = {status for status in seen["statuses"] if status[0] != "2" and status != "429"}
    if odd:
        raise SystemExit(f"answers that nobody wants: {seen['statuses']}")

    def per_second(first: tuple[float, Any], last: tuple[float, Any]) -> float:
        (since, before), (till, after) = first, last
        return float(after["requests"] - before["requests"]) / (till - since)

    return Rate(
        per_second(looks[0], looks[-1]),
        Spread(tuple(per_second(one, next_one) for one, next_one in pairwise(looks))),
        (writes(seen) - writes(looks[0][1])) / (seen["requests"] - looks[0][1]["requests"]),
        min(last[name] - first[name] for name in last)
        / sum(last[name] - first[name] for name in last),
        seen["too_many_requests"],
        seen["max_in_window"],
        {"rf": 600, "st": 60}[api],
    )


def _written(at: Bench, words: list[list[str]], statement: str) -> dict[str, int]:
    """How much each campaign has written, by the state that they share."""
    file = Path(at.environment["STCLI_HOME"], "state", "stcli.db")
    with closing(sqlite3.connect(f"{file.as_uri()}?mode=ro", uri=True, timeout=30)) as sql:
        found = dict(sql.execute(statement).fetchall())
    return {name: found.get(name, 0) for *_, name in words}


def _enrol(scale: float, processes: int) -> Rate:
    """Customers become referrers: bound by Referral Factory's 600 calls a minute."""
    seconds = (MINUTES if scale > 1 else MINUTES_AT_REAL_SPEED) * 60 / scale
    count = int(10 * scale * (seconds + 40) * 1.4)
    settings = _settings(scale, leads=2, customers=count, campaigns=processes)
    with bench(settings, goes_first=True, **_variables(scale)) as at:
        names = [f"campaign-{number}" for number in range(1, processes + 1)]
        for name in names:
            at.connect(name, SYNC)
        done = "SELECT campaign, count(user_id) FROM enrolments GROUP BY campaign"
        return _watch(at, [["sync", "run", name] for name in names], "rf", done, seconds)


def _book(scale: float, processes: int) -> Rate:
    """Leads become bookings: bound by ServiceTitan's 60 requests a second."""
    seconds = (MINUTES if scale > 1 else MINUTES_AT_REAL_SPEED) * 60 / scale
    # Several begin one after the other, and none may come to the end of its list meanwhile.
    leads = int(60 * scale * (seconds + 40) / processes) * (1 if processes == 1 else 2)
    settings = _settings(scale, leads=leads, customers=2, campaigns=processes)
    with bench(settings, goes_first=True, **_variables(scale)) as at:
        names = [f"campaign-{number}" for number in range(1, processes + 1)]
        for name in names:
            at.connect(name, LEADS)
        done = "SELECT campaign, count(booking_id) FROM ledger GROUP BY campaign"
        return _watch(at, [["leads", "run", name] for name in names], "st", done, seconds)


def run() -> str:
    """The table of both kinds of work, by one process and by three."""
    headers = (
        "work",
        "processes",
        "times as fast as real",
        "share of the allowed rate",
        "tenths of the time",
        "of them writes",
        "least share of a process",
        "most in a window",
        "429",
    )
    rows = [f"| {' | '.join(headers)} |", "|---" * len(headers) + "|"]
    enrolments, bookings = ("enrolments", _enrol, 10.0), ("bookings", _book, 60.0)
    # 600 bookings a second would be more than these processors can do, so they go at the real speed.
    for works, scale in (((enrolments,), 10.0), ((enrolments, bookings), 1.0)):
        for processes in (1, 3):
            with ThreadPoolExecutor() as both:
                begun = [
                    (name, per_second, both.submit(work, scale, processes))
                    for name, work, per_second in works
                ]
            for name, per_second, ended in begun:
                rows.append(_row(name, processes, scale, per_second * scale, ended.result()))
                print(rows[-1], file=sys.stderr, flush=True)
    return "\n".join(rows)


def _row(name: str, processes: int, scale: float, allowed: float, found: Rate) -> str:
    share = Spread(tuple(part / allowed for part in found.parts.values))
    return (
        f"| {name} | {processes} | {scale:g} | {found.per_second / allowed:.1%} | {share} "
        f"| {found.writes:.1%} | {found.least:.0%} | {found.most} of {found.allowed} "
        f"| {found.refused} |"
    )
