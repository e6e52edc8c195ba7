"""httpx without its command line.

The package loads a command line of its own, with Rich, Pygments and click behind it, wherever these are
installed, and every pass would pay for that. It goes without where that module cannot be loaded, so it
is told that it cannot.
"""

from __future__ import annotations

import sys

_COMMAND_LINE = "httpx._main"

_is_loaded = _COMMAND_LINE in sys.modules
if not _is_loaded:
    sys.modules[_COMMAND_LINE] = None  # type: ignore[assignment] # an import of it fails then
try:
    import httpx
finally:
    if not _is_loaded:
        del sys.modules[_COMMAND_LINE]

__all__ = ["httpx"]
