"""The long chaos run.

    python -m tests.chaos [SEEDS] [--first SEED] [--parallel N] [--postgres]

``--postgres``: two hosts on one database, on a server that is started for it.

Each seed is a story of its own (``story.py``); every violation is printed with the seed that shows it
again: ``python -m tests.chaos 1 --first SEED``.
"""

from __future__ import annotations

import argparse
import sys
import time
from collections import Counter
from concurrent.futures import ProcessPoolExecutor
from contextlib import nullcontext
from functools import partial
from pathlib import Path
from tempfile import TemporaryDirectory

from tests.chaos.menu import MENU
from tests.chaos.story import Ending, Story
from tests.postgres_server import fresh_database, running_server


def told(seed: int, server: str | None) -> Ending:
    """One seed in a folder of its own; a story that breaks off is a violation."""
    with TemporaryDirectory(prefix="stcli-chaos-") as folder:
        database = None if server is None else fresh_database(server, f"chaos_{seed}")
        story = Story(seed, Path(folder), database=database)
        try:
            return story.run()
        except Exception as error:  # noqa: BLE001 - the other seeds go on, and this one is named
            story.ending.violations.append(f"broke off: {type(error).__name__}: {error}")
            return story.ending


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.chaos")
    parser.add_argument("seeds", type=int, nargs="?", default=200)
    parser.add_argument("--first", type=int, default=1)
    parser.add_argument("--parallel", type=int, default=4)
    parser.add_argument("--postgres", action="store_true")
    wanted = parser.parse_args()
    with running_server() if wanted.postgres else nullcontext() as server:
        return _all(wanted, server)


def _all(wanted: argparse.Namespace, server: str | None) -> int:
    began = time.monotonic()
    faults: Counter[str] = Counter()
    codes: Counter[int] = Counter()
    kills = runs = bookings = violated = restores = merges = 0
    with ProcessPoolExecutor(wanted.parallel) as pool:
        for ending in pool.map(
            partial(told, server=server), range(wanted.first, wanted.first + wanted.seeds)
        ):
            faults += ending.faults
            codes += ending.codes
            kills += ending.kills
            restores += ending.restores
            merges += ending.merges
            runs += ending.runs
            bookings += ending.bookings
            violated += bool(ending.violations)
            for violation in ending.violations:
                print(f"seed {ending.seed}: {violation}", flush=True)
    print(f"{wanted.seeds} seeds from {wanted.first}, {violated} with a violation")
    print(
        f"{runs} processes, {kills} of them killed with -9; {restores} states put back, {merges} mergers"
    )
    print(f"{bookings} bookings at the end")
    print("exit codes: " + ", ".join(f"{code}: {n}" for code, n in sorted(codes.items())))
    print(f"{sum(faults.values())} faults of {len(faults)} of {len(MENU)} kinds:")
    for name in MENU:
        print(f"  {name}: {faults[name]}")
    print(f"{time.monotonic() - began:.0f} s")
    return 1 if violated else 0


if __name__ == "__main__":
    sys.exit(main())
