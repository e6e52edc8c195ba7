"""The customers beyond the known two dozen: repeatable, of every sort, and quick to have."""

from __future__ import annotations

import time
from collections import Counter
from datetime import timedelta

import pytest

from stcli.sandbox import SandboxSettings
from stcli.sandbox.crowd import EMAILS, FIELDS, JOBS, NAMES, STANDINGS, TAGS, TYPES, WISHES
from stcli.sandbox.seed import build_world
from stcli.sandbox.servicetitan_bodies import customer_body

MANY = 20_000
KNOWN_NAMES = ["Ava Garcia", "Jonas Haddad", "Elena Haddad", "Olga Fischer"]


@pytest.fixture(scope="module")
def tenant():
    return build_world(SandboxSettings(customers=MANY)).tenant


def image(world):
    """Everything about the customers, with their dates counted from the newest of them."""
    tenant = world.tenant
    newest = next(reversed(tenant.customers.values())).created_on
    return (
        [
            (*vars_of(customer), customer.created_on - newest)
            for customer in tenant.customers.values()
        ],
        [
            (c.id, c.customer_id, c.type, c.value, c.active, c.marketing_enabled)
            for c in tenant.contacts.values()
        ],
        [
            (j.id, j.customer_id, j.status, j.created_on - newest, j.modified_on - newest)
            for j in tenant.jobs.values()
        ],
        [(s.id, s.email, s.active) for s in tenant.suppressions.values()],
    )


def vars_of(customer):
    return (
        customer.id,
        customer.name,
        customer.type,
        dict(customer.address),
        customer.active,
        customer.merged_to_id,
        customer.do_not_mail,
        customer.do_not_service,
        list(customer.tag_type_ids),
        dict(customer.custom_fields),
        customer.contacts,
    )


def persons(world, first, last):
    """What makes customers who they are, whatever their ids and dates."""
    tenant = world.tenant
    return [
        (c.name, c.type, c.active, [tenant.contacts[k].value for k in c.contacts])
        for c in list(tenant.customers.values())[first:last]
    ]


def emails(tenant, customer):
    contacts = (tenant.contacts[key] for key in customer.contacts)
    return [contact for contact in contacts if contact.type == "Email"]


def test_same_seed_same_crowd():
    """Twenty thousand customers are the same twice, and others with another seed."""
    first, second = (image(build_world(SandboxSettings(customers=MANY))) for _ in range(2))
    assert first == second
    other = image(build_world(SandboxSettings(customers=MANY, seed=2)))
    assert [c[1] for c in other[0]] != [c[1] for c in first[0]]


def test_a_customer_does_not_depend_on_how_many_there_are():
    """Customer 500 is the same person among a thousand and among five thousand."""
    few, many = (build_world(SandboxSettings(customers=n)) for n in (1000, 5000))
    # The last ones may gain the contacts of customers that are merged into them later.
    assert persons(few, 0, 900) == persons(many, 0, 900)


@pytest.mark.parametrize("count", [24, 3000])
def test_known_customers_stay_as_they_are(count):
    """Tests know the first two dozen by number: a larger crowd changes nothing about them."""
    tenant = build_world(SandboxSettings(customers=count)).tenant
    known = list(tenant.customers.values())[:24]
    assert [customer.name for customer in known[:4]] == KNOWN_NAMES
    addresses = [[contact.value for contact in emails(tenant, c)] for c in known]
    expected = [[f"customer{number}@example.com"] for number in range(1, 25)]
    expected[7:10] = [[], ["not-an-email"], ["customer1@example.com"]]
    assert addresses == expected
    phones = [tenant.contacts[customer.contacts[0]].value for customer in known]
    assert phones == [f"217-555-01{number:02d}" for number in range(24)]
    assert [n for n, c in enumerate(known) if not c.active] == [10, 11]
    assert [c.merged_to_id for c in known if c.merged_to_id] == [known[0].id]
    assert [n for n, c in enumerate(known) if c.do_not_mail] == [12]
    assert [n for n, c in enumerate(known) if c.do_not_service] == [13]
    assert emails(tenant, known[14])[0].marketing_enabled is False
    suppressed = {s.email for s in tenant.suppressions.values()}
    assert [n for n, e in enumerate(addresses) if set(e) & suppressed] == [15]
    assert not any(c.tag_type_ids or c.custom_fields for c in known)


def test_two_dozen_have_no_jobs():
    """Only the crowd has a past."""
    assert build_world(SandboxSettings()).tenant.jobs == {}


@pytest.mark.parametrize("shares", [NAMES, TYPES, EMAILS, STANDINGS, WISHES, TAGS, FIELDS, JOBS])
def test_shares_are_of_a_thousand(shares):
    """A table that does not add up would leave the rest to chance."""
    assert sum(shares.values()) == 1000


def test_names_of_every_sort(tenant):
    """Companies, surnames first, single words, other scripts, titles and suffixes."""
    customers = list(tenant.customers.values())[24:]
    for mark, least in ((", ", 900), ("LLC", 150), ("Dr.", 50), (" Jr.", 30), (" & ", 400)):
        assert sum(mark in c.name for c in customers) >= least, mark
    assert sum(" " not in c.name for c in customers) >= 200
    assert sum(not c.name.isascii() for c in customers) >= 200
    assert {c.type for c in customers if "LLC" in c.name} == {"Commercial"}
    assert 0.09 < sum(c.type == "Commercial" for c in customers) / len(customers) < 0.15


def test_only_example_addresses(tenant):
    """No address and no number belongs to anybody."""
    for contact in tenant.contacts.values():
        if contact.type == "Email":
            assert contact.value.endswith("example.com") or contact.value == "not-an-email"
        else:
            assert contact.value.startswith("217-555-01")
            assert len(contact.value) == len("217-555-0100")


def test_emails_of_every_sort(tenant):
    """The good address is not always the one with the lowest id; some are shared, some missing."""
    sorts: Counter[str] = Counter()
    owners: dict[str, set[int]] = {}
    for customer in tenant.customers.values():
        found = emails(tenant, customer)
        sorts["none"] += not found
        sorts["several"] += len(found) > 1
        if len(found) > 1:
            sorts["inactive first"] += not found[0].active
            sorts["invalid first"] += "@" not in found[0].value
            marketing = [contact.marketing_enabled for contact in found]
            sorts["marketing off first"] += marketing[0] is False and False not in marketing[1:]
        for contact in found:
            owners.setdefault(contact.value.lower(), set()).add(customer.id)
    assert all(sorts[sort] > 100 for sort in sorts), sorts
    shared = [len(ids) for email, ids in owners.items() if email.startswith("household")]
    assert len(shared) > 300
    assert max(shared) <= 3
    assert shared.count(3) > 250


def test_merged_customers_are_followed_to_a_survivor(tenant):
    """Who was merged has nothing any more; some chains have more than one link."""
    lengths: Counter[int] = Counter()
    for customer in list(tenant.customers.values())[24:]:
        steps, at = 0, customer
        while at.merged_to_id is not None:
            assert not at.active
            at = tenant.customers[at.merged_to_id]
            steps += 1
        lengths[steps] += 1
        if steps:
            assert customer.contacts == ()
            assert at.active
    assert lengths[1] > 300
    assert sum(count for steps, count in lengths.items() if steps > 1) > 50
    owners = {c.customer_id for c in tenant.contacts.values()}
    assert owners == {c.id for c in tenant.customers.values() if c.contacts}


def test_wishes_tags_and_fields(tenant):
    """Every flag, tag and field is somewhere, most customers have none of them."""
    customers = list(tenant.customers.values())[24:]
    for flag in ("do_not_mail", "do_not_service", "tag_type_ids", "custom_fields"):
        share = sum(bool(getattr(c, flag)) for c in customers) / len(customers)
        assert 0.005 < share < 0.2, flag
    names = {tag.id: tag.name for tag in tenant.tag_types.values()}
    assert {names[i] for c in customers for i in c.tag_type_ids} == {
        "VIP",
        "Referral",
        "No Reward",
    }
    fields = {f["name"] for c in customers for f in customer_body(c, tenant)["customFields"]}
    assert fields == {field.name for field in tenant.custom_fields.values()}
    states = Counter(s.active for s in tenant.suppressions.values())
    assert min(states[True] / 3, states[False]) > 30


def test_jobs_lie_between_the_first_day_and_now(tenant):
    """Completed and canceled jobs at all times, each with the customer who has it now."""
    statuses = Counter(job.status for job in tenant.jobs.values())
    assert statuses.keys() == {"Completed", "Canceled", "Scheduled"}
    assert 0.2 < len(tenant.jobs) / MANY < 0.4
    for job in tenant.jobs.values():
        assert tenant.customers[job.customer_id].merged_to_id is None
        assert job.created_on <= job.modified_on
        assert (job.completed_on == job.modified_on) == (job.status == "Completed")
    dates = [job.modified_on for job in tenant.jobs.values()]
    assert dates == sorted(dates)
    assert dates[-1] - dates[0] > timedelta(days=300)


def test_a_crowd_is_read_through_the_feeds(start):
    """Pages of five thousand hold everybody once; jobs name their customers."""
    servers = start(customers=12_000, feed_page_size=5000)
    for path, expected in (
        ("crm/export/customers", servers.world.tenant.customers),
        ("crm/export/customers/contacts", servers.world.tenant.contacts),
        ("jpm/export/jobs", servers.world.tenant.jobs),
    ):
        found, position, more = [], "", True
        while more:
            page = servers.feed(path, position)
            assert len(page["data"]) <= 5000
            found += page["data"]
            position, more = page["continueFrom"], page["hasMore"]
        assert [record["id"] for record in found] == list(expected)
    assert {job["customerId"] for job in found} <= servers.world.tenant.customers.keys()
    assert {"Completed", "Canceled"} <= {job["jobStatus"] for job in found}


def test_no_cost_by_the_number_of_users(start):
    """A page with analytics takes no longer because a referrer sent fifty thousand others."""
    servers = start()
    account = servers.world.account
    campaign = account.campaign("spring-hvac")
    referrer = account.add_user(campaign, "Rob", "rob@example.com", source="Direct")
    for number in range(50_000):
        account.add_user(
            campaign, "Many", f"many{number}@example.com", source="Referred", referrer=referrer
        )
    began = time.monotonic()
    for page in (1, 150, 200):
        query = {"per_page": 250, "page": page, "with": "user.analytics"}
        assert len(servers.rf("GET", "/users", **query).json()["data"]) == 250
    assert time.monotonic() - began < 20
    shown = servers.rf("GET", f"/users/{referrer.id}", **{"with": "user.analytics"}).json()["data"]
    assert shown["analytics"] == {"reach": 0, "referrals": 50_000, "qualified_referrals": 0}
