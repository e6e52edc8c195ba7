"""Runs of commands and of a sandbox in a process of its own, and figures with their noise."""

from __future__ import annotations

import gc
import json
import multiprocessing
import os
import statistics
import subprocess
import sys
import tempfile
import time
import urllib.request
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

from stcli.sandbox.server import RunningSandbox
from stcli.sandbox.settings import SandboxSettings
from tests.integration.conftest import FIELDS

# Of a thousand customers twenty have this tag, so that everybody is known and few are enrolled.
EVERY_PASS = f"""\
leads:
  action: create_booking
  fields:
{FIELDS}
qualification:
  method: booking_becomes_job_and_reaches
  property: job_status
  value: Completed
sync:
  type: ongoing
  fields:
    first_name: {{type: dynamic, from: name, transform: [first_name]}}
    email:      {{type: dynamic, from: email}}
  filter:
    tags: [No Reward]
"""


@dataclass(frozen=True, slots=True)
class Spread:
    """Several measurements of one thing."""

    values: tuple[float, ...]

    @property
    def median(self) -> float:
        return statistics.median(self.values)

    def __str__(self) -> str:
        return f"{self.median:.2f} ({min(self.values):.2f} to {max(self.values):.2f})"


def ratios(these: Sequence[float], those: Sequence[float]) -> Spread:
    """Each of these to its partner of the same turn."""
    return Spread(tuple(a / b for a, b in zip(these, those, strict=True)))


@dataclass(frozen=True, slots=True)
class Ran:
    """One finished process: what it printed, its seconds by the clock and on the processor, its peak
    memory in MB."""

    out: str
    seconds: float
    cpu_seconds: float
    peak_mb: float

    @property
    def document(self) -> Any:
        return json.loads(self.out)


def timed(words: Sequence[str], environment: dict[str, str], *, ends: Sequence[int] = (0,)) -> Ran:
    """Run a command to its end; the system's own accounting."""
    began = time.monotonic()
    with subprocess.Popen(
        words,
        env=environment,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    ) as process:
        assert process.stdout is not None
        assert process.stderr is not None
        out = process.stdout.read()
        err = process.stderr.read()
        _, status, usage = os.wait4(process.pid, 0)
        process.returncode = os.waitstatus_to_exitcode(status)
    seconds = time.monotonic() - began
    if process.returncode not in ends:
        raise SystemExit(f"{' '.join(words)} ended with {process.returncode}: {out}{err}")
    unit = 1024 if sys.platform != "darwin" else 1024 * 1024
    return Ran(out, seconds, usage.ru_utime + usage.ru_stime, usage.ru_maxrss / unit)


def stcli_words(*words: str) -> list[str]:
    return [sys.executable, "-m", "stcli", *words]


@dataclass
class Bench:
    """A sandbox in a process of its own and homes of campaigns on it."""

    environment: dict[str, str]
    control: str
    steps: Sequence[tuple[str, ...]]
    homes: list[Path] = field(default_factory=list)

    def stcli(self, *words: str, ends: Sequence[int] = (0,)) -> Ran:
        return timed(stcli_words(*words), self.environment, ends=ends)

    def ask(self, path: str, **body: Any) -> Any:
        """A control route: POST with a body, GET without."""
        data = json.dumps(body).encode() if body else None
        request = urllib.request.Request(self.control + path, data=data)
        opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
        with opener.open(request, timeout=60) as answer:
            return json.load(answer)

    def connect(self, name: str, text: str, *options: str) -> None:
        """A connected campaign whose file says this behind its first lines."""
        tenant, approve, finalize = self.steps
        self.stcli("connect", name, *tenant, *options)
        self.stcli(*approve, name)
        self.stcli("finalize", name, *finalize)
        file = Path(self.environment["STCLI_HOME"], "campaigns", f"{name}.yaml")
        head = file.read_text(encoding="utf-8").partition("leads:")[0]
        file.write_text(head + text, encoding="utf-8")


@contextmanager
def bench(
    settings: SandboxSettings, *, goes_first: bool = False, **variables: str
) -> Iterator[Bench]:
    """A sandbox with these settings and a fresh home; ``variables`` for every command. Where it
    ``goes_first``, it waits for no processor that something else on this machine has."""
    context = multiprocessing.get_context("spawn")
    here, there = context.Pipe()
    server = context.Process(target=_serve, args=(settings, there), daemon=True)
    server.start()
    try:
        urls, control, steps = here.recv()
        if goes_first and server.pid is not None:
            _let_go_first(server.pid)
        with tempfile.TemporaryDirectory(prefix="stcli-bench-") as home:
            environment = {**os.environ, **urls, "STCLI_HOME": home, **variables}
            yield Bench(environment, control, steps)
    finally:
        here.close()
        server.terminate()
        server.join()


@contextmanager
def unlimited(*, customers: int, leads: int, **variables: str) -> Iterator[Bench]:
    """One whose servers answer at once and allow whatever the client sends."""
    settings = SandboxSettings(
        customers=customers,
        leads=leads,
        feed_page_size=5000,
        feed_lag_seconds=0.0,
        rf_requests_per_window=10**9,
        st_requests_per_window=10**9,
        request_log_size=1,
    )
    rates = {"STCLI_RF_RATE_PER_MINUTE": "900000", "STCLI_ST_RATE_PER_SECOND": "15000"}
    with bench(settings, **rates, **variables) as at:
        yield at


def _let_go_first(pid: int) -> None:
    """What arrives while a server waits for a processor seems to come at once, and the live ones do not
    share theirs with us. Niceness would not do: where sessions are scheduled as groups it counts only
    within one. Without the right to do so it is said, and goes on."""
    try:
        for thread in Path(f"/proc/{pid}/task").iterdir():
            os.sched_setscheduler(int(thread.name), os.SCHED_RR, os.sched_param(1))
    except (OSError, AttributeError) as error:
        print(f"(the sandbox shares the processors with all the rest: {error})", file=sys.stderr)


def _serve(settings: SandboxSettings, line: Connection) -> None:
    """A sandbox until the other end of the line is closed."""
    with RunningSandbox(settings) as sandbox:
        # A collection over a world of millions of objects would halt every answer, and what arrives
        # meanwhile would seem to come at once.
        gc.disable()
        known = sandbox.credentials
        secrets = {
            "STCLI_RF_TOKEN": known.rf_token,
            "STCLI_ST_APP_KEY": known.app_key,
            "STCLI_ST_CLIENT_SECRET": known.client_secret,
        }
        provider = str(known.booking_provider)
        steps = (
            ("--tenant-id", str(known.tenant_id)),
            ("requests", "approve"),
            ("--client-id", known.client_id, "--booking-provider", provider),
        )
        line.send((sandbox.environment() | secrets, sandbox.control_url, steps))
        try:
            line.recv()
        except EOFError:
            return
