"""What reading the feeds costs at the least: fetch a page, decode the fields that are needed, store
the same columns, commit, and so on. Nothing is compared, repeated or resumed. Prints its seconds,
and how many records are stored at the end."""

from __future__ import annotations

import sqlite3
import sys
import time
from contextlib import closing
from pathlib import Path
from typing import Any

import httpx
import msgspec


class Address(msgspec.Struct, rename="camel"):
    street: str | None = None
    unit: str | None = None
    city: str | None = None
    state: str | None = None
    zip: str | None = None
    country: str | None = None


class Field(msgspec.Struct, rename="camel"):
    type_id: int
    value: str | None = None


class Customer(msgspec.Struct, rename="camel"):
    id: int
    active: bool
    created_on: str
    modified_on: str | None = None
    name: str | None = None
    type: str | None = None
    address: Address | None = None
    custom_fields: list[Field] | None = None
    tag_type_ids: list[int] | None = None
    do_not_mail: bool | None = None
    do_not_service: bool | None = None
    merged_to_id: int | None = None


class Preferences(msgspec.Struct, rename="camel"):
    marketing_updates_enabled: bool | None = None


class Contact(msgspec.Struct, rename="camel"):
    id: int
    customer_id: int
    active: bool
    modified_on: str
    type: str | None = None
    value: str | None = None
    preferences: Preferences | None = None


class Page(msgspec.Struct, rename="camel"):
    has_more: bool
    continue_from: str
    data: list[Any]


class Customers(Page):
    data: list[Customer]


class Contacts(Page):
    data: list[Contact]


TABLES = (
    (
        "CREATE TABLE customers (tenant TEXT, customer_id INTEGER, name TEXT, type TEXT, "
        "active INTEGER, "
        "merged_to_id INTEGER, do_not_mail INTEGER, do_not_service INTEGER, tags TEXT, address TEXT, "
        "custom_fields TEXT, created_on TEXT, modified_on TEXT, change INTEGER, "
        "PRIMARY KEY (tenant, customer_id))"
    ),
    (
        "CREATE TABLE contacts (tenant TEXT, contact_id INTEGER, customer_id INTEGER, type TEXT, "
        "value TEXT, value_key TEXT, active INTEGER, marketing INTEGER, modified_on TEXT, "
        "change INTEGER, "
        "PRIMARY KEY (tenant, contact_id))"
    ),
)
ENCODE = msgspec.json.Encoder().encode


def customer_row(tenant: str, c: Customer, change: int) -> tuple[object, ...]:
    return (
        tenant, c.id, c.name, c.type, c.active, c.merged_to_id, c.do_not_mail, c.do_not_service,
        ENCODE(c.tag_type_ids), ENCODE(c.address), ENCODE(c.custom_fields), c.created_on,
        c.modified_on, change,
    )  # fmt: skip


def contact_row(tenant: str, c: Contact, change: int) -> tuple[object, ...]:
    marketing = c.preferences is None or c.preferences.marketing_updates_enabled is not False
    return (
        tenant, c.id, c.customer_id, c.type, c.value, (c.value or "").lower(), c.active, marketing,
        c.modified_on, change,
    )  # fmt: skip


def read(url: str, tenant: int, folder: Path) -> tuple[float, int]:
    with (
        closing(sqlite3.connect(folder / "bare.db", isolation_level=None)) as sql,
        httpx.Client(trust_env=False, timeout=100) as client,
    ):
        sql.execute("PRAGMA journal_mode=WAL")
        sql.execute("PRAGMA synchronous=FULL")
        for table in TABLES:
            sql.execute(table)
        began = time.monotonic()
        number = 0
        for name, row, decoder in (
            ("customers", customer_row, msgspec.json.Decoder(Customers)),
            ("customers/contacts", contact_row, msgspec.json.Decoder(Contacts)),
        ):
            path, position, more = f"{url}/crm/v2/tenant/{tenant}/export/{name}", "", True
            table = name.rpartition("/")[2]
            while more:
                answer = client.get(path, params={"from": position} if position else {})
                page = decoder.decode(answer.content)
                rows = [row(str(tenant), one, number + n) for n, one in enumerate(page.data)]
                number += len(rows)
                sql.execute("BEGIN")
                marks = ", ".join("?" * len(rows[0]))
                sql.executemany(f"INSERT OR REPLACE INTO {table} VALUES ({marks})", rows)
                sql.execute("COMMIT")
                position, more = page.continue_from, page.has_more
        took = time.monotonic() - began
        stored = sql.execute(
            "SELECT (SELECT count(*) FROM customers) + (SELECT count(*) FROM contacts)"
        ).fetchone()[0]
        return took, int(stored)


if __name__ == "__main__":
    print(*read(sys.argv[1], int(sys.argv[2]), Path(sys.argv[3])))
