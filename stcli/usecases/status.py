"""Where every campaign stands: connection, tabs, last passes, open failures."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Protocol

from stcli.domain.campaign import CampaignConfig, Tab
from stcli.domain.connection import Connection, next_step
from stcli.domain.ids import CampaignName
from stcli.domain.mapping.validate import TabVerdict
from stcli.errors import ConfigurationError
from stcli.store.accepted import Accepted
from stcli.store.runs import Run
from stcli.store.state import State
from stcli.usecases.connection import waiting_text
from stcli.usecases.passes.subject import tenant_key
from stcli.usecases.readiness import TabStatus, tab_status
from stcli.usecases.report import SCHEMA_VERSION, instant


@dataclass(frozen=True, slots=True)
class CampaignStatus:
    name: CampaignName
    connection: Connection
    tabs: Mapping[Tab, TabStatus]
    last_runs: Mapping[str, Run]
    open_failures: int
    advice: str
    problem: str = ""
    working: tuple[str, datetime] | None = None
    held: int = 0
    held_until: datetime | None = None
    in_doubt: int = 0
    other_file: Accepted | None = None
    """The file that all hosts are to run with, where this host has another one."""


class LoadedFile(Protocol):
    """A campaign file that was read."""

    @property
    def config(self) -> CampaignConfig: ...
    @property
    def verdicts(self) -> Mapping[Tab, TabVerdict]: ...
    @property
    def file_hash(self) -> str: ...


def campaign_status(
    name: CampaignName,
    load: Callable[[CampaignName], LoadedFile],
    state: State | None,
    now: datetime,
    working: Callable[[CampaignName], tuple[str, datetime] | None],
) -> CampaignStatus:
    """One campaign; a file that cannot be read is told, not raised, so that status always answers."""
    from stcli.domain.connection import State as ConnectionState

    connection = (
        Connection(name, ConnectionState.NOT_CONNECTED)
        if state is None
        else state.connections.get(name)
    )
    tabs: dict[Tab, TabStatus] = {}
    problem = ""
    held, held_until, in_doubt = 0, None, 0
    other_file: Accepted | None = None
    try:
        loaded = load(name)
        config = loaded.config
        tabs = tab_status(config, loaded.verdicts)
        if state is not None:
            held, held_until = state.qualifications.held(name, tenant_key(config))
            in_doubt = state.ledger.count_in_doubt(name, tenant_key(config))
            other_file = state.accepted.other_than(name, loaded.file_hash)
    except ConfigurationError as error:
        problem = error.message
    advice = waiting_text(connection, now) or next_step(connection)
    if connection.shown_state is ConnectionState.CONNECTED:
        advice = ""
    if connection.attention:
        advice = f"the last call was refused: {connection.attention}. {advice}"
    return CampaignStatus(
        name,
        connection,
        tabs,
        {} if state is None else state.runs.last(name),
        0 if state is None else state.failures.open_count(name),
        advice,
        problem,
        working=None if state is None else working(name),
        held=held,
        held_until=held_until,
        in_doubt=in_doubt,
        other_file=other_file,
    )


@dataclass(frozen=True, slots=True)
class ScheduleStatus:
    """What calls the passes: in words, and when next; ``problem``: why that cannot be told, or what
    else calls them."""

    text: str = ""
    next_run: datetime | None = None
    problem: str = ""


def status_document(
    campaigns: Sequence[CampaignStatus], schedule: ScheduleStatus
) -> dict[str, object]:
    return {
        "schema_version": SCHEMA_VERSION,
        "schedule": {
            "installed": bool(schedule.text),
            "next_run": instant(schedule.next_run),
            **({"problem": schedule.problem} if schedule.problem else {}),
        },
        "campaigns": [
            {
                "campaign": c.name,
                "connection": c.connection.shown_state.value,
                "tenant_id": c.connection.tenant_id,
                "environment": c.connection.environment.value,
                "tabs": {
                    tab.value: {"action": t.action, "ready": t.ready, "missing": list(t.missing)}
                    for tab, t in c.tabs.items()
                },
                "last_runs": {
                    kind: {
                        "run_id": run.run_id,
                        "status": run.status,
                        "exit_code": run.exit_code,
                        "started_at": instant(run.started_at),
                        "finished_at": instant(run.finished_at),
                        "counts": run.report.get("counts", {}),
                    }
                    for kind, run in c.last_runs.items()
                },
                "open_failures": c.open_failures,
                "running": None
                if c.working is None
                else {"by": c.working[0], "since": instant(c.working[1])},
                "held": {"leads": c.held, "until": instant(c.held_until)},
                "in_doubt": c.in_doubt,
                "advice": c.advice,
                **({"problem": c.problem} if c.problem else {}),
                **({} if c.other_file is None else {"file_accepted": False}),
            }
            for c in campaigns
        ],
    }
