"""The campaign a pass works on, which passes it has, and what keeps one of them from running."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import datetime

from stcli.domain.campaign import Action, CampaignConfig, Method, SyncType, Tab
from stcli.domain.connection import Connection, State, describe, next_step
from stcli.domain.ids import CampaignName
from stcli.domain.mapping.validate import TabVerdict
from stcli.domain.outcome import PassKind
from stcli.errors import ConfigurationError, NotConnected, Problem, SetupRequired
from stcli.store.state import State as StoredState


@dataclass(frozen=True, slots=True)
class Subject:
    """The campaign a pass works on: its settings and what the catalogue says of them."""

    name: CampaignName
    config: CampaignConfig
    verdicts: dict[Tab, TabVerdict]
    problems: Callable[[Tab], Sequence[Problem]]
    file_hash: str
    """SHA-256 of the campaign file, in hexadecimal."""


def tenant_key(config: CampaignConfig) -> str:
    """Names a tenant in the state: production and integration may use the same number."""
    return f"{config.servicetitan.environment.value}:{config.servicetitan.tenant_id}"


def passes_in_use(config: CampaignConfig, *, is_imported: bool = False) -> list[PassKind]:
    """The passes of ``run``, in its order. ``is_imported``: the one-time sync was done, and has
    nothing to do any more."""
    kinds: list[PassKind] = []
    if config.sync is not None and not (is_imported and config.sync.type is SyncType.ONE_TIME):
        kinds.append(PassKind.SYNC)
    if config.leads.action is Action.CREATE_BOOKING:
        kinds.append(PassKind.LEADS)
    if config.referrers.action is Action.CREATE_BOOKING:
        kinds.append(PassKind.REFERRERS)
    if config.qualification.method is not Method.DO_NOT_QUALIFY:
        kinds.append(PassKind.QUALIFY)
    if config.sync is not None and config.sync.return_fields:
        kinds.append(PassKind.RETURN)
    return kinds


def refuse_unready(connection: Connection, subject: Subject, kind: PassKind) -> None:
    """Raise what keeps a pass from running: the connection first, then the settings."""
    name = subject.name
    if connection.state is not State.CONNECTED:
        raise NotConnected(f"{name} is {describe(connection.state)}", next_step(connection))
    if connection.proof is None or subject.config.proof != connection.proof:
        raise NotConnected(
            f"the campaign file of {name} no longer says what finalize proved "
            f"({', '.join(_differences(connection, subject.config)) or 'its connection values'})",
            f"Put the old value back, or prove the new one with: stcli finalize {name}",
        )
    if kind in (PassKind.LEADS, PassKind.REFERRERS):
        _refuse_unmapped(subject, Tab(kind.value))
    if kind in (PassKind.SYNC, PassKind.RETURN):
        _refuse_unsynced(subject, kind)


def refuse_other_file(subject: Subject, state: StoredState, now: datetime, actor: str) -> None:
    """``ConfigurationError`` where hosts share the state and this one's file is not the accepted one.
    The first file that is run with counts as accepted."""
    if not state.database.is_shared:
        return
    accepted = state.accepted.first(subject.name, subject.file_hash, now, actor)
    if accepted.file_hash != subject.file_hash:
        raise ConfigurationError(
            f"the campaign file of {subject.name} on this host is not the one that "
            f"{accepted.by} accepted at {accepted.at:%Y-%m-%d %H:%M} UTC",
            "Deploy the same file to every host, look at it, then run on one of them: "
            f"stcli map validate {subject.name} --accept",
        )


def _differences(connection: Connection, config: CampaignConfig) -> list[str]:
    proof, settings = connection.proof, config.servicetitan
    if proof is None:
        return []
    return [
        f"servicetitan.{name}"
        for name, proved, written in (
            ("environment", proof.environment, settings.environment),
            ("tenant_id", proof.tenant_id, settings.tenant_id),
            ("client_id", proof.client_id, settings.client_id),
            ("booking_provider", proof.booking_provider, settings.booking_provider),
        )
        if proved != written
    ]


def _refuse_unmapped(subject: Subject, tab: Tab) -> None:
    if subject.config.booking_tab(tab).action is Action.NOTHING:
        raise ConfigurationError(
            f"{tab.value}.action of {subject.name} is nothing, so there is nothing to run",
            f"Switch it on with: stcli action {subject.name} {tab.value} create_booking",
        )
    _refuse_faulty(subject, tab)


def _refuse_unsynced(subject: Subject, kind: PassKind) -> None:
    settings, name = subject.config.sync, subject.name
    if settings is None:
        raise ConfigurationError(
            f"{name} has no sync tab, so there is nothing to run",
            f"Set it up with: stcli sync setup {name}",
        )
    if kind is PassKind.RETURN and not settings.return_fields:
        raise ConfigurationError(
            f"{name} has no return fields, so there is nothing to write back",
            f"Set them up with: stcli sync setup {name}",
        )
    _refuse_faulty(subject, Tab(kind.value))


def _refuse_faulty(subject: Subject, tab: Tab) -> None:
    verdict = subject.verdicts[tab]
    problems = list(subject.problems(tab))
    if verdict.missing:
        raise SetupRequired(
            f"Setup Required: {tab.value} of {subject.name} has no mapping for "
            + ", ".join(verdict.missing),
            f"See them with: stcli map show {subject.name} --tab {tab.value}",
            problems,
        )
    if problems:
        raise ConfigurationError(
            f"the mapping of {tab.value} of {subject.name} has {len(problems)} "
            f"problem{'s' if len(problems) > 1 else ''}",
            f"See: stcli map validate {subject.name}",
            problems,
        )
