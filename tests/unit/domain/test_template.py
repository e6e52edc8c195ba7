"""Templates: parsing, rendering, braces."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from stcli.domain.mapping.template import Placeholder, TemplateFault, parse, render, sources


def escaped(text: str) -> str:
    return text.replace("{", "{{").replace("}", "}}")


@pytest.mark.parametrize(
    ("text", "parts"),
    [
        ("", ()),
        ("plain", ("plain",)),
        ("{code}", (Placeholder("code"),)),
        ("{ code }", (Placeholder("code"),)),
        ("By {referrer.first_name}!", ("By ", Placeholder("referrer.first_name"), "!")),
        ("{a}{b}", (Placeholder("a"), Placeholder("b"))),
        ("{{code}}", ("{code}",)),
        ("{{{code}}}", ("{", Placeholder("code"), "}")),
        ("{meta.Your phone number?}", (Placeholder("meta.Your phone number?"),)),
    ],
)
def test_parts_of_a_template(text: str, parts: tuple[object, ...]) -> None:
    """A template is cut into text and fields, in order."""
    assert parse(text) == parts


@pytest.mark.parametrize(
    ("text", "position"),
    [
        ("{", 1),
        ("ab {code", 4),
        ("}", 1),
        ("a } b", 3),
        ("{}", 1),
        ("{  }", 1),
        ("{a{b}", 1),
        ("{{a}", 4),
        ("{a}}", 4),
    ],
)
def test_braces_that_do_not_pair_are_faults(text: str, position: int) -> None:
    """The message names the character at fault."""
    with pytest.raises(TemplateFault, match=f"character {position} "):
        parse(text)


@given(st.text(alphabet="{}ab .é字\n", max_size=40))
def test_any_text_is_parsed_or_refused_in_words(text: str) -> None:
    """No text makes the parser fail in any other way."""
    try:
        parts = parse(text)
    except TemplateFault:
        return
    assert all(parts)


@given(st.text(max_size=60))
def test_doubled_braces_stand_for_themselves(text: str) -> None:
    """Text with its braces doubled renders as that text and names no field."""
    assert render(escaped(text), lambda source: "WRONG") == text
    assert sources(escaped(text)) == ()


@given(
    st.lists(
        st.tuples(st.text(alphabet="ab{} ", max_size=8), st.sampled_from(["code", "id", "meta.x"])),
        max_size=5,
    )
)
def test_fields_between_any_texts_are_replaced(pieces: list[tuple[str, str]]) -> None:
    """Braces next to a field, whatever the text around, never hide it."""
    written = "".join(f"{escaped(text)}{{{source}}}" for text, source in pieces)
    assert sources(written) == tuple(source for _, source in pieces)
    expected = "".join(f"{text}<{source}>" for text, source in pieces)
    assert render(written, lambda source: f"<{source}>") == expected


def test_braces_in_a_value_are_not_read_again() -> None:
    """What a lead typed is never taken for a placeholder."""
    assert render("{first_name}", lambda source: "{email}") == "{email}"


def test_an_empty_source_is_empty_text() -> None:
    """A field without a value leaves nothing behind."""
    assert render("By {referrer.first_name}.", lambda source: "") == "By ."


def test_sources_keep_order_and_repeats() -> None:
    """Fields are listed as they stand."""
    assert sources("{b} {a} {b}") == ("b", "a", "b")
