"""Reading both feeds of customers into the state, against a bare loop over the same pages."""

from __future__ import annotations

import os
import sys
import tempfile

from tests.benchmarks.measuring import ratios, timed
from tests.benchmarks.pages import served_pages

CUSTOMERS = 60_000
TURNS = 5


def run(customers: int = CUSTOMERS) -> str:
    """The table: records a second of both, and the ratio."""
    ours, bare = [], []
    with served_pages(customers) as (url, tenant, records, distinct):
        for turn in range(TURNS + 1):
            with tempfile.TemporaryDirectory(prefix="stcli-bench-") as folder:
                environment = {**os.environ, "STCLI_HOME": folder}
                for found, program in ((ours, "reading"), (bare, "bare_loop")):
                    words = [
                        sys.executable,
                        "-m",
                        f"tests.benchmarks.{program}",
                        url,
                        str(tenant),
                        folder,
                    ]
                    ran = timed(words, environment)
                    seconds, stored = ran.out.split()
                    if int(stored) != distinct:
                        raise SystemExit(f"{program} stored {stored} of {distinct} records")
                    if turn:
                        found.append((records / float(seconds), ran.cpu_seconds, ran.peak_mb))
    speed = ratios([one[0] for one in ours], [one[0] for one in bare])
    rows = [
        "| reader | records a second, median | processor seconds | peak |",
        "|---|---|---|---|",
    ]
    for name, found in (("the sync pass's reading", ours), ("bare loop", bare)):
        middle = sorted(found)[len(found) // 2]
        rows.append(f"| {name} | {middle[0]:,.0f} | {middle[1]:.1f} | {middle[2]:.0f} MB |")
    return "\n".join([*rows, "", f"speed, ours to the bare loop: {speed} ({records:,} records)"])
