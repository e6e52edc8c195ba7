"""What is known of the bookings and jobs of leads, and reading what is not known yet.

A booking belongs to a lead by the ledger or by the lead's external id; a job by a booking's own word,
by naming a booking, or by a link that a person made.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Collection, Sequence
from dataclasses import dataclass
from functools import partial

from stcli.domain.ids import BookingId, JobId, UserId
from stcli.domain.qualification import Evidence, JobEvidence
from stcli.errors import RecordNotFound, RecordRejected, Unavailable
from stcli.store.failures import FailureState
from stcli.store.qualifications import Watched
from stcli.store.state import State
from stcli.usecases.passes.context import PassContext
from stcli.usecases.passes.silence import Silence


@dataclass(frozen=True, slots=True)
class Unread:
    """Why a lead's evidence is not whole. ``mark`` changes when the same question may be answered
    otherwise; ``was_told``: it was refused before and waits for that, or for a person."""

    mark: str
    reason: str = ""
    trace_id: str = ""
    state: FailureState = FailureState.PARKED
    was_told: bool = False


class Learning:
    """Reads what is not known yet of leads' jobs: what was refused before is not asked for again."""

    def __init__(
        self, context: PassContext, parked: Collection[tuple[str, str]], silence: Silence
    ) -> None:
        """``parked``: records with the marks under which they were refused."""
        self._context = context
        self._parked = parked
        self._silence = silence

    async def learn(self, leads: Sequence[Watched]) -> dict[UserId, Unread]:
        """Find the jobs of these leads and read each one's own history once; whose evidence could
        not be read, and why."""
        unread = await self._look_up(leads)
        return {**unread, **await self._read_histories(leads)}

    async def _look_up(self, leads: Sequence[Watched]) -> dict[UserId, Unread]:
        """Jobs of bookings that were found, not made by this pass: they may be older than the feed."""
        context = self._context
        unread: dict[UserId, Unread] = {}
        looked_up: list[UserId] = []
        bookings = await context.in_state(_booking_ids, context.state, context.tenant, leads)
        for lead in leads:
            if not lead.look_up_job:
                continue
            context.stop.check()
            failed = await self._asked(
                [lead.code],
                f"bookings {' '.join(map(str, bookings[lead.user_id]))}",
                "its booking cannot be looked up",
                partial(self._look_up_bookings, bookings[lead.user_id]),
            )
            if failed is None:
                looked_up.append(lead.user_id)
            else:
                unread[lead.user_id] = failed
        await context.in_state(
            context.state.qualifications.job_looked_up,
            context.held.lease,
            context.tenant,
            looked_up,
        )
        return unread

    async def _look_up_bookings(self, ids: Sequence[BookingId]) -> None:
        context, feeds, tenant = self._context, self._context.state.feeds, self._context.tenant
        for booking_id in ids:
            for job in await context.crm.jobs_of_booking(booking_id):
                await context.in_state(feeds.save_job, tenant, job)
            if await context.in_state(feeds.bookings, tenant, [booking_id]) == {}:
                booking = await context.crm.booking(booking_id)
                await context.in_state(feeds.save_listed, tenant, [booking])

    async def _read_histories(self, leads: Sequence[Watched]) -> dict[UserId, Unread]:
        context, feeds, tenant = self._context, self._context.state.feeds, self._context.tenant
        ids = await context.in_state(_job_ids, context.state, tenant, leads)
        wanted = sorted({job_id for found in ids.values() for job_id, _ in found})
        known = await context.in_state(feeds.jobs, tenant, wanted)
        missing = [job_id for job_id in wanted if job_id not in known]
        for job in await context.crm.jobs(missing) if missing else ():
            await context.in_state(feeds.save_job, tenant, job)
        known = await context.in_state(feeds.jobs, tenant, wanted)
        failed: dict[JobId, Unread] = {}
        for job_id, (job, history_read) in known.items():
            if history_read:
                continue
            context.stop.check()
            asked = await self._asked(
                [lead.code for lead in leads if job_id in dict(ids[lead.user_id])],
                f"history {job_id} {job.modified_on:%Y-%m-%dT%H:%M:%S.%f}",
                f"the history of its job {job_id} cannot be read",
                partial(self._read_history, job_id),
            )
            if asked is not None:
                failed[job_id] = asked
        return {
            lead.user_id: failed[job_id]
            for lead in leads
            for job_id, _ in ids[lead.user_id]
            if job_id in failed
        }

    async def _read_history(self, job_id: JobId) -> None:
        context = self._context
        events = await context.crm.job_history(job_id)
        await context.in_state(context.state.feeds.save_own_history, context.tenant, job_id, events)

    async def _asked(
        self, codes: Sequence[str], mark: str, what: str, ask: Callable[[], Awaitable[None]]
    ) -> Unread | None:
        """Ask for something that concerns these leads alone; None where it was answered."""
        if codes and all((code, mark) in self._parked for code in codes):
            return Unread(mark, was_told=True)
        try:
            await ask()
        except (RecordNotFound, RecordRejected) as error:
            self._silence.ended()
            return Unread(mark, f"{what}: {error.message}", error.trace_id)
        except Unavailable as error:
            self._silence.met(error)
            return Unread(mark, f"{what}: {error.message}", error.trace_id, FailureState.TRANSIENT)
        self._silence.ended()
        return None


def _booking_ids(
    state: State, tenant: str, leads: Sequence[Watched]
) -> dict[UserId, list[BookingId]]:
    """The bookings of each lead, the one of the ledger first. Any other with the lead's external id
    counts too: one that a person asked for before an older database was put back, or one of
    several between which nobody has decided."""
    alike = state.feeds.bookings_with(
        tenant, sorted({lead.external_id for lead in leads if lead.external_id})
    )
    return {
        lead.user_id: list(
            dict.fromkeys(
                [
                    *([] if lead.booking_id is None else [lead.booking_id]),
                    *(
                        booking.id
                        for booking in alike.get(lead.external_id, ())
                        if booking.id not in lead.ignored
                    ),
                ]
            )
        )
        for lead in leads
    }


def _job_ids(
    state: State, tenant: str, leads: Sequence[Watched]
) -> dict[UserId, list[tuple[JobId, str]]]:
    """The jobs of each lead, best evidence first: a booking's own word, jobs that name a booking,
    and last a link by hand."""
    ids = _booking_ids(state, tenant, leads)
    wanted = sorted({booking_id for found in ids.values() for booking_id in found})
    bookings = state.feeds.bookings(tenant, wanted)
    by_booking = state.feeds.jobs_of(tenant, wanted)
    found: dict[UserId, list[tuple[JobId, str]]] = {}
    for lead in leads:
        known_by: dict[JobId, str] = {}
        for booking_id in ids[lead.user_id]:
            booking = bookings.get(booking_id)
            if booking is not None and booking.job_id is not None:
                known_by[booking.job_id] = "booking"
            for job_id in by_booking.get(booking_id, ()):
                known_by.setdefault(job_id, "job")
        if lead.hand_job_id is not None:
            known_by.setdefault(lead.hand_job_id, "hand")
        found[lead.user_id] = list(known_by.items())
    return found


def gather(state: State, tenant: str, leads: Sequence[Watched]) -> dict[UserId, Evidence]:
    """Everything the state knows of these leads' bookings and jobs."""
    ids = _job_ids(state, tenant, leads)
    wanted = sorted({job_id for found in ids.values() for job_id, _ in found})
    jobs = state.feeds.jobs(tenant, wanted)
    reached = state.feeds.reached(tenant, wanted)
    bookings = state.feeds.bookings(tenant, [x.booking_id for x in leads if x.booking_id])
    return {
        lead.user_id: Evidence(
            booking_id=lead.booking_id,
            booking_status=(
                bookings[lead.booking_id].status if lead.booking_id in bookings else ""
            ),
            jobs=tuple(
                JobEvidence(jobs[job_id][0], known_by, tuple(reached.get(job_id, ())))
                for job_id, known_by in ids[lead.user_id]
                if job_id in jobs
            ),
        )
        for lead in leads
    }
