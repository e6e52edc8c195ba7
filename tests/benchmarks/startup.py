"""How long a command takes to start, against a Typer program of one command and one argument."""

from __future__ import annotations

import os
import sys
import tempfile
from pathlib import Path

from stcli.sandbox.settings import SandboxSettings
from tests.benchmarks.measuring import bench, ratios, stcli_words, timed
from tests.integration.conftest import FIELDS

PROGRAM = """\
import typer

app = typer.Typer()


@app.command()
def main(name: str) -> None:
    print(f"Hello {name}")


app()
"""
CAMPAIGN = f"""\
leads:
  action: create_booking
  fields:
{FIELDS}
qualification:
  method: booking_becomes_job
"""
WANTED = {
    ("--version",): 0.5,
    ("--help",): 1.0,
    ("map", "validate"): 1.4,
    ("map", "show"): 1.4,
    ("status",): 2.5,
    ("failures", "list"): 2.5,
    ("history", "list"): 2.5,
}
TURNS = 15


def run() -> str:
    """The table of all commands."""
    rows = ["| command | wanted | ratio, by the clock | ratio, processor |", "|---|---|---|---|"]
    with (
        tempfile.TemporaryDirectory() as folder,
        bench(SandboxSettings()) as at,
    ):
        program = Path(folder, "hello.py")
        program.write_text(PROGRAM, encoding="utf-8")
        at.connect("spring-hvac", CAMPAIGN)
        at.stcli("leads", "run")
        plain = [sys.executable, str(program), "you"]
        for words, wanted in WANTED.items():
            ours, theirs = [], []
            for turn in range(TURNS + 1):
                first = timed(stcli_words(*words), at.environment)
                second = timed(plain, dict(os.environ))
                if turn:
                    ours.append(first)
                    theirs.append(second)
            clock = ratios([r.seconds for r in ours], [r.seconds for r in theirs])
            cpu = ratios([r.cpu_seconds for r in ours], [r.cpu_seconds for r in theirs])
            rows.append(f"| `stcli {' '.join(words)}` | {wanted} | {clock} | {cpu} |")
    return "\n".join(rows)
