"""Text with ``{source}`` placeholders; ``{{`` and ``}}`` are braces."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Placeholder:
    source: str


Part = str | Placeholder


class TemplateFault(ValueError):
    """The text is not a template; the message says where and why."""


def parse(text: str) -> tuple[Part, ...]:
    """The parts of a template in order; braces that do not pair raise ``TemplateFault``."""
    parts: list[Part] = []
    literal: list[str] = []
    index = 0
    while index < len(text):
        character = text[index]
        if character in "{}" and text[index + 1 : index + 2] == character:
            literal.append(character)
            index += 2
        elif character == "{":
            end = text.find("}", index)
            source = text[index + 1 : end].strip() if end > index else ""
            if end < 0:
                raise TemplateFault(
                    f"the '{{' at character {index + 1} has no '}}' (a brace itself is '{{{{')"
                )
            if not source or "{" in source:
                raise TemplateFault(f"the '{{' at character {index + 1} names no field")
            if literal:
                parts.append("".join(literal))
                literal = []
            parts.append(Placeholder(source))
            index = end + 1
        elif character == "}":
            raise TemplateFault(
                f"the '}}' at character {index + 1} has no '{{' (a brace itself is '}}}}')"
            )
        else:
            literal.append(character)
            index += 1
    if literal:
        parts.append("".join(literal))
    return tuple(parts)


def is_template(text: str) -> bool:
    try:
        parse(text)
    except TemplateFault:
        return False
    return True


def sources(text: str) -> tuple[str, ...]:
    """The fields that a template names, in order, repeats kept."""
    return tuple(part.source for part in parse(text) if isinstance(part, Placeholder))


def render(text: str, value: Callable[[str], str]) -> str:
    """The text with every placeholder replaced; an empty source is empty text."""
    return "".join(
        value(part.source) if isinstance(part, Placeholder) else part for part in parse(text)
    )
