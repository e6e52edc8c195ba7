"""The customers of the sample tenant: two dozen that tests know by number, and then a crowd."""

import random
from datetime import datetime, timedelta

from stcli.sandbox.crowd import FIRST_NAMES, LAST_NAMES, Crowd
from stcli.sandbox.records import Customer
from stcli.sandbox.tenant import Tenant
from stcli.sandbox.world import World, example_address, example_phone

CUSTOMER_DAYS = 400
KNOWN = 24


def fill_customers(world: World, tenant: Tenant, source: random.Random) -> None:
    count = world.settings.customers
    now = world.clock.now()
    step = timedelta(days=CUSTOMER_DAYS) / max(1, count + 1)
    known = [
        _add_known(world, tenant, number, now - step * (count - number), source)
        for number in range(min(count, KNOWN))
    ]
    for number, customer in enumerate(known):
        _make_special(tenant, number, customer, known)
    crowd = Crowd(world.settings.seed, tenant, now)
    for number in range(KNOWN, count):
        crowd.add(number, now - step * (count - number))
    crowd.add_jobs()


def _add_known(
    world: World, tenant: Tenant, number: int, when: datetime, source: random.Random
) -> Customer:
    first, last = source.choice(FIRST_NAMES), source.choice(LAST_NAMES)
    email = f"customer{number + 1}@example.com"
    contacts = [("MobilePhone", example_phone(number)), ("Email", email)]
    if number == 7:
        contacts.pop()
    elif number == 8:
        contacts[1] = ("Email", "not-an-email")
    elif number == 9:
        contacts[1] = ("Email", "customer1@example.com")
    return world.add_customer(
        f"{first} {last}",
        contacts=contacts,
        type="Commercial" if number % 9 == 4 else "Residential",
        address=example_address(number),
        tenant_id=tenant.id,
        at=when,
    )


def _make_special(
    tenant: Tenant, number: int, customer: Customer, customers: list[Customer]
) -> None:
    """Customers whom a referral program must leave alone, one of each sort."""
    if number == 10:
        customer.active = False
    elif number == 11:
        customer.active = False
        customer.merged_to_id = customers[0].id
    elif number == 12:
        customer.do_not_mail = True
    elif number == 13:
        customer.do_not_service = True
    elif number == 14:
        tenant.contacts[customer.contacts[1]].marketing_enabled = False
    elif number == 15:
        email = tenant.contacts[customer.contacts[1]].value
        tenant.suppress(email, "Unsubscribe", customer.modified_on)
