"""Decisions of a person about one lead's booking: ask for another one, or name it by hand."""

from __future__ import annotations

from datetime import datetime

from stcli.domain.campaign import CampaignConfig, Tab
from stcli.domain.ids import BookingId, CampaignName, JobId
from stcli.domain.records import Person
from stcli.errors import ConfigurationError, RecordNotFound, UsageError
from stcli.store.ledger import LedgerScope, LedgerState
from stcli.store.state import State
from stcli.usecases.passes.runner import tenant_key
from stcli.usecases.ports import CrmGateway


def _scope(name: CampaignName, config: CampaignConfig) -> LedgerScope:
    return LedgerScope(name, Tab.LEADS.value, tenant_key(config), Tab.LEADS.value)


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


async def resend(
    name: CampaignName,
    config: CampaignConfig,
    code: str,
    state: State,
    crm: CrmGateway,
    now: datetime,
) -> str:
    """Let the next pass book a lead again whose booking was dismissed; anything else is refused."""
    scope = _scope(name, config)
    entry = state.ledger.by_code(scope, code)
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
    name: CampaignName,
    config: CampaignConfig,
    code: str,
    booking: int | None,
    job: int | None,
    state: State,
    crm: CrmGateway,
    now: datetime,
) -> str:
    """Bind an existing booking or job of the tenant to a lead."""
    scope, person = _scope(name, config), known_person(name, code, state)
    if booking is not None:
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
    state.feeds.save_job(scope.tenant, jobs[0])
    state.ledger.bind(
        scope, person.id, code, booking=None, job=jobs[0].id, booked_on=jobs[0].created_on, now=now
    )
    return f"{code} has job {jobs[0].id} ({jobs[0].status})"
