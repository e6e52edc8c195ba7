"""Keeping a record that failed, so that a person or a later pass sees to it."""

from __future__ import annotations

from stcli.domain.outcome import Failure
from stcli.store.failures import FailureState, upsert_failure
from stcli.store.transaction import Transaction
from stcli.usecases.passes.context import PassContext


def record_failure(
    sql: Transaction,
    context: PassContext,
    kind: str,
    failure: Failure,
    mark: str,
    state: FailureState,
) -> None:
    """Store a failure within a transaction; ``mark`` tells later whether it is still the same."""
    upsert_failure(
        sql,
        campaign=context.campaign,
        kind=kind,
        record=failure.record,
        reason=failure.reason,
        trace_id=failure.trace_id,
        fingerprint=mark,
        state=state,
        run_id=context.run_id,
        now=context.now(),
    )
