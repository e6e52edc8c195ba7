"""What a pass did: per record and in sum."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field
from datetime import datetime
from enum import StrEnum

from stcli.domain.ids import CampaignName, RunId
from stcli.errors import ExitCode, StcliError


class PassKind(StrEnum):
    """The kinds of work over a campaign, in the order of ``run``."""

    SYNC = "sync"
    LEADS = "leads"
    REFERRERS = "referrers"
    QUALIFY = "qualify"
    RETURN = "return"


class Count(StrEnum):
    """What may have become of one record."""

    CREATED = "created"
    UPDATED = "updated"
    LINKED = "linked"
    QUALIFIED = "qualified"
    UNQUALIFIED = "unqualified"
    UNCHANGED = "unchanged"
    SKIPPED = "skipped"
    FAILED = "failed"


DONE = (Count.CREATED, Count.UPDATED, Count.LINKED, Count.QUALIFIED, Count.UNQUALIFIED)
"""What changes something in one of the systems, or in what is known of it."""


class SkipReason(StrEnum):
    """Why a record was left alone; listed in the order in which they apply."""

    BEFORE_SINCE = "before_since"
    TEST = "test"
    SOURCE_EXCLUDED = "source_excluded"
    ENROLLED_BY_SYNC = "enrolled_by_sync"
    INACTIVE = "inactive"
    MERGED = "merged"
    NO_NAME = "no_name"
    NO_EMAIL = "no_email"
    INVALID_EMAIL = "invalid_email"
    DO_NOT_MAIL = "do_not_mail"
    DO_NOT_SERVICE = "do_not_service"
    MARKETING_OFF = "marketing_off"
    SUPPRESSED = "suppressed"
    DUPLICATE_EMAIL = "duplicate_email"
    FILTERED = "filtered"
    OPTED_OUT = "opted_out"
    GONE = "gone"
    EXISTING_CUSTOMER = "existing_customer"


class RunStatus(StrEnum):
    SUCCEEDED = "succeeded"
    PARTIAL = "partial"
    FAILED = "failed"
    INTERRUPTED = "interrupted"


@dataclass(frozen=True, slots=True)
class Failure:
    """A record that failed: which, why, and the server's own reference if it gave one."""

    record: str
    reason: str
    trace_id: str = ""


@dataclass(frozen=True, slots=True)
class PlannedAction:
    """One line of a dry run's plan."""

    record: str
    action: str
    reason: str = ""


PLAN_LINES = 1000
"""How many lines of a dry run's plan are listed; the counts cover all."""


@dataclass(slots=True)
class Tally:
    """Counts while a pass runs. ``seen`` is the sum of all other counts, never kept apart."""

    counts: Counter[Count] = field(default_factory=Counter)
    skipped: Counter[SkipReason] = field(default_factory=Counter)
    failures: list[Failure] = field(default_factory=list)
    plan: list[PlannedAction] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)

    def add(self, count: Count, number: int = 1) -> None:
        self.counts[count] += number

    def skip(self, reason: SkipReason, number: int = 1) -> None:
        if number:
            self.counts[Count.SKIPPED] += number
            self.skipped[reason] += number

    def fail(self, failure: Failure) -> None:
        self.counts[Count.FAILED] += 1
        self.failures.append(failure)

    def intend(self, record: str, action: str, reason: str = "") -> None:
        if len(self.plan) < PLAN_LINES:
            self.plan.append(PlannedAction(record, action, reason))

    @property
    def seen(self) -> int:
        return sum(self.counts.values())

    def in_words(self) -> str:
        """What was counted: ``7 created, 1 skipped``; empty where nothing was."""
        return ", ".join(f"{self.counts[c]} {c.value}" for c in Count if self.counts[c])


@dataclass(frozen=True, slots=True)
class PassResult:
    """A finished pass, also one that was stopped or failed half-way."""

    campaign: CampaignName
    kind: PassKind
    run_id: RunId
    dry_run: bool
    started_at: datetime
    finished_at: datetime
    tally: Tally
    servicetitan_requests: int = 0
    referral_factory_requests: int = 0
    error: StcliError | None = None

    @property
    def exit_code(self) -> ExitCode:
        if self.error is not None:
            return self.error.exit_code
        return ExitCode.SOME_FAILED if self.tally.counts[Count.FAILED] else ExitCode.DONE

    @property
    def is_eventful(self) -> bool:
        """Whether it did something, or did not end well."""
        return self.status is not RunStatus.SUCCEEDED or any(
            self.tally.counts[count] for count in DONE
        )

    @property
    def in_words(self) -> str:
        """What was done: ``7 created, 1 skipped``. That there is nothing to do is known only of a
        pass that came to its end."""
        nothing = "nothing to do" if self.error is None else "nothing was done"
        return self.tally.in_words() or nothing

    @property
    def status(self) -> RunStatus:
        if self.error is not None:
            if self.error.exit_code in (ExitCode.INTERRUPTED, ExitCode.TERMINATED):
                return RunStatus.INTERRUPTED
            return RunStatus.FAILED
        if self.tally.counts[Count.FAILED]:
            return RunStatus.PARTIAL
        return RunStatus.SUCCEEDED
