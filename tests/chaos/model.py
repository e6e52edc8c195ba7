"""What must be true in both systems, told from what happened in the two companies alone."""

from __future__ import annotations

from collections import Counter
from contextlib import closing
from dataclasses import dataclass, field

from stcli.domain.matching import email_key, is_email
from stcli.sandbox.records import Customer, CustomerContact, User
from stcli.sandbox.seed import MAIN_CAMPAIGN
from stcli.sandbox.world import World
from stcli.store.places import Place

LEAD, REFERRER = "person_invited", "person_referring"
OUR_SOURCE = "Spring HVAC"
LINK = "Referral Link"
Rows = dict[int, tuple[str, int | None, str]]
"""Each customer's state, person and reason, as the state says."""


@dataclass
class Model:
    """One world. ``ever``: every address that was allowed at some moment; ``writers``: who may have
    been referred or added before we came."""

    world: World
    unqualifies: bool
    ever: set[str] = field(default_factory=set)
    before: set[str] = field(default_factory=set)

    def __post_init__(self) -> None:
        self.before = {email_key(user.email) for user in self.users()}
        self.other_fields = self._other_fields()
        self.look()

    def users(self) -> list[User]:
        campaign = self.world.account.campaign(MAIN_CAMPAIGN)
        assert campaign is not None
        return [u for u in self.world.account.in_order() if u.campaign_id == campaign.id]

    # Customers

    def allowed(self) -> dict[str, list[int]]:
        """Each address that may be written to now, with the customers that it stands for."""
        tenant = self.world.tenant
        suppressed = {email_key(s.email) for s in tenant.suppressions.values() if s.active}
        found: dict[str, list[int]] = {}
        for customer in tenant.customers.values():
            address = _address(customer, self._emails(customer), suppressed)
            if address:
                found.setdefault(address, []).append(customer.id)
        return found

    def _emails(self, customer: Customer) -> list[CustomerContact]:
        contacts = self.world.tenant.contacts
        return [
            contacts[number]
            for number in sorted(customer.contacts)
            if contacts[number].type == "Email" and contacts[number].active
        ]

    def look(self) -> None:
        """To be called after everything that happens in the companies."""
        self.ever |= set(self.allowed())

    def _other_fields(self) -> dict[int, dict[int, str]]:
        """The custom fields that are none of ours, by customer."""
        tenant = self.world.tenant
        ours = {n for n, kind in tenant.custom_fields.items() if kind.name in (LINK, "Referrals")}
        return {
            c.id: {n: value for n, value in c.custom_fields.items() if n not in ours}
            for c in tenant.customers.values()
        }

    # What must be true

    def violations(self, state: Place) -> list[str]:
        """Everything that is not as it must be, in words."""
        rows = _rows(state)
        with self.world.lock:
            self.look()
            return [
                *self._bookings(),
                *self._qualifications(),
                *self._enrolments(rows),
                *self._returns(rows),
            ]

    def _bookings(self) -> list[str]:
        counts = Counter(b.external_id for b in self.world.bookings() if b.source == OUR_SOURCE)
        wrong = [f"{n} bookings of {code}" for code, n in counts.items() if n > 1]
        people = {user.code: user for user in self.users()}
        wrong += [f"a booking of nobody: {code}" for code in counts if code not in people]
        for code, user in people.items():
            if user.type == LEAD and user.source != "Test" and not counts[code]:
                wrong.append(f"lead {code} has no booking")
            if user.type == LEAD and user.source == "Test" and counts[code]:
                wrong.append(f"test lead {code} has a booking")
            if user.type == REFERRER:
                wrong += self._booking_of_referrer(user, counts[code])
        return wrong

    def _booking_of_referrer(self, user: User, number: int) -> list[str]:
        if user.source in ("Test", "Added", "Api"):
            return [f"referrer {user.code} ({user.source}) has a booking"] if number else []
        # Whoever is a customer too may have been booked before the sync linked them.
        if email_key(user.email) not in self.ever and not number:
            return [f"referrer {user.code} has no booking"]
        return []

    def _qualifications(self) -> list[str]:
        due = self._due()
        wrong = []
        for user in self.users():
            is_set = user.qualified_at is not None
            if (
                user.type == LEAD
                and is_set != (user.code in due)
                and user.code not in self._earlier
            ):
                wrong.append(f"lead {user.code} is {'' if is_set else 'not '}qualified")
        return wrong

    @property
    def _earlier(self) -> set[str]:
        """Leads that were qualified by hand."""
        ours = {entry["user_id"] for entry in self.world.qualifications}
        return {u.code for u in self.users() if u.qualified_at is not None and u.id not in ours}

    def _due(self) -> set[str]:
        """Leads whose job was completed at any time."""
        tenant = self.world.tenant
        found = set()
        for booking in self.world.bookings():
            if booking.source != OUR_SOURCE:
                continue
            jobs = {job.id for job in tenant.jobs.values() if job.booking_id == booking.id}
            jobs |= {booking.job_id} if booking.job_id else set()
            for number in jobs:
                job = tenant.jobs[number]
                is_back = self.unqualifies and job.status == "Canceled"
                if any(e.event_type == "Completed" for e in job.history) and not is_back:
                    found.add(booking.external_id)
        return found

    def _enrolments(self, rows: Rows) -> list[str]:
        allowed = self.allowed()
        ours = [u for u in self.users() if u.source == "Api" and email_key(u.email)]
        wrong = []
        twice = Counter(email_key(user.email) for user in self.users())
        wrong += [f"{n} people of one address" for n in twice.values() if n > 1]
        created = {email_key(u.email) for u in ours} - self.before
        wrong += [
            "somebody was enrolled who may never be" for key in created if key not in self.ever
        ]
        people = {email_key(user.email): user for user in self.users()}
        for key, customers in allowed.items():
            if key not in people:
                wrong.append(f"customer {customers[0]} is not enrolled: {rows.get(customers[0])}")
                continue
            # Who was enrolled and is not allowed any more keeps the address.
            holders = [
                n
                for n, (state, user_id, _) in rows.items()
                if state in ("enrolled", "linked") and user_id == people[key].id
            ]
            if len(holders) != 1:
                told = {n: rows.get(n) for n in customers}
                wrong.append(f"{len(holders)} customers hold the address of {told}")
        return wrong

    def _returns(self, rows: Rows) -> list[str]:
        tenant = self.world.tenant
        number = next(n for n, kind in tenant.custom_fields.items() if kind.name == LINK)
        people = {user.id: user for user in self.users()}
        allowed = {n for customers in self.allowed().values() for n in customers}
        wrong = []
        for customer, (state, user_id, _) in rows.items():
            if state in ("enrolled", "linked") and customer in allowed and user_id in people:
                value = tenant.customers[customer].custom_fields.get(number)
                if value != people[user_id].url:
                    wrong.append(f"customer {customer} has no referral link")
        now = self._other_fields()
        wrong += [
            f"another custom field of customer {n} was changed"
            for n, values in self.other_fields.items()
            if now[n] != values
        ]
        return wrong


def _address(customer: Customer, emails: list[CustomerContact], suppressed: set[str]) -> str | None:
    if not customer.active or customer.merged_to_id is not None or not customer.name.strip():
        return None
    if customer.do_not_mail or customer.do_not_service:
        return None
    for contact in emails:
        key = email_key(contact.value)
        if (
            is_email(contact.value)
            and contact.marketing_enabled is not False
            and key not in suppressed
        ):
            return key
    return None


def _rows(state: Place) -> Rows:
    with closing(state.open()) as opened, opened.database.read() as sql:
        found = sql.execute("SELECT customer_id, state, user_id, reason FROM enrolments")
        return {row[0]: (row[1], row[2], row[3]) for row in found}
