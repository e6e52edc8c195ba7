"""Fixed seeds in every run of the tests; more of them: ``python -m tests.chaos``."""

from __future__ import annotations

from pathlib import Path

import pytest

from stcli.sandbox.faults import COURSES
from tests.chaos.menu import MENU
from tests.chaos.model import OUR_SOURCE
from tests.chaos.story import Story

SEEDS = (1,)
SEEDS_OF_TWO_HOSTS = (4,)


@pytest.mark.timeout(300)
@pytest.mark.parametrize("seed", SEEDS)
def test_nothing_is_lost_and_nothing_happens_twice(seed: int, tmp_path: Path) -> None:
    """Faults of every kind and kills from outside; then quiet, and the end state is the model's."""
    ending = Story(seed, tmp_path).run()
    assert not ending.violations, "\n".join(ending.violations)


@pytest.mark.timeout(300)
@pytest.mark.parametrize("seed", SEEDS_OF_TWO_HOSTS)
def test_two_hosts_on_one_database(seed: int, tmp_path: Path, postgres: str) -> None:
    """The same with PostgreSQL, and each command on one of two hosts with homes of their own."""
    ending = Story(seed, tmp_path, database=postgres).run()
    assert not ending.violations, "\n".join(ending.violations)


def test_every_kind_of_fault_is_on_the_menu() -> None:
    """A new kind of the sandbox has to meet the passes too."""
    assert {fault["kind"] for fault in MENU.values()} == set(COURSES)


@pytest.mark.timeout(300)
def test_the_model_sees_what_is_wrong(tmp_path: Path) -> None:
    """Each kind of harm, done by hand to a world that is as it must be, is told."""
    story = Story(7, tmp_path)
    with story.opened():
        story.quiet()
        model = story.model
        assert story.ending.violations == []
        world, tenant = story.world, story.world.tenant

        def told() -> str:
            return "\n".join(model.violations(story.state))

        lead = next(u for u in model.users() if u.type == "person_invited" and u.source != "Test")
        booking = next(b for b in world.bookings() if b.external_id == lead.code)
        tenant.rename_booking(booking, "lost")
        assert f"lead {lead.code} has no booking" in told()
        other = next(b for b in world.bookings() if b.source == OUR_SOURCE and b.id != booking.id)
        tenant.rename_booking(booking, other.external_id)
        assert f"2 bookings of {other.external_id}" in told()
        tenant.rename_booking(booking, lead.code)

        job = world.convert_booking(booking.id)
        world.set_job_status(job.id, "Completed")
        assert f"lead {lead.code} is not qualified" in told()
        qualified = next(u for u in model.users() if u.type == "person_invited" and u.id != lead.id)
        world.account.qualify(qualified, qualified=True)
        world.qualifications.append({"user_id": qualified.id})
        assert f"lead {qualified.code} is qualified" in told()

        world.add_customer("Forgotten", contacts=[("Email", "forgotten@example.com")])
        assert "is not enrolled" in told()
        customer = next(c for c in tenant.customers.values() if model.other_fields.get(c.id))
        number = next(iter(model.other_fields[customer.id]))
        customer.custom_fields = {**customer.custom_fields, number: "changed"}
        assert f"another custom field of customer {customer.id}" in told()
        link = next(n for n, kind in tenant.custom_fields.items() if kind.name == "Referral Link")
        holder = next(c for c in tenant.customers.values() if link in c.custom_fields)
        holder.custom_fields = {**holder.custom_fields, link: "elsewhere"}
        assert f"customer {holder.id} has no referral link" in told()
