"""The demo: what a newcomer would type, step by step, against a sandbox in a throw-away home.

Every command line that is shown is really run, in a process of its own, so the demo cannot tell a
story that the product does not.
"""

from __future__ import annotations

import json
import os
import shlex
import subprocess
import sys
import tempfile
import urllib.request
from pathlib import Path
from typing import Any

from stcli.cli.output import line, table
from stcli.errors import StcliError
from stcli.own_program import own_program
from stcli.sandbox.server import RunningSandbox

MAPPING = """\
leads:
  action: create_booking
  fields:
    source:               {type: dynamic, from: campaign.name}
    name:                 {type: dynamic, from: first_name}
    email:                {type: dynamic, from: email}
    phone:                {type: dynamic, from: meta.Phone}
    summary:              {type: template, template: "Referred by {referrer.first_name}"}
    is_first_time_client: {type: manual_select, value: "Yes"}
    external_id:          {type: dynamic, from: code}
  limits: {max_creates: 200}
"""


def run_demo() -> int:
    """Run the story to its end; a command that fails ends it with that command's exit code."""
    with (
        tempfile.TemporaryDirectory(prefix="stcli-demo-") as folder,
        RunningSandbox() as sandbox,
    ):
        return _Story(Path(folder), sandbox).tell()


class _StoppedError(Exception):
    def __init__(self, code: int) -> None:
        super().__init__(code)
        self.code = code


class _Story:
    def __init__(self, home: Path, sandbox: RunningSandbox) -> None:
        self._home = home
        self._sandbox = sandbox
        known = sandbox.credentials
        inherited = {
            name: value
            for name, value in os.environ.items()
            if not name.startswith("STCLI_") and name != "CREDENTIALS_DIRECTORY"
        }
        self._environment = (
            inherited
            | sandbox.environment()
            | {
                "STCLI_HOME": str(home),
                "STCLI_RF_TOKEN": known.rf_token,
                "STCLI_ST_APP_KEY": known.app_key,
                "STCLI_ST_CLIENT_SECRET": known.client_secret,
            }
        )

    def tell(self) -> int:
        try:
            self._connect()
            self._map()
            self._book()
            self._qualify()
            self._show_table()
            self._sync()
        except _StoppedError as stopped:
            line(f"The demo stopped: the command above ended with {stopped.code}.")
            return stopped.code
        line()
        line("Nothing of this is left: the home was thrown away. Next, with your own accounts:")
        line("  stcli auth login")
        return 0

    def _connect(self) -> None:
        known = self._sandbox.credentials
        self._say("1. Connect a campaign to a ServiceTitan tenant")
        line("   (The secrets come from variables here; normally they live in the OS keyring.)")
        self._type("stcli auth login")
        self._type(f"stcli connect spring-hvac --tenant-id {known.tenant_id}")
        line("   Until it is approved, nothing runs:")
        self._type("stcli leads run spring-hvac", expected=4)
        self._type("stcli requests approve spring-hvac --yes")
        self._type(
            f"stcli finalize spring-hvac --client-id {known.client_id} "
            f"--booking-provider {known.booking_provider}"
        )

    def _map(self) -> None:
        self._say("2. Say what a booking is made of")
        self._type("stcli action spring-hvac leads create_booking --backfill")
        line("   The required fields are not mapped yet, so the pass refuses to run:")
        self._type("stcli leads run spring-hvac", expected=3)
        line("   So the campaign file gets a mapping:")
        file = self._home / "campaigns" / "spring-hvac.yaml"
        text = file.read_text(encoding="utf-8")
        start, end = text.index("leads:\n"), text.index("referrers:\n")
        file.write_text(text[:start] + MAPPING + text[end:], encoding="utf-8")
        for row in MAPPING.splitlines():
            line(f"   | {row}")
        self._type("stcli map validate spring-hvac")
        self._type(
            "stcli qualify set spring-hvac --method booking_becomes_job_and_reaches "
            "--value Completed"
        )

    def _book(self) -> None:
        self._say("3. Leads become bookings, exactly one for each")
        self._type("stcli leads run spring-hvac --dry-run")
        self._type("stcli leads run spring-hvac")
        line("   Once more: everybody has a booking, so nothing happens.")
        self._type("stcli leads run spring-hvac")

    def _qualify(self) -> None:
        self._say("4. The office books jobs, and technicians do the work")
        ours = [b for b in self._world("GET", "/bookings") if b["source"] == "Spring HVAC"]
        for index, booking in enumerate(ours[:4]):
            job = self._world("POST", f"/bookings/{booking['id']}/convert", {"total": 240})
            for status in ("Dispatched", "InProgress", "Completed")[: index + 1]:
                self._world("POST", f"/jobs/{job['id']}/status", {"status": status})
            line(f"   booking {booking['id']} became job {job['id']}")
        self._say("5. Completed jobs qualify their referrals")
        self._type("stcli qualify run spring-hvac")
        line("   Once more: nothing is qualified twice.")
        self._type("stcli qualify run spring-hvac")
        self._type("stcli status spring-hvac")

    def _show_table(self) -> None:
        self._say("6. Who came how far")
        jobs = {job["id"]: job for job in self._world("GET", "/jobs")}
        bookings = {b["externalId"]: b for b in self._world("GET", "/bookings")}
        people = self._world("GET", "/rf/users")
        ours = next(user["campaign_id"] for user in people if user["code"] in bookings)
        rows = []
        for user in people:
            if user["type"] != "person_invited" or user["campaign_id"] != ours:
                continue
            booking: dict[str, Any] = bookings.get(user["code"], {})
            job: dict[str, Any] = jobs.get(booking.get("jobId") or 0, {})
            rows.append(
                (
                    f"{user['first_name']} ({user['code']})",
                    booking.get("id", f"none: source {user['source']}"),
                    f"{job['id']} {job['jobStatus']}" if job else "-",
                    "yes" if user["qualified_at"] else "-",
                )
            )
        table(("LEAD", "BOOKING", "JOB", "QUALIFIED"), rows)

    def _sync(self) -> None:
        self._say("7. Customers of the contractor become referrers")
        self._type(
            "stcli sync setup spring-hvac --type ongoing "
            '--map "meta.Last Name=name>last_name" '
            '--return "Referral Link=referral_link" --return "Referrals=referrals_count"'
        )
        self._type("stcli sync run spring-hvac --dry-run --limit 3")
        renamed = self._customer("Lovelace, Ada", "ada@example.com")
        quiet = self._customer("Grace Hopper", "grace@example.com")
        self._type("stcli sync run spring-hvac")
        line("   One customer is renamed, another asks for no mail, and a new one comes:")
        self._world("POST", f"/customers/{renamed}", {"name": "King, Augusta"})
        self._world("POST", f"/customers/{quiet}", {"do_not_mail": True})
        new = self._customer("Katherine Johnson", "katherine@example.com")
        self._type("stcli sync run spring-hvac")
        line("   ServiceTitan's customers carry their referral links now:")
        rows = []
        for number in (renamed, quiet, new):
            customer = self._world("POST", f"/customers/{number}", {})
            fields = {field["name"]: field["value"] for field in customer["customFields"]}
            rows.append((number, customer["name"], fields.get("Referral Link", "-")))
        table(("CUSTOMER", "NAME", "REFERRAL LINK"), rows)

    def _customer(self, name: str, email: str) -> int:
        """Somebody new in ServiceTitan."""
        contacts = [{"type": "Email", "value": email}]
        return int(self._world("POST", "/customers", {"name": name, "contacts": contacts})["id"])

    def _say(self, heading: str) -> None:
        line()
        line(heading)
        line("-" * len(heading))

    def _type(self, command: str, expected: int = 0) -> None:
        """Show a command line and run it."""
        line(f"$ {command}")
        sys.stdout.flush()
        answer = subprocess.run(  # noqa: S603 - our own command lines
            [*own_program(), *shlex.split(command)[1:]],
            env=self._environment,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            encoding="utf-8",
            check=False,
        )
        for row in answer.stdout.splitlines():
            line(f"  {row}")
        if answer.returncode != expected:
            raise _StoppedError(answer.returncode or 1)
        if expected:
            line(f"  (exit code {expected})")

    def _world(self, method: str, path: str, body: dict[str, Any] | None = None) -> Any:
        """Move the sandbox's world on, as an office would."""
        url = self._sandbox.control_url + path
        if not url.startswith("http://127.0.0.1:"):
            raise StcliError("the sandbox is not on this machine")
        request = urllib.request.Request(  # noqa: S310 - loopback, checked above
            url,
            method=method,
            data=None if body is None else json.dumps(body).encode(),
            headers={"Content-Type": "application/json"},
        )
        opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
        with opener.open(request, timeout=10) as answer:
            return json.load(answer)
