"""A plot with a logarithmic scale on both sides, as SVG."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from html import escape

WIDTH, HEIGHT = 720, 420
LEFT, RIGHT, TOP, BOTTOM = 70, 150, 40, 50
COLOURS = ("#1b6ca8", "#c0392b", "#27864a", "#8e5bb5", "#b8730a", "#555555")


def log_plot(title: str, across: Sequence[float], lines: Mapping[str, Sequence[float]]) -> str:
    """One line for each name over the same places; every value is above zero."""
    every = [value for values in lines.values() for value in values]
    x = _Scale(min(across), max(across), LEFT, WIDTH - RIGHT)
    y = _Scale(min(every), max(every), HEIGHT - BOTTOM, TOP)
    parts = [
        (
            f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {HEIGHT}" '
            'font-family="sans-serif" font-size="12">'
        ),
        f'<rect width="{WIDTH}" height="{HEIGHT}" fill="white"/>',
        f'<text x="{LEFT}" y="22" font-size="15">{escape(title)}</text>',
    ]
    for decade in x.decades:
        at = x.place(decade)
        parts.append(
            f'<line x1="{at:.1f}" y1="{TOP}" x2="{at:.1f}" y2="{HEIGHT - BOTTOM}" stroke="#ddd"/>'
            f'<text x="{at:.1f}" y="{HEIGHT - BOTTOM + 20}" text-anchor="middle">{decade:,.0f}</text>'
        )
    for decade in y.decades:
        at = y.place(decade)
        parts.append(
            f'<line x1="{LEFT}" y1="{at:.1f}" x2="{WIDTH - RIGHT}" y2="{at:.1f}" stroke="#ddd"/>'
            f'<text x="{LEFT - 8}" y="{at + 4:.1f}" text-anchor="end">{decade:g} s</text>'
        )
    below = 0.0
    ends = sorted(lines, key=lambda name: -lines[name][-1])
    for name, colour in zip(ends, COLOURS, strict=False):
        places = [(x.place(a), y.place(b)) for a, b in zip(across, lines[name], strict=True)]
        points = " ".join(f"{a:.1f},{b:.1f}" for a, b in places)
        # Names of lines that end close to each other stand below each other.
        below = max(places[-1][1] + 4, below + 15)
        parts.append(
            f'<polyline points="{points}" fill="none" stroke="{colour}" stroke-width="2"/>'
            f'<text x="{WIDTH - RIGHT + 10}" y="{below:.1f}" fill="{colour}">{escape(name)}</text>'
        )
    return "\n".join([*parts, "</svg>\n"])


class _Scale:
    """Whole decades from below the least value to above the greatest, laid over a range of pixels."""

    def __init__(self, least: float, greatest: float, start: float, end: float) -> None:
        self._first = math.floor(math.log10(least))
        self._last = max(math.ceil(math.log10(greatest)), self._first + 1)
        self._start, self._end = start, end

    @property
    def decades(self) -> list[float]:
        return [10.0**power for power in range(self._first, self._last + 1)]

    def place(self, value: float) -> float:
        share = (math.log10(value) - self._first) / (self._last - self._first)
        return self._start + share * (self._end - self._start)
