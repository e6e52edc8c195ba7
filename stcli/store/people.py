"""What Referral Factory's user list said, so that one complete read serves all campaigns.

Rows are only ever added or refreshed: somebody missing from a read is never taken as deleted.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from datetime import date, datetime

from stcli.domain.ids import RfCampaignId, UserId
from stcli.domain.matching import email_key
from stcli.domain.records import Person, PersonType
from stcli.store.engine import Database, optional_instant, utc_instant, utc_text
from stcli.store.statements import marks, parts
from stcli.store.transaction import Row, Transaction

_COLUMNS = (
    "user_id, campaign_id, type, code, first_name, email, url, source, referrer_id, signed_up_at, "
    "qualified_at, unsubscribed_at, promotion_code, meta, referrals, qualified_referrals"
)
CHUNK = 1000


@dataclass(frozen=True, slots=True)
class CompleteRead:
    """How the list looked when it was last read whole, so that only its end need be read again.

    ``counts_at``: when a complete read last asked for everybody's number of referrals."""

    completed_at: datetime
    newest_first: bool
    last_page: int
    highest_id: int
    counts_at: datetime | None = None


class People:
    def __init__(self, database: Database) -> None:
        self._database = database

    def complete_read(self, account: str) -> CompleteRead | None:
        with self._database.read() as sql:
            row = sql.execute(
                "SELECT completed_at, newest_first, last_page, highest_id, counts_at "
                "FROM people_reads WHERE account = ?",
                (account,),
            ).one_or_none()
        if row is None:
            return None
        return CompleteRead(
            utc_instant(row[0]), bool(row[1]), row[2], row[3], optional_instant(row[4])
        )

    def remember_read(self, account: str, read: CompleteRead) -> None:
        with self._database.write() as sql:
            sql.execute(
                "INSERT INTO people_reads (account, completed_at, newest_first, last_page, "
                "highest_id, counts_at) VALUES (?, ?, ?, ?, ?, ?) ON CONFLICT (account) DO UPDATE "
                "SET completed_at = excluded.completed_at, newest_first = excluded.newest_first, "
                "last_page = excluded.last_page, highest_id = excluded.highest_id, "
                "counts_at = excluded.counts_at",
                (
                    account,
                    utc_text(read.completed_at),
                    int(read.newest_first),
                    read.last_page,
                    read.highest_id,
                    None if read.counts_at is None else utc_text(read.counts_at),
                ),
            )

    def save(self, people: Sequence[Person], *, listed: bool = True) -> None:
        """Add or refresh these. Whose enrolment rests on something that changed is looked at again;
        counts that the read did not ask for stay as they were. Not ``listed``: they came as the
        answer to a write, so nothing is known yet of who stands beside them in the list."""
        if not people:
            return
        with self._database.write() as sql:
            known = people_by_id(sql, [person.id for person in people])
            sql.execute_many(_SAVE, [(*_row(person), int(listed)) for person in people])
            changed = [(person, known[person.id]) for person in people if person.id in known]
            _flag(sql, "recheck", [new.id for new, old in changed if _left_or_came(new, old)])
            _flag_sharers(
                sql,
                [
                    email_key(old.email)
                    for new, old in changed
                    if email_key(new.email) != email_key(old.email)
                ],
            )
            _flag(sql, "return_due", [new.id for new, old in changed if _says_more(new, old)])

    def mark_listed(self, ids: Sequence[UserId]) -> None:
        """The list has shown these, and whoever stands beside them."""
        with self._database.write() as sql:
            for part in parts(ids):
                sql.execute(f"UPDATE people SET listed = 1 WHERE user_id IN ({marks(part)})", part)

    def known(self, ids: Sequence[UserId]) -> set[UserId]:
        """Which of these (at most a page of them) the list has shown already."""
        if not ids:
            return set()
        with self._database.read() as sql:
            found = sql.execute(
                f"SELECT user_id FROM people WHERE listed = 1 AND user_id IN ({marks(ids)})",
                tuple(ids),
            ).scalars()
            return {UserId(user_id) for user_id in found}

    def get(self, user_id: UserId) -> Person | None:
        return self._one("user_id = ?", (user_id,))

    def with_code(self, code: str) -> Person | None:
        """The person with this code; codes are unique in an account."""
        return self._one("code = ?", (code,))

    def _one(self, condition: str, values: tuple[object, ...]) -> Person | None:
        with self._database.read() as sql:
            row = sql.execute(
                f"SELECT {_COLUMNS} FROM people WHERE {condition}",
                values,
            ).first()
        return None if row is None else _person(row)

    def count(self, campaign: RfCampaignId, kind: PersonType) -> int:
        with self._database.read() as sql:
            return int(
                sql.execute(
                    "SELECT count(*) FROM people WHERE campaign_id = ? AND type = ?",
                    (campaign, kind.value),
                ).scalar_one()
            )

    def of_campaign(self, campaign: RfCampaignId, kind: PersonType) -> Iterator[list[Person]]:
        """Everyone of a campaign, in chunks, by id."""
        yield from self._chunks("", campaign, kind, ())

    def without_booking(
        self, campaign: RfCampaignId, kind: PersonType, tenant: str, tab: str
    ) -> Iterator[list[Person]]:
        """Those of a campaign whose booking on this tenant the ledger does not have, under whatever
        local name, in chunks, by id."""
        yield from self._chunks(
            "AND NOT EXISTS (SELECT 1 FROM ledger l WHERE l.tenant = ? AND l.tab = ? "
            "AND l.user_id = people.user_id AND l.state != 'resend') ",
            campaign,
            kind,
            (tenant, tab),
        )

    def _chunks(
        self, condition: str, campaign: RfCampaignId, kind: PersonType, values: tuple[str, ...]
    ) -> Iterator[list[Person]]:
        last = -1
        while True:
            with self._database.read() as sql:
                rows = sql.execute(
                    f"SELECT {_COLUMNS} FROM people WHERE campaign_id = ? AND type = ? "
                    f"AND user_id > ? {condition}ORDER BY user_id LIMIT {CHUNK}",
                    (campaign, kind.value, last, *values),
                ).all()
            if rows:
                yield [_person(row) for row in rows]
            if len(rows) < CHUNK:
                return
            last = rows[-1][0]


_SAVE = (
    f"INSERT INTO people ({_COLUMNS}, email_key, listed) "
    "VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?) "
    "ON CONFLICT (user_id) DO UPDATE SET campaign_id = excluded.campaign_id, "
    "type = excluded.type, code = excluded.code, first_name = excluded.first_name, "
    "email = excluded.email, url = excluded.url, source = excluded.source, "
    "referrer_id = excluded.referrer_id, signed_up_at = excluded.signed_up_at, "
    "qualified_at = excluded.qualified_at, unsubscribed_at = excluded.unsubscribed_at, "
    "promotion_code = excluded.promotion_code, meta = excluded.meta, "
    "referrals = coalesce(excluded.referrals, people.referrals), "
    "qualified_referrals = coalesce(excluded.qualified_referrals, people.qualified_referrals), "
    "email_key = excluded.email_key, "
    "listed = CASE WHEN excluded.listed = 1 THEN 1 ELSE people.listed END"
)


def _left_or_came(new: Person, old: Person) -> bool:
    return new.unsubscribed_at != old.unsubscribed_at


def _says_more(new: Person, old: Person) -> bool:
    """Whether what goes back to the customer may be another value now."""
    return (new.url, new.code) != (old.url, old.code) or (
        new.referrals is not None
        and (new.referrals, new.qualified_referrals) != (old.referrals, old.qualified_referrals)
    )


def _flag(sql: Transaction, column: str, users: Sequence[UserId]) -> None:
    for part in parts(users):
        sql.execute(
            f"UPDATE enrolments SET {column} = {column} + 1 WHERE user_id IN ({marks(part)})", part
        )


def _flag_sharers(sql: Transaction, keys: Sequence[str]) -> None:
    """Look again at customers whose address was another person's, who has another one now."""
    for part in parts([key for key in keys if key]):
        sql.execute(
            "UPDATE enrolments SET recheck = recheck + 1 WHERE reason = 'duplicate_email' "
            "AND EXISTS (SELECT 1 FROM crm_contacts k WHERE k.tenant = enrolments.tenant "
            "AND k.customer_id = enrolments.customer_id AND k.value_key != '' "
            f"AND k.value_key IN ({marks(part)}))",
            part,
        )


def people_by_id(sql: Transaction, ids: Sequence[UserId]) -> dict[UserId, Person]:
    """Those of these people who are known."""
    return {
        UserId(row[0]): _person(row)
        for part in parts(ids)
        for row in sql.execute(
            f"SELECT {_COLUMNS} FROM people WHERE user_id IN ({marks(part)})", part
        )
    }


def people_by_email(
    sql: Transaction, campaign: RfCampaignId, keys: Iterable[str]
) -> dict[str, Person]:
    """Who of a campaign has these email keys; Referral Factory knows each once in a campaign."""
    return {
        row[-1]: _person(row)
        for part in parts(sorted({key for key in keys if key}))
        for row in sql.execute(
            f"SELECT {_COLUMNS}, email_key FROM people WHERE campaign_id = ? "
            f"AND email_key IN ({marks(part)}) ORDER BY user_id",
            (campaign, *part),
        )
    }


def _row(person: Person) -> tuple[object, ...]:
    return (
        person.id,
        person.campaign_id,
        person.type.value,
        person.code,
        person.first_name,
        person.email,
        person.url,
        person.source,
        person.referrer_id,
        _day_text(person.signed_up_at),
        _day_text(person.qualified_at),
        _day_text(person.unsubscribed_at),
        person.promotion_code,
        json.dumps(dict(person.meta)) if person.meta else "{}",
        person.referrals,
        person.qualified_referrals,
        email_key(person.email),
    )


def _day_text(day: date | None) -> str | None:
    return None if day is None else day.isoformat()


def _day(text: str | None) -> date | None:
    return None if text is None else date.fromisoformat(text)


def _person(row: Row) -> Person:
    r = tuple(row)
    return Person(
        id=UserId(r[0]),
        campaign_id=RfCampaignId(r[1]),
        type=PersonType(r[2]),
        code=r[3],
        first_name=r[4],
        email=r[5],
        url=r[6],
        source=r[7],
        referrer_id=None if r[8] is None else UserId(r[8]),
        signed_up_at=_day(r[9]),
        qualified_at=_day(r[10]),
        unsubscribed_at=_day(r[11]),
        promotion_code=r[12],
        meta=json.loads(r[13]),
        referrals=r[14],
        qualified_referrals=r[15],
    )
