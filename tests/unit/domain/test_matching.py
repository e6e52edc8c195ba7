"""When two addresses or numbers are the same one, and what an email address is."""

from __future__ import annotations

import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from stcli.domain.matching import LONGEST_EMAIL, email_key, is_email, phone_key


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("ada@example.com", "ADA@Example.COM"),
        ("ada@example.com", "  ada@example.com\t"),
        ("ÅSA@example.com", "åsa@example.com"),
    ],
)
def test_spellings_of_one_address_are_the_same(one: str, other: str) -> None:
    """Case and blanks around it make no other person."""
    assert email_key(one) == email_key(other) != ""


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("ada@example.com", "ada+home@example.com"),
        ("ada.l@example.com", "adal@example.com"),
        ("ada@example.com", "ada@example.org"),
    ],
)
def test_addresses_that_only_look_alike_differ(one: str, other: str) -> None:
    """What one mail provider treats as one mailbox is not guessed."""
    assert email_key(one) != email_key(other)


@pytest.mark.parametrize("blank", ["", "  ", "\n"])
def test_a_blank_address_has_a_blank_key(blank: str) -> None:
    """Nothing has nothing in common with an address."""
    assert email_key(blank) == ""


@given(st.text(max_size=40))
def test_a_key_is_its_own_key(text: str) -> None:
    """A stored key is found again however often it is made."""
    key = email_key(text)
    assert email_key(key) == key


@pytest.mark.parametrize(
    "address",
    [
        "ada@example.com",
        " ada@example.com ",
        "ADA@EXAMPLE.COM",
        "ada.king-lovelace+home@mail.example.co.uk",
        "o'neil@example.com",
        "a@b.co",
        "1@2.io",
        "ada_l@my_host.example.com",
        "a!#$%&'*+/=?^_`{|}~-z@example.com",
        "jörg@bücher.example",
        "李@例え.テスト",
        "ada@xn--bcher-kva.xn--p1ai",
        "x" * 64 + "@example.com",
    ],
)
def test_usual_addresses_are_addresses(address: str) -> None:
    """Of every length, in every script, with all signs that occur in a mailbox."""
    assert is_email(address)


@pytest.mark.parametrize(
    "text",
    [
        "",
        "   ",
        "none",
        "n/a",
        "@",
        "ada@",
        "@example.com",
        "ada@example",
        "ada@localhost",
        "ada@example.c",
        "ada@example.123",
        "ada@127.0.0.1",
        "ada@[127.0.0.1]",
        "ada@@example.com",
        "ada@home@example.com",
        "ada.example.com",
        ".ada@example.com",
        "ada.@example.com",
        "ada..l@example.com",
        "ada@.example.com",
        "ada@example..com",
        "ada@example.com.",
        "ada@-example.com",
        "ada@example-.com",
        "ada@_example.com",
        "ada l@example.com",
        "ada@exam ple.com",
        "ada@example.com bob@example.com",
        "ada@example.com,bob@example.com",
        "ada@example.com;bob@example.com",
        "Ada <ada@example.com>",
        "<ada@example.com>",
        "mailto:ada@example.com",
        '"ada"@example.com',
        "ada(home)@example.com",
        "ada@example.com(home)",
        "ada\\l@example.com",
        "ada@example.com\nBcc: bob@example.com",
        "ada\r@example.com",
        "ada\x00@example.com",
        "ada@exa\u200bmple.com",
        "ada\u00a0l@example.com",
        "\u202eada@example.com",
        "ada@example.com\x1b[31m",
        "x" * 65 + "@example.com",
        "ada@" + "x" * LONGEST_EMAIL + ".com",
    ],
)
def test_anything_else_is_no_address(text: str) -> None:
    """No names, lists, quotes, comments, numbers of hosts, hidden signs, line breaks or overlength."""
    assert not is_email(text)


def test_the_bound_of_the_whole_address_is_exact() -> None:
    """254 characters are taken, one more is not."""
    longest = "ada@" + "x." * 123 + "info"
    assert len(longest) == LONGEST_EMAIL
    assert is_email(longest)
    assert not is_email("b" + longest)


@pytest.mark.parametrize(
    "text",
    [
        "a" * 1_000_000,
        "a." * 500_000 + "@",
        "a@" + "a." * 500_000,
        "a@" + "a-" * 126,
        "a@" + "-a" * 126,
        "a@" + "a" * 252,
        "a@" + "a_" * 125 + "!",
        "a@" + "a." * 125 + "-",
        "a" * 64 + "@" + "a-a" * 62 + "-",
        "a.a" * 21 + "@" + "é-" * 90 + ".",
        "@" * 254,
    ],
)
def test_hostile_text_takes_no_time(text: str) -> None:
    """A pattern that has to try again and again is bounded by the length of an address."""
    began = time.perf_counter()
    for _ in range(20):
        assert not is_email(text)
    assert time.perf_counter() - began < 1.0


PIECES = ["a", "é", "1", ".", "-", "_", "@", "@b", ".co", " ", "\u200b", ",", "<", ">", '"', "\n"]


@given(st.lists(st.sampled_from(PIECES), max_size=12).map("".join) | st.text(max_size=300))
def test_an_address_has_one_mailbox_and_one_domain(text: str) -> None:
    """Whatever is called an address can be split in two at its only @, and names a dotted domain."""
    if is_email(text):
        mailbox, at, domain = text.strip().partition("@")
        assert mailbox
        assert at
        assert "@" not in domain
        assert "." in domain.strip(".") == domain
        assert not any(sign.isspace() for sign in text.strip())


@pytest.mark.parametrize(
    ("text", "key"),
    [
        ("(555) 010-0199", "5550100199"),
        ("+1 555 010 0199", "5550100199"),
        ("1-555-010-0199", "5550100199"),
        ("555.010.0199", "5550100199"),
        ("010-0199", "0100199"),
        ("1234567", "1234567"),
        ("+44 20 7946 0018", "442079460018"),
        ("15550100", "15550100"),
        ("123456", ""),
        ("911", ""),
        ("", ""),
        ("call me", ""),
        ("٣٤٥٣٤٥٣٤٥", ""),
    ],
)
def test_spellings_of_one_number_are_the_same(text: str, key: str) -> None:
    """Only digits count, without North America's 1; too few of them tell nobody apart."""
    assert phone_key(text) == key
