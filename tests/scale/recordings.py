"""Records dialogues through a real pseudo-terminal, from the first step of a new user on.

    python -m tests.scale.recordings

writes ``docs/recordings/*.cast`` (asciicast, format 2), for any player of that format.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from pathlib import Path

import pexpect

from stcli.sandbox.server import RunningSandbox

FOLDER = Path(__file__).parents[2] / "docs" / "recordings"
UP, DOWN, CTRL_C, ENTER = "\x1b[A", "\x1b[B", "\x03", "\r"
PAUSE_SECONDS = 0.6
"""How long somebody looks at a question before pressing a key."""

Step = tuple[str, Sequence[str]]
"""A text to wait for, and the keys that are pressed then, one after the other."""

NEWCOMER: list[Step] = [
    ("Setup Required", [ENTER]),
    (r"source \(text", [DOWN, ENTER]),
    (", for everyone", ["Spring HVAC", ENTER]),
    ("1 unsaved", [ENTER]),
    (r"name \(text", [ENTER]),
    ("which field", ["first", ENTER]),
    ("transforms", ["title", ENTER]),
    ("is empty", [ENTER]),
    ("2 unsaved", [ENTER]),
    (r"email \(email", [ENTER]),
    ("which field", [DOWN, ENTER]),
    ("transforms", [ENTER]),
    ("is empty", [ENTER]),
    ("3 unsaved", [ENTER]),
    (r"summary \(text", [DOWN, DOWN, ENTER]),
    (", a text with fields", ["Referred by {referrer.first_name}", ENTER]),
    ("4 unsaved", [ENTER]),
    (r"is_first_time_client \(yes or no", [DOWN, DOWN, ENTER]),
    ("which one", [ENTER]),
    ("5 unsaved", [ENTER]),
    (r"external_id \(text", [DOWN, ENTER]),
    (", for everyone", ["the same for all", ENTER]),
    ("must contain code or id", []),
    (r"external_id \(text", [ENTER]),
    ("which field", ["code", ENTER]),
    ("transforms", [ENTER]),
    ("is empty", [ENTER]),
    ("6 unsaved", [UP] * 7 + [ENTER]),
]
STOPPED: list[Step] = [*NEWCOMER[:4], (r"name \(text", [ENTER]), ("which field", [CTRL_C])]
SETUP: list[Step] = [
    (r"First Name \* comes from", [ENTER]),
    (r"Email \* comes from", [ENTER]),
    ("Last Name comes from", [DOWN, DOWN, ENTER]),
    ("Phone comes from", [ENTER]),
    ("Referral Link goes to", [ENTER]),
    ("Referral Code goes to", [UP, ENTER]),
    ("Referrals Count goes to", [DOWN, DOWN, ENTER]),
    ("Converted Referrals Count goes to", [ENTER]),
    ("Sync type", [ENTER]),
    ("Write this", ["y"]),
]

SCENES: dict[str, tuple[list[str], list[Step], int, dict[str, str], int]] = {
    "map-edit": (["map", "edit"], NEWCOMER, 100, {}, 0),
    "map-edit-ctrl-c": (["map", "edit"], STOPPED, 100, {}, 130),
    "map-edit-narrow-no-colour": (["map", "edit"], NEWCOMER, 44, {"NO_COLOR": "1"}, 0),
    "sync-setup": (["sync", "setup"], SETUP, 100, {}, 0),
    "sync-setup-ctrl-c": (["sync", "setup"], [*SETUP[:4], (SETUP[4][0], [CTRL_C])], 100, {}, 130),
    "sync-setup-narrow-no-colour": (["sync", "setup"], SETUP, 44, {"NO_COLOR": "1"}, 0),
}
"""Name: the command, what is answered, columns, variables, and the exit code that it has to end with."""


class Recorder:
    """Keeps what a terminal shows, with the second at which it did."""

    def __init__(self) -> None:
        self.started = time.monotonic()
        self.events: list[tuple[float, str, str]] = []

    def write(self, text: str) -> None:
        self.events.append((round(time.monotonic() - self.started, 3), "o", text))

    def flush(self) -> None:
        """A file has one; there is nothing to hand on."""


def record(name: str, environment: dict[str, str]) -> None:
    """Play one scene and write its recording; ``RuntimeError`` where it does not end as it has to."""
    words, steps, columns, more, code = SCENES[name]
    recorder = Recorder()
    recorder.write(f"$ stcli {' '.join(words)}\r\n")
    child = pexpect.spawn(
        sys.executable,
        ["-m", "stcli", *words],
        env={**environment, "PROMPT_TOOLKIT_NO_CPR": "1", "TERM": "xterm-256color", **more},
        encoding="utf-8",
        timeout=30,
        dimensions=(40, columns),
    )
    child.logfile_read = recorder
    for text, keys in steps:
        child.expect(text)
        for key in keys:
            time.sleep(PAUSE_SECONDS)
            child.send(key)
    child.expect(pexpect.EOF)
    child.close()
    if child.exitstatus != code:
        raise RuntimeError(f"{name} ended with {child.exitstatus}, not {code}")
    head = {"version": 2, "width": columns, "height": 40, "title": f"stcli {' '.join(words)}"}
    rows = [json.dumps(head), *(json.dumps(event) for event in recorder.events)]
    (FOLDER / f"{name}.cast").write_text("\n".join(rows) + "\n", encoding="utf-8")


def main() -> None:
    """Every scene, each in a home of its own."""
    FOLDER.mkdir(exist_ok=True)
    for name in SCENES:
        with RunningSandbox() as sandbox, tempfile.TemporaryDirectory() as folder:
            known = sandbox.credentials
            environment = {
                "PATH": os.environ["PATH"],
                "LANG": "C.UTF-8",
                "STCLI_HOME": folder,
                "STCLI_RF_URL": sandbox.rf_url,
                "STCLI_ST_API_URL": sandbox.st_api_url,
                "STCLI_ST_AUTH_URL": sandbox.st_auth_url,
                "STCLI_RF_TOKEN": known.rf_token,
                "STCLI_ST_APP_KEY": known.app_key,
                "STCLI_ST_CLIENT_SECRET": known.client_secret,
            }
            run: Callable[..., object] = lambda *words: subprocess.run(  # noqa: E731
                [sys.executable, "-m", "stcli", *words],
                env=environment,  # noqa: B023 - used within the round
                check=True,
                capture_output=True,
            )
            run("connect", "spring-hvac", "--tenant-id", str(known.tenant_id))
            run("requests", "approve", "spring-hvac", "--yes")
            provider = str(known.booking_provider)
            run("finalize", "--client-id", known.client_id, "--booking-provider", provider)
            record(name, environment)
            print(f"{name}: recorded")


if __name__ == "__main__":
    main()
