"""Calling the schedulers' own programs; nothing of what they print is trusted to be short or clean."""

from __future__ import annotations

import subprocess
from collections.abc import Mapping, Sequence

from stcli.errors import StateError

SECONDS = 20.0


def called(
    words: Sequence[str],
    *,
    environment: Mapping[str, str],
    given: bytes | None = None,
    seconds: float = SECONDS,
) -> subprocess.CompletedProcess[bytes]:
    """Run a program to its end, in a plain locale, so that its words are those we know."""
    try:
        return subprocess.run(  # noqa: S603 - the words are ours, and no shell is involved
            list(words),
            input=given,
            stdin=subprocess.DEVNULL if given is None else None,
            capture_output=True,
            timeout=seconds,
            env={**environment, "LC_ALL": "C"},
            check=False,
        )
    except subprocess.TimeoutExpired:
        raise StateError(
            f"{words[0]} did not end within {seconds:.0f} s", "Run it by hand to see why."
        ) from None
    except OSError as error:
        raise StateError(
            f"{words[0]} cannot be run: {error.strerror or error}", "Check that it is installed."
        ) from error


def complaint(ended: subprocess.CompletedProcess[bytes]) -> str:
    """The first line that a program printed about its failure."""
    lines = ended.stderr.decode("utf-8", "replace").strip().splitlines()
    return lines[0][:200] if lines else f"it ended with {ended.returncode}"
