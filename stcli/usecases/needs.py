"""What of a run needs a person: the difference between a failure that mends itself and one that
does not."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

from stcli.domain.campaign import Alarms
from stcli.domain.ids import CampaignName
from stcli.domain.outcome import Count, PassResult
from stcli.domain.settings_types import duration
from stcli.errors import ExitCode, StcliError
from stcli.store.state import State
from stcli.usecases.report import SCHEMA_VERSION, instant

OUTAGE_RUNS = 3
"""So many runs in a row may meet a system that is down before a person is called."""

LONG = timedelta(days=1)
"""A pass that works longer than this probably hangs, and keeps every other one from its campaign."""

NEWS = (Count.CREATED, Count.LINKED, Count.QUALIFIED)
"""What counts as something new in a campaign."""


HOME = "home"
"""Where the key of a need begins that is of no campaign."""

Working = Callable[[CampaignName], tuple[str, datetime] | None]
"""Which process is at work on a campaign, and since when."""


@dataclass(frozen=True, slots=True)
class Need:
    """Something that a person should look at. ``key`` names it from run to run; it begins with the
    campaign, or with ``HOME``, and a slash."""

    key: str
    campaign: str
    message: str
    hint: str


def needs_of(
    campaigns: Iterable[CampaignName],
    results: Sequence[PassResult],
    broken: Mapping[str, StcliError],
    state: State,
    settings: Alarms,
    now: datetime,
    working: Working,
) -> list[Need]:
    """Everything of these campaigns that does not mend itself."""
    needs: list[Need] = []
    for name, error in broken.items():
        needs.append(Need(f"{name}/file", name, error.message, error.hint))
    for result in results:
        need = _failed(result, state)
        if need is not None:
            needs.append(need)
    for name in campaigns:
        needs += _standing(name, state, settings, now)
        needs += _stuck(name, working(name), now)
    return needs


def need_of_home(error: StcliError) -> Need:
    """What keeps a run from all campaigns."""
    return Need(f"{HOME}/{error.kind}", "", error.message, error.hint)


def is_stuck(needs: Iterable[Need]) -> bool:
    """Whether one of them is a pass that does not end."""
    return any(need.key == _stuck_key(need.campaign) for need in needs)


def _failed(result: PassResult, state: State) -> Need | None:
    """A pass that ended early. Locks and stops are nobody's fault; an outage gets some time."""
    error = result.error
    if error is None or error.exit_code in (
        ExitCode.LOCKED,
        ExitCode.INTERRUPTED,
        ExitCode.TERMINATED,
    ):
        return None
    if error.exit_code is ExitCode.UNAVAILABLE:
        last = state.runs.newest(OUTAGE_RUNS, campaign=result.campaign, kind=result.kind.value)
        outages = sum(run.exit_code == ExitCode.UNAVAILABLE for run in last)
        if outages < OUTAGE_RUNS:
            return None
    return Need(
        f"{result.campaign}/{result.kind.value}/{error.kind}",
        result.campaign,
        f"the {result.kind.value} pass failed: {error.message}",
        error.hint,
    )


def _standing(name: CampaignName, state: State, settings: Alarms, now: datetime) -> list[Need]:
    needs: list[Need] = []
    attention = state.connections.get(name).attention
    if attention:
        needs.append(
            Need(
                f"{name}/attention",
                name,
                f"the last call was refused: {attention}",
                f"See: stcli doctor {name}",
            )
        )
    failures = state.failures.open_count(name)
    if failures >= settings.failures:
        needs.append(
            Need(
                f"{name}/failures",
                name,
                f"{failures} records failed and wait for a person",
                f"See: stcli failures list {name}",
            )
        )
    quiet = duration(settings.quiet)
    newest = state.runs.newest_with(name, [count.value for count in NEWS])
    if newest is not None and now - newest > quiet:
        needs.append(
            Need(
                f"{name}/quiet",
                name,
                f"nothing new since {newest:%Y-%m-%d}",
                "Is the campaign still running, and does its link still work? If this is usual, "
                "raise alarms.quiet in settings.yaml.",
            )
        )
    return needs


def _stuck(name: CampaignName, worker: tuple[str, datetime] | None, now: datetime) -> list[Need]:
    if worker is None or now - worker[1] <= LONG:
        return []
    who, since = worker
    return [
        Need(
            _stuck_key(name),
            name,
            f"a pass does not end: {who} is at work since {since:%Y-%m-%d %H:%M} UTC",
            "If its log stands still, stop that process; the next run then goes on.",
        )
    ]


def _stuck_key(campaign: str) -> str:
    return f"{campaign}/lock"


def alarm_document(
    needs: Sequence[Need], results: Sequence[PassResult], exit_code: ExitCode, at: datetime
) -> dict[str, object]:
    """What webhook and command get; texts are masked by whoever sends it."""
    return {
        "schema_version": SCHEMA_VERSION,
        "at": instant(at),
        "exit_code": int(exit_code),
        "needs": [
            {"campaign": n.campaign, "message": n.message, "hint": n.hint, "key": n.key}
            for n in needs
        ],
        "passes": [
            {
                "campaign": r.campaign,
                "pass": r.kind.value,
                "run_id": r.run_id,
                "status": r.status.value,
            }
            for r in results
        ],
    }


def untold(
    needs: Sequence[Need], told: Mapping[str, datetime], repeat: timedelta, now: datetime
) -> list[Need]:
    """Those that were not told lately; ``told`` says when, by key."""
    return [
        need
        for need in needs
        if need.key not in told or not timedelta() <= now - told[need.key] < repeat
    ]


__all__ = [
    "HOME",
    "NEWS",
    "Need",
    "alarm_document",
    "is_stuck",
    "need_of_home",
    "needs_of",
    "untold",
]
