"""The known name a person most likely meant, for "did you mean" hints.

Case and the separators ``_``, ``-``, ``.``, space count nothing, a beginning of a name counts little,
two swapped letters count as one slip. When nothing is near, nothing is suggested: a wrong suggestion
costs more than none.
"""

from __future__ import annotations

import re
from collections.abc import Iterable

_SEPARATORS = re.compile(r"[\s_.\-]+")
_LONGEST_NAME = 100
_SHORTEST_PREFIX = 3
_PREFIX_COST = 1


def nearest(name: str, allowed: Iterable[str]) -> str | None:
    """The one of ``allowed`` that ``name`` was most likely meant to be; None when none is near.

    Of two equally near names the earlier in ``allowed`` wins, so the answer is repeatable.
    """
    if len(name) > _LONGEST_NAME:
        return None
    wanted = _letters(name)
    best: tuple[int, int] | None = None
    answer: str | None = None
    for candidate in allowed:
        cost = _cost(wanted, _letters(candidate))
        if cost is None:
            continue
        score = (cost, _distance(name, candidate[:_LONGEST_NAME]))
        if best is None or score < best:
            best, answer = score, candidate
    return answer


def suggestion(name: str, allowed: Iterable[str]) -> str:
    """``did you mean X?`` for the nearest of ``allowed``, or empty text."""
    found = nearest(name, allowed)
    return "" if found is None else f"did you mean {found}?"


def _letters(name: str) -> str:
    return _SEPARATORS.sub("", name.casefold())[:_LONGEST_NAME]


def _cost(wanted: str, candidate: str) -> int | None:
    """How far two names are from each other; None when too far to be the same one."""
    if wanted == candidate:
        return 0
    shorter, longer = sorted((wanted, candidate), key=len)
    if len(shorter) >= _SHORTEST_PREFIX and longer.startswith(shorter):
        return _PREFIX_COST
    tolerated = 0 if len(longer) < 3 else 1 if len(longer) < 5 else 2 if len(longer) < 8 else 3
    if len(longer) - len(shorter) > tolerated:
        return None
    distance = _distance(wanted, candidate)
    return distance if distance <= tolerated else None


def _distance(left: str, right: str) -> int:
    """Insertions, deletions, replacements and swaps of neighbours between two short texts."""
    before: list[int] = []
    previous = list(range(len(right) + 1))
    for row, letter in enumerate(left, 1):
        current = [row]
        for column, other in enumerate(right, 1):
            cost = min(
                previous[column] + 1,
                current[column - 1] + 1,
                previous[column - 1] + (letter != other),
            )
            swapped = (
                row > 1 and column > 1 and letter == right[column - 2] and left[row - 2] == other
            )
            if swapped:
                cost = min(cost, before[column - 2] + 1)
            current.append(cost)
        before, previous = previous, current
    return previous[-1]
