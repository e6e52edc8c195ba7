"""One pass from start to end: may it run, lock, run record, result; the same for every kind."""

from __future__ import annotations

import asyncio
import logging
import secrets
from collections.abc import Callable, Coroutine, Iterable
from contextlib import AbstractAsyncContextManager, suppress
from dataclasses import dataclass
from datetime import datetime, timedelta

from stcli.current_run import current_run
from stcli.domain.campaign import CampaignConfig, Tab
from stcli.domain.catalog import COUNT_SOURCES
from stcli.domain.ids import CampaignName, RunId
from stcli.domain.mapping.rules import sources_of
from stcli.domain.outcome import Failure, PassKind, PassResult, Tally
from stcli.domain.settings_types import duration
from stcli.errors import (
    CredentialsRefused,
    Interrupted,
    RecordNotFound,
    RecordRejected,
    StateError,
    StcliError,
    Terminated,
    UnexpectedAnswer,
)
from stcli.store.locks import Locks, Process
from stcli.store.sent_marks import SentMarks
from stcli.store.state import State as StoredState
from stcli.usecases.passes.concurrency import StateThread, StopSignal
from stcli.usecases.passes.context import PassContext, PassOptions, Rates
from stcli.usecases.passes.people import PeopleReader
from stcli.usecases.passes.progress import Progress
from stcli.usecases.passes.subject import Subject, refuse_other_file, refuse_unready, tenant_key
from stcli.usecases.ports import CrmGateway, ReferralGateway
from stcli.usecases.report import pass_document

STOP_SECONDS = 2.0
"""A stop has to end within five seconds."""

log = logging.getLogger("stcli.passes")


@dataclass(frozen=True, slots=True)
class Workplace:
    """The state that a pass works in: the real one, or a copy that a dry run may write to."""

    state: StoredState
    locks: Locks
    sent: SentMarks


@dataclass(frozen=True, slots=True)
class Systems:
    """How to reach both systems for a campaign; each call opens a client of its own."""

    crm: Callable[[CampaignName, CampaignConfig], AbstractAsyncContextManager[CrmGateway]]
    referral: ReferralGateway
    account: str


Body = Callable[[PassContext], Coroutine[None, None, None]]


def _body(kind: PassKind) -> Body:
    """What a pass of this kind does. Loaded here, because most runs are of one kind."""
    match kind:
        case PassKind.LEADS | PassKind.REFERRERS:
            from stcli.usecases.passes.bookings import run_bookings

            return lambda context: run_bookings(context, Tab(kind.value))
        case PassKind.SYNC:
            from stcli.usecases.passes.sync import run_sync

            return run_sync
        case PassKind.QUALIFY:
            from stcli.usecases.passes.qualify import run_qualify

            return run_qualify
        case PassKind.RETURN:
            from stcli.usecases.passes.return_fields import run_return

            return run_return


class Passes:
    """Runs passes of these kinds. One object serves one run, so that the user list is read once for
    all of them."""

    def __init__(
        self,
        kinds: Iterable[PassKind],
        *,
        workplace: Workplace,
        systems: Systems,
        in_state: StateThread,
        stop: StopSignal,
        me: Process,
        actor: str,
        now: Callable[[], datetime],
        doubt_seconds: float,
        rates: Rates,
        progress: Progress,
        counts_max_age: timedelta | None = None,
    ) -> None:
        # Before the first one begins: the package may be replaced while it runs.
        self._bodies = {kind: _body(kind) for kind in kinds}
        self._workplace = workplace
        self._systems = systems
        self._in_state = in_state
        self._stop = stop
        self._me = me
        self._actor = actor
        self._now = now
        self._doubt_seconds = doubt_seconds
        self._rates = rates
        self._progress = progress
        self._people = PeopleReader(
            systems.referral,
            workplace.state.people,
            systems.account,
            in_state,
            stop,
            now,
            workplace.locks,
            counts_max_age,
        )

    async def run(self, kind: PassKind, subject: Subject, options: PassOptions) -> PassResult:
        """Run one pass. Raises what kept it from starting; what ended it is in the result."""
        state = self._workplace.state
        connection = await self._in_state(state.connections.get, subject.name)
        refuse_unready(connection, subject, kind)
        if not options.dry_run:
            await self._in_state(refuse_other_file, subject, state, self._now(), self._actor)
        run_id = new_run_id(self._now())
        async with self._systems.crm(subject.name, subject.config) as crm:
            with self._workplace.locks.hold(subject.name, kind.value) as held:
                context = PassContext(
                    campaign=subject.name,
                    config=subject.config,
                    tenant=tenant_key(subject.config),
                    crm=crm,
                    referral=self._systems.referral,
                    people=self._people,
                    state=state,
                    sent=self._workplace.sent,
                    in_state=self._in_state,
                    locks=self._workplace.locks,
                    held=held,
                    run_id=run_id,
                    stop=self._stop,
                    options=options,
                    now=self._now,
                    doubt_seconds=self._doubt_seconds,
                    rates=self._rates,
                    progress=self._progress,
                )
                token = current_run.set(run_id)
                try:
                    return await self._recorded(kind, context, subject.file_hash)
                finally:
                    current_run.reset(token)

    async def _recorded(self, kind: PassKind, context: PassContext, file_hash: str) -> PassResult:
        """Run the body between the two entries of the run's record."""
        runs, started = context.state.runs, self._now()
        before = context.referral.requests
        if not context.options.dry_run:
            await self._in_state(
                runs.start,
                context.run_id,
                context.campaign,
                kind.value,
                started,
                self._me.host,
                self._me.pid,
                file_hash,
            )
        log.info("%s pass of %s started", kind.value, context.campaign)
        error: StcliError | None = None
        try:
            await _stoppable(self._bodies[kind](context), context)
        except StcliError as caught:
            error = _of_the_pass(caught)
            log.warning("%s pass of %s ended early: %s", kind.value, context.campaign, caught)
        except Exception:
            log.exception("%s pass of %s met a defect", kind.value, context.campaign)
            raise
        for number in self._people.take_unreadable():
            context.tally.fail(
                Failure(f"user {number}", "Referral Factory's entry of this user cannot be read")
            )
        result = PassResult(
            campaign=context.campaign,
            kind=kind,
            run_id=context.run_id,
            dry_run=context.options.dry_run,
            started_at=started,
            finished_at=self._now(),
            tally=context.tally,
            servicetitan_requests=context.crm.requests,
            referral_factory_requests=context.referral.requests - before,
            error=error,
        )
        if not context.options.dry_run:
            # After a stop nobody waits for another program's lock to note how the pass ended; and a
            # database that ended the pass must not hide what the pass did.
            with suppress(Interrupted, Terminated, *((StateError,) if error else ())):
                await self._remember(context, result)
        for failure in context.tally.failures:
            log.warning("failed %s: %s", failure.record, failure.reason)
        log.info(
            "%s pass of %s: %s, %s, %d requests to ServiceTitan, %d to Referral Factory",
            kind.value,
            context.campaign,
            result.status.value,
            result.in_words,
            result.servicetitan_requests,
            result.referral_factory_requests,
        )
        return result

    async def _remember(self, context: PassContext, result: PassResult) -> None:
        await self._in_state(
            context.state.runs.finish,
            result.run_id,
            result.status.value,
            result.exit_code.value,
            result.finished_at,
            pass_document(result),
            eventful=result.is_eventful,
        )
        if isinstance(result.error, CredentialsRefused):
            await self._in_state(
                context.state.connections.set_attention, context.campaign, result.error.message
            )
        elif result.servicetitan_requests:
            await self._in_state(context.state.connections.set_attention, context.campaign, "")


async def _stoppable(body: Coroutine[None, None, None], context: PassContext) -> None:
    """Run a body; one that does not come to its next clean point soon after a stop was asked for,
    because it waits for an answer, is cut off there. Writes see to themselves (see pipeline)."""
    work = asyncio.create_task(body)
    watch = asyncio.create_task(context.stop.wait())
    try:
        await asyncio.wait({work, watch}, return_when=asyncio.FIRST_COMPLETED)
        if not work.done():
            await asyncio.wait({work}, timeout=STOP_SECONDS)
        if not work.done():
            work.cancel()
        await work
    except asyncio.CancelledError:
        context.stop.check()
        raise
    finally:
        watch.cancel()


def _of_the_pass(error: StcliError) -> StcliError:
    """A refusal that no record of the pass is to blame for is an answer nobody promised."""
    if isinstance(error, RecordRejected | RecordNotFound):
        return UnexpectedAnswer(
            error.message, "Run again later.", status=error.status, trace_id=error.trace_id
        )
    return error


def new_run_id(now: datetime) -> RunId:
    """Sorts by time; unique without asking anybody."""
    return RunId(f"{now:%Y%m%dT%H%M%S}-{secrets.token_hex(4)}")


def counts_max_age(configs: Iterable[CampaignConfig]) -> timedelta | None:
    """How old everybody's number of referrals may be for the write-backs of these campaigns; None
    where no write-back has one."""
    ages = [
        duration(sync.refresh)
        for sync in (config.sync for config in configs)
        if sync is not None
        and any(
            COUNT_SOURCES.intersection(sources_of(rule)) for rule in sync.return_fields.values()
        )
    ]
    return min(ages, default=None)


def not_started(
    kind: PassKind, subject_name: CampaignName, error: StcliError, now: datetime, *, dry_run: bool
) -> PassResult:
    """The result of a pass that was kept from starting, for the report of several passes."""
    run_id = new_run_id(now)
    token = current_run.set(run_id)
    log.warning("%s pass of %s did not start: %s", kind.value, subject_name, error.message)
    current_run.reset(token)
    return PassResult(
        campaign=subject_name,
        kind=kind,
        run_id=run_id,
        dry_run=dry_run,
        started_at=now,
        finished_at=now,
        tally=Tally(),
        error=error,
    )
