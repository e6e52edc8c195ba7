"""What is known of the bookings and jobs of leads, and reading what is not known yet.

A booking belongs to a lead by the ledger or by the lead's external id; a job by a booking's own word,
by naming a booking, or by a link that a person made.
"""

from __future__ import annotations

from collections.abc import Sequence

from stcli.domain.ids import BookingId, JobId, UserId
from stcli.domain.qualification import Evidence, JobEvidence
from stcli.errors import RecordNotFound, RecordRejected
from stcli.store.qualifications import Watched
from stcli.store.state import State
from stcli.usecases.passes.context import PassContext


async def learn_about_jobs(context: PassContext, leads: Sequence[Watched]) -> None:
    """Find the jobs of these leads and read each one's own history once."""
    feeds, tenant = context.state.feeds, context.tenant
    looked_up: list[UserId] = []
    bookings = await context.in_state(_booking_ids, context.state, tenant, leads)
    for lead in leads:
        if not lead.look_up_job:
            continue
        context.stop.check()
        # The booking was found, not made by this pass: its job may be older than the jobs feed.
        try:
            for booking_id in bookings[lead.user_id]:
                for job in await context.crm.jobs_of_booking(booking_id):
                    await context.in_state(feeds.save_job, tenant, job)
                if await context.in_state(feeds.bookings, tenant, [booking_id]) == {}:
                    booking = await context.crm.booking(booking_id)
                    await context.in_state(feeds.save_listed, tenant, [booking])
        except (RecordNotFound, RecordRejected) as error:
            # Looked for again next time; the others go on.
            context.tally.notes.append(f"the booking of {lead.code}: {error.message}")
            continue
        looked_up.append(lead.user_id)
    await context.in_state(
        context.state.qualifications.job_looked_up,
        context.held.lease,
        tenant,
        looked_up,
    )
    ids = await context.in_state(_job_ids, context.state, tenant, leads)
    wanted = sorted({job_id for found in ids.values() for job_id, _ in found})
    known = await context.in_state(feeds.jobs, tenant, wanted)
    missing = [job_id for job_id in wanted if job_id not in known]
    for job in await context.crm.jobs(missing) if missing else ():
        await context.in_state(feeds.save_job, tenant, job)
    known = await context.in_state(feeds.jobs, tenant, wanted)
    for job_id, (_, history_read) in known.items():
        if not history_read:
            context.stop.check()
            try:
                events = await context.crm.job_history(job_id)
            except (RecordNotFound, RecordRejected):
                # A job without a history of its own: what the feeds show of it still counts, and
                # it must not keep the other leads from their verdicts.
                events = []
            await context.in_state(feeds.save_own_history, tenant, job_id, events)


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
