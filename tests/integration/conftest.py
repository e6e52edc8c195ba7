"""A sandbox over real HTTP, and the command line run in this process against it."""

from __future__ import annotations

import io
import json
import sys
from collections.abc import Callable, Iterator
from contextlib import redirect_stderr, redirect_stdout
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import httpx
import pytest

from stcli.cli.app import run
from stcli.sandbox.server import RunningSandbox
from stcli.sandbox.settings import Credentials

if TYPE_CHECKING:
    from tests.integration.synced import Office

CLIENT_ID = Credentials.from_seed(1).client_id
CLIENT_SECRET = Credentials.from_seed(1).client_secret

FIELDS = """\
    source:               {type: dynamic, from: campaign.name}
    name:                 {type: dynamic, from: first_name}
    email:                {type: dynamic, from: email}
    phone:                {type: dynamic, from: meta.Phone}
    summary:              {type: template, template: "Referred by {referrer.first_name}"}
    is_first_time_client: {type: manual_select, value: "Yes"}
    external_id:          {type: dynamic, from: code}
"""

PLAIN = httpx.Client(trust_env=False, verify=False, timeout=30)
"""For the sandbox, which speaks plain http: whatever would be trusted takes a while to load."""

CAMPAIGN = """\
version: 1
referral_campaign: spring-hvac
servicetitan:
  tenant_id: 985798691
leads:
  action: create_booking
  fields:
%s
qualification:
  method: booking_becomes_job_and_reaches
  property: job_status
  value: Completed
"""


@dataclass(frozen=True)
class Ran:
    """What one command line printed and how it ended."""

    code: int
    out: str
    err: str

    @property
    def document(self) -> Any:
        return json.loads(self.out)

    @property
    def text(self) -> str:
        return self.out + self.err


@dataclass
class World:
    """The sandbox's control routes."""

    url: str

    def get(self, path: str) -> Any:
        return PLAIN.get(self.url + path).raise_for_status().json()

    def post(self, path: str, /, **body: Any) -> Any:
        return PLAIN.post(self.url + path, json=body).raise_for_status().json()

    def fault(self, kind: str, **options: Any) -> None:
        """``every`` or ``times`` say which of the requests that fit; without both, all do."""
        if "every" not in options and "times" not in options:
            options["times"] = None
        self.post("/faults", kind=kind, **options)

    def no_faults(self) -> None:
        PLAIN.delete(self.url + "/faults").raise_for_status()

    def bookings(self) -> list[Any]:
        """Those that our campaign made."""
        return [b for b in self.get("/bookings") if b["source"] == "Spring HVAC"]

    def per_external_id(self) -> dict[str, int]:
        counts: dict[str, int] = {}
        for booking in self.bookings():
            counts[booking["externalId"]] = counts.get(booking["externalId"], 0) + 1
        return counts

    def requests(self, api: str) -> dict[str, int]:
        """Requests to ``rf``, ``st`` or ``auth`` since the last reset, by method and route."""
        return dict(self.get("/requests")["apis"][api]["routes"])

    def users(self) -> list[Any]:
        return list(self.get("/rf/users"))

    def leads(self) -> list[Any]:
        """The leads of our campaign."""
        ours = next(u["campaign_id"] for u in self.users() if u["email"] == "lead1@example.com")
        return [
            u for u in self.users() if u["type"] == "person_invited" and u["campaign_id"] == ours
        ]

    def someone_new(self, name: str = "New") -> Any:
        """A lead who joins now."""
        return self.post("/leads", first_name=name, email=f"{name.lower()}@example.com")

    def job_of(self, booking: Any, *statuses: str, **options: Any) -> Any:
        """The booking becomes a job that goes through these statuses."""
        job = self.post(f"/bookings/{booking['id']}/convert", **options)
        for status in statuses:
            job = self.post(f"/jobs/{job['id']}/status", status=status)
        return job


Cli = Callable[..., Ran]


@pytest.fixture
def cli(monkeypatch: pytest.MonkeyPatch) -> Cli:
    """Run a command line as the console script does."""

    def ran(*words: str, stdin: str = "") -> Ran:
        out, err = io.StringIO(), io.StringIO()
        monkeypatch.setattr(sys, "stdin", io.StringIO(stdin))
        with redirect_stdout(out), redirect_stderr(err):
            code = run(words)
        return Ran(int(code), out.getvalue(), err.getvalue())

    return ran


@pytest.fixture
def sandbox(request: pytest.FixtureRequest) -> Iterator[RunningSandbox]:
    """A fresh one for each test; its settings may be a parameter."""
    with RunningSandbox(getattr(request, "param", None)) as running:
        yield running


@pytest.fixture
def pointed(sandbox: RunningSandbox, monkeypatch: pytest.MonkeyPatch) -> RunningSandbox:
    """The environment points at the sandbox, with its secrets; unanswered writes settle quickly."""
    known = sandbox.credentials
    for name, value in (
        ("STCLI_RF_URL", sandbox.rf_url),
        ("STCLI_ST_API_URL", sandbox.st_api_url),
        ("STCLI_ST_AUTH_URL", sandbox.st_auth_url),
        ("STCLI_RF_TOKEN", known.rf_token),
        ("STCLI_ST_APP_KEY", known.app_key),
        ("STCLI_ST_CLIENT_SECRET", known.client_secret),
        ("STCLI_ST_TIMEOUT_SECONDS", "1"),
    ):
        monkeypatch.setenv(name, value)
    return sandbox


@pytest.fixture
def shared(postgres: str, monkeypatch: pytest.MonkeyPatch) -> str:
    """Every command of the test shares this database, on the host ``here``."""
    monkeypatch.setenv("STCLI_DATABASE_URL", postgres)
    monkeypatch.setenv("STCLI_HOST_ID", "here")
    return postgres


@pytest.fixture
def world(sandbox: RunningSandbox) -> World:
    return World(sandbox.control_url)


@pytest.fixture
def fields() -> str:
    """A whole mapping of the leads tab."""
    return FIELDS


def edit(file: Path, *changes: tuple[str, str]) -> None:
    """Replace text that has to be there."""
    text = file.read_text(encoding="utf-8")
    for before, after in changes:
        assert before in text
        text = text.replace(before, after)
    file.write_text(text, encoding="utf-8")


@pytest.fixture
def home(tmp_path: Path) -> Path:
    return tmp_path / "home"


@pytest.fixture
def connected(pointed: RunningSandbox, cli: Cli, home: Path) -> Path:
    """A connected campaign with a whole mapping; answers its file."""
    file = home / "campaigns" / "spring-hvac.yaml"
    file.parent.mkdir(parents=True)
    file.write_text(CAMPAIGN % FIELDS.rstrip(), encoding="utf-8")
    known = pointed.credentials
    for words in (
        ("connect", "spring-hvac", "--tenant-id", str(known.tenant_id)),
        ("requests", "approve", "spring-hvac"),
        (
            "finalize",
            "spring-hvac",
            "--client-id",
            known.client_id,
            "--booking-provider",
            str(known.booking_provider),
        ),
    ):
        ran = cli(*words)
        assert ran.code == 0, ran.text
    return file


@pytest.fixture
def synced(connected: Path) -> Path:
    """A campaign with a sync tab and no bookings, nothing read yet; answers its file."""
    from tests.integration.synced import SYNC

    edit(connected, ("action: create_booking", "action: nothing"))
    connected.write_text(connected.read_text(encoding="utf-8") + SYNC, encoding="utf-8")
    return connected


@pytest.fixture
def returning(synced: Path) -> Path:
    """The same with return fields."""
    from tests.integration.synced import RETURN

    synced.write_text(synced.read_text(encoding="utf-8") + RETURN, encoding="utf-8")
    return synced


@pytest.fixture
def office(world: World, sandbox: RunningSandbox) -> Office:
    """The tenant's customers."""
    from tests.integration.synced import Office

    return Office(world, sandbox)
