"""Decisions of a person about one lead's booking: ask for another one, or name it by hand."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime

from stcli.domain.campaign import CampaignConfig, Tab
from stcli.domain.ids import BookingId, CampaignName, JobId
from stcli.domain.records import Person, PersonType
from stcli.errors import ConfigurationError, RecordNotFound, UsageError
from stcli.store.ledger import LedgerScope, LedgerState
from stcli.store.locks import Locks
from stcli.store.state import State
from stcli.usecases.campaign_lookup import find_campaign
from stcli.usecases.passes.subject import tenant_key
from stcli.usecases.ports import CrmGateway, ReferralGateway


@dataclass(frozen=True, slots=True)
class Lead:
    """One lead of a campaign and where its booking is kept."""

    person: Person
    scope: LedgerScope


def known_person(name: CampaignName, code: str, state: State) -> Person:
    """The person with this code, as the last pass read it."""
    person = state.people.with_code(code)
    if person is None:
        raise UsageError(
            f"nobody with the code {code!r} is known in {name}",
            f"The code is case-sensitive. Newcomers are known after: stcli leads run {name} --dry-run "
            "or a pass.",
        )
    return person


async def lead_of(
    name: CampaignName,
    config: CampaignConfig,
    code: str,
    state: State,
    referral: ReferralGateway,
) -> Lead:
    """The lead with this code; somebody else's campaign, and a referrer, are refused (2)."""
    person = known_person(name, code, state)
    campaign = await find_campaign(referral, config)
    if person.campaign_id != campaign.id:
        raise UsageError(f"{code} belongs to another campaign than {name}", "Check the code.")
    if person.type is not PersonType.LEAD:
        raise UsageError(
            f"{code} is a referrer, and only leads are qualified", "Give the code of a lead."
        )
    return Lead(person, LedgerScope(name, Tab.LEADS.value, tenant_key(config), campaign.id))


@contextmanager
def alone(lead: Lead, locks: Locks) -> Iterator[None]:
    """Keep passes away from the lead meanwhile (``Locked``, 7): one that had read it before a decision
    would act against it."""
    with locks.hold(lead.scope.campaign, "decision"), locks.hold(lead.scope.lock, "decision"):
        yield


async def resend(lead: Lead, state: State, crm: CrmGateway, now: datetime) -> str:
    """Let the next pass book a lead again whose booking was dismissed; anything else is refused."""
    scope, code, name = lead.scope, lead.person.code, lead.scope.campaign
    entry = state.ledger.entry(scope, lead.person.id)
    if entry is None or entry.booking_id is None:
        raise ConfigurationError(
            f"{code} has no booking that could be sent again",
            f"A lead without a booking is booked by: stcli leads run {name}",
        )
    if entry.state not in (LedgerState.BOOKED, LedgerState.LINKED):
        raise ConfigurationError(f"{code} is waiting for its booking already", "")
    alike = await crm.find_bookings(entry.external_id) if entry.external_id else []
    bookings = list(alike) or [await crm.booking(entry.booking_id)]
    open_ones = [booking for booking in bookings if booking.status != "Dismissed"]
    if open_ones:
        raise ConfigurationError(
            f"booking {open_ones[0].id} of {code} is {open_ones[0].status}, not Dismissed",
            "Only a dismissed booking is sent again; dismiss it in ServiceTitan first.",
        )
    state.ledger.resend(
        scope, entry.user_id, sorted({booking.id for booking in bookings} | set(entry.ignored)), now
    )
    return f"{code} will be booked again by: stcli leads run {name}"


async def link(
    lead: Lead,
    booking: int | None,
    job: int | None,
    state: State,
    crm: CrmGateway,
    now: datetime,
) -> str:
    """Bind an existing booking or job of the tenant to a lead, unless it is another person's."""
    scope, person, code = lead.scope, lead.person, lead.person.code
    if booking is not None:
        _refuse_taken(lead, state, booking=BookingId(booking))
        try:
            found = await crm.booking(BookingId(booking))
        except RecordNotFound:
            raise UsageError(
                f"ServiceTitan has no booking {booking}", "Check the number."
            ) from None
        state.feeds.save_listed(scope.tenant, [found])
        state.ledger.bind(
            scope, person.id, code, booking=found.id, job=None, booked_on=found.created_on, now=now
        )
        return f"{code} has booking {found.id} ({found.status})"
    jobs = await crm.jobs([JobId(job or 0)])
    if not jobs:
        raise UsageError(f"ServiceTitan has no job {job}", "Check the number.")
    _refuse_taken(lead, state, job=jobs[0].id)
    named = state.feeds.bookings_of_job(scope.tenant, jobs[0].id)
    for number in {*named, *([jobs[0].booking_id] if jobs[0].booking_id else [])}:
        _refuse_taken(lead, state, booking=number)
    state.feeds.save_job(scope.tenant, jobs[0])
    state.ledger.bind(
        scope, person.id, code, booking=None, job=jobs[0].id, booked_on=jobs[0].created_on, now=now
    )
    return f"{code} has job {jobs[0].id} ({jobs[0].status})"


def _refuse_taken(
    lead: Lead, state: State, *, booking: BookingId | None = None, job: JobId | None = None
) -> None:
    """One job earns one reward: what is another person's already is not given to a second."""
    holder = state.ledger.holder_of(lead.scope.tenant, booking=booking, job=job)
    if holder is not None and holder.user_id != lead.person.id:
        what = f"booking {booking}" if job is None else f"job {job}"
        raise ConfigurationError(
            f"{what} belongs to {holder.code} already",
            "Check the number; a booking or a job counts for one person.",
        )
