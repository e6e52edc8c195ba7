"""The command of the suite: ``python -m tests.benchmarks [PART …]``."""

from __future__ import annotations

import argparse
import os
import platform
import time
from importlib import import_module

PARTS = ("startup", "feeds", "growth", "rates", "hosts")


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m tests.benchmarks", description=__doc__)
    parser.add_argument(
        "parts", nargs="*", choices=[*PARTS, []], metavar="PART", help=f"{', '.join(PARTS)}; or all"
    )
    wanted = parser.parse_args()
    # Nobody's installed command compiles itself at each start.
    os.environ.pop("PYTHONDONTWRITEBYTECODE", None)
    print(
        f"{platform.python_implementation()} {platform.python_version()}, {os.cpu_count()} processors"
    )
    for part in wanted.parts or PARTS:
        began = time.monotonic()
        print(f"\n## {part}\n", flush=True)
        print(import_module(f"tests.benchmarks.{part}").run(), flush=True)
        print(f"\n({time.monotonic() - began:.0f} s)", flush=True)


if __name__ == "__main__":
    main()
