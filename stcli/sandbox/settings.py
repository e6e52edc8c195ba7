"""Every knob of the sandbox, and the secrets it hands out.

Nothing here reads the environment or a file: what a sandbox does follows from these values alone,
so that two sandboxes with equal settings hold equal data (times excepted).
"""

import random
from dataclasses import dataclass
from typing import Literal

TENANT_ID = 985798691
BOOKING_PROVIDER_ID = 4521
OTHER_BOOKING_PROVIDER_ID = 7788

RetryAfterForm = Literal["seconds", "date"]


@dataclass(frozen=True, slots=True)
class SandboxSettings:
    """How much data there is, how strict the servers are, and which of two habits they show."""

    seed: int = 1
    leads: int = 12
    customers: int = 24
    more_campaigns: int = 0
    """Campaigns beside the known two, each with as many leads as the first: ``campaign-1`` and on."""

    st_requests_per_window: int = 60
    st_window_seconds: float = 1.0
    rf_requests_per_window: int = 600
    rf_window_seconds: float = 60.0
    rf_abuses_before_block: int = 3
    rf_block_seconds: float = 600.0
    token_requests_per_window: int = 10
    token_window_seconds: float = 60.0
    token_lifetime_seconds: int = 900
    retry_after: RetryAfterForm = "seconds"

    # How long an answer takes: log-normal, half of them longer than the median, two of a hundred
    # longer than the second value, none longer than the third. A median of 0: at once.
    latency_median_seconds: float = 0.0
    latency_p98_seconds: float = 0.0
    latency_longest_seconds: float = 25.0

    feed_lag_seconds: float = 60.0
    feed_page_size: int = 1000
    # The documents leave open whether an item of the history feed holds the whole history of a
    # job or only what is new, so a reader has to bear both.
    history_feed_items: Literal["job", "event"] = "job"

    rf_users_order: Literal["oldest", "newest"] = "oldest"
    foreign_provider_status: Literal[400, 403, 404] = 400
    # The documents do not say that unlisted custom fields survive a PATCH; "replace" is the
    # server that a careful client must notice.
    custom_fields_patch: Literal["merge", "replace"] = "merge"

    request_log_size: int = 500


@dataclass(frozen=True, slots=True)
class Credentials:
    """What an operator of the sample tenant would type in; all made up, all reproducible."""

    rf_token: str
    app_key: str
    client_id: str
    client_secret: str
    tenant_id: int
    booking_provider: int

    @classmethod
    def from_seed(cls, seed: int) -> "Credentials":
        source = random.Random(f"credentials-{seed}")  # noqa: S311 - sample data, no protection
        return cls(
            rf_token=f"rf-{source.randbytes(16).hex()}",
            app_key=f"ak1.{source.randbytes(12).hex()}",
            client_id=f"cid.{source.randbytes(8).hex()}",
            client_secret=f"cs1.{source.randbytes(20).hex()}",
            tenant_id=TENANT_ID,
            booking_provider=BOOKING_PROVIDER_ID,
        )
