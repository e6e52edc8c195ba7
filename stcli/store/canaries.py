"""Whether writing one custom field of a customer was seen to leave the others alone, by tenant."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum

from stcli.domain.ids import CustomerId
from stcli.store.engine import Database, utc_text


class CanaryState(StrEnum):
    """``begun``: written, not looked at yet. ``blank``: the customer had no other field, so nothing
    could be lost. ``passed``: others were there, and stayed. ``failed``: others changed."""

    BEGUN = "begun"
    BLANK = "blank"
    PASSED = "passed"
    FAILED = "failed"


@dataclass(frozen=True, slots=True)
class Canary:
    """The write that was watched: ``before`` are the customer's custom fields, by id."""

    state: CanaryState
    customer_id: CustomerId
    field_id: int
    before: Mapping[int, str]


class Canaries:
    def __init__(self, database: Database) -> None:
        self._database = database

    def of(self, tenant: str) -> Canary | None:
        with self._database.read() as sql:
            row = sql.execute(
                "SELECT state, customer_id, field_id, before FROM crm_canaries WHERE tenant = ?",
                (tenant,),
            ).one_or_none()
        if row is None:
            return None
        before = {int(key): value for key, value in json.loads(row[3]).items()}
        return Canary(CanaryState(row[0]), CustomerId(row[1]), row[2], before)

    def save(self, tenant: str, canary: Canary, now: datetime) -> None:
        with self._database.write() as sql:
            sql.execute(
                "INSERT INTO crm_canaries VALUES (?, ?, ?, ?, ?, ?) ON CONFLICT (tenant) DO UPDATE "
                "SET state = excluded.state, customer_id = excluded.customer_id, "
                "field_id = excluded.field_id, before = excluded.before, "
                "changed_at = excluded.changed_at",
                (
                    tenant,
                    canary.state.value,
                    canary.customer_id,
                    canary.field_id,
                    json.dumps(dict(canary.before), ensure_ascii=False),
                    utc_text(now),
                ),
            )

    def forget(self, tenant: str) -> None:
        with self._database.write() as sql:
            sql.execute("DELETE FROM crm_canaries WHERE tenant = ?", (tenant,))
