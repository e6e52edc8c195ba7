"""A thousand leads, and a misfortune for many of them: how many bookings there are in the end.

    python -m tests.chaos.thousand [LEADS]

Each case is a sandbox and a home of its own; passes run as processes until nothing is left to do.
"""

from __future__ import annotations

import sys
import time
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from tempfile import TemporaryDirectory

from stcli.sandbox.faults import Fault
from tests.chaos.model import OUR_SOURCE
from tests.chaos.story import Story

Step = Callable[[Story], None]


def _fault(**wanted: object) -> Step:
    def put(story: Story) -> None:
        fault = {"api": "st", "method": "POST", "route": "/bookings", "every": 3, **wanted}
        story.world.faults.add(Fault.parse(fault))

    return put


def _deleted(story: Story) -> None:
    _pass(story)
    for file in (story.home / "state").glob("stcli.db*"):
        file.unlink()
    story.connect()


def _restored(story: Story) -> None:
    copy = story.home / "copy.db"
    story.command("state", "backup", str(copy))
    _pass(story)
    story.command("state", "restore", str(copy), "--yes")


def _pass(story: Story) -> None:
    story.command("leads", "run", "--limit", str(story.settings.leads * 6 // 10))


CASES: dict[str, Step] = {
    "every third answer lost after the commit": _fault(kind="lose_answer"),
    "every third write committed late, unanswered": _fault(
        kind="late_commit", commit_after_seconds=0.7
    ),
    "database deleted after 600 bookings": _deleted,
    "database restored from before 600 bookings": _restored,
}


def told(name: str, leads: int) -> tuple[int, int, int]:
    """Leads, bookings, and the most bookings of one lead, of one case."""
    with TemporaryDirectory(prefix="stcli-thousand-") as folder:
        # One of the sample's leads is a test, who is never booked.
        story = Story(1, Path(folder), leads=leads + 1)
        with story.opened():
            CASES[name](story)
            for _ in range(8):
                if story.command("leads", "run") == 0:
                    break
            story.world.faults.clear()
            time.sleep(1)
            for _ in range(8):
                if story.command("leads", "run") == 0:
                    break
            counts = Counter(
                b.external_id for b in story.world.bookings() if b.source == OUR_SOURCE
            )
        return leads, len(counts), max(counts.values())


def main() -> int:
    leads = int(sys.argv[1]) if len(sys.argv) > 1 else 1000
    is_right = True
    for name in CASES:
        began = time.monotonic()
        wanted, booked, most = told(name, leads)
        is_right = is_right and (booked, most) == (wanted, 1)
        print(
            f"{name}: {wanted} leads, {booked} of them booked, at most {most} bookings each "
            f"({time.monotonic() - began:.0f} s)",
            flush=True,
        )
    return 0 if is_right else 1


if __name__ == "__main__":
    sys.exit(main())
