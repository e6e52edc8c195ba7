"""Results as the JSON documents that the product promises; keys are only ever added."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime
from typing import TYPE_CHECKING

from stcli.errors import ConfigurationError, Problem, StcliError

if TYPE_CHECKING:
    from stcli.domain.outcome import PassResult

SCHEMA_VERSION = 1


def instant(at: datetime | None) -> str | None:
    """ISO 8601 in UTC, to the second."""
    return None if at is None else at.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


def error_document(error: StcliError) -> dict[str, object]:
    """``{"schema_version", "error": {...}}``, with the problems of a file where there are any."""
    return {"schema_version": SCHEMA_VERSION, "error": error_value(error)}


def error_value(error: StcliError) -> dict[str, object]:
    value: dict[str, object] = {
        "kind": error.kind,
        "message": error.message,
        "hint": error.hint,
        "exit_code": int(error.exit_code),
    }
    if isinstance(error, ConfigurationError) and error.problems:
        value["problems"] = problem_values(error.problems)
    return value


def problem_values(problems: Sequence[Problem]) -> list[dict[str, object]]:
    return [
        {
            "file": p.file,
            "line": p.line,
            "column": p.column,
            "path": p.path,
            "message": p.message,
            "hint": p.hint,
        }
        for p in problems
    ]


def pass_document(result: PassResult) -> dict[str, object]:
    """One pass, also one that failed or was stopped."""
    from stcli.domain.outcome import Count

    tally = result.tally
    document: dict[str, object] = {
        "schema_version": SCHEMA_VERSION,
        "campaign": result.campaign,
        "pass": result.kind.value,
        "dry_run": result.dry_run,
        "run_id": result.run_id,
        "status": result.status.value,
        "started_at": instant(result.started_at),
        "finished_at": instant(result.finished_at),
        "counts": {"seen": tally.seen} | {count.value: tally.counts[count] for count in Count},
        "skipped": {reason.value: number for reason, number in sorted(tally.skipped.items())},
        "failures": [
            {"record": f.record, "reason": f.reason, "trace_id": f.trace_id} for f in tally.failures
        ],
        "requests": {
            "servicetitan": result.servicetitan_requests,
            "referral_factory": result.referral_factory_requests,
        },
    }
    if result.dry_run:
        document["plan"] = [
            {"record": p.record, "action": p.action, "reason": p.reason} for p in tally.plan
        ]
    if tally.notes:
        document["notes"] = list(tally.notes)
    if result.error is not None:
        document["error"] = error_value(result.error)
    return document


def passes_document(results: Sequence[PassResult]) -> dict[str, object]:
    return {
        "schema_version": SCHEMA_VERSION,
        "passes": [pass_document(result) for result in results],
    }
