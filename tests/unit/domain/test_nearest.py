"""The nearest known name: what is suggested for a typo, and when nothing is."""

import time

import pytest

from stcli.domain.nearest import nearest, suggestion

TARGETS = (
    "source name email summary is_first_time_client external_id phone mobile_phone address.street "
    "address.unit address.city customer_type start campaign business_unit job_type priority"
).split()


@pytest.mark.parametrize(
    ("typo", "meant"),
    [
        ("emial", "email"),
        ("e-mail", "email"),
        ("EMAIL", "email"),
        ("Email ", "email"),
        ("naem", "name"),
        ("externalId", "external_id"),
        ("external-id", "external_id"),
        ("businessUnit", "business_unit"),
        ("business", "business_unit"),
        ("adress.street", "address.street"),
        ("is_first_time_cleint", "is_first_time_client"),
        ("mobilephone", "mobile_phone"),
        ("sumary", "summary"),
        ("jobtype", "job_type"),
        ("email_address", "email"),
    ],
)
def test_a_typo_gets_the_name_that_was_meant(typo, meant):
    """Slips, swapped letters, other case and other separators find the name."""
    assert nearest(typo, TARGETS) == meant


@pytest.mark.parametrize("name", ["zzzzzz", "", "q", "favourite_colour", "x" * 50_000])
def test_nothing_near_suggests_nothing(name):
    """A name that resembles none gets no suggestion, and quickly."""
    began = time.process_time()
    assert nearest(name, TARGETS) is None
    assert suggestion(name, TARGETS) == ""
    assert time.process_time() - began < 5


def test_the_nearer_of_two_wins():
    """An exact match but for case beats a prefix, and a prefix beats two slips."""
    assert nearest("Phone", ["phones", "phone"]) == "phone"
    assert nearest("cod", ["node", "code"]) == "code"


def test_equally_near_names_keep_the_given_order():
    """The answer is repeatable: the first of equals."""
    assert nearest("bat", ["bad", "cat"]) == nearest("bat", iter(["bad", "cat"])) == "bad"


def test_a_suggestion_is_a_question():
    """The hint is ready to be shown."""
    assert suggestion("emial", TARGETS) == "did you mean email?"
    assert suggestion("emial", []) == ""
