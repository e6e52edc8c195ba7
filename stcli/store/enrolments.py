"""Which customer is which referrer, and how far a campaign has looked at its tenant's customers.

One row for every customer that a campaign has judged: not enrolled with the reason, planned, asked
for, or enrolled. In one campaign an email address belongs to one row at most, and so does a person;
the database itself refuses anything else. What a row waits for (a new look, an update, a write-back)
is marked on it, so that a pass finds its work without reading the others.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import date, datetime
from typing import Any

from stcli.domain.enrolment import Enrolment, EnrolmentState
from stcli.domain.ids import CampaignName, CustomerId, RfCampaignId, UserId
from stcli.store.engine import Database, Lease, optional_instant, utc_text
from stcli.store.statements import marks, parts
from stcli.store.transaction import Row, Transaction


@dataclass(frozen=True, slots=True)
class Settled:
    """What became of a row that was sent: its state, address, person and values from now on.
    ``tell``: the customer is to be told of it (a write-back is due)."""

    customer_id: CustomerId
    state: EnrolmentState
    email_key: str
    user_id: UserId | None
    sent: Mapping[str, str]
    update_due: bool = False
    tell: bool = False


@dataclass(frozen=True, slots=True)
class Progress:
    """How far a campaign has looked. ``position``: a change number of its tenant's customers;
    ``rule``, ``return_rule``: fingerprints of the settings that the last look used."""

    position: int = 0
    rule: str = ""
    return_rule: str = ""
    imported_at: datetime | None = None
    tenant: str = ""


_COLUMNS = "customer_id, state, reason, email_key, user_id, sent, update_due, returned, return_due"


class Enrolments:
    def __init__(self, database: Database) -> None:
        self._database = database

    @contextmanager
    def looking(self, lease: Lease, tenant: str) -> Iterator[Transaction]:
        """A transaction in which nobody else can change what is known of the tenant's customers:
        what is judged in it is judged on what will still be true when it is committed."""
        with self._database.write(lease) as sql:
            sql.execute(
                "INSERT INTO crm_changes VALUES (?, 0) "
                "ON CONFLICT (tenant) DO UPDATE SET last = crm_changes.last",
                (tenant,),
            )
            yield sql

    def progress(self, campaign: CampaignName) -> Progress:
        with self._database.read() as sql:
            row = sql.execute(
                "SELECT position, rule, return_rule, imported_at, tenant FROM enrolment_progress "
                "WHERE campaign = ?",
                (campaign,),
            ).one_or_none()
        if row is None:
            return Progress()
        return Progress(row[0], row[1], row[2], optional_instant(row[3]), row[4])

    def begin(
        self, lease: Lease, campaign: CampaignName, tenant: str, rf_campaign: RfCampaignId
    ) -> None:
        """Forget what is known of another tenant, or of another campaign of Referral Factory: the
        same numbers are other customers and other people there. A pass begins with this."""
        with self._database.write(lease) as sql:
            gone = sql.execute(
                "DELETE FROM enrolment_progress WHERE campaign = ? "
                "AND (tenant != ? OR rf_campaign_id NOT IN (0, ?))",
                (campaign, tenant, rf_campaign),
            ).rowcount
            if gone:
                sql.execute("DELETE FROM enrolments WHERE campaign = ?", (campaign,))
                sql.execute(
                    "DELETE FROM failures WHERE campaign = ? AND pass IN ('sync', 'return')",
                    (campaign,),
                )
            sql.execute(
                "INSERT INTO enrolment_progress (campaign, tenant, rf_campaign_id, position) "
                "VALUES (?, ?, ?, 0) ON CONFLICT (campaign) DO UPDATE SET "
                "rf_campaign_id = excluded.rf_campaign_id",
                (campaign, tenant, rf_campaign),
            )

    def apply_rule(self, lease: Lease, campaign: CampaignName, rule: str) -> None:
        """Look at every customer again where the last look was by another rule."""
        with self._database.write(lease) as sql:
            sql.execute(
                "UPDATE enrolment_progress SET position = 0, rule = ? "
                "WHERE campaign = ? AND rule != ?",
                (rule, campaign, rule),
            )

    def apply_return_rule(self, lease: Lease, campaign: CampaignName, rule: str) -> None:
        """Make every referrer due for a write-back, because the last one was by another rule."""
        with self._database.write(lease) as sql:
            sql.execute(
                "UPDATE enrolment_progress SET return_rule = ? WHERE campaign = ?", (rule, campaign)
            )
            sql.execute(
                "UPDATE enrolments SET return_due = return_due + 1 WHERE campaign = ? "
                "AND user_id IS NOT NULL",
                (campaign,),
            )

    def make_due(
        self,
        lease: Lease,
        campaign: CampaignName,
        rf_campaign: RfCampaignId,
        customers: Sequence[CustomerId],
    ) -> None:
        """Look again at these customers, at all that are in doubt, and at those who were refused
        and whose address belongs to somebody of the campaign by now."""
        with self._database.write(lease) as sql:
            mark_recheck(sql, campaign, customers)
            sql.execute(
                "UPDATE enrolments SET recheck = recheck + 1 WHERE campaign = ? AND state = 'intent'",
                (campaign,),
            )
            sql.execute(
                "UPDATE enrolments SET recheck = recheck + 1 WHERE campaign = ? "
                "AND state = 'refused' AND email_key != '' AND EXISTS (SELECT 1 FROM people "
                "WHERE people.campaign_id = ? AND people.email_key = enrolments.email_key)",
                (campaign, rf_campaign),
            )

    def make_return_due(
        self, lease: Lease, campaign: CampaignName, customers: Sequence[CustomerId]
    ) -> None:
        """Try the write-back of these customers again."""
        if not customers:
            return
        with self._database.write(lease) as sql:
            for part in parts(customers):
                sql.execute(
                    "UPDATE enrolments SET return_due = return_due + 1 WHERE campaign = ? "
                    f"AND return_due = 0 AND customer_id IN ({marks(part)})",
                    (campaign, *part),
                )

    def imported(self, lease: Lease, campaign: CampaignName, now: datetime) -> None:
        """The import is complete: everybody known at this moment was looked at and treated."""
        with self._database.write(lease) as sql:
            sql.execute(
                "UPDATE enrolment_progress SET imported_at = ? WHERE campaign = ?",
                (utc_text(now), campaign),
            )

    def reset(self, lease: Lease, campaign: CampaignName) -> None:
        """Forget how far was looked and what was written back; who is enrolled stays known."""
        with self._database.write(lease) as sql:
            sql.execute(
                "UPDATE enrolment_progress SET position = 0, rule = '', return_rule = '', "
                "imported_at = NULL WHERE campaign = ?",
                (campaign,),
            )
            sql.execute(
                "UPDATE enrolments SET returned = '{}', return_due = return_due + 1 "
                "WHERE campaign = ? AND user_id IS NOT NULL",
                (campaign,),
            )

    def counts(self, campaign: CampaignName) -> dict[tuple[EnrolmentState, str], int]:
        """How many customers are in each state, for each reason."""
        with self._database.read() as sql:
            return {
                (EnrolmentState(row[0]), row[1]): row[2]
                for row in sql.execute(
                    "SELECT state, reason, count(*) FROM enrolments WHERE campaign = ? "
                    "GROUP BY state, reason",
                    (campaign,),
                )
            }

    def count_planned(self, campaign: CampaignName, *, since: date | None = None) -> int:
        """How many customers are planned; of those, where a day is given, who were made on or after it
        (UTC)."""
        if since is None:
            return self.count_in_states(campaign, [EnrolmentState.PLANNED])
        return self._count(
            "campaign = ? AND state = 'planned' AND EXISTS (SELECT 1 FROM crm_customers c "
            "WHERE c.tenant = enrolments.tenant AND c.customer_id = enrolments.customer_id "
            "AND c.created_on >= ?)",
            (campaign, since.isoformat()),
        )

    def count_in_states(self, campaign: CampaignName, states: Sequence[EnrolmentState]) -> int:
        """How many customers are in any of these states, whatever the reason."""
        return self._count(f"campaign = ? AND state IN ({marks(states)})", (campaign, *states))

    def count_updates(self, campaign: CampaignName) -> int:
        return self._count("campaign = ? AND update_due != 0", (campaign,))

    def count_referrers(self, campaign: CampaignName) -> int:
        """How many referrers are kept in step."""
        return self._count(
            "campaign = ? AND state IN ('enrolled', 'linked') AND reason = ''", (campaign,)
        )

    def count_returns(self, campaign: CampaignName) -> int:
        """How many referrers may have something to be written back."""
        return self._count(_RETURNS, (campaign,))

    def _count(self, condition: str, values: tuple[object, ...]) -> int:
        with self._database.read() as sql:
            return int(
                sql.execute(
                    f"SELECT count(*) FROM enrolments WHERE {condition}", values
                ).scalar_one()
            )

    def in_state(
        self, campaign: CampaignName, state: EnrolmentState, after: int, number: int
    ) -> list[Enrolment]:
        """The next rows in a state, by customer id."""
        return self._select(
            "campaign = ? AND state = ? AND customer_id > ? ORDER BY customer_id LIMIT ?",
            (campaign, state.value, after, number),
        )

    def to_update(self, campaign: CampaignName, after: int, number: int) -> list[Enrolment]:
        return self._select(
            "campaign = ? AND update_due != 0 AND customer_id > ? ORDER BY customer_id LIMIT ?",
            (campaign, after, number),
        )

    def to_return(self, campaign: CampaignName, after: int, number: int) -> list[Enrolment]:
        """The next referrers who may have something to be written back, by customer id."""
        return self._select(
            f"{_RETURNS} AND customer_id > ? ORDER BY customer_id LIMIT ?",
            (campaign, after, number),
        )

    def of(self, campaign: CampaignName, customer: CustomerId) -> Enrolment | None:
        found = self._select("campaign = ? AND customer_id = ?", (campaign, customer))
        return found[0] if found else None

    def _select(self, condition: str, values: tuple[object, ...]) -> list[Enrolment]:
        with self._database.read() as sql:
            return [
                _enrolment(row)
                for row in sql.execute(
                    f"SELECT {_COLUMNS} FROM enrolments WHERE {condition}", values
                )
            ]

    def enrolled_among(
        self, campaign: CampaignName, users: Sequence[UserId], email_keys: Sequence[str]
    ) -> tuple[set[UserId], set[str]]:
        """Which of these people and addresses are those of synced customers."""
        with self._database.read() as sql:
            return (
                set(bound_users(sql, campaign, users)),
                set(holders(sql, campaign, email_keys)),
            )

    def settle(
        self, lease: Lease, campaign: CampaignName, rows: Sequence[Settled], now: datetime
    ) -> None:
        """Store what became of rows that were sent. Marks that others made meanwhile stay."""
        with self._database.write(lease) as sql:
            settle(sql, campaign, rows, now)

    def mark_return(
        self,
        lease: Lease,
        campaign: CampaignName,
        done: Sequence[tuple[Enrolment, Mapping[int, str]]],
        now: datetime,
    ) -> None:
        """What was written back; a row that was marked again meanwhile stays marked."""
        with self._database.write(lease) as sql:
            for row, returned in done:
                sql.execute(
                    "UPDATE enrolments SET returned = ?, updated_at = ?, return_due = "
                    "CASE WHEN return_due = ? THEN 0 ELSE return_due END "
                    "WHERE campaign = ? AND customer_id = ?",
                    (
                        _numbered(returned),
                        utc_text(now),
                        row.return_due,
                        campaign,
                        row.customer_id,
                    ),
                )


_RETURNS = "campaign = ? AND return_due != 0 AND reason = '' AND state IN ('enrolled', 'linked')"


def stored_progress(sql: Transaction, campaign: CampaignName) -> int:
    """The change number up to which a campaign has looked."""
    found: int = sql.execute(
        "SELECT coalesce(max(position), 0) FROM enrolment_progress WHERE campaign = ?", (campaign,)
    ).scalar_one()
    return found


def move_on(sql: Transaction, campaign: CampaignName, position: int) -> None:
    sql.execute(
        "UPDATE enrolment_progress SET position = ? WHERE campaign = ?", (position, campaign)
    )


def to_recheck(
    sql: Transaction, campaign: CampaignName, after: int, number: int
) -> list[CustomerId]:
    """The next customers that something other than their own change made due, by id."""
    return [
        CustomerId(row[0])
        for row in sql.execute(
            "SELECT customer_id FROM enrolments WHERE campaign = ? AND recheck != 0 "
            "AND customer_id > ? ORDER BY customer_id LIMIT ?",
            (campaign, after, number),
        )
    ]


def mark_recheck(sql: Transaction, campaign: CampaignName, customers: Iterable[CustomerId]) -> None:
    for part in parts(sorted(set(customers))):
        sql.execute(
            "UPDATE enrolments SET recheck = recheck + 1 WHERE campaign = ? "
            f"AND customer_id IN ({marks(part)})",
            (campaign, *part),
        )


def mark_sharers(
    sql: Transaction, campaign: CampaignName, tenant: str, email_keys: Sequence[str]
) -> None:
    """Look again at who has an address that has become free."""
    for part in parts([key for key in email_keys if key]):
        sql.execute(
            "UPDATE enrolments SET recheck = recheck + 1 WHERE campaign = ? "
            "AND reason = 'duplicate_email' AND customer_id IN (SELECT customer_id "
            "FROM crm_contacts WHERE tenant = ? AND value_key != '' "
            f"AND value_key IN ({marks(part)}))",
            (campaign, tenant, *part),
        )


def enrolments_of(
    sql: Transaction, campaign: CampaignName, customers: Sequence[CustomerId]
) -> dict[CustomerId, Enrolment]:
    return {
        found.customer_id: found
        for part in parts(customers)
        for found in map(
            _enrolment,
            sql.execute(
                f"SELECT {_COLUMNS} FROM enrolments WHERE campaign = ? "
                f"AND customer_id IN ({marks(part)})",
                (campaign, *part),
            ),
        )
    }


def asked_since(
    sql: Transaction, campaign: CampaignName, customers: Sequence[CustomerId], since: datetime
) -> set[CustomerId]:
    """Who of these was asked for after an instant, and is not known to exist."""
    return {
        CustomerId(row[0])
        for part in parts(customers)
        for row in sql.execute(
            "SELECT customer_id FROM enrolments WHERE campaign = ? AND state = 'intent' "
            f"AND updated_at > ? AND customer_id IN ({marks(part)})",
            (campaign, utc_text(since), *part),
        )
    }


def merged_referrers(
    sql: Transaction, campaign: CampaignName, tenant: str, survivors: Sequence[CustomerId]
) -> dict[CustomerId, list[Enrolment]]:
    """Referrers whose customer was merged straight into one of these, by the survivor."""
    found: dict[CustomerId, list[Enrolment]] = {}
    prefixed = ", ".join(f"e.{name.strip()}" for name in _COLUMNS.split(","))
    for part in parts(survivors):
        for row in sql.execute(
            f"SELECT c.merged_to_id, {prefixed} FROM crm_customers c JOIN enrolments e "
            "ON e.campaign = ? AND e.customer_id = c.customer_id WHERE c.tenant = ? "
            f"AND c.merged_to_id != 0 AND c.merged_to_id IN ({marks(part)}) "
            "AND e.user_id IS NOT NULL AND e.state IN ('enrolled', 'linked') "
            "ORDER BY e.customer_id",
            (campaign, tenant, *part),
        ):
            found.setdefault(CustomerId(row[0]), []).append(_enrolment_of(tuple(row)[1:]))
    return found


def holders(
    sql: Transaction, campaign: CampaignName, email_keys: Sequence[str]
) -> dict[str, CustomerId]:
    """Whose these addresses are in the campaign."""
    return {
        row[0]: CustomerId(row[1])
        for part in parts(sorted({key for key in email_keys if key}))
        for row in sql.execute(
            "SELECT email_key, customer_id FROM enrolments WHERE campaign = ? "
            f"AND email_key != '' AND email_key IN ({marks(part)})",
            (campaign, *part),
        )
    }


def bound_users(
    sql: Transaction, campaign: CampaignName, users: Sequence[UserId]
) -> dict[UserId, CustomerId]:
    """Which customers these people are in the campaign."""
    return {
        UserId(row[0]): CustomerId(row[1])
        for part in parts(sorted(set(users)))
        for row in sql.execute(
            "SELECT user_id, customer_id FROM enrolments WHERE campaign = ? "
            f"AND user_id IS NOT NULL AND user_id IN ({marks(part)})",
            (campaign, *part),
        )
    }


def release(sql: Transaction, campaign: CampaignName, customers: Iterable[CustomerId]) -> None:
    """Let these give up address and person, which others may take in the same transaction."""
    for part in parts(sorted(set(customers))):
        sql.execute(
            "UPDATE enrolments SET email_key = '', user_id = NULL WHERE campaign = ? "
            f"AND customer_id IN ({marks(part)})",
            (campaign, *part),
        )


def save_enrolments(
    sql: Transaction,
    campaign: CampaignName,
    tenant: str,
    rows: Sequence[Enrolment],
    now: datetime,
) -> None:
    """Store these rows, looked at just now; whoever gave something up was released before."""
    if not rows:
        return
    at = utc_text(now)
    sql.execute_many(
        "INSERT INTO enrolments (campaign, tenant, customer_id, state, reason, email_key, user_id, "
        "sent, update_due, returned, return_due, recheck, updated_at) "
        "VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, 0, ?) "
        "ON CONFLICT (campaign, customer_id) DO UPDATE SET tenant = excluded.tenant, "
        "state = excluded.state, reason = excluded.reason, email_key = excluded.email_key, "
        "user_id = excluded.user_id, sent = excluded.sent, update_due = excluded.update_due, "
        "returned = excluded.returned, return_due = excluded.return_due, recheck = 0, "
        # How long something has been in doubt is told by when it was asked for.
        "updated_at = CASE WHEN excluded.state = 'intent' THEN enrolments.updated_at "
        "ELSE excluded.updated_at END",
        [
            (
                campaign,
                tenant,
                row.customer_id,
                row.state.value,
                row.reason,
                row.email_key,
                row.user_id,
                json.dumps(dict(row.sent), ensure_ascii=False) if row.sent else "{}",
                int(row.update_due),
                _numbered(row.returned),
                row.return_due,
                at,
            )
            for row in rows
        ],
    )


def settle(
    sql: Transaction, campaign: CampaignName, rows: Sequence[Settled], now: datetime
) -> None:
    """``Enrolments.settle`` within a transaction."""
    at = utc_text(now)
    for row in sorted(rows, key=lambda row: row.email_key != ""):
        sql.execute(
            "UPDATE enrolments SET state = ?, email_key = ?, user_id = ?, sent = ?, "
            "reason = CASE WHEN ? = 'gone' THEN 'gone' ELSE reason END, "
            "update_due = ?, return_due = return_due + ?, updated_at = ? "
            "WHERE campaign = ? AND customer_id = ?",
            (
                row.state.value,
                row.email_key,
                row.user_id,
                json.dumps(dict(row.sent), ensure_ascii=False) if row.sent else "{}",
                row.state.value,
                int(row.update_due),
                int(row.tell),
                at,
                campaign,
                row.customer_id,
            ),
        )


def _numbered(values: Mapping[int, str]) -> str:
    return json.dumps(dict(values), ensure_ascii=False) if values else "{}"


def _enrolment(row: Row) -> Enrolment:
    return _enrolment_of(tuple(row))


def _enrolment_of(r: tuple[Any, ...]) -> Enrolment:
    return Enrolment(
        customer_id=CustomerId(r[0]),
        state=EnrolmentState(r[1]),
        reason=r[2],
        email_key=r[3],
        user_id=None if r[4] is None else UserId(r[4]),
        sent={} if r[5] == "{}" else json.loads(r[5]),
        update_due=bool(r[6]),
        returned={} if r[7] == "{}" else {int(k): v for k, v in json.loads(r[7]).items()},
        return_due=r[8],
    )
