"""Which secret is wanted, and what each source calls it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

KEYRING_SERVICE = "stcli"


@dataclass(frozen=True, slots=True)
class Grant:
    """Whose client secret: one tenant's grant of the app, in one environment."""

    environment: str
    tenant_id: int
    client_id: str


@dataclass(frozen=True, slots=True)
class SecretRequest:
    """A secret with its names. ``variables`` and ``credentials``: the most specific first."""

    key: str
    label: str
    variables: tuple[str, ...]
    credentials: tuple[str, ...]
    stored_as: str


RF_TOKEN = SecretRequest(
    "rf_token",
    "Referral Factory token",
    ("STCLI_RF_TOKEN",),
    ("stcli-rf-token",),
    "referral-factory-token",
)
APP_KEY = SecretRequest(
    "st_app_key",
    "ServiceTitan app key",
    ("STCLI_ST_APP_KEY",),
    ("stcli-st-app-key",),
    "servicetitan-app-key",
)


def client_secret(campaign: str, grant: Grant) -> SecretRequest:
    """The client secret of a campaign's grant; a variable of the campaign's own wins."""
    name = campaign.upper().replace("-", "_")
    return SecretRequest(
        "st_client_secret",
        "ServiceTitan client secret",
        (f"STCLI_ST_CLIENT_SECRET__{name}", "STCLI_ST_CLIENT_SECRET"),
        (f"stcli-st-client-secret.{campaign}", "stcli-st-client-secret"),
        f"servicetitan-client-secret {grant.environment} {grant.tenant_id} {grant.client_id}",
    )


def ways(request: SecretRequest, *, stored_by: str) -> Sequence[str]:
    """All the ways to give this secret, for an error."""
    return (
        f"the variable {request.variables[-1]}",
        f"a file named by {request.variables[-1]}_FILE",
        f"the systemd credential {request.credentials[-1]}",
        f"a command (secrets: {request.key} in settings.yaml)",
        f"the keyring ({stored_by})",
    )
