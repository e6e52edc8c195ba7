"""Transforms, and how names are split."""

from __future__ import annotations

import re

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from stcli.domain.mapping.transforms import (
    KEEPS_DIFFERENT_APART,
    TRANSFORMS,
    apply_transforms,
    digits,
    first_name,
    last_name,
)


@pytest.mark.parametrize(
    ("name", "first", "last"),
    [
        ("", "", ""),
        ("   ", "", ""),
        ("Ada", "Ada", ""),
        ("Ada Lovelace", "Ada", "Lovelace"),
        ("  Ada   Lovelace ", "Ada", "Lovelace"),
        ("Ada King Lovelace", "Ada King", "Lovelace"),
        ("Lovelace, Ada", "Ada", "Lovelace"),
        ("Lovelace,Ada", "Ada", "Lovelace"),
        ("Lovelace, Ada King", "Ada King", "Lovelace"),
        ("van der Berg, Anna", "Anna", "van der Berg"),
        ("Lovelace,", "Lovelace", ""),
        ("Lovelace, Dr. Ada", "Ada", "Lovelace"),
        ("John Smith, Jr.", "John", "Smith"),
        ("John Smith Jr.", "John", "Smith"),
        ("John Smith III", "John", "Smith"),
        ("Jane Roe, MD", "Jane", "Roe"),
        ("Dr. Jane Roe", "Jane", "Roe"),
        ("Prof Dr Jane Roe PhD", "Jane", "Roe"),
        ("MRS. JANE ROE", "JANE", "ROE"),
        ("Mr. Smith", "Smith", ""),
        ("Dr.", "Dr.", ""),
        ("Mary-Jane O'Neil", "Mary-Jane", "O'Neil"),
        ("李小龙", "李小龙", ""),
        ("محمد علي", "محمد", "علي"),
        ("Иван Петров", "Иван", "Петров"),
        ("José Núñez", "José", "Núñez"),
        ("Acme Heating LLC", "Acme Heating LLC", ""),
        ("Acme Heating, LLC", "Acme Heating, LLC", ""),
        ("Smith & Sons", "Smith & Sons", ""),
        ("Oak Street Apartments", "Oak Street Apartments", ""),
        ("The Smith Family Trust", "The Smith Family Trust", ""),
        ("ACME CORP.", "ACME CORP.", ""),
        ("Smith, John & Mary", "John & Mary", "Smith"),
        ("Smith, Mr. John & Mary", "John & Mary", "Smith"),
        ("Smith, John and Mary", "John and Mary", "Smith"),
        ("John and Mary Smith", "John and Mary", "Smith"),
        ("Smith, John & Sons, LLC", "Smith, John & Sons, LLC", ""),
        ("Smith & Sons, Inc.", "Smith & Sons, Inc.", ""),
        ("Smith & Sons, Heating", "Smith & Sons, Heating", ""),
        ("AT&T", "AT&T", ""),
        ("Lovelace, Ada M.", "Ada M.", "Lovelace"),
        ("Müller, Jörg Ludwig", "Jörg Ludwig", "Müller"),
        ("Smith,", "Smith", ""),
        (", John", "John", ""),
        ("Prof. Dr. Lovelace, Jr.", "Lovelace", ""),
        ("李, 小龙", "小龙", "李"),
        ("김민준", "김민준", ""),
        ("\t\n\u00a0", "", ""),
        ("Ada\u00a0Lovelace", "Ada", "Lovelace"),
        ("GmbH", "GmbH", ""),
        ("Jane Property Management", "Jane Property Management", ""),
    ],
)
def test_names_are_split(name: str, first: str, last: str) -> None:
    """People are split into first and last name; companies and single words are first names."""
    assert (first_name(name), last_name(name)) == (first, last)


@pytest.mark.parametrize(
    ("name", "first", "last"), [("علي، محمد", "محمد", "علي"), ("李，小龙", "小龙", "李")]
)
def test_a_comma_of_another_script_is_a_comma(name: str, first: str, last: str) -> None:
    """Arabic and full-width commas stand between last and first name too."""
    assert (first_name(name), last_name(name)) == (first, last)


@pytest.mark.parametrize(
    ("name", "first", "last"),
    [
        ("John Smith, MD, PhD", "John", "Smith"),
        ("Smith, John, Jr.", "John", "Smith"),
        ("Smith Jr., John", "John", "Smith"),
    ],
)
def test_suffixes_around_commas_are_left_out(name: str, first: str, last: str) -> None:
    """However many commas set off titles and suffixes, they are no part of the name."""
    assert (first_name(name), last_name(name)) == (first, last)


@pytest.mark.parametrize("name", [",", " , ", ", Jr.", ",MD"])
def test_a_name_with_nothing_before_its_comma_is_no_crash(name: str) -> None:
    """Whatever somebody typed as a name, it is a text and not an error."""
    assert isinstance(first_name(name), str)
    assert isinstance(last_name(name), str)


@given(st.text(alphabet="ab ,.&字é", max_size=30) | st.text(max_size=60))
def test_a_name_never_gets_lost(text: str) -> None:
    """Whatever is typed: where there is a word, there is a first name, and no word is invented."""
    assume(re.split("[,،，﹐]", text)[0].strip())  # the other case is the test above
    assert first_name(text)
    assert first_name(text) in " ".join(text.split())
    assert last_name(text) in " ".join(text.split())


@pytest.mark.parametrize(
    ("text", "result"),
    [
        ("(555) 010-0199", "5550100199"),
        (" +1 555-0100", "+15550100"),
        ("+", ""),
        ("none", ""),
        ("٣٤٥ 7", "7"),
        ("5+5", "55"),
    ],
)
def test_digits_of_phone_numbers(text: str, result: str) -> None:
    """Only ASCII digits stay, and a plus at the beginning."""
    assert digits(text) == result


@pytest.mark.parametrize(
    ("names", "result"),
    [
        ((), " ada LOVELACE "),
        (("trim",), "ada LOVELACE"),
        (("lower",), " ada lovelace "),
        (("upper", "trim"), "ADA LOVELACE"),
        (("trim", "title"), "Ada Lovelace"),
        (("first_name", "upper"), "ADA"),
        (("last_name", "lower"), "lovelace"),
    ],
)
def test_transforms_run_in_order(names: tuple[str, ...], result: str) -> None:
    """A list of transforms is applied from left to right."""
    assert apply_transforms(" ada LOVELACE ", names) == result


def test_only_transforms_that_keep_codes_apart_are_called_so() -> None:
    """Of all transforms none but those named may touch an external id: the others merge codes."""
    codes = ["aB3x9", "AB3X9", "ab3x9", "zz3 9", "39", "q39", "39 x", "Ab3X9"]
    harmless = {
        name
        for name, transform in TRANSFORMS.items()
        if len({transform(code) for code in codes}) == len(codes)
    }
    assert harmless == KEEPS_DIFFERENT_APART
