"""How stcli calls itself."""

from __future__ import annotations

import sys


def own_program() -> tuple[str, ...]:
    """This very installation, also where no folder of it is on the path. ``-P``: what lies in the
    folder that it is called from is none of its modules."""
    return (sys.executable, "-P", "-m", "stcli")
