"""The log file while several real processes write it, and while it is full."""

from __future__ import annotations

import logging
import re
import subprocess
import sys
from collections import defaultdict
from collections.abc import Iterator
from pathlib import Path

import pytest

from stcli.logs import KEPT, MAX_BYTES, set_up_logging

FULL = 20_000
WRITER = f"""
import logging, sys
from pathlib import Path
import stcli.logs
stcli.logs.MAX_BYTES = {FULL}
stcli.logs.set_up_logging(Path(sys.argv[1]), show_pii=False)
log, number = logging.getLogger("stcli.test"), 0
for line in sys.stdin:
    for _ in range(int(line)):
        log.info("writer %s line %d", sys.argv[2], number)
        number += 1
    print(number, flush=True)
"""


class Writer:
    """A process that writes as many lines as it is told to."""

    def __init__(self, file: Path, name: str) -> None:
        self._process = subprocess.Popen(
            [sys.executable, "-c", WRITER, str(file), name],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )

    def begin(self, lines: int) -> None:
        assert self._process.stdin is not None
        self._process.stdin.write(f"{lines}\n")
        self._process.stdin.flush()

    def wait(self) -> None:
        assert self._process.stdout is not None
        assert self._process.stdout.readline()

    def write(self, lines: int) -> None:
        self.begin(lines)
        self.wait()

    def close(self) -> None:
        self._process.communicate()


@pytest.fixture
def file(tmp_path) -> Path:
    return tmp_path / "logs" / "stcli.log"


@pytest.fixture
def writers(file) -> Iterator[list[Writer]]:
    made = [Writer(file, name) for name in "abcd"]
    yield made
    for writer in made:
        writer.close()


@pytest.fixture
def log(file) -> Iterator[logging.Logger]:
    """The log of this process."""
    set_up_logging(file, show_pii=False)
    logger = logging.getLogger("stcli")
    yield logger
    for handler in list(logger.handlers):
        logger.removeHandler(handler)
        handler.close()


def _lines(file: Path) -> dict[str, list[int]]:
    """The numbers of each writer's lines in all files, the oldest first."""
    found: dict[str, list[int]] = defaultdict(list)
    for number in range(KEPT, -1, -1):
        one = file.with_name(f"{file.name}.{number}") if number else file
        if one.exists():
            for writer, line in re.findall(r"writer (\w) line (\d+)\n", one.read_text()):
                found[writer].append(int(line))
    return found


@pytest.mark.skipif(sys.platform == "win32", reason="an open file cannot be renamed there")
def test_one_process_rotates_for_all(file, writers) -> None:
    """Those that hold the rotated file do not rotate it once more, and lose none of its lines."""
    for writer in writers:
        writer.write(1)
    while not file.with_name("stcli.log.1").exists():
        writers[0].write(20)
    for writer in writers:
        writer.write(1)
    assert sorted(path.name for path in file.parent.glob("stcli.log*")) == [
        "stcli.log",
        "stcli.log.1",
    ]
    assert file.with_name("stcli.log.1").stat().st_size > FULL * 0.9
    found = _lines(file)
    assert {name: found[name] for name in "bcd"} == {name: [0, 1] for name in "bcd"}
    assert found["a"] == list(range(len(found["a"])))


@pytest.mark.skipif(sys.platform == "win32", reason="an open file cannot be renamed there")
def test_no_line_is_lost_while_all_write_at_once(file, writers) -> None:
    """What is kept of each writer has no hole, and every old file was full."""
    for writer in writers:
        writer.begin(400)
    for writer in writers:
        writer.wait()
    for name, lines in _lines(file).items():
        assert sorted(lines) == list(range(min(lines), 400)), name
    for number in range(1, KEPT + 1):
        assert file.with_name(f"stcli.log.{number}").stat().st_size > FULL * 0.9


def test_four_files_of_five_megabytes_are_kept(file, log) -> None:
    """As the documents say: a full one is set aside, the fifth is forgotten."""
    assert (MAX_BYTES, KEPT) == (5 * 2**20, 3)
    for number in range(KEPT + 3):
        log.info("number %d", number)
        with file.open("r+b") as full:
            full.truncate(MAX_BYTES)
    names = sorted(path.name for path in file.parent.glob("stcli.log*"))
    assert names == ["stcli.log", "stcli.log.1", "stcli.log.2", "stcli.log.3"]
    kept = [file.with_name(name).read_bytes().split(b"\n")[0][-1:] for name in names]
    assert kept == [b"5", b"4", b"3", b"2"]
    assert {file.with_name(name).stat().st_mode & 0o777 for name in names} == {0o600}


def test_a_file_that_cannot_be_set_aside_is_written_on(file, log) -> None:
    """Full or not: what happens is told."""
    log.info("first")
    (file.parent / "stcli.log.3" / "in the way").mkdir(parents=True)
    (file.parent / "stcli.log.2").touch()
    with file.open("r+b") as full:
        full.truncate(MAX_BYTES)
    log.info("second")
    log.info("third")
    assert file.read_bytes().count(b"\n") == 3
    assert file.stat().st_size > MAX_BYTES


def test_a_file_that_was_taken_away_is_made_again(file, log) -> None:
    """By whoever cleans up while a long pass writes."""
    log.info("first")
    file.unlink()
    log.info("second")
    assert "second" in file.read_text()
