"""A campaign whose customers are synced, and a look at both systems from the side."""

from __future__ import annotations

import sqlite3
import time
from collections import Counter
from contextlib import closing
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

from stcli.sandbox.server import RunningSandbox
from tests.integration.conftest import PLAIN, Cli, World

SYNC = """\
sync:
  type: ongoing
  fields:
    first_name: {type: dynamic, from: name, transform: [first_name]}
    email:      {type: dynamic, from: email}
    meta.Phone: {type: dynamic, from: mobile_phone}
"""
RETURN = """\
  return_fields:
    "custom_field:Referral Link": {type: dynamic, from: referral_link}
    "custom_field:Referrals":     {type: dynamic, from: referrals_count}
"""
POST_USER = "POST /users"
PUT_USER = "PUT /users/{identifier}"
PATCH = "PATCH /crm/v2/tenant/{tenant}/customers/{id}"


@dataclass
class Office:
    """The tenant's customers, changed by the control routes and read through the real API."""

    world: World
    sandbox: RunningSandbox

    def customer(self, name: str, *emails: str, mobile: str = "", **changes: Any) -> int:
        contacts = [{"type": "Email", "value": email} for email in emails]
        if mobile:
            contacts.append({"type": "MobilePhone", "value": mobile})
        number = int(self.world.post("/customers", name=name, contacts=contacts)["id"])
        if changes:
            self.change(number, **changes)
        return number

    def change(self, number: int, **values: Any) -> None:
        self.world.post(f"/customers/{number}", **values)

    def merge(self, number: int, into: int) -> None:
        """As ServiceTitan does it: the contacts go to the survivor."""
        self.world.post(f"/customers/{number}/merge", into=into)

    def contact(self, number: int, value: str, kind: str = "Email", **more: Any) -> int:
        body = {"type": kind, "value": value, **more}
        return int(self.world.post(f"/customers/{number}/contacts", **body)["id"])

    def change_contact(self, number: int, **values: Any) -> None:
        self.world.post(f"/contacts/{number}", **values)

    def suppress(self, email: str, *, active: bool = True) -> None:
        self.world.post("/suppressions", email=email, active=active)

    def read(self, path: str, **query: Any) -> Any:
        """A real, authorised read of the ServiceTitan API."""
        known = self.sandbox.credentials
        while True:
            answer = PLAIN.get(
                f"{self.sandbox.st_api_url}/crm/v2/tenant/{known.tenant_id}{path}",
                params=query,
                headers={"Authorization": f"Bearer {self._token}", "ST-App-Key": known.app_key},
            )
            if answer.status_code != 429:
                return answer.raise_for_status().json()
            time.sleep(float(answer.headers["Retry-After"]))

    @cached_property
    def _token(self) -> str:
        known = self.sandbox.credentials
        answer = PLAIN.post(
            f"{self.sandbox.st_auth_url}/connect/token",
            data={
                "grant_type": "client_credentials",
                "client_id": known.client_id,
                "client_secret": known.client_secret,
            },
        )
        return str(answer.raise_for_status().json()["access_token"])

    def contacts_of(self, number: int) -> list[Any]:
        return list(self.read(f"/customers/{number}/contacts")["data"])

    def fields_of(self, number: int) -> dict[str, str]:
        """A customer's custom fields by name."""
        fields = self.read(f"/customers/{number}")["customFields"]
        return {field["name"]: field["value"] for field in fields}

    def field_ids(self) -> dict[str, int]:
        return {f["name"]: f["id"] for f in self.read("/customers/custom-fields")["data"]}


def referrers(world: World) -> dict[str, Any]:
    """The referrers of our campaign by email address; two of one address fail."""
    users = world.users()
    ours = next(u["campaign_id"] for u in users if u["email"] == "lead1@example.com")
    found = [u for u in users if u["campaign_id"] == ours and u["type"] == "person_referring"]
    twice = [k for k, n in Counter(u["email"].casefold() for u in found).items() if n > 1]
    assert not twice
    return {u["email"]: u for u in found}


def enrolments(home: Path) -> dict[int, tuple[Any, ...]]:
    """What the state remembers: state, reason, address, person and values of each customer."""
    with closing(sqlite3.connect(home / "state" / "stcli.db")) as sql:
        rows = sql.execute(
            "SELECT customer_id, state, reason, email_key, sent, update_due FROM enrolments"
        )
        return {row[0]: tuple(row[1:]) for row in rows}


def writes(world: World) -> dict[str, int]:
    """Writes to both systems since the last reset."""
    rf, st = world.requests("rf"), world.requests("st")
    wanted = {POST_USER: rf, PUT_USER: rf, PATCH: st}
    return {name: routes[name] for name, routes in wanted.items() if name in routes}


def run_sync(cli: Cli, *words: str, code: int = 0) -> Any:
    """The document of ``sync run``."""
    ran = cli("sync", "run", *words, "--json")
    assert ran.code == code, ran.text
    return ran.document
