"""The steps of a connection's life, from asking for it to giving it up.

``finalize`` proves every value with calls of its own before it stores any, so that a connection that
is called connected has worked once, whole.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass, replace
from datetime import datetime
from typing import TYPE_CHECKING, Protocol

from stcli.domain.campaign import CampaignConfig
from stcli.domain.connection import (
    ESCALATE_AFTER_BUSINESS_DAYS,
    Connection,
    Environment,
    Proof,
    State,
    Step,
    after,
    business_days,
    describe,
)
from stcli.domain.ids import CampaignName, ProviderId, TenantId
from stcli.domain.nearest import suggestion
from stcli.errors import (
    ApiError,
    ConfigurationError,
    CredentialsRefused,
    IllegalTransition,
    RecordNotFound,
    RecordRejected,
    UsageError,
)

if TYPE_CHECKING:
    from stcli.domain.records import Booking
    from stcli.domain.secret import Secret
    from stcli.store.connections import Connections
    from stcli.usecases.ports import CrmGateway, ReferralGateway

    OpenCrm = Callable[[Proof, Secret], AbstractAsyncContextManager[CrmGateway]]

WHERE_THE_TENANT_ID_IS = (
    "It is the number in the top-right corner of ServiceTitan's "
    "Settings > Integrations > API Application Access."
)


class Files(Protocol):
    """What the steps need of the campaign files."""

    def exists(self, name: CampaignName) -> bool: ...

    def settings_of(self, name: CampaignName) -> CampaignConfig: ...

    def begin(
        self, name: CampaignName, *, referral_campaign: str, tenant_id: int, environment: str
    ) -> None: ...

    def change(self, name: CampaignName, values: Mapping[tuple[str | int, ...], object]) -> str: ...

    def remove(self, name: CampaignName) -> None: ...


class Grants(Protocol):
    """What the steps need of the secrets: those of one tenant's grant."""

    def forget(self, campaign: CampaignName, proof: Proof) -> str:
        """Forget a stored client secret; answers what kept it from being forgotten, or nothing."""
        ...


@dataclass(frozen=True, slots=True)
class Submitted:
    """What ``connect`` did: the connection, whether it is new, whether a file was begun."""

    connection: Connection
    is_new: bool
    file_begun: bool


def parse_tenant_id(text: str) -> TenantId:
    """A tenant id is digits only."""
    cleaned = text.strip()
    if not (cleaned.isascii() and cleaned.isdigit() and 0 < int(cleaned[:20]) < 2**63):
        raise UsageError(f"{text!r} is not a tenant id: digits only", WHERE_THE_TENANT_ID_IS)
    return TenantId(int(cleaned))


def parse_provider(text: str) -> ProviderId:
    """The "Allowed booking_provider value" is a number."""
    cleaned = text.strip()
    if not (cleaned.isascii() and cleaned.isdigit() and 0 < int(cleaned[:20]) < 2**63):
        raise UsageError(
            f"{text!r} is not a booking provider value: digits only",
            "It is the \"Allowed 'booking_provider' value\" of the Application Details page in "
            "ServiceTitan.",
        )
    return ProviderId(int(cleaned))


def connect(
    name: CampaignName,
    tenant: TenantId,
    *,
    referral_campaign: str | None,
    environment: Environment,
    connections: Connections,
    files: Files,
    actor: str,
    now: datetime,
) -> Submitted:
    """Submit the request to connect a campaign to a tenant; the same again changes nothing."""
    before = connections.get(name)
    if before.state in (State.PENDING, State.FINALIZE, State.CONNECTED):
        if (before.tenant_id, before.environment) == (tenant, environment):
            return Submitted(before, is_new=False, file_begun=False)
        raise IllegalTransition(
            f"{name} is {describe(before.state)} with tenant {before.tenant_id} "
            f"({before.environment.value})",
            f"To connect another tenant, first run: stcli disconnect {name}",
        )
    state = after(before, Step.CONNECT)
    begun = _prepare_file(name, tenant, environment, referral_campaign, files)
    connection = Connection(
        campaign=name,
        state=state,
        tenant_id=tenant,
        environment=environment,
        requested_at=now,
    )
    connections.save(
        connection, step=Step.CONNECT, before=before.state, actor=actor, note="", now=now
    )
    return Submitted(connection, is_new=True, file_begun=begun)


def _prepare_file(
    name: CampaignName,
    tenant: TenantId,
    environment: Environment,
    referral_campaign: str | None,
    files: Files,
) -> bool:
    """Begin the campaign file, or bring the tenant in an existing one up to date."""
    if not files.exists(name):
        files.begin(
            name,
            referral_campaign=referral_campaign or name,
            tenant_id=tenant,
            environment=environment.value,
        )
        return True
    settings = files.settings_of(name)
    values: dict[tuple[str | int, ...], object] = {}
    if settings.servicetitan.tenant_id != tenant:
        values["servicetitan", "tenant_id"] = tenant
    if settings.servicetitan.environment is not environment:
        values["servicetitan", "environment"] = environment.value
    if referral_campaign is not None and settings.referral_campaign != referral_campaign:
        values["referral_campaign",] = referral_campaign
    if values:
        files.change(name, values)
    return False


async def check_referral_campaign(identifier: str, referral: ReferralGateway) -> None:
    """Refuse a campaign that the account does not have, with the nearest that it has."""
    try:
        await referral.campaign(identifier)
    except RecordNotFound:
        codes = [campaign.code for campaign in await referral.campaigns()]
        raise ConfigurationError(
            f"Referral Factory has no campaign {identifier!r}",
            suggestion(identifier, codes) or "Name one of them: stcli campaigns",
        ) from None


def decide(
    name: CampaignName,
    step: Step,
    *,
    reason: str,
    connections: Connections,
    actor: str,
    now: datetime,
) -> Connection:
    """Approve or reject a request."""
    before = connections.get(name)
    state = after(before, step)
    decided = replace(before, state=state, decided_at=now, decided_by=actor, reason=reason)
    connections.save(
        decided, step=step.value, before=before.state, actor=actor, note=reason, now=now
    )
    return decided


def waiting_text(connection: Connection, now: datetime) -> str:
    """How long a request is waiting, and how to escalate one that waits too long."""
    if connection.state is not State.PENDING or connection.requested_at is None:
        return ""
    days = business_days(connection.requested_at, now)
    age = f"waiting for {days} business day{'' if days == 1 else 's'}"
    if days > ESCALATE_AFTER_BUSINESS_DAYS:
        return (
            f"{age}; approval typically takes one to two. Ask the owner of the ServiceTitan app "
            f"to run: stcli requests approve {connection.campaign}"
        )
    return age


def refuse_unless(connection: Connection, step: Step) -> None:
    """Raise before anybody is asked for anything if the step is not possible now."""
    after(connection, step)


def refuse_other_tenant(connection: Connection, proof: Proof) -> None:
    """What was approved is one tenant; a file that names another one needs a request of its own."""
    if (connection.tenant_id, connection.environment) == (proof.tenant_id, proof.environment):
        return
    raise IllegalTransition(
        f"{connection.campaign} was approved for tenant {connection.tenant_id} "
        f"({connection.environment.value}), and its file names {proof.tenant_id} "
        f"({proof.environment.value})",
        f"Put the old value back, or: stcli disconnect {connection.campaign}, then connect again.",
    )


async def prove(proof: Proof, secret: Secret, open_crm: OpenCrm) -> str:
    """Prove token, app key, tenant and booking provider, in this order, each with a call.

    Raises ``CredentialsRefused`` saying which one was refused. Answers a note where something could
    only be proved in part, else empty text.
    """
    async with open_crm(proof, secret) as crm:
        try:
            await crm.fresh_token()
        except CredentialsRefused as error:
            raise _refused(
                "the client id or the client secret was refused",
                "Copy both again from the Application Details page; a new secret can be generated "
                f"there. Check too that the tenant lives in {proof.environment.value}.",
                error,
            ) from error
        try:
            await crm.first_booking()
        except CredentialsRefused as error:
            if error.status == 403:
                raise _refused(
                    f"tenant {proof.tenant_id} has not granted this app access to its bookings",
                    "In ServiceTitan, connect the app under API Application Access and allow "
                    "bookings; the app's owner must have added the tenant id in the developer "
                    "portal.",
                    error,
                ) from error
            raise _refused(
                "the ST app key was refused",
                "Store the key of the app that the tenant connected: stcli auth login",
                error,
            ) from error
        return await _prove_provider(proof, crm)


async def _prove_provider(proof: Proof, crm: CrmGateway) -> str:
    provider = proof.booking_provider
    refusal = f"booking provider {provider} was refused"
    hint = (
        "Copy the \"Allowed 'booking_provider' value\" again from the Application Details page "
        "in ServiceTitan."
    )
    try:
        booking: Booking | None = await crm.first_booking_of_provider(provider)
    except (CredentialsRefused, RecordRejected, RecordNotFound) as error:
        if isinstance(error, CredentialsRefused) and error.status == 401:
            raise
        raise _refused(refusal, hint, error) from error
    if booking is not None:
        if booking.provider_id != provider:
            raise CredentialsRefused(
                f"{refusal}: ServiceTitan answered with provider {booking.provider_id}", hint
            )
        return ""
    try:
        tags = await crm.booking_provider_tags()
    except (CredentialsRefused, RecordRejected, RecordNotFound):
        return (
            f"booking provider {provider} has no booking yet and its tag cannot be read, so the "
            "first booking will prove it"
        )
    if all(tag.id != provider for tag in tags):
        raise CredentialsRefused(f"{refusal}: ServiceTitan has no such provider", hint)
    return ""


def _refused(message: str, hint: str, error: ApiError) -> CredentialsRefused:
    return CredentialsRefused(message, hint, status=error.status, trace_id=error.trace_id)


def finish(
    name: CampaignName,
    proof: Proof,
    *,
    connections: Connections,
    files: Files,
    actor: str,
    now: datetime,
) -> Connection:
    """Write the proved values to the campaign file and the state."""
    before = connections.get(name)
    state = after(before, Step.FINALIZE)
    values: dict[tuple[str | int, ...], object] = {
        ("servicetitan", "client_id"): proof.client_id,
        ("servicetitan", "booking_provider"): proof.booking_provider,
    }
    settings = files.settings_of(name).servicetitan
    if (settings.client_id, settings.booking_provider) != (proof.client_id, proof.booking_provider):
        files.change(name, values)
    connected = replace(before, state=state, connected_at=now, proof=proof, attention="")
    connections.save(
        connected, step=Step.FINALIZE, before=before.state, actor=actor, note="", now=now
    )
    return connected


def disconnect(
    name: CampaignName,
    *,
    purge: bool,
    connections: Connections,
    files: Files,
    grants: Grants,
    actor: str,
    now: datetime,
) -> tuple[Connection, str]:
    """Give a connection up; answers also what could not be forgotten.

    The secret is forgotten unless another campaign uses it; mappings and history stay unless
    ``purge``.
    """
    before = connections.get(name)
    state = after(before, Step.DISCONNECT)
    proof = before.proof
    left = ""
    others = [other for other in connections.all() if other.campaign != name]
    if proof is not None and not any(_same_grant(other.proof, proof) for other in others):
        left = grants.forget(name, proof)
    gone = replace(before, state=state, proof=None, attention="", connected_at=None)
    if purge:
        connections.purge(name)
        files.remove(name)
    else:
        connections.save(
            gone, step=Step.DISCONNECT, before=before.state, actor=actor, note="", now=now
        )
    return gone, left


def _same_grant(one: Proof | None, other: Proof) -> bool:
    return one is not None and (one.environment, one.tenant_id, one.client_id) == (
        other.environment,
        other.tenant_id,
        other.client_id,
    )
