"""A run tells others how it ended: wires the alarms' settings, decisions and outlets together.

Nothing here may fail or hold up a run: each outlet is bounded, and what went wrong is returned as a
remark.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Collection, Mapping, Sequence
from datetime import datetime
from functools import partial
from pathlib import Path

from stcli.alarms import outlets
from stcli.alarms.metrics import Metrics
from stcli.alarms.told import Told
from stcli.domain.ids import CampaignName
from stcli.domain.outcome import PassResult
from stcli.domain.settings_types import duration
from stcli.errors import ExitCode, StateError, StcliError
from stcli.logs import masked_values
from stcli.usecases.needs import (
    HOME,
    Need,
    alarm_document,
    is_stuck,
    need_of_home,
    needs_of,
    untold,
)
from stcli.wiring import Application

_STOPPED = (ExitCode.INTERRUPTED, ExitCode.TERMINATED)
"""Ends that tell nothing of the campaigns: somebody stopped this run."""


class Announcer:
    """Tells that a run began, and how it ended."""

    def __init__(self, app: Application) -> None:
        self._app = app
        self._settings = app.settings.alarms
        self._told = Told(app.home.told)
        self._began: datetime = app.now()
        self._remarks: list[str] = []
        self._start: threading.Thread | None = None

    def begin(self) -> None:
        """Ping in the background: a slow receiver must not hold up the first pass."""
        url = self._settings.ping
        if url is not None:
            self._start = threading.Thread(
                target=lambda: self._remark(outlets.ping(url, "/start")), daemon=True
            )
            self._start.start()

    def end(
        self,
        campaigns: Sequence[CampaignName],
        results: Sequence[PassResult],
        broken: Mapping[str, StcliError],
        exit_code: ExitCode,
    ) -> list[str]:
        """Tell everybody; answers what went wrong with that."""
        if exit_code not in _STOPPED:
            app, now = self._app, self._app.now()
            metrics = self._run_metrics(exit_code, now)
            try:
                needs = needs_of(
                    campaigns, results, broken, app.state, self._settings, now, app.worker
                )
                self._add_campaigns(metrics, campaigns, results, needs)
            except StcliError as error:
                # The state went bad since; how the run ended is known all the same.
                needs = [need_of_home(error)]
            else:
                self._forget({*campaigns, HOME}, needs)
            self._tell(needs, results, exit_code, metrics, now)
        return self._remarks

    def give_up(self, error: StcliError) -> list[str]:
        """The run could not even begin, or a defect ended it."""
        if error.exit_code not in _STOPPED:
            now = self._app.now()
            metrics = self._run_metrics(error.exit_code, now)
            self._tell([need_of_home(error)], [], error.exit_code, metrics, now)
        return self._remarks

    def _tell(
        self,
        needs: Sequence[Need],
        results: Sequence[PassResult],
        exit_code: ExitCode,
        metrics: Metrics,
        now: datetime,
    ) -> None:
        settings = self._settings
        if settings.textfile is not None:
            file = Path(settings.textfile).expanduser()
            self._remark(outlets.written(file, metrics.text()))
        for receiver, send in self._receivers().items():
            new = untold(needs, self._told.to(receiver), duration(settings.repeat), now)
            if not new:
                continue
            wrong = send(masked_values(alarm_document(new, results, exit_code, now)))
            self._remark(wrong)
            if not wrong:
                self._remember(receiver, new, now)
        if self._start is not None:
            # The end must not overtake the start.
            self._start.join(timeout=outlets.SECONDS + 1)
        # Where another run is at work, that one tells how it ended; unless it does not end.
        if settings.ping is not None and (exit_code is not ExitCode.LOCKED or is_stuck(needs)):
            ending = f"/{int(exit_code)}" if exit_code else ""
            self._remark(outlets.ping(settings.ping, ending))

    def _receivers(self) -> dict[str, Callable[[dict[str, object]], str]]:
        """Who wants to know what needs a person, by a name to remember them by, and how to tell."""
        found: dict[str, Callable[[dict[str, object]], str]] = {}
        if self._settings.webhook is not None:
            found["webhook"] = partial(outlets.post, self._settings.webhook)
        if self._settings.command:
            found["command"] = partial(outlets.called, self._settings.command)
        return found

    def _remember(self, receiver: str, needs: Sequence[Need], now: datetime) -> None:
        try:
            self._told.remember(receiver, [need.key for need in needs], now)
        except StateError as error:
            self._remark(f"the next run will tell the same again: {error.message}")

    def _forget(self, campaigns: Collection[str], needs: Sequence[Need]) -> None:
        try:
            self._told.forget(campaigns, {need.key for need in needs})
        except StateError as error:
            self._remark(f"what returns may not be told at once: {error.message}")

    def _remark(self, text: str) -> None:
        if text:
            self._remarks.append(text)

    def _run_metrics(self, exit_code: ExitCode, now: datetime) -> Metrics:
        """What is known of a run however it ended."""
        metrics = Metrics()
        metrics.set("run_exit_code", "How the last run ended.", int(exit_code))
        metrics.set("run_end_timestamp_seconds", "When the last run ended.", now.timestamp())
        took = (now - self._began).total_seconds()
        metrics.set("run_duration_seconds", "How long the last run took.", max(took, 0.0))
        return metrics

    def _add_campaigns(
        self,
        metrics: Metrics,
        campaigns: Sequence[CampaignName],
        results: Sequence[PassResult],
        needs: Sequence[Need],
    ) -> None:
        state = self._app.state
        for result in results:
            labels = {"campaign": result.campaign, "pass": result.kind.value}
            metrics.set_all(
                "pass_records",
                "What the last pass did, by outcome.",
                "outcome",
                {count.value: number for count, number in result.tally.counts.items()},
                **labels,
            )
        for name in campaigns:
            for kind, run in state.runs.last(name).items():
                labels = {"campaign": name, "pass": kind}
                metrics.set(
                    "pass_start_timestamp_seconds",
                    "When the last pass began.",
                    run.started_at.timestamp(),
                    **labels,
                )
                metrics.set(
                    "pass_exit_code",
                    "How the last pass ended; -1: it has not.",
                    -1 if run.exit_code is None else run.exit_code,
                    **labels,
                )
        for name in campaigns:
            metrics.set(
                "open_failures",
                "Records that failed and wait.",
                state.failures.open_count(name),
                campaign=name,
            )
        for name in campaigns:
            number = sum(need.campaign == name for need in needs)
            metrics.set("needs_person", "What needs a person.", number, campaign=name)
