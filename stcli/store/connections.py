"""Connections and the history of their steps."""

from __future__ import annotations

from datetime import datetime

from sqlalchemy import RowMapping

from stcli.domain.connection import Connection, Environment, Proof, State
from stcli.domain.ids import CampaignName, ProviderId, RfCampaignId, TenantId
from stcli.store.engine import Database, optional_instant, utc_text

_UPSERT = """INSERT INTO connections VALUES (
    :campaign, :state, :tenant_id, :environment, :requested_at, :decided_at, :decided_by, :reason,
    :connected_at, :proof_environment, :proof_tenant_id, :proof_client_id, :proof_provider,
    :attention, :rf_campaign_id)
ON CONFLICT (campaign) DO UPDATE SET state = excluded.state, tenant_id = excluded.tenant_id,
    environment = excluded.environment, requested_at = excluded.requested_at,
    decided_at = excluded.decided_at, decided_by = excluded.decided_by, reason = excluded.reason,
    connected_at = excluded.connected_at, proof_environment = excluded.proof_environment,
    proof_tenant_id = excluded.proof_tenant_id, proof_client_id = excluded.proof_client_id,
    proof_provider = excluded.proof_provider, attention = excluded.attention,
    rf_campaign_id = excluded.rf_campaign_id"""


class Connections:
    """The connection of each campaign."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def get(self, campaign: CampaignName) -> Connection:
        """The campaign's connection; one that was never asked for is ``not_connected``."""
        with self._database.read() as sql:
            row = (
                sql.exec_driver_sql("SELECT * FROM connections WHERE campaign = ?", (campaign,))
                .mappings()
                .one_or_none()
            )
        return Connection(campaign, State.NOT_CONNECTED) if row is None else _connection(row)

    def all(self) -> list[Connection]:
        with self._database.read() as sql:
            rows = sql.exec_driver_sql("SELECT * FROM connections ORDER BY campaign").mappings()
            return [_connection(row) for row in rows]

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
        from sqlalchemy import text

        with self._database.write() as sql:
            sql.execute(text(_UPSERT), _row(connection))
            sql.exec_driver_sql(
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
            rows = sql.exec_driver_sql(
                "SELECT at, step, from_state, to_state, actor, note FROM connection_events "
                "WHERE campaign = ? ORDER BY event_id",
                (campaign,),
            )
            return [(r[0], r[1], r[2], r[3], r[4], r[5]) for r in rows]

    def set_attention(self, campaign: CampaignName, reason: str) -> None:
        """Remember why the last call was refused; empty text once one was accepted again."""
        with self._database.write() as sql:
            sql.exec_driver_sql(
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
            sql.exec_driver_sql(
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
            ):
                sql.exec_driver_sql(f"DELETE FROM {table} WHERE campaign = ?", (campaign,))


def _row(connection: Connection) -> dict[str, object]:
    proof = connection.proof
    return {
        "campaign": connection.campaign,
        "state": connection.state.value,
        "tenant_id": connection.tenant_id,
        "environment": connection.environment.value,
        "requested_at": _text(connection.requested_at),
        "decided_at": _text(connection.decided_at),
        "decided_by": connection.decided_by,
        "reason": connection.reason,
        "connected_at": _text(connection.connected_at),
        "proof_environment": proof.environment.value if proof else None,
        "proof_tenant_id": proof.tenant_id if proof else None,
        "proof_client_id": proof.client_id if proof else None,
        "proof_provider": proof.booking_provider if proof else None,
        "attention": connection.attention,
        "rf_campaign_id": connection.rf_campaign_id,
    }


def _text(instant: datetime | None) -> str | None:
    return None if instant is None else utc_text(instant)


def _connection(row: RowMapping) -> Connection:
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
