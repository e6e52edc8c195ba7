"""``stcli`` as somebody sits in front of it: a real pseudo-terminal, its questions and its keys."""

from __future__ import annotations

import os
import re
import sys

import pexpect

UP, DOWN = "\x1b[A", "\x1b[B"
CTRL_C = "\x03"
CSI = re.compile(r"\x1b\[[0-9;?]*[A-Za-z]")


class Terminal:
    """One command line on a terminal of its own."""

    def __init__(self, *words: str, columns: int = 100, **environment: str) -> None:
        self.child = pexpect.spawn(
            sys.executable,
            ["-m", "stcli", *words],
            # Nobody here answers where the cursor is, which would cost a second a question.
            env={**os.environ, "PROMPT_TOOLKIT_NO_CPR": "1", **environment},
            encoding="utf-8",
            timeout=20,
            dimensions=(50, columns),
        )
        self.seen = ""

    def answer(self, question: str, keys: str = "\r") -> None:
        """Wait for a question, then press these keys."""
        self.child.expect(question)
        self.seen += self.child.before + self.child.after
        self.child.send(keys)

    def end(self) -> int:
        """Wait for the end; the exit code."""
        self.child.expect(pexpect.EOF)
        self.seen += self.child.before
        self.child.close()
        return int(self.child.exitstatus or 0)

    @property
    def text(self) -> str:
        """What was shown, without what moves the cursor and colours."""
        return CSI.sub("", self.seen)
