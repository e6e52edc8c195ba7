"""The mistakes that people make: each has its place and a next step, and the document says just that."""

from __future__ import annotations

import re

import pytest

from tests.mistakes import DOCUMENT, GOOD, MISTAKES, Mistake, document, problems_of

NEXT_STEP = re.compile(
    r"did you mean|allowed:|one of|add:|[Ww]rite |Use |Put |Close |Keep |Indent|Remove|Replace|Save |"
    r"Install|leave it out|must |also map|use type:|needs a value|not mapped|a brace itself"
)


def test_the_file_without_a_mistake_is_good() -> None:
    """Also ``Yes`` without quotes."""
    assert "value: Yes}" in GOOD
    assert problems_of(Mistake("none", "version: 1", "version: 1")) == []


def test_there_are_thirty_and_they_differ() -> None:
    """By title and by what is written."""
    assert len(MISTAKES) >= 30
    assert len({mistake.title for mistake in MISTAKES}) == len(MISTAKES)
    assert len({(mistake.text, mistake.encoding) for mistake in MISTAKES}) == len(MISTAKES)


@pytest.mark.parametrize("mistake", MISTAKES, ids=lambda mistake: mistake.title)
def test_a_mistake_is_named_with_its_place_and_the_next_step(mistake: Mistake) -> None:
    """On a line that the slip touches; a mapping that is missing has no line to point at."""
    problems = problems_of(mistake)
    assert problems
    for problem in problems:
        assert NEXT_STEP.search(f"{problem.message} {problem.hint}"), problem
    placed = [problem for problem in problems if problem.line]
    if "not mapped" in problems[0].message and len(problems) == 1:
        return
    first = GOOD[: GOOD.index(mistake.old)].count("\n") + 1
    last = first + mistake.new.count("\n")
    near = [p for p in placed if first - 1 <= p.line <= last + 1]
    is_of_the_parent = not mistake.new or mistake.encoding != "utf-8"
    assert near or is_of_the_parent, placed
    assert all(problem.column > 0 for problem in placed)


def test_the_document_says_what_the_program_says() -> None:
    """Written anew by: python -m tests.mistakes."""
    assert DOCUMENT.read_text(encoding="utf-8") == document()
