"""Everything that a support person would ask, as checks that go on past what is broken."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterator
from contextlib import AbstractAsyncContextManager, contextmanager
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from enum import StrEnum
from typing import TYPE_CHECKING

from stcli.domain.campaign import CampaignConfig, ExistingCustomers, Tab, in_use
from stcli.domain.connection import Proof
from stcli.domain.connection import State as ConnectionState
from stcli.domain.outcome import PassKind
from stcli.domain.secret import Secret
from stcli.errors import ConfigurationError, CredentialsRefused, ExitCode, StcliError
from stcli.store.state import State
from stcli.usecases.campaign_lookup import find_campaign
from stcli.usecases.connection import prove
from stcli.usecases.passes.subject import Subject, passes_in_use, refuse_unready
from stcli.usecases.ports import CrmGateway, ReferralGateway
from stcli.usecases.report import SCHEMA_VERSION

if TYPE_CHECKING:
    from stcli.usecases.connection import OpenCrm

SKEW_SECONDS = 60.0
"""So much the clocks may differ: ``since`` and ``hold_days`` are days, tokens live for 15 minutes."""
OLD_RUN = timedelta(days=2)
LONG_HELD = timedelta(hours=2)


class Health(StrEnum):
    OK = "ok"
    WARNING = "warning"
    FAILED = "failed"


@dataclass(frozen=True, slots=True)
class Check:
    """One line: what was looked at, what was found, and the next step."""

    name: str
    status: Health
    message: str
    hint: str = ""
    exit_code: ExitCode = ExitCode.DONE


@dataclass(slots=True)
class Examination:
    """Collects checks in their order."""

    checks: list[Check] = field(default_factory=list)

    def ok(self, name: str, message: str) -> None:
        self.checks.append(Check(name, Health.OK, message))

    def warn(self, name: str, message: str, hint: str) -> None:
        self.checks.append(Check(name, Health.WARNING, message, hint))

    def fail(self, name: str, error: StcliError) -> None:
        hint = error.hint
        if isinstance(error, ConfigurationError) and error.problems:
            first = error.problems[0]
            hint = f"{first}. {hint}" if hint else str(first)
        self.checks.append(Check(name, Health.FAILED, error.message, hint, error.exit_code))

    @contextmanager
    def attempt(self, name: str) -> Iterator[None]:
        """What is raised becomes a failed check of this name."""
        try:
            yield
        except StcliError as error:
            if error.exit_code in (ExitCode.INTERRUPTED, ExitCode.TERMINATED):
                raise
            self.fail(name, error)

    def is_healthy(self, *names: str) -> bool:
        """Whether none of these failed."""
        return not any(c.status is Health.FAILED and c.name in names for c in self.checks)

    @property
    def exit_code(self) -> ExitCode:
        """Of the first that failed; warnings are no failures."""
        failed = (c.exit_code for c in self.checks if c.status is Health.FAILED)
        return next(failed, ExitCode.DONE)

    def document(self) -> dict[str, object]:
        return {
            "schema_version": SCHEMA_VERSION,
            "checks": [
                {
                    "name": c.name,
                    "status": c.status.value,
                    "message": c.message,
                    "hint": c.hint,
                    "exit_code": int(c.exit_code),
                }
                for c in self.checks
            ],
        }


def check_skew(found: Examination, system: str, ahead_seconds: float | None) -> None:
    """Whether our clock agrees with a server's; nothing is said where it did not tell the time."""
    if ahead_seconds is None:
        return
    name = f"clock against {system}"
    if abs(ahead_seconds) <= SKEW_SECONDS:
        found.ok(name, "within a minute")
        return
    direction = "behind" if ahead_seconds > 0 else "ahead of"
    found.warn(
        name,
        f"this machine's clock is {abs(ahead_seconds):.0f} s {direction} {system}'s",
        "Set the clock, or let ntp do so: since:, hold_days: and tokens go by it.",
    )


async def check_account(
    found: Examination, opened: Callable[[], AbstractAsyncContextManager[ReferralGateway]]
) -> None:
    """Referral Factory: is it reached, is the token good, and do the clocks agree."""
    with found.attempt("Referral Factory"):
        async with opened() as referral:
            campaigns = await referral.campaigns()
            found.ok(
                "Referral Factory",
                f"reached, and the token is good: {len(campaigns)} campaign"
                + ("" if len(campaigns) == 1 else "s"),
            )
            check_skew(found, "Referral Factory", referral.clock_ahead_seconds)


def check_settings(found: Examination, subject: Subject, state: State) -> bool:
    """Connection and mappings, as the passes see them; answers whether the connection stands."""
    name = subject.name
    connection = state.connections.get(name)
    kinds = passes_in_use(subject.config)
    if connection.attention:
        found.warn(
            f"{name}: last call",
            f"was refused: {connection.attention}",
            "The checks below tell whether it still is.",
        )
    if not kinds:
        found.warn(
            f"{name}: passes",
            "no pass is in use",
            "Switch one on: stcli action, stcli qualify set or stcli sync setup",
        )
    is_connected = connection.state is ConnectionState.CONNECTED and (
        subject.config.proof == connection.proof
    )
    if not is_connected:
        with found.attempt(f"{name}: connection"):
            refuse_unready(connection, subject, PassKind.QUALIFY)
        return False
    found.ok(f"{name}: connection", f"connected to tenant {connection.tenant_id}")
    for kind in kinds:
        before = len(found.checks)
        with found.attempt(f"{name}: {kind.value}"):
            refuse_unready(connection, subject, kind)
        if len(found.checks) == before:
            found.ok(f"{name}: {kind.value}", "ready")
    return True


async def check_campaign(
    found: Examination, subject: Subject, opened: AbstractAsyncContextManager[ReferralGateway]
) -> None:
    """The campaign in Referral Factory: is it there, and does it run."""
    name = f"{subject.name}: campaign"
    with found.attempt(name):
        async with opened as referral:
            campaign = await find_campaign(referral, subject.config)
        if campaign.status and campaign.status != "launched":
            found.warn(
                name,
                f"{campaign.code} is {campaign.status} in Referral Factory",
                "Nobody can join, and the sync enrols nobody, until it is launched there.",
            )
        else:
            found.ok(name, f"{campaign.code} is {campaign.status or 'there'}")


async def check_tenant(
    found: Examination,
    subject: Subject,
    proof: Proof,
    secret: Secret,
    open_crm: OpenCrm,
    now: datetime,
) -> None:
    """ServiceTitan: token, app key, tenant and provider as ``finalize`` proves them, then scopes."""
    name = f"{subject.name}: ServiceTitan"
    with found.attempt(name):
        remark = await prove(proof, secret, open_crm)
        said = f"client id, secret, app key, tenant {proof.tenant_id} and booking provider are good"
        if remark:
            found.warn(name, remark, "Nothing needs to be done.")
        else:
            found.ok(name, said)
    if not found.is_healthy(name):
        return
    with found.attempt(f"{subject.name}: scopes"):
        async with open_crm(proof, secret) as crm:
            await _check_scopes(found, subject, crm, now)
            check_skew(found, "ServiceTitan", crm.clock_ahead_seconds)


Read = tuple[str, Callable[[CrmGateway], Awaitable[object]]]


def needed_reads(config: CampaignConfig, now: datetime) -> list[Read]:
    """What the passes in use read of ServiceTitan, each once; feeds from now on, so that little
    comes."""
    here = f"{now:%Y-%m-%dT%H:%M:%SZ}"
    reads: dict[str, Callable[[CrmGateway], Awaitable[object]]] = {}
    tabs = in_use(config)
    if Tab.LEADS in tabs or Tab.REFERRERS in tabs:
        reads["bookings feed"] = lambda crm: crm.bookings_feed(here)
        asks_customers = any(
            config.booking_tab(tab).existing_customers is not ExistingCustomers.SEND
            for tab in (Tab.LEADS, Tab.REFERRERS)
            if tab in tabs
        )
        if asks_customers:
            reads["customers feed"] = lambda crm: crm.customers_feed(here)
            reads["contacts feed"] = lambda crm: crm.contacts_feed(here)
    if PassKind.QUALIFY in passes_in_use(config):
        reads["bookings feed"] = lambda crm: crm.bookings_feed(here)
        reads["jobs feed"] = lambda crm: crm.jobs_feed(here)
        reads["job history feed"] = lambda crm: crm.job_history_feed(here)
    if config.sync is not None:
        reads["customers feed"] = lambda crm: crm.customers_feed(here)
        reads["contacts feed"] = lambda crm: crm.contacts_feed(here)
        if config.consent.suppressions != "ignore":
            reads["suppressions"] = lambda crm: crm.suppressions(now)
        if config.sync.return_fields:
            reads["custom fields of customers"] = lambda crm: crm.custom_fields()
    return list(reads.items())


async def _check_scopes(
    found: Examination, subject: Subject, crm: CrmGateway, now: datetime
) -> None:
    name = f"{subject.name}: scopes"
    refused: list[str] = []
    reads = needed_reads(subject.config, now)
    for what, read in reads:
        try:
            await read(crm)
        except CredentialsRefused as error:
            if error.status != 403:
                raise
            refused.append(what)
    if refused:
        raise CredentialsRefused(
            "ServiceTitan does not let this app read: " + ", ".join(refused),
            "Ask the app's owner for these scopes in the developer portal; then the tenant "
            "reconnects the app under API Application Access.",
            status=403,
        )
    if reads:
        found.ok(name, "granted: " + ", ".join(what for what, _ in reads))


def check_work(found: Examination, subject: Subject, state: State, now: datetime) -> None:
    """What the passes did: the last of each kind, what failed, who holds the lock."""
    name = subject.name
    last = state.runs.last(name)
    for kind in passes_in_use(subject.config):
        run = last.get(kind.value)
        label = f"{name}: last {kind.value}"
        if run is None:
            found.warn(label, "never ran", f"Try it: stcli run {name} --dry-run")
        elif run.status not in ("succeeded", "partial", "running"):
            found.warn(
                label,
                f"{run.status} at {run.started_at:%Y-%m-%d %H:%M} UTC",
                f"See: stcli history show {run.run_id}",
            )
        elif now - run.started_at > OLD_RUN:
            found.warn(
                label,
                f"was on {run.started_at:%Y-%m-%d %H:%M} UTC, more than two days ago",
                "See whether something calls it: stcli schedule status",
            )
        else:
            found.ok(label, f"{run.status} at {run.started_at:%Y-%m-%d %H:%M} UTC")
    failures = state.failures.open_count(name)
    if failures:
        found.warn(
            f"{name}: failures",
            f"{failures} record{'s' if failures > 1 else ''} failed and wait",
            f"See: stcli failures list {name}",
        )


def check_lock(
    found: Examination, name: str, held: tuple[str, datetime] | None, now: datetime
) -> None:
    """Whether a pass is at work, and whether it is stuck."""
    if held is None:
        return
    who, since = held
    if now - since > LONG_HELD:
        found.warn(
            f"{name}: lock",
            f"held by {who} since {since:%Y-%m-%d %H:%M} UTC",
            "If that process hangs, end it: the next run takes the lock over.",
        )
    else:
        found.ok(f"{name}: lock", f"{who} is at work since {since:%Y-%m-%d %H:%M} UTC")
