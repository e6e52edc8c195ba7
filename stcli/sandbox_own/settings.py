"""Everything about a sandbox that a test or a person may choose."""

from __future__ import annotations

from dataclasses import dataclass, field


@dataclass(frozen=True, slots=True)
class Credentials:
    """What the sandbox accepts. Made up, and good for nothing else."""

    rf_token: str = "sandbox-rf-token"  # noqa: S105 - of the sandbox only
    app_key: str = "ak1.sandbox"
    client_id: str = "cid.sandbox"
    client_secret: str = "cs1.sandbox"  # noqa: S105 - of the sandbox only
    tenant_id: int = 985798691
    booking_provider: int = 4521


@dataclass(frozen=True, slots=True)
class SandboxSettings:
    """``feed_lag_seconds``: how young a change must be for the feeds to hide it (or repeat it, when
    recent changes are asked for). ``newest_first``: the order of Referral Factory's user list."""

    seed: int = 1
    leads: int = 12
    referrers: int = 6
    st_per_second: int = 60
    rf_per_minute: int = 600
    feed_lag_seconds: float = 60.0
    feed_page: int = 1000
    newest_first: bool = False
    token_seconds: float = 900.0
    credentials: Credentials = field(default_factory=Credentials)
