"""Named changes of a text on its way from source to target."""

from __future__ import annotations

from collections.abc import Callable, Sequence

Transform = Callable[[str], str]

_COMPANY_WORDS = frozenset(
    "apartments association church co company corp corporation estate gmbh group hoa inc "
    "incorporated limited llc llp ltd management plc properties property restaurant school "
    "services trust".split()
)
_TITLES = frozenset("dr madam miss mr mrs ms mx prof sir".split())
_SUFFIXES = frozenset("dds esq ii iii iv jr md phd sr v".split())


_COMMAS = str.maketrans({"،": ",", "，": ",", "﹐": ","})
"""The commas of Arabic and Chinese mean the same."""


def _bare(word: str) -> str:
    return word.strip(".,").casefold()


def _is_company(name: str) -> bool:
    """By a word that only companies have, or an ampersand. In front of a comma one such word may be
    somebody's last name, and two people may share one."""
    last, comma, first = name.partition(",")
    if comma and first.strip() and len(last.split()) == 1:
        return any(_bare(word) in _COMPANY_WORDS for word in first.split())
    return "&" in name or any(_bare(word) in _COMPANY_WORDS for word in name.split())


def _split(name: str) -> tuple[str, str]:
    """First and last name of a person or a company (which has no last name).

    ``Last, First`` is turned round; titles and generational suffixes are left out; of several words
    the last is the last name. Names without spaces, in any script, are first names.
    """
    text = " ".join(name.translate(_COMMAS).split())
    if not text or _is_company(text):
        return text, ""
    parts = [part.strip() for part in text.split(",")]
    parts = [part for part in parts if part and _bare(part) not in _SUFFIXES]
    if not parts:
        return text.strip(" ,"), ""
    if len(parts) > 1:
        first, last = _without_extras(parts[1].split()), _without_extras(parts[0].split())
        return " ".join(first), " ".join(last)
    words = _without_extras(parts[0].split())
    if len(words) == 1:
        return words[0], ""
    return " ".join(words[:-1]), words[-1]


def _without_extras(words: Sequence[str]) -> list[str]:
    kept = list(words)
    while len(kept) > 1 and _bare(kept[0]) in _TITLES:
        kept.pop(0)
    while len(kept) > 1 and _bare(kept[-1]) in _SUFFIXES:
        kept.pop()
    return kept


def first_name(text: str) -> str:
    return _split(text)[0]


def last_name(text: str) -> str:
    return _split(text)[1]


def digits(text: str) -> str:
    """Only the ASCII digits, with a leading plus kept: for phone numbers."""
    stripped = text.strip()
    kept = "".join(character for character in stripped if character in "0123456789")
    return f"+{kept}" if stripped.startswith("+") and kept else kept


TRANSFORMS: dict[str, Transform] = {
    "trim": str.strip,
    "lower": str.lower,
    "upper": str.upper,
    "title": str.title,
    "digits": digits,
    "first_name": first_name,
    "last_name": last_name,
}

KEEPS_DIFFERENT_APART = frozenset({"trim"})
"""Transforms that never make two different codes equal; only these may touch ``external_id``."""


def apply_transforms(text: str, names: Sequence[str]) -> str:
    for name in names:
        text = TRANSFORMS[name](text)
    return text
