"""How a sync of many customers behaves: time, peak memory, and what a pass with nothing new asks for.

    python -m tests.scale.sync_memory 10000 100000 300000

For each number a sandbox in a process of its own, a fresh home, a first sync and a second one, each as
a process whose peak memory is read from the system. The account's limits are set far above the real
ones (600 calls a minute), or the first sync of 100,000 customers would take almost three hours.
"""

from __future__ import annotations

import json
import multiprocessing
import os
import subprocess
import sys
import tempfile
import time
import urllib.request
from multiprocessing.connection import Connection
from pathlib import Path

from stcli.sandbox.server import RunningSandbox
from stcli.sandbox.settings import SandboxSettings

SYNC = """\
sync:
  type: ongoing
  fields:
    first_name: {type: dynamic, from: name, transform: [first_name]}
    email:      {type: dynamic, from: email}
"""


def serve(customers: int, line: Connection) -> None:
    """A sandbox until the other end of the line is closed."""
    settings = SandboxSettings(
        customers=customers,
        feed_page_size=5000,
        rf_requests_per_window=10**9,
        st_requests_per_window=10**9,
    )
    with RunningSandbox(settings) as sandbox:
        known = sandbox.credentials
        line.send(
            (
                sandbox.environment()
                | {
                    "STCLI_RF_TOKEN": known.rf_token,
                    "STCLI_ST_APP_KEY": known.app_key,
                    "STCLI_ST_CLIENT_SECRET": known.client_secret,
                    "STCLI_RF_RATE_PER_MINUTE": "900000",
                    "STCLI_ST_RATE_PER_SECOND": "15000",
                },
                sandbox.control_url,
                [
                    ("connect", "spring-hvac", "--tenant-id", str(known.tenant_id)),
                    ("requests", "approve", "spring-hvac"),
                    (
                        "finalize", "spring-hvac", "--client-id", known.client_id,
                        "--booking-provider", str(known.booking_provider),
                    ),
                ],
            )
        )  # fmt: skip
        try:
            line.recv()
        except EOFError:
            return


def stcli(environment: dict[str, str], *words: str) -> tuple[str, float, float]:
    """Output, seconds and peak memory in MB of one command."""
    began = time.monotonic()
    with subprocess.Popen(
        [sys.executable, "-m", "stcli", *words],
        env=environment,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        text=True,
    ) as process:
        assert process.stdout is not None
        out = process.stdout.read()
        _, status, usage = os.wait4(process.pid, 0)
        process.returncode = os.waitstatus_to_exitcode(status)
    if process.returncode:
        raise SystemExit(f"{words} ended with {process.returncode}: {out}")
    unit = 1024 if sys.platform != "darwin" else 1024 * 1024
    return out, time.monotonic() - began, usage.ru_maxrss / unit


def measure(customers: int) -> str:
    here, there = multiprocessing.Pipe()
    server = multiprocessing.Process(target=serve, args=(customers, there), daemon=True)
    server.start()
    urls, control, steps = here.recv()
    with tempfile.TemporaryDirectory() as home:
        environment = {**os.environ, **urls, "STCLI_HOME": home}
        for words in steps:
            stcli(environment, *words)
        file = Path(home, "campaigns", "spring-hvac.yaml")
        file.write_text(file.read_text(encoding="utf-8") + SYNC, encoding="utf-8")
        out, first, peak = stcli(environment, "sync", "run", "--json")
        created = json.loads(out)["counts"]["created"]
        request = urllib.request.Request(f"{control}/requests/reset", data=b"{}", method="POST")
        opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
        opener.open(request, timeout=10).close()
        out, second, second_peak = stcli(environment, "sync", "run", "--json")
        again = json.loads(out)
        assert again["counts"]["created"] == again["counts"]["updated"] == 0
    here.close()
    server.terminate()
    asked = again["requests"]
    return (
        f"| {customers:,} | {created:,} | {first:.0f} s | {peak:.0f} MB | {second:.1f} s "
        f"| {second_peak:.0f} MB | {asked['servicetitan']} | {asked['referral_factory']} |"
    )


def main() -> None:
    print("| customers | enrolled | first | peak | second | peak | ST requests | RF requests |")
    print("|---|---|---|---|---|---|---|---|")
    for text in sys.argv[1:] or ["10000"]:
        print(measure(int(text)), flush=True)


if __name__ == "__main__":
    multiprocessing.set_start_method("spawn")
    main()
