"""What the tenant's customers, their contacts and its suppression list said; shared by its campaigns.

Every effective change of a customer, or of one of its contacts, gives the customer a new, higher
change number. A campaign that has looked at all numbers up to one looks at the higher ones only, so
that its cost follows what changed. A page and the token behind it are committed together; which of
two records is newer is decided by ``modifiedOn``; a repeat changes nothing.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from datetime import UTC, datetime

import msgspec

from stcli.domain.enrolment import KnownCustomer
from stcli.domain.ids import ContactId, CustomerId
from stcli.domain.matching import email_key, phone_key
from stcli.domain.records import (
    Customer,
    CustomerContact,
    CustomerJob,
    FeedPage,
    Suppression,
)
from stcli.store.engine import Database, utc_instant, utc_text
from stcli.store.feeds import Feed, advance
from stcli.store.statements import marks, parts
from stcli.store.transaction import Row, Transaction

_CUSTOMER_COLUMNS = (
    "customer_id, name, type, active, merged_to_id, do_not_mail, do_not_service, tags, address, "
    "custom_fields, created_on, modified_on"
)
_COMPARED = (
    "name",
    "type",
    "active",
    "merged_to_id",
    "do_not_mail",
    "do_not_service",
    "tags",
    "address",
    "custom_fields",
    "modified_on",
)
_CONTACT_COMPARED = ("customer_id", "type", "value", "active", "marketing", "modified_on")

_KEYS: Mapping[str, Callable[[str], str]] = {
    "Email": email_key,
    "Phone": phone_key,
    "MobilePhone": phone_key,
}
"""How values of each kind of contact are compared; other kinds are not looked for."""


def _upsert(table: str, key: str, columns: str, compared: Sequence[str], *, numbered: bool) -> str:
    """Insert or refresh a record that is not older and says something else than the stored one."""
    names = [name.strip() for name in columns.split(",")]
    kept = {key, "created_on"}
    updated = [name for name in names if name not in kept] + (["change"] if numbered else [])
    return (
        f"INSERT INTO {table} (tenant, {columns}, change) "
        f"VALUES ({marks(['tenant', *names, 'change'])}) "
        f"ON CONFLICT (tenant, {key}) DO UPDATE SET "
        + ", ".join(f"{name} = excluded.{name}" for name in updated)
        + f" WHERE excluded.modified_on >= {table}.modified_on AND ("
        + " OR ".join(f"excluded.{name} != {table}.{name}" for name in compared)
        + ")"
    )


_SAVE_CUSTOMER = _upsert(
    "crm_customers", "customer_id", _CUSTOMER_COLUMNS, _COMPARED, numbered=True
)
_SAVE_OWN_CUSTOMER = _upsert(
    "crm_customers", "customer_id", _CUSTOMER_COLUMNS, _COMPARED, numbered=False
)
_SAVE_CONTACT = _upsert(
    "crm_contacts",
    "contact_id",
    "contact_id, customer_id, type, value, value_key, active, marketing, modified_on",
    _CONTACT_COMPARED,
    numbered=True,
)


class Customers:
    def __init__(self, database: Database) -> None:
        self._database = database

    # Reading on

    def save_customers(
        self, tenant: str, asked_with: str, page: FeedPage[Customer], now: datetime
    ) -> bool:
        """Keep a page; False where another process moved the cursor meanwhile."""
        with self._database.write() as sql:
            if not advance(sql, tenant, Feed.CUSTOMERS, asked_with, page.token, now):
                return False
            if page.records:
                first = _reserve_changes(sql, tenant, len(page.records))
                sql.execute_many(
                    _SAVE_CUSTOMER,
                    [
                        (tenant, *_customer_row(customer), first + offset)
                        for offset, customer in enumerate(page.records)
                    ],
                )
        return True

    def save_contacts(
        self, tenant: str, asked_with: str, page: FeedPage[CustomerContact], now: datetime
    ) -> bool:
        """Keep a page; the customers of changed contacts have changed."""
        with self._database.write() as sql:
            if not advance(sql, tenant, Feed.CONTACTS, asked_with, page.token, now):
                return False
            if page.records:
                _save_contacts(sql, tenant, page.records)
        return True

    def save_customer_jobs(
        self, tenant: str, asked_with: str, page: FeedPage[CustomerJob], now: datetime
    ) -> bool:
        """Keep each customer's newest job; those whom a filter left out are looked at again."""
        with self._database.write() as sql:
            if not advance(sql, tenant, Feed.CUSTOMER_JOBS, asked_with, page.token, now):
                return False
            newest: dict[CustomerId, datetime] = {}
            for job in page.records:
                newest[job.customer_id] = max(newest.get(job.customer_id, job.at), job.at)
            if newest:
                sql.execute_many(
                    "INSERT INTO crm_customer_jobs VALUES (?, ?, ?) "
                    "ON CONFLICT (tenant, customer_id) DO UPDATE SET last_at = excluded.last_at "
                    "WHERE excluded.last_at > crm_customer_jobs.last_at",
                    [(tenant, customer, utc_text(at)) for customer, at in newest.items()],
                )
            for part in parts(list(newest)):
                sql.execute(
                    "UPDATE enrolments SET recheck = recheck + 1 WHERE tenant = ? "
                    f"AND reason = 'filtered' AND customer_id IN ({marks(part)})",
                    (tenant, *part),
                )
        return True

    def save_suppressions(
        self,
        tenant: str,
        asked_with: str,
        suppressions: Sequence[Suppression],
        mark: str,
        now: datetime,
    ) -> None:
        """Keep what the list said; whoever has one of the addresses is looked at again. Each record
        tells how new it is, so what another process read meanwhile may be kept beside it."""
        with self._database.write() as sql:
            advance(sql, tenant, Feed.SUPPRESSIONS, asked_with, mark, now)
            changed = _changed_suppressions(sql, tenant, suppressions)
            for part in parts(changed):
                sql.execute(
                    "UPDATE enrolments SET recheck = recheck + 1 WHERE tenant = ? AND customer_id IN "
                    "(SELECT customer_id FROM crm_contacts WHERE tenant = ? "
                    f"AND value_key != '' AND value_key IN ({marks(part)}))",
                    (tenant, tenant, *part),
                )
                # Also where the address was mapped from elsewhere than the contacts.
                sql.execute(
                    "UPDATE enrolments SET recheck = recheck + 1 WHERE tenant = ? "
                    f"AND email_key != '' AND email_key IN ({marks(part)})",
                    (tenant, *part),
                )

    def save_own_write(self, tenant: str, customer: Customer, written: Collection[int]) -> None:
        """What ServiceTitan answered to our own write. The custom fields that were ``written`` are
        no change that anybody has to look at; anything else in it is, as if the feed had told it."""
        with self._database.write() as sql:
            known = known_customers(sql, tenant, [customer.id]).get(customer.id)
            statement, change = _SAVE_CUSTOMER, 0
            if known is not None and _without(known.customer, written) == _without(
                customer, written
            )._replace(modified_on=known.customer.modified_on):
                statement = _SAVE_OWN_CUSTOMER
            else:
                change = _reserve_changes(sql, tenant, 1)
            sql.execute(statement, (tenant, *_customer_row(customer), change))

    # Looking

    def count(self, tenant: str) -> int:
        with self._database.read() as sql:
            return int(
                sql.execute(
                    "SELECT count(*) FROM crm_customers WHERE tenant = ?", (tenant,)
                ).scalar_one()
            )

    def count_changed(self, tenant: str, position: int) -> int:
        """How many customers changed after a change number."""
        with self._database.read() as sql:
            return int(
                sql.execute(
                    "SELECT count(*) FROM crm_customers WHERE tenant = ? AND change > ?",
                    (tenant, position),
                ).scalar_one()
            )

    def with_contact(self, tenant: str, keys: Iterable[str]) -> dict[str, CustomerId]:
        """The active customer (that of the lowest id) behind each email or phone key."""
        found: dict[str, CustomerId] = {}
        with self._database.read() as sql:
            for part in parts(sorted({key for key in keys if key})):
                for row in sql.execute(
                    "SELECT k.value_key, min(k.customer_id) FROM crm_contacts k "
                    "JOIN crm_customers c ON c.tenant = k.tenant AND c.customer_id = k.customer_id "
                    "WHERE k.tenant = ? AND k.active = 1 AND c.active = 1 AND k.value_key != '' "
                    f"AND k.value_key IN ({marks(part)}) GROUP BY k.value_key",
                    (tenant, *part),
                ):
                    found[row[0]] = CustomerId(row[1])
        return found

    def forget_feeds(self, tenant: str) -> None:
        """Let the next pass read customers, contacts, jobs and suppressions from the beginning."""
        with self._database.write() as sql:
            sql.execute(
                "DELETE FROM feeds WHERE tenant = ? AND feed IN (?, ?, ?, ?)",
                (
                    tenant,
                    Feed.CUSTOMERS.value,
                    Feed.CONTACTS.value,
                    Feed.CUSTOMER_JOBS.value,
                    Feed.SUPPRESSIONS.value,
                ),
            )


def _without(customer: Customer, fields: Collection[int]) -> Customer:
    """The customer without these custom fields, and without those that say nothing."""
    kept = {key: text for key, text in customer.custom_fields.items() if text and key not in fields}
    return customer._replace(custom_fields=kept)


def changed_since(
    sql: Transaction, tenant: str, position: int, number: int
) -> tuple[list[CustomerId], int]:
    """The next customers that changed after a change number, and the number they reach to."""
    rows = sql.execute(
        "SELECT customer_id, change FROM crm_customers WHERE tenant = ? AND change > ? "
        "ORDER BY change LIMIT ?",
        (tenant, position, number),
    ).all()
    return [CustomerId(row[0]) for row in rows], rows[-1][1] if rows else position


def known_customers(
    sql: Transaction, tenant: str, ids: Sequence[CustomerId]
) -> dict[CustomerId, KnownCustomer]:
    """These customers with all their contacts and their newest job."""
    found: dict[CustomerId, KnownCustomer] = {}
    for part in parts(ids):
        contacts: dict[int, list[CustomerContact]] = {}
        for row in sql.execute(
            "SELECT customer_id, contact_id, type, value, active, marketing, modified_on "
            f"FROM crm_contacts WHERE tenant = ? AND customer_id IN ({marks(part)})",
            (tenant, *part),
        ):
            contacts.setdefault(row[0], []).append(_contact(row))
        jobs = {
            row[0]: utc_instant(row[1])
            for row in sql.execute(
                "SELECT customer_id, last_at FROM crm_customer_jobs WHERE tenant = ? "
                f"AND customer_id IN ({marks(part)})",
                (tenant, *part),
            )
        }
        for row in sql.execute(
            f"SELECT {_CUSTOMER_COLUMNS} FROM crm_customers WHERE tenant = ? "
            f"AND customer_id IN ({marks(part)})",
            (tenant, *part),
        ):
            number = row[0]
            found[CustomerId(number)] = KnownCustomer(
                _customer(row), contacts.get(number, ()), jobs.get(number)
            )
    return found


def suppressed(sql: Transaction, tenant: str, keys: Iterable[str]) -> set[str]:
    """Which of these email keys asked for no marketing."""
    return {
        row[0]
        for part in parts(sorted(set(keys)))
        for row in sql.execute(
            "SELECT email_key FROM crm_suppressions WHERE tenant = ? AND active = 1 "
            f"AND email_key IN ({marks(part)})",
            (tenant, *part),
        )
    }


def _reserve_changes(sql: Transaction, tenant: str, number: int) -> int:
    """The first of so many new change numbers. The row is locked until the commit, so that numbers
    become visible in their order."""
    sql.execute(
        "INSERT INTO crm_changes VALUES (?, ?) "
        "ON CONFLICT (tenant) DO UPDATE SET last = crm_changes.last + excluded.last",
        (tenant, number),
    )
    last: int = sql.execute("SELECT last FROM crm_changes WHERE tenant = ?", (tenant,)).scalar_one()
    return last - number + 1


def _save_contacts(sql: Transaction, tenant: str, contacts: Sequence[CustomerContact]) -> None:
    ids = [contact.id for contact in contacts]
    owners = {
        row[0]: row[1]
        for part in parts(ids)
        for row in sql.execute(
            "SELECT contact_id, customer_id FROM crm_contacts WHERE tenant = ? "
            f"AND contact_id IN ({marks(part)})",
            (tenant, *part),
        )
    }
    first = _reserve_changes(sql, tenant, len(contacts))
    sql.execute_many(
        _SAVE_CONTACT,
        [
            (tenant, *_contact_row(contact), first + offset)
            for offset, contact in enumerate(contacts)
        ],
    )
    # A customer whom no campaign has looked at since its last change need not be marked again.
    looked_at: int = sql.execute(
        "SELECT coalesce(max(position), 0) FROM enrolment_progress WHERE tenant = ?", (tenant,)
    ).scalar_one()
    if not looked_at:
        return
    changed = {
        row[0]: row[1]
        for part in parts(ids)
        for row in sql.execute(
            "SELECT contact_id, customer_id FROM crm_contacts WHERE tenant = ? AND change >= ? "
            f"AND contact_id IN ({marks(part)})",
            (tenant, first, *part),
        )
    }
    # A contact that was ignored because it is older did not move anywhere.
    moved = {owners[number] for number in changed if number in owners}
    customers = sorted({*changed.values(), *moved})
    if customers:
        start = _reserve_changes(sql, tenant, len(customers))
        sql.execute_many(
            "UPDATE crm_customers SET change = ? "
            "WHERE tenant = ? AND customer_id = ? AND change <= ?",
            [
                (start + offset, tenant, customer, looked_at)
                for offset, customer in enumerate(customers)
            ],
        )


def _changed_suppressions(
    sql: Transaction, tenant: str, suppressions: Sequence[Suppression]
) -> list[str]:
    """Save them; the keys of those that are new or were switched on or off."""
    newest: dict[str, Suppression] = {}
    for suppression in suppressions:
        key = email_key(suppression.email)
        known = newest.get(key)
        if key and (known is None or suppression.modified_on >= known.modified_on):
            newest[key] = suppression
    stored = {
        row[0]: (bool(row[1]), row[2])
        for part in parts(list(newest))
        for row in sql.execute(
            "SELECT email_key, active, modified_on FROM crm_suppressions WHERE tenant = ? "
            f"AND email_key IN ({marks(part)})",
            (tenant, *part),
        )
    }
    kept = {
        key: suppression
        for key, suppression in newest.items()
        if key not in stored or stored[key][1] <= utc_text(suppression.modified_on)
    }
    if kept:
        sql.execute_many(
            "INSERT INTO crm_suppressions VALUES (?, ?, ?, ?) ON CONFLICT (tenant, email_key) "
            "DO UPDATE SET active = excluded.active, modified_on = excluded.modified_on",
            [(tenant, k, int(s.active), utc_text(s.modified_on)) for k, s in kept.items()],
        )
    return [
        key
        for key, suppression in kept.items()
        if (stored[key][0] if key in stored else False) != suppression.active
    ]


def _customer_row(customer: Customer) -> tuple[object, ...]:
    return (
        customer.id,
        customer.name,
        customer.type,
        int(customer.active),
        customer.merged_to_id or 0,
        int(customer.do_not_mail),
        int(customer.do_not_service),
        _json(customer.tag_type_ids),
        _json(customer.address),
        _json(customer.custom_fields),
        _instant_text(customer.created_on),
        _instant_text(customer.modified_on),
    )


# Ten times as fast as the standard library, for a million records.
_encode = msgspec.json.Encoder().encode
_TAGS = msgspec.json.Decoder(tuple[int, ...])
_ADDRESS = msgspec.json.Decoder(dict[str, str])
_FIELDS = msgspec.json.Decoder(dict[int, str])


def _json(value: Sequence[int] | Mapping[str, str] | Mapping[int, str]) -> str:
    """Compact; nothing at all, the usual case, is empty text."""
    return _encode(value).decode() if value else ""


def _instant_text(at: datetime) -> str:
    """The same as ``utc_text``, for a million records. That serves commands which do without msgspec."""
    text = _encode(at if at.tzinfo is UTC else at.astimezone(UTC)).decode()
    return text[1:-1] if at.microsecond else f"{text[1:20]}.000000Z"


def _customer(row: Row) -> Customer:
    r = tuple(row)
    return Customer(
        id=CustomerId(r[0]),
        name=r[1],
        type=r[2],
        active=bool(r[3]),
        merged_to_id=CustomerId(r[4]) if r[4] else None,
        do_not_mail=bool(r[5]),
        do_not_service=bool(r[6]),
        tag_type_ids=_TAGS.decode(r[7]) if r[7] else (),
        address=_ADDRESS.decode(r[8]) if r[8] else {},
        custom_fields=_FIELDS.decode(r[9]) if r[9] else {},
        created_on=utc_instant(r[10]),
        modified_on=utc_instant(r[11]),
    )


def _contact_row(contact: CustomerContact) -> tuple[object, ...]:
    key = _KEYS.get(contact.type)
    return (
        contact.id,
        contact.customer_id,
        contact.type,
        contact.value,
        "" if key is None else key(contact.value),
        int(contact.active),
        int(contact.marketing),
        _instant_text(contact.modified_on),
    )


def _contact(row: Row) -> CustomerContact:
    r = tuple(row)
    return CustomerContact(
        id=ContactId(r[1]),
        customer_id=CustomerId(r[0]),
        type=r[2],
        value=r[3],
        active=bool(r[4]),
        marketing=bool(r[5]),
        modified_on=utc_instant(r[6]),
    )
