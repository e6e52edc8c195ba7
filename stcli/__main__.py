"""Where the process begins: ``stcli`` and ``python -m stcli``."""

from __future__ import annotations

import sys
from typing import NoReturn

from stcli.cli.signals import hear_signals, let_signals_be, stop_reason


def main() -> NoReturn:
    """Run the command line of this process. A signal ends with a word even while modules load."""
    hear_signals()
    try:
        from stcli.cli.app import open_closed_streams, run

        open_closed_streams()
        code = run(sys.argv[1:])
    except KeyboardInterrupt as stopped:
        from stcli.cli.output import show_error

        error = stop_reason(stopped)
        show_error(error, as_json="--json" in sys.argv)
        code = error.exit_code
    let_signals_be()
    sys.exit(code)


if __name__ == "__main__":
    main()
