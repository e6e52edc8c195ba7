"""One schedule for a home: in the scheduler that is asked for, or in the best one there is."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

from stcli.errors import ConfigurationError
from stcli.scheduling.job import Installed, Job, Remark, Scheduler


@dataclass(frozen=True, slots=True)
class Schedules:
    """``schedulers`` in the order in which they are preferred."""

    schedulers: Sequence[Scheduler]

    def installed(self, name: str) -> list[Installed]:
        """What is there under this name, in every scheduler that can be looked into; what else
        calls stcli is remarked on."""
        found: list[Installed] = []
        others = self.others(name)
        for scheduler in self.schedulers:
            if scheduler.kind == "cron" and scheduler.unavailable():
                continue
            one = scheduler.installed(name)
            if one is not None:
                found.append(replace(one, remarks=one.remarks + others))
        return found

    def others(self, name: str) -> tuple[Remark, ...]:
        """What may call ``stcli run`` beside the schedule of this name."""
        return tuple(remark for one in self.schedulers for remark in one.others(name))

    def chosen(self, kind: str | None, name: str) -> Scheduler:
        """The scheduler of this kind; else the one that has the schedule, else the first usable."""
        if kind is not None:
            scheduler = self.of(kind)
            reason = scheduler.unavailable()
            if reason:
                raise ConfigurationError(f"{kind} cannot be used: {reason}", self._instead(kind))
            return scheduler
        for one in self.installed(name):
            if not self.of(one.scheduler).unavailable():
                return self.of(one.scheduler)
        reasons = []
        for scheduler in self.schedulers:
            reason = scheduler.unavailable()
            if not reason:
                return scheduler
            reasons.append(f"{scheduler.kind}: {reason}")
        raise ConfigurationError(
            "nothing here can run a schedule: " + "; ".join(reasons),
            "Install cron, or let another scheduler call what this shows: stcli schedule show --cron",
        )

    def install(self, scheduler: Scheduler, job: Job) -> bool:
        """Answers whether anything had to be changed. A second schedule is refused."""
        for one in self.installed(job.name):
            if one.scheduler != scheduler.kind:
                raise ConfigurationError(
                    f"there is a schedule in {one.scheduler} already ({one.place})",
                    "One is enough. Remove it first: stcli schedule remove",
                )
        return scheduler.install(job)

    def remove(self, name: str) -> list[str]:
        """Take the schedule away wherever it is; answers from where."""
        return [one.place for one in self.installed(name) if self.of(one.scheduler).remove(name)]

    def differences(self, one: Installed, job: Job) -> list[str]:
        """What ``install`` would change: variables by name, the program, else the text."""
        texts = self.of(one.scheduler).rendered(job)
        if all(text in one.text for text in texts.values()):
            return []
        names = sorted({*one.environment, *job.environment})
        changed = [name for name in names if one.environment.get(name) != job.environment.get(name)]
        if one.program != job.program:
            changed.append("the program")
        return changed or ["the text"]

    def of(self, kind: str) -> Scheduler:
        return next(one for one in self.schedulers if one.kind == kind)

    def _instead(self, kind: str) -> str:
        others = [one.kind for one in self.schedulers if one.kind != kind and not one.unavailable()]
        return f"Use --{others[0]}." if others else "Let another scheduler call: stcli run --all"
