"""The customers beyond the known two dozen: as many as are asked for, of the sorts that there are.

Customer n of a seed is the same person in every sandbox of that seed, however many there are; only
ids and dates follow from their number. So everybody takes the same count of draws, used or not.
"""

import random
from collections.abc import Mapping, Sequence
from datetime import datetime, timedelta
from functools import cache
from typing import TypeVar

from stcli.sandbox.records import NOTHING, Customer, CustomerContact
from stcli.sandbox.tenant import Tenant
from stcli.sandbox.world import example_address, example_phone

T = TypeVar("T")

# How many customers of a thousand are of each sort.
NAMES = {
    "first_last": 770,
    "company": 80,  # and of type Commercial
    "last_first": 60,
    "couple": 25,
    "title": 20,
    "suffix": 15,
    "one_word": 15,
    "other_script": 15,
}
TYPES = {"Residential": 960, "Commercial": 40}
EMAILS = {
    "one": 690,
    "none": 120,
    "several": 75,
    "inactive_first": 20,
    "invalid_first": 15,
    "invalid_only": 10,
    "marketing_off_first": 20,
    "shared": 50,  # three customers have the same, one of them in capitals
}
STANDINGS = {
    "active": 925,
    "inactive": 50,
    "merged": 20,  # into the active customer before
    "merged_again": 5,  # into the one merged last, which makes a chain
}
WISHES = {
    "none": 820,
    "marketing_on": 100,
    "marketing_off": 25,
    "do_not_mail": 20,
    "do_not_service": 10,
    "suppressed": 20,
    "suppressed_once": 5,  # and not any more
}
TAGS: Mapping[tuple[str, ...], int] = {
    (): 860,
    ("VIP",): 70,
    ("Referral",): 40,
    ("No Reward",): 20,
    ("VIP", "Referral"): 10,
}
FIELDS: Mapping[tuple[str, ...], int] = {
    (): 900,
    ("Heard About Us",): 60,
    ("Referral Link", "Referral Code"): 30,
    ("Referrals", "Converted Referrals", "Heard About Us"): 10,
}
# Each lies anywhere between the customer's first day and now.
JOBS: Mapping[tuple[str, ...], int] = {
    (): 730,
    ("Completed",): 180,
    ("Completed", "Completed"): 30,
    ("Canceled",): 35,
    ("Canceled", "Completed"): 10,
    ("Scheduled",): 15,
}

FIRST_NAMES = (
    "Ava Ben Carla Dmitri Elena Farid Grace Hugo Ines Jonas Kira Liam Mona Nils Olga Pavel Quinn "
    "Rosa Samir Tara Umar Vera Wen Yara"
).split()
LAST_NAMES = "Abbott Brandt Castillo Dubois Evans Fischer Garcia Haddad Ivanov Jensen Kim".split()
TITLES = ("Dr.", "Mrs.", "Mr.", "Rev.")
SUFFIXES = ("Jr.", "Sr.", "III", "MD")
COMPANIES = ("Bakery LLC", "Property Management", "& Sons, Inc.", "Dental Group", "HOA")
OTHER_SCRIPTS = (
    "王小明",
    "Σοφία Παππά",
    "Дмитрий Иванов",
    "محمد علي",
    "田中 さくら",
    "김민준",
    "Şebnem Öztürk",
)
FIELD_VALUES = {
    "Heard About Us": "Friend",
    "Referral Link": "https://refer.example.com/spring-hvac/OLD{number}",
    "Referral Code": "OLD{number}",
    "Referrals": "2",
    "Converted Referrals": "1",
}
PEOPLE = len(FIRST_NAMES) * len(LAST_NAMES)
SHARERS = 3
JOB_LENGTH = timedelta(days=3)


def _drawn_from(shares: Mapping[T, int]) -> Sequence[T]:
    """A thousand places, of which each sort has its share."""
    return [sort for sort, share in shares.items() for _ in range(share)]


NAME_OF, TYPE_OF, EMAIL_OF = _drawn_from(NAMES), _drawn_from(TYPES), _drawn_from(EMAILS)
STANDING_OF, WISH_OF = _drawn_from(STANDINGS), _drawn_from(WISHES)
TAGS_OF, FIELDS_OF, JOBS_OF = _drawn_from(TAGS), _drawn_from(FIELDS), _drawn_from(JOBS)


class Crowd:
    """Adds one customer after the other, oldest first, and at last the jobs of them all."""

    def __init__(self, seed: int, tenant: Tenant, now: datetime) -> None:
        self._tenant = tenant
        self._now = now
        self._draw = random.Random(f"crowd-{seed}").random  # noqa: S311 - repeatable on purpose
        self._survivor: Customer | None = None
        self._merged: Customer | None = None
        self._sharers = 0
        self._jobs: list[tuple[datetime, datetime, int, str]] = []
        tags = {found.name: found.id for found in tenant.tag_types.values()}
        self._tags = {names: [tags[name] for name in names] for names in TAGS}
        self._fields = {found.name: found.id for found in tenant.custom_fields.values()}

    def add(self, number: int, when: datetime) -> None:
        draw = self._draw
        sort = NAME_OF[int(draw() * 1000)]
        kind = TYPE_OF[int(draw() * 1000)]
        customer = Customer(
            id=self._tenant.next_id(),
            name=_name(sort, int(draw() * PEOPLE)),
            type="Commercial" if sort == "company" else kind,
            address=example_address(number),
            created_on=when,
            modified_on=when,
            tag_type_ids=self._tags[TAGS_OF[int(draw() * 1000)]],
            custom_fields=self._values(FIELDS_OF[int(draw() * 1000)], number),
        )
        self._tenant.add_customer(customer)
        emails = self._emails(EMAIL_OF[int(draw() * 1000)], number)
        owner = self._place(STANDING_OF[int(draw() * 1000)], customer)
        wish = WISH_OF[int(draw() * 1000)]
        self._add_contacts(owner, number, when, emails, wish)
        self._heed(wish, customer, emails)
        statuses = JOBS_OF[int(draw() * 1000)]
        for status, share in zip(statuses, (draw(), draw()), strict=False):
            done = when + (self._now - when) * share
            self._jobs.append((done, max(when, done - JOB_LENGTH), owner.id, status))

    def add_jobs(self) -> None:
        """In the order of time, which is what a feed asks for."""
        tenant = self._tenant
        self._jobs.sort()
        for done, begun, customer_id, status in self._jobs:
            job = tenant.new_job(customer_id, done, status)
            job.created_on = begun
            job.completed_on = done if status == "Completed" else None
            tenant.add_job(job)
            # One event is enough to be told of the end, and nobody waits for these jobs.
            tenant.add_event(job, status, at=done)
        self._jobs.clear()

    def _values(self, names: tuple[str, ...], number: int) -> Mapping[int, str]:
        if not names:
            return NOTHING
        return {self._fields[name]: FIELD_VALUES[name].format(number=number) for name in names}

    def _emails(self, sort: str, number: int) -> "tuple[_Email, ...]":
        if sort != "shared":
            return _emails(sort, number)
        household, place = divmod(self._sharers, SHARERS)
        self._sharers += 1
        name = f"household{household}"
        return ((f"{name.upper() if place == 1 else name}@example.com", True, None),)

    def _place(self, standing: str, customer: Customer) -> Customer:
        """Who has the customer's contacts and jobs now: the survivor, where it was merged."""
        if standing == "active":
            self._survivor = customer
            return customer
        customer.active = False
        into = self._merged if standing == "merged_again" else self._survivor
        if standing == "inactive" or into is None:
            return customer
        customer.merged_to_id = into.id
        self._merged = customer
        while into.merged_to_id is not None:
            into = self._tenant.customers[into.merged_to_id]
        return into

    def _add_contacts(
        self,
        owner: Customer,
        number: int,
        when: datetime,
        emails: "tuple[_Email, ...]",
        wish: str,
    ) -> None:
        tenant = self._tenant
        said = {"marketing_on": True, "marketing_off": False}.get(wish)
        line = "Phone" if number % 10 == 3 else "MobilePhone"
        tenant.add_contact(
            CustomerContact(tenant.next_id(), owner.id, line, example_phone(number), when, when)
        )
        for value, active, marketing in emails:
            contact = CustomerContact(tenant.next_id(), owner.id, "Email", value, when, when)
            contact.active = active
            contact.marketing_enabled = said if marketing is None else marketing
            tenant.add_contact(contact)

    def _heed(self, wish: str, customer: Customer, emails: "tuple[_Email, ...]") -> None:
        customer.do_not_mail = wish == "do_not_mail"
        customer.do_not_service = wish == "do_not_service"
        if emails and wish in ("suppressed", "suppressed_once"):
            when = customer.modified_on
            suppression = self._tenant.suppress(emails[0][0], "Unsubscribe", when)
            suppression.active = wish == "suppressed"


# The value, whether the contact is active, and what its preferences say of marketing, if anything.
_Email = tuple[str, bool, bool | None]


def _emails(sort: str, number: int) -> tuple[_Email, ...]:
    own: _Email = (f"customer{number + 1}@example.com", True, None)
    other = f"customer{number + 1}.old@example.com"
    no_email: _Email = (f"customer{number + 1}(at)example.com", True, None)
    match sort:
        case "one":
            return (own,)
        case "several":
            return (own, (other, True, None))
        case "inactive_first":
            return ((other, False, None), own)
        case "invalid_first":
            return (no_email, own)
        case "invalid_only":
            return (no_email,)
        case "marketing_off_first":
            return ((other, True, False), own)
    return ()


@cache
def _name(sort: str, person: int) -> str:
    first, last = FIRST_NAMES[person // len(LAST_NAMES)], LAST_NAMES[person % len(LAST_NAMES)]
    match sort:
        case "company":
            return f"{last} {COMPANIES[person % len(COMPANIES)]}"
        case "last_first":
            return f"{last}, {first}"
        case "couple":
            return f"{first} & {FIRST_NAMES[person % len(FIRST_NAMES)]} {last}"
        case "title":
            return f"{TITLES[person % len(TITLES)]} {first} {last}"
        case "suffix":
            return f"{first} {last} {SUFFIXES[person % len(SUFFIXES)]}"
        case "one_word":
            return last if person % 2 else first
        case "other_script":
            return OTHER_SCRIPTS[person % len(OTHER_SCRIPTS)]
    return f"{first} {last}"
