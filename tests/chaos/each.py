"""Each fault by itself, at every request that it can meet: what a person sees, and what the next run
without it does.

    python -m tests.chaos.each

prints the rows of the table in ``docs/reliability.md``.
"""

from __future__ import annotations

import json
import re
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from tempfile import TemporaryDirectory

from stcli.sandbox.faults import Fault
from tests.chaos.menu import EXPORTS, MENU
from tests.chaos.story import Story

CLIENTS_ST = "clients/test_servicetitan_faults.py"
CLIENTS_RF = "clients/test_referralfactory_faults.py"
BOOKINGS = "test_exactly_once.py::test_faults_of_the_write_make_no_second_booking"

TESTS: dict[str, str] = {
    "429, seconds, RF": f"{CLIENTS_RF}::test_third_throttling_ends_the_pass",
    "429, seconds, ST": f"{CLIENTS_ST}::test_throttling_is_waited_out_in_seconds",
    "429, date": f"{CLIENTS_ST}::test_throttling_is_waited_out_until_a_date",
    "500, JSON": BOOKINGS,
    "502, HTML": f"{CLIENTS_ST}::test_error_page_is_never_taken_for_the_api",
    "503, empty": BOOKINGS,
    "5xx after the commit": f"{CLIENTS_ST}::test_write_with_a_doubtful_answer_is_never_repeated",
    "maintenance": f"{CLIENTS_ST}::test_maintenance_is_waited_out",
    "reset before": BOOKINGS,
    "reset during": BOOKINGS,
    "reset after the commit": BOOKINGS,
    "truncated": BOOKINGS,
    "HTML for JSON": BOOKINGS,
    "HTML after the commit": BOOKINGS,
    "wrong JSON": f"{CLIENTS_ST}::test_read_of_another_shape_is_unexpected",
    "wrong JSON after the commit": (
        f"{CLIENTS_ST}::test_write_with_a_doubtful_answer_is_never_repeated"
    ),
    "error as success": "test_exactly_once.py::test_an_error_that_came_as_a_success_is_no_empty_list",
    "error as success after the commit": BOOKINGS,
    "slow": f"{CLIENTS_ST}::test_trickling_answer_is_given_up",
    "slower than the timeout": f"{CLIENTS_ST}::test_late_answers_to_a_read_end_as_unavailable",
    "token expires early": f"{CLIENTS_ST}::test_refused_token_is_replaced_once",
    "secret revoked": "test_refusals.py::test_a_refused_call_is_attention_until_the_next_accepted_one",
    "page repeated": f"{CLIENTS_ST}::test_feed_that_stays_is_unexpected",
    "records repeated": "chaos: test_chaos.py::test_nothing_is_lost_and_nothing_happens_twice",
    "position refused": "test_exactly_once.py::test_a_refused_feed_token_only_repeats_what_is_known",
    "answer lost after the commit": (
        "test_exactly_once.py::test_a_doubtful_booking_that_exists_is_found_at_once"
    ),
    "unknown field": "chaos: test_chaos.py::test_nothing_is_lost_and_nothing_happens_twice",
    "customer renamed": "test_sync.py::test_fifty_changes_of_every_kind_are_treated_and_nothing_else",
    "redirect": f"{CLIENTS_ST}::test_redirect_is_never_followed",
    "late commit": BOOKINGS,
}
"""The test that shows each best; all of them meet the chaos runs too."""

OF_WRITES = ("late commit", "answer lost after the commit", "reset after the commit")


def row(name: str) -> str:
    """One row of the table."""
    fault = dict(MENU[name])
    if name in OF_WRITES or fault.get("commit"):
        fault |= {"api": "st", "method": "POST", "route": "/bookings"}
    if fault["kind"] == "late_commit":
        fault |= {"commit_after_seconds": 0.5}
    words = ("sync", "run") if EXPORTS.items() <= fault.items() else ("leads", "run")
    with TemporaryDirectory(prefix="stcli-each-") as folder:
        story = Story(5, Path(folder), leads=8)
        with story.opened():
            if EXPORTS.items() <= fault.items():
                story.command(*words)
                story.world.add_customer("Newest", contacts=[("Email", "newest@example.com")])
                story.world.advance(120)
            if name == "secret revoked":
                story.world.grants.revoke_tokens()
            story.world.faults.add(Fault.parse({**fault, "probability": 1.0}))
            seen = _seen(*story.told(*words))
            story.world.faults.clear()
            story.world.advance(120)
            code, out, _ = story.told(*words, "--json")
            counts = json.loads(out)["counts"]
            done = ", ".join(f"{n} {what}" for what, n in counts.items() if n and what != "seen")
    return f"| {name} | {seen} | exit {code}: {done} | `{TESTS[name]}` |"


def _seen(code: int, _out: str, err: str) -> str:
    errors = [line for line in err.splitlines() if line.startswith("Error: ")]
    told = f": {errors[0].removeprefix('Error: ')}" if errors else ", nothing"
    told = re.sub(r" \(trace [^)]*\)", "", told)
    return f"exit {code}{told}"


def main() -> int:
    print("| fault, at every request | the person sees | the next run without it | shown by |")
    print("|---|---|---|---|")
    with ThreadPoolExecutor(6) as pool:
        for line in pool.map(row, MENU):
            print(line, flush=True)
    return 0


if __name__ == "__main__":
    sys.exit(main())
