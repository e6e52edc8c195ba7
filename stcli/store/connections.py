"""Connections and the history of their steps."""

from __future__ import annotations

from datetime import datetime

from stcli.domain.connection import Connection, Environment, Proof, State
from stcli.domain.ids import CampaignName, ProviderId, RfCampaignId, TenantId
from stcli.store.engine import Database, optional_instant, utc_text
from stcli.store.statements import marks
from stcli.store.transaction import Row

_COLUMNS = (
    "campaign",
    "state",
    "tenant_id",
    "environment",
    "requested_at",
    "decided_at",
    "decided_by",
    "reason",
    "connected_at",
    "proof_environment",
    "proof_tenant_id",
    "proof_client_id",
    "proof_provider",
    "attention",
    "rf_campaign_id",
)
_SELECT = f"SELECT {', '.join(_COLUMNS)} FROM connections"
_UPSERT = (
    f"INSERT INTO connections ({', '.join(_COLUMNS)}) VALUES ({marks(_COLUMNS)}) "
    "ON CONFLICT (campaign) DO UPDATE SET "
    + ", ".join(f"{column} = excluded.{column}" for column in _COLUMNS[1:])
)


class Connections:
    """The connection of each campaign."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def get(self, campaign: CampaignName) -> Connection:
        """The campaign's connection; one that was never asked for is ``not_connected``."""
        with self._database.read() as sql:
            row = sql.execute(f"{_SELECT} WHERE campaign = ?", (campaign,)).one_or_none()
        return Connection(campaign, State.NOT_CONNECTED) if row is None else _connection(row)

    def all(self) -> list[Connection]:
        with self._database.read() as sql:
            return [_connection(row) for row in sql.execute(f"{_SELECT} ORDER BY campaign")]

    def save(
        self,
        connection: Connection,
        *,
        step: str,
        before: State,
        actor: str,
        note: str,
        now: datetime,
    ) -> None:
        """Store a connection and, in the same transaction, how it came to be so."""
        with self._database.write() as sql:
            sql.execute(_UPSERT, _row(connection))
            sql.execute(
                "INSERT INTO connection_events "
                "(campaign, at, step, from_state, to_state, actor, note) "
                "VALUES (?, ?, ?, ?, ?, ?, ?)",
                (
                    connection.campaign,
                    utc_text(now),
                    step,
                    before.value,
                    connection.state.value,
                    actor,
                    note,
                ),
            )

    def events(self, campaign: CampaignName) -> list[tuple[str, str, str, str, str, str]]:
        """(at, step, from, to, actor, note), oldest first."""
        with self._database.read() as sql:
            rows = sql.execute(
                "SELECT at, step, from_state, to_state, actor, note FROM connection_events "
                "WHERE campaign = ? ORDER BY event_id",
                (campaign,),
            )
            return [(r[0], r[1], r[2], r[3], r[4], r[5]) for r in rows]

    def set_attention(self, campaign: CampaignName, reason: str) -> None:
        """Remember why the last call was refused; empty text once one was accepted again."""
        with self._database.write() as sql:
            sql.execute(
                "UPDATE connections SET attention = ? WHERE campaign = ? AND attention != ?",
                (reason, campaign, reason),
            )

    def purge(self, campaign: CampaignName) -> None:
        """Forget all that is known of a campaign: who was booked, qualified, and what failed.

        Bookings that another local name of the same campaign watches too become that one's."""
        with self._database.write() as sql:
            others = (
                "FROM qualifications q WHERE q.tenant = ledger.tenant "
                "AND q.user_id = ledger.user_id AND q.campaign != ledger.campaign"
            )
            sql.execute(
                f"UPDATE ledger SET campaign = (SELECT min(q.campaign) {others}) "
                f"WHERE campaign = ? AND tab = 'leads' AND EXISTS (SELECT 1 {others})",
                (campaign,),
            )
            for table in (
                "connections",
                "connection_events",
                "ledger",
                "qualifications",
                "failures",
                "runs",
                "enrolments",
                "enrolment_progress",
                "accepted_files",
                "worker_turns",
            ):
                sql.execute(f"DELETE FROM {table} WHERE campaign = ?", (campaign,))


def _row(connection: Connection) -> Row:
    proof = connection.proof
    return (
        connection.campaign,
        connection.state.value,
        connection.tenant_id,
        connection.environment.value,
        _text(connection.requested_at),
        _text(connection.decided_at),
        connection.decided_by,
        connection.reason,
        _text(connection.connected_at),
        proof.environment.value if proof else None,
        proof.tenant_id if proof else None,
        proof.client_id if proof else None,
        proof.booking_provider if proof else None,
        connection.attention,
        connection.rf_campaign_id,
    )


def _text(instant: datetime | None) -> str | None:
    return None if instant is None else utc_text(instant)


def _connection(values: Row) -> Connection:
    row = dict(zip(_COLUMNS, values, strict=True))
    proof = None
    if row["proof_client_id"] is not None:
        proof = Proof(
            environment=Environment(row["proof_environment"]),
            tenant_id=TenantId(row["proof_tenant_id"]),
            client_id=row["proof_client_id"],
            booking_provider=ProviderId(row["proof_provider"]),
        )
    return Connection(
        campaign=CampaignName(row["campaign"]),
        state=State(row["state"]),
        tenant_id=None if row["tenant_id"] is None else TenantId(row["tenant_id"]),
        environment=Environment(row["environment"]),
        requested_at=optional_instant(row["requested_at"]),
        decided_at=optional_instant(row["decided_at"]),
        decided_by=row["decided_by"],
        reason=row["reason"],
        connected_at=optional_instant(row["connected_at"]),
        proof=proof,
        attention=row["attention"],
        rf_campaign_id=(
            None if row["rf_campaign_id"] is None else RfCampaignId(row["rf_campaign_id"])
        ),
    )
