"""A run tells others how it ended: wires the alarms' settings, decisions and outlets together.

Nothing here may fail or hold up a run: each outlet is bounded, and what went wrong is returned as a
remark.
"""

from __future__ import annotations

import threading
from collections.abc import Mapping, Sequence
from datetime import datetime
from pathlib import Path

from stcli.alarms import outlets
from stcli.alarms.metrics import Metrics
from stcli.domain.ids import CampaignName
from stcli.domain.outcome import PassResult
from stcli.domain.settings_types import duration
from stcli.errors import ExitCode, StcliError
from stcli.logs import masked_values
from stcli.usecases.needs import Need, alarm_document, needs_of, untold
from stcli.wiring import Application

_UNTOLD = (ExitCode.LOCKED, ExitCode.INTERRUPTED, ExitCode.TERMINATED)
"""Ends that tell nothing of the campaigns: another run is at work, or somebody stopped this one."""


class Announcer:
    """Tells that a run began, and how it ended."""

    def __init__(self, app: Application, campaigns: Sequence[CampaignName]) -> None:
        self._app = app
        self._campaigns = campaigns
        self._settings = app.settings.alarms
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
        results: Sequence[PassResult],
        broken: Mapping[str, StcliError],
        exit_code: ExitCode,
    ) -> list[str]:
        """Tell everybody; answers what went wrong with that."""
        if self._start is not None:
            # The end must not overtake the start.
            self._start.join(timeout=outlets.SECONDS + 1)
        try:
            if exit_code not in _UNTOLD:
                self._tell(results, broken, exit_code)
            self._ping(exit_code)
        except StcliError as error:
            self._remark(f"alarms could not be judged: {error.message}")
        return self._remarks

    def give_up(self, error: StcliError) -> list[str]:
        """The run could not even begin."""
        try:
            if error.exit_code not in _UNTOLD:
                need = Need("home", "", error.message, error.hint)
                document = alarm_document([need], [], error.exit_code, self._app.now())
                self._send(document)
            self._ping(error.exit_code)
        except StcliError as other:
            self._remark(other.message)
        return self._remarks

    def _tell(
        self,
        results: Sequence[PassResult],
        broken: Mapping[str, StcliError],
        exit_code: ExitCode,
    ) -> None:
        settings, app, now = self._settings, self._app, self._app.now()
        if not (settings.webhook or settings.command or settings.textfile):
            return
        needs = needs_of(self._campaigns, results, broken, app.state, settings, now)
        if settings.textfile is not None:
            text = self._metrics(results, needs, exit_code, now).text()
            self._remark(outlets.written(Path(settings.textfile).expanduser(), text))
        if not (settings.webhook or settings.command):
            return
        new = untold(needs, app.state, duration(settings.repeat), now)
        app.state.alarms.keep([need.key for need in needs], self._campaigns)
        if new and self._send(alarm_document(new, results, exit_code, now)):
            app.state.alarms.remember([(need.key, need.campaign) for need in new], now)

    def _send(self, document: dict[str, object]) -> bool:
        """To webhook and command; whether all of them took it. One that did not hears it again."""
        settings = self._settings
        safe = masked_values(document)
        wrong = []
        if settings.webhook is not None:
            wrong.append(outlets.post(settings.webhook, safe))
        if settings.command:
            wrong.append(outlets.called(settings.command, safe))
        for one in wrong:
            self._remark(one)
        return not any(wrong)

    def _ping(self, exit_code: ExitCode) -> None:
        if self._settings.ping is not None and exit_code not in _UNTOLD:
            ending = f"/{int(exit_code)}" if exit_code else ""
            self._remark(outlets.ping(self._settings.ping, ending))

    def _remark(self, text: str) -> None:
        if text:
            self._remarks.append(text)

    def _metrics(
        self,
        results: Sequence[PassResult],
        needs: Sequence[Need],
        exit_code: ExitCode,
        now: datetime,
    ) -> Metrics:
        metrics, state = Metrics(), self._app.state
        metrics.set("run_exit_code", "How the last run ended.", int(exit_code))
        metrics.set("run_end_timestamp_seconds", "When the last run ended.", now.timestamp())
        took = (now - self._began).total_seconds()
        metrics.set("run_duration_seconds", "How long the last run took.", max(took, 0.0))
        for result in results:
            labels = {"campaign": result.campaign, "pass": result.kind.value}
            metrics.set_all(
                "pass_records",
                "What the last pass did, by outcome.",
                "outcome",
                {count.value: number for count, number in result.tally.counts.items()},
                **labels,
            )
        for name in self._campaigns:
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
        for name in self._campaigns:
            metrics.set(
                "open_failures",
                "Records that failed and wait.",
                state.failures.open_count(name),
                campaign=name,
            )
        for name in self._campaigns:
            number = sum(need.campaign == name for need in needs)
            metrics.set("needs_person", "What needs a person.", number, campaign=name)
        return metrics
