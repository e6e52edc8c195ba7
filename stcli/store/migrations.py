"""The schema's history: numbered, append only, recorded by name, each applied once.

A released migration is never edited; a change is a new one at the end. Before an existing database
is changed a copy goes to the backups folder (three are kept). A database that knows migrations this
version does not was written by a newer stcli and is refused, naming that version.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Collection
from datetime import UTC, datetime

from stcli.errors import StateError
from stcli.store.engine import Database, utc_text
from stcli.store.transaction import Transaction

MIGRATIONS: tuple[tuple[str, tuple[str, ...]], ...] = (
    (
        "0001_connections",
        (
            """CREATE TABLE connections (
                campaign TEXT PRIMARY KEY, state TEXT NOT NULL, tenant_id BIGINT,
                environment TEXT NOT NULL, requested_at TEXT, decided_at TEXT,
                decided_by TEXT NOT NULL DEFAULT '', reason TEXT NOT NULL DEFAULT '',
                connected_at TEXT, proof_environment TEXT, proof_tenant_id BIGINT,
                proof_client_id TEXT, proof_provider BIGINT,
                attention TEXT NOT NULL DEFAULT '', rf_campaign_id BIGINT)""",
            """CREATE TABLE connection_events (
                event_id INTEGER PRIMARY KEY, campaign TEXT NOT NULL, at TEXT NOT NULL,
                step TEXT NOT NULL, from_state TEXT NOT NULL, to_state TEXT NOT NULL,
                actor TEXT NOT NULL, note TEXT NOT NULL DEFAULT '')""",
            "CREATE INDEX connection_events_by_campaign ON connection_events (campaign, event_id)",
        ),
    ),
    (
        "0002_people",
        (
            """CREATE TABLE people (
                user_id BIGINT PRIMARY KEY, campaign_id BIGINT NOT NULL, type TEXT NOT NULL,
                code TEXT NOT NULL, first_name TEXT NOT NULL, email TEXT NOT NULL,
                url TEXT NOT NULL, source TEXT NOT NULL, referrer_id BIGINT, signed_up_at TEXT,
                qualified_at TEXT, unsubscribed_at TEXT, promotion_code TEXT NOT NULL,
                meta TEXT NOT NULL)""",
            "CREATE INDEX people_by_campaign ON people (campaign_id, type, user_id)",
            "CREATE INDEX people_by_code ON people (code)",
            """CREATE TABLE people_reads (
                account TEXT PRIMARY KEY, completed_at TEXT NOT NULL, newest_first INTEGER NOT NULL,
                last_page BIGINT NOT NULL, highest_id BIGINT NOT NULL)""",
        ),
    ),
    (
        "0003_ledger",
        (
            """CREATE TABLE ledger (
                campaign TEXT NOT NULL, tab TEXT NOT NULL, user_id BIGINT NOT NULL,
                code TEXT NOT NULL, state TEXT NOT NULL, tenant TEXT NOT NULL,
                external_id TEXT NOT NULL DEFAULT '', booking_id BIGINT, job_id BIGINT,
                booked_on TEXT, draft TEXT NOT NULL DEFAULT '', doubt_since TEXT,
                look_up_job INTEGER NOT NULL DEFAULT 0, ignored TEXT NOT NULL DEFAULT '[]',
                run_id TEXT NOT NULL DEFAULT '', updated_at TEXT NOT NULL,
                PRIMARY KEY (campaign, tab, user_id))""",
            "CREATE INDEX ledger_by_booking ON ledger (tenant, booking_id)",
            "CREATE INDEX ledger_by_job ON ledger (tenant, job_id)",
            "CREATE INDEX ledger_by_state ON ledger (campaign, tab, state)",
            """CREATE TABLE failures (
                failure_id INTEGER PRIMARY KEY, campaign TEXT NOT NULL, pass TEXT NOT NULL,
                record TEXT NOT NULL, reason TEXT NOT NULL, trace_id TEXT NOT NULL DEFAULT '',
                fingerprint TEXT NOT NULL DEFAULT '', state TEXT NOT NULL, run_id TEXT NOT NULL,
                first_at TEXT NOT NULL, last_at TEXT NOT NULL, UNIQUE (campaign, pass, record))""",
        ),
    ),
    (
        "0004_feeds",
        (
            """CREATE TABLE feeds (
                tenant TEXT NOT NULL, feed TEXT NOT NULL, token TEXT NOT NULL,
                opened_from TEXT NOT NULL, read_at TEXT NOT NULL, PRIMARY KEY (tenant, feed))""",
            """CREATE TABLE crm_bookings (
                tenant TEXT NOT NULL, booking_id BIGINT NOT NULL, external_id TEXT NOT NULL,
                provider_id BIGINT NOT NULL, status TEXT NOT NULL, job_id BIGINT,
                created_on TEXT NOT NULL, modified_on TEXT NOT NULL,
                PRIMARY KEY (tenant, booking_id))""",
            "CREATE INDEX crm_bookings_by_external_id ON crm_bookings (tenant, external_id)",
            """CREATE TABLE crm_jobs (
                tenant TEXT NOT NULL, job_id BIGINT NOT NULL, booking_id BIGINT,
                status TEXT NOT NULL, job_type_id BIGINT, business_unit_id BIGINT,
                tags TEXT NOT NULL, total REAL, recall_for_id BIGINT, warranty_id BIGINT,
                no_charge INTEGER NOT NULL, completed_on TEXT, created_on TEXT NOT NULL,
                modified_on TEXT NOT NULL, history_read INTEGER NOT NULL DEFAULT 0,
                PRIMARY KEY (tenant, job_id))""",
            "CREATE INDEX crm_jobs_by_booking ON crm_jobs (tenant, booking_id)",
            """CREATE TABLE crm_job_statuses (
                tenant TEXT NOT NULL, job_id BIGINT NOT NULL, status TEXT NOT NULL,
                reached_at TEXT NOT NULL, seen_in TEXT NOT NULL,
                PRIMARY KEY (tenant, job_id, status))""",
            """CREATE TABLE crm_job_events (
                tenant TEXT NOT NULL, job_id BIGINT NOT NULL, event_id BIGINT NOT NULL,
                event_type TEXT NOT NULL, at TEXT NOT NULL,
                PRIMARY KEY (tenant, job_id, event_id))""",
        ),
    ),
    (
        "0005_qualifications",
        (
            """CREATE TABLE qualifications (
                campaign TEXT NOT NULL, user_id BIGINT NOT NULL, code TEXT NOT NULL,
                state TEXT NOT NULL, due INTEGER NOT NULL, evaluate_at TEXT,
                rule TEXT NOT NULL DEFAULT '', job_id BIGINT, reached_at TEXT,
                changed_at TEXT NOT NULL, PRIMARY KEY (campaign, user_id))""",
            "CREATE INDEX qualifications_due ON qualifications (campaign, due, evaluate_at)",
        ),
    ),
    (
        "0006_runs_and_locks",
        (
            """CREATE TABLE runs (
                run_id TEXT PRIMARY KEY, campaign TEXT NOT NULL, pass TEXT NOT NULL,
                status TEXT NOT NULL, exit_code INTEGER, started_at TEXT NOT NULL,
                finished_at TEXT, report TEXT NOT NULL DEFAULT '{}', host TEXT NOT NULL,
                pid BIGINT NOT NULL)""",
            "CREATE INDEX runs_by_campaign ON runs (campaign, pass, started_at)",
            """CREATE TABLE locks (
                name TEXT PRIMARY KEY, fence BIGINT NOT NULL, held INTEGER NOT NULL,
                host TEXT NOT NULL, pid BIGINT NOT NULL, process_start TEXT NOT NULL,
                pass TEXT NOT NULL, acquired_at TEXT NOT NULL, expires_at TEXT NOT NULL)""",
        ),
    ),
    (
        "0007_customers",
        (
            """CREATE TABLE crm_customers (
                tenant TEXT NOT NULL, customer_id BIGINT NOT NULL, name TEXT NOT NULL,
                type TEXT NOT NULL, active INTEGER NOT NULL, merged_to_id BIGINT NOT NULL,
                do_not_mail INTEGER NOT NULL, do_not_service INTEGER NOT NULL, tags TEXT NOT NULL,
                address TEXT NOT NULL, custom_fields TEXT NOT NULL, created_on TEXT NOT NULL,
                modified_on TEXT NOT NULL, change BIGINT NOT NULL,
                PRIMARY KEY (tenant, customer_id))""",
            "CREATE INDEX crm_customers_by_change ON crm_customers (tenant, change)",
            (
                "CREATE INDEX crm_customers_by_survivor ON crm_customers (tenant, merged_to_id) "
                "WHERE merged_to_id != 0"
            ),
            """CREATE TABLE crm_contacts (
                tenant TEXT NOT NULL, contact_id BIGINT NOT NULL, customer_id BIGINT NOT NULL,
                type TEXT NOT NULL, value TEXT NOT NULL, value_key TEXT NOT NULL,
                active INTEGER NOT NULL, marketing INTEGER NOT NULL, modified_on TEXT NOT NULL,
                change BIGINT NOT NULL, PRIMARY KEY (tenant, contact_id))""",
            "CREATE INDEX crm_contacts_by_customer ON crm_contacts (tenant, customer_id)",
            (
                "CREATE INDEX crm_contacts_by_value ON crm_contacts (tenant, value_key) "
                "WHERE value_key != ''"
            ),
            """CREATE TABLE crm_customer_jobs (
                tenant TEXT NOT NULL, customer_id BIGINT NOT NULL, last_at TEXT NOT NULL,
                PRIMARY KEY (tenant, customer_id))""",
            """CREATE TABLE crm_suppressions (
                tenant TEXT NOT NULL, email_key TEXT NOT NULL, active INTEGER NOT NULL,
                modified_on TEXT NOT NULL, PRIMARY KEY (tenant, email_key))""",
            "CREATE TABLE crm_changes (tenant TEXT PRIMARY KEY, last BIGINT NOT NULL)",
            """CREATE TABLE crm_canaries (
                tenant TEXT PRIMARY KEY, state TEXT NOT NULL, customer_id BIGINT NOT NULL,
                field_id BIGINT NOT NULL, before TEXT NOT NULL, changed_at TEXT NOT NULL)""",
        ),
    ),
    (
        "0008_enrolments",
        (
            """CREATE TABLE enrolments (
                campaign TEXT NOT NULL, customer_id BIGINT NOT NULL, tenant TEXT NOT NULL,
                state TEXT NOT NULL, reason TEXT NOT NULL DEFAULT '',
                email_key TEXT NOT NULL DEFAULT '', user_id BIGINT,
                sent TEXT NOT NULL DEFAULT '{}', update_due INTEGER NOT NULL DEFAULT 0,
                returned TEXT NOT NULL DEFAULT '{}', return_due INTEGER NOT NULL DEFAULT 0,
                recheck INTEGER NOT NULL DEFAULT 0, updated_at TEXT NOT NULL,
                PRIMARY KEY (campaign, customer_id))""",
            (
                "CREATE UNIQUE INDEX enrolments_by_email ON enrolments (campaign, email_key) "
                "WHERE email_key != ''"
            ),
            (
                "CREATE UNIQUE INDEX enrolments_by_user ON enrolments (campaign, user_id) "
                "WHERE user_id IS NOT NULL"
            ),
            "CREATE INDEX enrolments_by_person ON enrolments (user_id) WHERE user_id IS NOT NULL",
            "CREATE INDEX enrolments_by_customer ON enrolments (tenant, customer_id)",
            "CREATE INDEX enrolments_by_state ON enrolments (campaign, state, reason)",
            (
                "CREATE INDEX enrolments_to_recheck ON enrolments (campaign, customer_id) "
                "WHERE recheck != 0"
            ),
            (
                "CREATE INDEX enrolments_to_update ON enrolments (campaign, customer_id) "
                "WHERE update_due != 0"
            ),
            (
                "CREATE INDEX enrolments_to_return ON enrolments (campaign, customer_id) "
                "WHERE return_due != 0"
            ),
            """CREATE TABLE enrolment_progress (
                campaign TEXT PRIMARY KEY, tenant TEXT NOT NULL,
                rf_campaign_id BIGINT NOT NULL DEFAULT 0, position BIGINT NOT NULL,
                rule TEXT NOT NULL DEFAULT '', return_rule TEXT NOT NULL DEFAULT '',
                imported_at TEXT)""",
            "CREATE INDEX enrolment_progress_by_tenant ON enrolment_progress (tenant)",
        ),
    ),
    (
        "0009_people_by_email",
        (
            "ALTER TABLE people ADD COLUMN email_key TEXT NOT NULL DEFAULT ''",
            "ALTER TABLE people ADD COLUMN referrals BIGINT",
            "ALTER TABLE people ADD COLUMN qualified_referrals BIGINT",
            "ALTER TABLE people ADD COLUMN listed INTEGER NOT NULL DEFAULT 1",
            "UPDATE people SET email_key = lower(trim(email))",
            "CREATE INDEX people_by_email ON people (campaign_id, email_key)",
            "ALTER TABLE people_reads ADD COLUMN counts_at TEXT",
        ),
    ),
    (
        # The keys above are those of ASCII addresses: the next pass reads everybody anew.
        "0010_read_people_again",
        ("DELETE FROM people_reads",),
    ),
    (
        # A booking belongs to a person on a tenant, under whatever local name it was made; of rows
        # that two names wrote, the one that is nearest to a booking stays.
        "0011_bookings_by_tenant",
        (
            """CREATE TABLE booked (
                tenant TEXT NOT NULL, tab TEXT NOT NULL, rf_campaign_id BIGINT NOT NULL,
                user_id BIGINT NOT NULL, campaign TEXT NOT NULL, code TEXT NOT NULL,
                state TEXT NOT NULL, external_id TEXT NOT NULL DEFAULT '', booking_id BIGINT,
                job_id BIGINT, booked_on TEXT, draft TEXT NOT NULL DEFAULT '', doubt_since TEXT,
                look_up_job INTEGER NOT NULL DEFAULT 0, ignored TEXT NOT NULL DEFAULT '[]',
                run_id TEXT NOT NULL DEFAULT '', updated_at TEXT NOT NULL,
                PRIMARY KEY (tenant, tab, user_id))""",
            """INSERT INTO booked (tenant, tab, rf_campaign_id, user_id, campaign, code, state,
                external_id, booking_id, job_id, booked_on, draft, doubt_since, look_up_job, ignored,
                run_id, updated_at)
                SELECT l.tenant, l.tab, coalesce(p.campaign_id, c.rf_campaign_id, 0), l.user_id,
                l.campaign, l.code, l.state, l.external_id, l.booking_id, l.job_id, l.booked_on,
                l.draft, l.doubt_since, l.look_up_job, l.ignored, l.run_id, l.updated_at
                FROM ledger l LEFT JOIN people p ON p.user_id = l.user_id
                LEFT JOIN connections c ON c.campaign = l.campaign WHERE true
                ORDER BY CASE l.state WHEN 'booked' THEN 0 WHEN 'linked' THEN 1 WHEN 'in_doubt'
                THEN 2 WHEN 'intent' THEN 3 WHEN 'resend' THEN 4 ELSE 5 END, l.updated_at
                ON CONFLICT DO NOTHING""",
            "DROP TABLE ledger",
            "ALTER TABLE booked RENAME TO ledger",
            "CREATE INDEX ledger_by_booking ON ledger (tenant, booking_id)",
            "CREATE INDEX ledger_by_job ON ledger (tenant, job_id)",
            "CREATE INDEX ledger_by_external_id ON ledger (tenant, external_id)",
            (
                "CREATE INDEX ledger_by_state ON ledger (tenant, tab, rf_campaign_id, state, "
                "campaign)"
            ),
            """CREATE TABLE watched (
                campaign TEXT NOT NULL, tenant TEXT NOT NULL, user_id BIGINT NOT NULL,
                code TEXT NOT NULL, state TEXT NOT NULL, due INTEGER NOT NULL, evaluate_at TEXT,
                rule TEXT NOT NULL DEFAULT '', job_id BIGINT, reached_at TEXT,
                changed_at TEXT NOT NULL, PRIMARY KEY (campaign, tenant, user_id))""",
            """INSERT INTO watched (campaign, tenant, user_id, code, state, due, evaluate_at, rule,
                job_id, reached_at, changed_at)
                SELECT q.campaign, l.tenant, q.user_id, q.code, q.state, q.due, q.evaluate_at, q.rule,
                q.job_id, q.reached_at, q.changed_at FROM qualifications q JOIN ledger l
                ON l.user_id = q.user_id AND l.tab = 'leads' WHERE true ON CONFLICT DO NOTHING""",
            "DROP TABLE qualifications",
            "ALTER TABLE watched RENAME TO qualifications",
            (
                "CREATE INDEX qualifications_due ON qualifications "
                "(campaign, tenant, due, evaluate_at)"
            ),
            "CREATE INDEX qualifications_by_person ON qualifications (tenant, user_id)",
        ),
    ),
    (
        "0012_alarms",
        (
            """CREATE TABLE alarms (
                alarm TEXT PRIMARY KEY, campaign TEXT NOT NULL, told_at TEXT NOT NULL)""",
        ),
    ),
    # They are in a file of their own, because a damaged database is an alarm as well.
    ("0013_no_alarms", ("DROP TABLE alarms",)),
    (
        "0014_rate_slots",
        # Of all hosts; a home on one machine keeps them in a file of its own.
        (
            """CREATE TABLE rate_slots (
                key TEXT PRIMARY KEY, next_at REAL NOT NULL, paused_until REAL NOT NULL)""",
        ),
    ),
    (
        "0015_many_hosts",
        (
            """CREATE TABLE state_copies (
                copied_from TEXT PRIMARY KEY, began_at TEXT NOT NULL, finished_at TEXT)""",
            """CREATE TABLE database_identity (
                identity TEXT PRIMARY KEY, since TEXT)""",
            """CREATE TABLE accepted_files (
                campaign TEXT PRIMARY KEY, file_hash TEXT NOT NULL, accepted_at TEXT NOT NULL,
                accepted_by TEXT NOT NULL)""",
            """CREATE TABLE worker_turns (
                campaign TEXT PRIMARY KEY, deferred_at TEXT NOT NULL)""",
            "ALTER TABLE runs ADD COLUMN file_hash TEXT NOT NULL DEFAULT ''",
        ),
    ),
    (
        "0016_quiet_runs",
        # Every quarter of an hour for years: nothing is searched that is not asked for.
        (
            "ALTER TABLE runs ADD COLUMN eventful INTEGER NOT NULL DEFAULT 1",
            "CREATE INDEX runs_by_start ON runs (started_at, run_id)",
            "CREATE INDEX runs_eventful ON runs (campaign, started_at) WHERE eventful = 1",
            "CREATE INDEX runs_quiet ON runs (campaign, pass, started_at) WHERE eventful = 0",
        ),
    ),
)


Saver = Callable[[Transaction, Collection[str]], None]
"""Keeps what a transaction sees, whose database has these migrations, before they are added to."""


def migrate(
    database: Database,
    *,
    version: str,
    save: Saver | None = None,
    names: Collection[str] | None = None,
) -> None:
    """Bring the schema to this version's; safe when several processes try at once. What holds
    something already is handed to ``save`` before. ``names``: only these migrations."""
    with database.read() as connection:
        if not _missing(_applied(database, connection), names):
            return
    with database.write() as connection:
        # Looked at again under the lock: another process may have migrated in between.
        applied = _applied(database, connection)
        missing = _missing(applied, names)
        if applied and missing and save is not None:
            save(connection, applied)
        connection.execute(
            "CREATE TABLE IF NOT EXISTS schema_migrations "
            "(name TEXT PRIMARY KEY, applied_at TEXT NOT NULL, stcli_version TEXT NOT NULL)"
        )
        for name, statements in missing:
            for statement in statements:
                connection.execute(statement)
            connection.execute(
                "INSERT INTO schema_migrations VALUES (?, ?, ?)",
                (name, utc_text(datetime.now(UTC)), version),
            )


def _applied(database: Database, connection: Transaction) -> dict[str, str]:
    """Names of the migrations that the database had, each with the version that applied it."""
    if not database.has_table(connection, "schema_migrations"):
        return {}
    rows = connection.execute("SELECT name, stcli_version FROM schema_migrations")
    return {row[0]: row[1] for row in rows}


def _missing(
    applied: dict[str, str], wanted: Collection[str] | None
) -> list[tuple[str, tuple[str, ...]]]:
    """The migrations still to come; a database with unknown ones is refused."""
    names = {name for name, _ in MIGRATIONS}
    newer = [version for name, version in applied.items() if name not in names]
    if newer:
        needed = max(newer, key=_numbers)
        raise StateError(
            f"the state was written by stcli {needed}, which is newer than this one",
            f"Install stcli {needed} or later; an older version would lose what it cannot read.",
        )
    return [
        (name, statements)
        for name, statements in MIGRATIONS
        if name not in applied and (wanted is None or name in wanted)
    ]


def _numbers(version: str) -> tuple[int, ...]:
    return tuple(int(part) for part in re.findall(r"\d+", version))
