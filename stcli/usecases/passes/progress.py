"""How a pass tells where it is, while it works; nothing of it changes what it does."""

from __future__ import annotations

from typing import Protocol


class Progress(Protocol):
    """What may be watched: records read from a feed, and writes of so many."""

    def read(self, what: str, number: int) -> None:
        """So many more records of a feed or a list were read."""
        ...

    def begin(self, what: str, total: int, per_second: float | None) -> None:
        """So many steps are to come; ``per_second``: the most that the limit of the system that
        they go to allows, None where they go to none."""
        ...

    def advance(self, number: int = 1) -> None: ...

    def end(self) -> None: ...


class Unwatched:
    """Nobody looks."""

    def read(self, what: str, number: int) -> None: ...

    def begin(self, what: str, total: int, per_second: float | None) -> None: ...

    def advance(self, number: int = 1) -> None: ...

    def end(self) -> None: ...
