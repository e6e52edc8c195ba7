"""One seed: two companies at work, passes under faults, processes killed from outside, and at the end
a look at whether everything is as it must be."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from random import Random
from typing import Any

from stcli.sandbox.faults import Fault
from stcli.sandbox.records import Customer
from stcli.sandbox.server import RunningSandbox
from stcli.sandbox.settings import SandboxSettings
from stcli.sandbox.world import World
from stcli.store.places import FilePlace, Place, ServerPlace
from tests.chaos.menu import some
from tests.chaos.model import OUR_SOURCE, Model
from tests.integration.conftest import FIELDS
from tests.integration.synced import RETURN, SYNC

CAMPAIGN = """\
version: 1
referral_campaign: spring-hvac
servicetitan:
  tenant_id: {tenant}
leads:
  action: create_booking
  fields:
{fields}
referrers:
  action: create_booking
  fields:
{fields}
qualification:
  method: booking_becomes_job_and_reaches
  property: job_status
  value: Completed
  on_cancel: {on_cancel}
"""
COMMANDS = (
    ("run",),
    ("run",),
    ("run",),
    ("leads", "run"),
    ("sync", "run"),
    ("qualify", "run"),
    ("run", "--allow-mass-change"),
    ("leads", "run", "--limit", "5"),
    ("failures", "retry"),
)
MOST_PASSES = 12
EXPECTED_ENDS = frozenset({0, 3, 4, 5, 6, 7, 143, -9, -15})
"""-15: a SIGTERM that came while Python was starting or ending, with nothing begun or all told."""
WORK = ("created", "updated", "linked", "qualified", "unqualified", "failed")


@dataclass
class Ending:
    """What one seed came to."""

    seed: int
    violations: list[str] = field(default_factory=list)
    faults: Counter[str] = field(default_factory=Counter)
    kills: int = 0
    restores: int = 0
    merges: int = 0
    runs: int = 0
    bookings: int = 0
    codes: Counter[int] = field(default_factory=Counter)


class Story:
    """Everything follows from the seed but for the moments at which the machine's own speed lets a
    process be killed. ``leads``: how many, where the seed is not to say. ``database``: the address of
    the PostgreSQL that two hosts share; without one the state is in the home."""

    def __init__(
        self, seed: int, folder: Path, leads: int | None = None, database: str | None = None
    ) -> None:
        self.source = Random(f"chaos-{seed}")
        self.home = folder / "home"
        self.database = database
        self.homes = [self.home] if database is None else [self.home, folder / "other"]
        self._is_quiet = False
        self.ending = Ending(seed)
        choose = self.source.choice
        self.settings = SandboxSettings(
            seed=seed,
            leads=leads or self.source.randint(6, 24),
            customers=self.source.randint(8, 40),
            feed_page_size=choice_of(self.source, 5, 25, 1000),
            feed_lag_seconds=choice_of(self.source, 0.0, 2.0, 60.0),
            history_feed_items=choose(("job", "event")),
            rf_users_order=choose(("oldest", "newest")),
            st_requests_per_window=100_000,
            rf_requests_per_window=100_000,
            token_requests_per_window=100_000,
        )
        self.on_cancel = choose(("keep", "unqualify"))
        # What an older state does not know is that a qualification was ours: nothing takes it back.
        may_restore = self.on_cancel == "keep" and self.source.random() < 0.5
        self.restores_in = self.source.randint(2, 5) if may_restore else None

    def run(self) -> Ending:
        """The whole story; violations are in the ending."""
        with self.opened():
            for number in range(6):
                if number == 1 and self.restores_in:
                    self._keep_a_copy()
                if number == self.restores_in:
                    self._put_the_copy_back()
                self._round()
            self.quiet()
            if self.world.traffic.defects:
                self.ending.violations.append("the sandbox itself failed")
        return self.ending

    @contextmanager
    def opened(self) -> Iterator[None]:
        """The two companies and a connected campaign between them."""
        with RunningSandbox(self.settings) as sandbox:
            self.sandbox = sandbox
            self.world: World = sandbox.world
            self._write_campaign()
            self.connect()
            self.model = Model(self.world, unqualifies=self.on_cancel == "unqualify")
            yield

    @property
    def state(self) -> Place:
        """Where everything is remembered."""
        backups = self.home / "state" / "backups"
        if self.database is not None:
            return ServerPlace(self.database, backups, lambda: None)
        return FilePlace(self.home / "state" / "stcli.db", backups, lambda: None)

    # Processes

    def _shared(self) -> dict[str, str]:
        """The variables of one of the hosts, where there are several."""
        if self.database is None:
            return {"STCLI_HOME": str(self.home)}
        number = 0 if self._is_quiet else self.source.randrange(len(self.homes))
        return {
            "STCLI_HOME": str(self.homes[number]),
            "STCLI_DATABASE_URL": self.database,
            "STCLI_HOST_ID": f"host {number}",
        }

    def _start(self, *words: str) -> subprocess.Popen[str]:
        known = self.sandbox.credentials
        self.ending.runs += 1
        return subprocess.Popen(
            [sys.executable, "-m", "stcli", *words],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            env={
                **os.environ,
                **self.sandbox.environment(),
                **self._shared(),
                "STCLI_RF_TOKEN": known.rf_token,
                "STCLI_ST_APP_KEY": known.app_key,
                "STCLI_ST_CLIENT_SECRET": known.client_secret,
                "STCLI_ST_TIMEOUT_SECONDS": "1",
                "STCLI_RF_RATE_PER_MINUTE": "60000",
                "STCLI_ST_RATE_PER_SECOND": "1000",
            },
        )

    def told(self, *words: str) -> tuple[int, str, str]:
        """Run one to its end: its exit code and what it said on both streams."""
        process = self._start(*words)
        out, err = process.communicate(timeout=600)
        return process.returncode, out, err

    def _ended(self, process: subprocess.Popen[str], words: tuple[str, ...]) -> str:
        out, err = process.communicate(timeout=600)
        self.ending.codes[process.returncode] += 1
        self.ending.kills += process.returncode == -signal.SIGKILL
        if process.returncode not in EXPECTED_ENDS or "Traceback" in err:
            self.ending.violations.append(f"{' '.join(words)}: {process.returncode}: {err[-500:]}")
        return out

    def command(self, *words: str) -> int:
        """Run one to its end; its exit code."""
        process = self._start(*words)
        self._ended(process, words)
        return process.returncode

    def _write_campaign(self) -> None:
        known = self.sandbox.credentials
        text = CAMPAIGN.format(
            tenant=known.tenant_id, fields=FIELDS.rstrip(), on_cancel=self.on_cancel
        )
        self.file.parent.mkdir(parents=True)
        self.file.write_text(text + SYNC + RETURN, encoding="utf-8")

    @property
    def file(self) -> Path:
        return self.home / "campaigns" / "spring-hvac.yaml"

    def connect(self) -> None:
        """Through the three steps, without faults."""
        known = self.sandbox.credentials
        provider = ("--booking-provider", str(known.booking_provider))
        self._is_quiet = True
        for words in (
            ("connect", "spring-hvac", "--tenant-id", str(known.tenant_id)),
            ("requests", "approve", "spring-hvac"),
            ("finalize", "spring-hvac", "--client-id", known.client_id, *provider),
        ):
            assert self.command(*words) == 0, words
        self._is_quiet = False
        for home in self.homes[1:]:
            shutil.copytree(self.file.parent, home / "campaigns")

    def _keep_a_copy(self) -> None:
        assert self.command("state", "backup", str(self.home / "copy.db")) == 0

    def _put_the_copy_back(self) -> None:
        """With whatever was asked for since forgotten, also what may still take effect."""
        self._let_leases_expire()
        assert self.command("state", "restore", str(self.home / "copy.db"), "--yes") == 0
        self.ending.restores += 1

    # The companies

    def _round(self) -> None:
        """Faults, one to two processes at once, some of them killed, and a day at the office."""
        chosen = some(self.source)
        faults = [(name, self.world.faults.add(Fault.parse(fault))) for name, fault in chosen]
        if any(name == "secret revoked" for name, _ in chosen):
            # Else the token that is known would do for the whole story.
            self.world.grants.revoke_tokens()
        number = 2 if self.source.random() < 0.2 else 1
        running = []
        for _ in range(number):
            words = self.source.choice(COMMANDS)
            running.append((self._start(*words), words))
        self._office()
        if self.database is not None and self.source.random() < 0.5:
            self._let_leases_expire()
        for process, words in running:
            if self.source.random() < 0.75:
                try:
                    process.wait(timeout=self.source.uniform(0.3, 2.2))
                except subprocess.TimeoutExpired:
                    if self.source.random() < 0.8:
                        process.kill()
                    else:
                        process.terminate()
            self._ended(process, words)
        with self.world.lock:
            for name, fault in faults:
                self.ending.faults[name] += fault.applied
            self.world.faults.clear()

    def _office(self) -> None:
        source, world = self.source, self.world
        with world.lock:
            for booking in list(world.bookings()):
                if booking.source != OUR_SOURCE or booking.job_id or source.random() > 0.4:
                    continue
                if booking.id in world.tenant.jobs_by_booking:
                    continue
                link = source.choice(("both", "booking_only", "job_only"))
                job = world.convert_booking(booking.id, link=link)
                for status in source.choice(
                    (
                        ["Dispatched"],
                        ["Completed"],
                        ["InProgress", "Completed", "Hold"],
                        ["Canceled"],
                    )
                ):
                    world.set_job_status(job.id, status)
            for job in list(world.tenant.jobs.values()):
                if job.booking_id and source.random() < 0.1:
                    world.set_job_status(job.id, source.choice(("Completed", "Canceled", "Hold")))
            for number in range(source.randint(0, 3)):
                name = f"New{self.ending.runs}x{number}"
                world.add_lead(name, f"{name.lower()}@example.com", campaign="spring-hvac")
                world.add_customer(
                    f"Customer {name}", contacts=[("Email", f"customer.{name.lower()}@example.com")]
                )
            self._change_customers()
            self.model.look()

    def _change_customers(self) -> None:
        source, tenant = self.source, self.world.tenant
        for customer in source.sample(sorted(tenant.customers), 3):
            found = tenant.customers[customer]
            if found.merged_to_id is not None:
                continue
            match source.randrange(4):
                case 0:
                    found.name = f"{found.name.split(' ')[0]} Changed{self.ending.runs}"
                case 1 if source.random() < 0.5:
                    found.do_not_mail = True
                case 2 if source.random() < 0.3:
                    found.active = not found.active
                case 3:
                    self._merge(found)
            tenant.touch_customer(found)

    def _merge(self, customer: Customer) -> None:
        """Into somebody without an address of their own, who takes over all contacts."""
        tenant = self.world.tenant
        for survivor in tenant.customers.values():
            emails = [n for n in survivor.contacts if tenant.contacts[n].type == "Email"]
            is_free = survivor.active and survivor.merged_to_id is None and not emails
            if is_free and survivor.id != customer.id:
                self.ending.merges += 1
                self.world.merge_customers(customer.id, survivor.id)
                return

    # The end

    def quiet(self) -> None:
        """Without faults until nothing is left to do; then everything must be as it must be."""
        time.sleep(1.2)  # what is to be committed late is
        self._is_quiet = True
        self._let_leases_expire()
        for _ in range(MOST_PASSES):
            self.world.advance(120)
            words = ("run", "--allow-mass-change", "--json")
            process = self._start(*words)
            document = json.loads(self._ended(process, words))
            if process.returncode == 0 and not _work(document):
                break
        else:
            self.ending.violations.append(f"never quiet: {_told(document)}")
        before = self._writes()
        self.world.advance(120)
        if self.command("run", "--json") != 0 or self._writes() != before:
            self.ending.violations.append("a quiet run still wrote something")
        self.ending.violations += self.model.violations(self.state)
        self.ending.bookings = sum(b.source == OUR_SOURCE for b in self.world.bookings())

    def _let_leases_expire(self) -> None:
        """A minute passes for the other host; whoever is at work meanwhile believes in its own still."""
        if self.database is not None:
            with closing(self.state.open()) as state, state.database.write() as sql:
                sql.execute("UPDATE locks SET expires_at = acquired_at")

    def _writes(self) -> int:
        return sum(
            number
            for api in ("rf", "st")
            for route, number in self.world.traffic.apis[api].routes.items()
            if not route.startswith("GET ")
        )


def choice_of(source: Random, *values: Any) -> Any:
    return source.choice(values)


def _work(document: dict[str, Any]) -> int:
    return sum(one["counts"][what] for one in document.get("passes", ()) for what in WORK)


def _told(document: dict[str, Any]) -> str:
    return json.dumps(
        [
            (one["pass"], one["counts"], one["failures"][:3], one.get("error"))
            for one in document.get("passes", ())
        ]
    )
