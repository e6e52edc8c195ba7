"""The sync pass's own reading of customers and contacts, by itself: prints its seconds, and
how many records are stored at the end."""

from __future__ import annotations

import asyncio
import sys
import time
from datetime import UTC, datetime
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

from stcli.clients.ratelimit import RateLimiter
from stcli.clients.retry import RetryPolicy
from stcli.clients.servicetitan.client import ServiceTitanClient
from stcli.clients.slots import SlotFile
from stcli.domain.secret import Secret
from stcli.store.copies import saving
from stcli.store.migrations import migrate
from stcli.store.sqlite import open_sqlite
from stcli.store.state import State
from stcli.usecases.passes.concurrency import StateThread, StopSignal
from stcli.usecases.passes.feeds import customers_up_to_date
from stcli.usecases.passes.progress import Unwatched


async def read(url: str, tenant: int, folder: Path) -> tuple[float, int]:
    file = folder / "stcli.db"
    database = open_sqlite(file)
    migrate(database, version="0", save=saving(file, folder))
    in_state = StateThread()
    client = ServiceTitanClient(
        api_url=url,
        auth_url=url,
        tenant_id=tenant,
        provider_id=1,
        client_id="c",
        client_secret=Secret("s"),
        app_key=Secret("k"),
        limiter=RateLimiter(SlotFile(folder / "limits.db")),
        rate_per_second=10_000.0,
        tokens_folder=None,
        timeout_seconds=100.0,
        retry=RetryPolicy(),
    )
    async with client as crm:
        # Of a pass's context the reading uses no more than this.
        context = SimpleNamespace(
            crm=crm,
            state=State(database),
            in_state=in_state,
            stop=StopSignal(),
            progress=Unwatched(),
            tenant=f"production:{tenant}",
            now=lambda: datetime.now(UTC),
        )
        began = time.monotonic()
        await customers_up_to_date(cast("Any", context))
        took = time.monotonic() - began
    in_state.close()
    with database.read() as sql:
        stored = sql.execute(
            "SELECT (SELECT count(*) FROM crm_customers) + (SELECT count(*) FROM crm_contacts)"
        ).scalar_one()
    database.close()
    return took, int(stored)


if __name__ == "__main__":
    print(*asyncio.run(read(sys.argv[1], int(sys.argv[2]), Path(sys.argv[3]))))
