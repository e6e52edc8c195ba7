"""A newcomer's path: every command of the tutorial, read from the document and run in a shell."""

from __future__ import annotations

import re
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

TUTORIAL = Path(__file__).parents[2] / "docs" / "tutorial.md"
PORT = "8765"


def _blocks() -> list[tuple[str, str]]:
    """The fenced blocks of the tutorial: language and text."""
    found = re.findall(r"^```(\w+)\n(.*?)^```$", TUTORIAL.read_text(), re.MULTILINE | re.DOTALL)
    return [(language, text) for language, text in found]


def _free_port() -> str:
    with socket.socket() as one:
        one.bind(("127.0.0.1", 0))
        return str(one.getsockname()[1])


@pytest.fixture
def shell(tmp_path: Path) -> Iterator[tuple[dict[str, str], str]]:
    """The environment of a new user, and a port of our own for the tutorial's."""
    stcli = Path(sys.executable).with_name("stcli")
    environment = {"PATH": f"{stcli.parent}:/usr/bin:/bin", "HOME": str(tmp_path), "TZ": "UTC"}
    port = _free_port()
    serve = _blocks()[0][1].strip().replace("~", str(tmp_path)) + f" --port {port}"
    with subprocess.Popen(
        serve.split(), env=environment, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
    ) as server:
        assert server.stdout is not None
        deadline = time.monotonic() + 30
        while "Serving" not in server.stdout.readline():
            assert time.monotonic() < deadline
        yield environment, port
        server.terminate()


def test_every_command_of_the_tutorial(shell: tuple[dict[str, str], str]) -> None:
    """Run one after the other in one shell; what the page shows is what they print."""
    environment, port = shell
    script, expected, number = ["set -euo pipefail"], dict[int, list[str]](), 0
    for language, text in _blocks()[1:]:
        if language == "sh":
            number += 1
            script += [f"echo '== {number}'", text.replace(f":{PORT}/", f":{port}/")]
        elif language == "text":
            expected[number] = text.splitlines()
    assert number >= 7
    assert len(expected) >= 5
    ended = subprocess.run(
        ["bash", "-c", "\n".join(script)],
        env=environment,
        capture_output=True,
        text=True,
        timeout=110,
        check=False,
    )
    assert ended.returncode == 0, ended.stdout + ended.stderr
    parts = re.split(r"^== (\d+)\n", ended.stdout, flags=re.MULTILINE)
    printed = dict(zip(map(int, parts[1::2]), parts[2::2], strict=True))
    for block, lines in expected.items():
        shown = [" ".join(line.split()) for line in printed[block].splitlines()]
        for line in lines:
            assert " ".join(line.split()) in shown, (line, printed[block])
    assert not (Path(environment["HOME"]) / "stcli-tutorial").exists()
