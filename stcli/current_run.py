"""Which run the code at hand works for, so that every log line can name it."""

from __future__ import annotations

from contextvars import ContextVar

current_run: ContextVar[str] = ContextVar("current_run", default="-")
"""The id of the pass, or ``-`` outside of passes."""
