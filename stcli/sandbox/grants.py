"""Who may call the ServiceTitan side: app keys, grants of tenants to the app, access tokens.

A grant is one tenant's permission for the app: a client id and secret, the one booking provider
that it may write as, and its scopes.
"""

import hashlib
from dataclasses import dataclass
from datetime import datetime, timedelta

from stcli.sandbox.clock import VirtualClock

SCOPES = frozenset(
    f"tn.{resource}:{access}"
    for resource, accesses in (
        ("crm.bookings", "rw"),
        ("crm.bookingprovidertags", "r"),
        ("crm.customers", "rw"),
        ("jpm.jobs", "r"),
        ("jpm.jobtypes", "r"),
        ("stn.businessunits", "r"),
        ("stn.tagtypes", "r"),
        ("mrk.campaigns", "r"),
        ("mrk.suppressions", "r"),
    )
    for access in accesses
)


@dataclass(slots=True)
class Grant:
    client_id: str
    client_secret: str
    tenant_id: int
    booking_provider: int
    scopes: frozenset[str] = SCOPES
    granted: bool = True


@dataclass(frozen=True, slots=True)
class AccessToken:
    value: str
    client_id: str
    expires_at: datetime


class GrantBook:
    def __init__(self, seed: int, clock: VirtualClock, lifetime_seconds: int) -> None:
        self._clock = clock
        self._lifetime = timedelta(seconds=lifetime_seconds)
        self._salt = f"token-{seed}"
        self._issued = 0
        self.app_keys: set[str] = set()
        self.grants: dict[str, Grant] = {}
        self.tokens: dict[str, AccessToken] = {}

    @property
    def issued(self) -> int:
        return self._issued

    def issue(self, client_id: str, client_secret: str) -> AccessToken | None:
        """A new token, or None where id and secret do not belong together."""
        grant = self.grants.get(client_id)
        if grant is None or grant.client_secret != client_secret:
            return None
        self._issued += 1
        value = hashlib.sha256(f"{self._salt}-{client_id}-{self._issued}".encode()).hexdigest()
        token = AccessToken(f"at.{value}", client_id, self._clock.now() + self._lifetime)
        self.tokens[token.value] = token
        return token

    def grant_of(self, token: str | None) -> Grant | None:
        """The grant behind a living token."""
        known = self.tokens.get(token) if token else None
        if known is None or known.expires_at <= self._clock.now():
            return None
        return self.grants.get(known.client_id)

    def revoke_tokens(self) -> None:
        self.tokens.clear()
