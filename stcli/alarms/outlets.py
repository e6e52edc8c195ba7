"""The ways out of this machine or process, each bounded; a failure of theirs is told, never raised.

An address may hold a secret (the id in a ping URL), so none is repeated in a message.
"""

from __future__ import annotations

import asyncio
import json
import os
import signal
import subprocess
import sys
from collections.abc import Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from urllib.parse import urlsplit

from stcli.clients.transport import Transport
from stcli.errors import ConfigurationError, StcliError
from stcli.event_loop import run_loop

SECONDS = 10.0
"""What each receiver has in all, looking up its name included."""


def ping(url: str, ending: str = "") -> str:
    """``GET`` a ping address, with ``/start`` or an exit code at its end; what went wrong, or
    empty."""
    return run_loop(_sent("the ping", "GET", url.rstrip("/") + ending))


def post(url: str, document: Mapping[str, object]) -> str:
    """``POST`` a document to a webhook; what went wrong, or empty."""
    return run_loop(_sent("the webhook", "POST", url, json.dumps(document).encode()))


async def _sent(what: str, method: str, url: str, body: bytes | None = None) -> str:
    parts = urlsplit(url)
    try:
        # The path and the query may be the receiver's secret: only the host is checked and told.
        transport = Transport(
            what, f"{parts.scheme}://{parts.netloc}", timeout_seconds=SECONDS, logs_paths=False
        )
        async with asyncio.timeout(SECONDS), transport as sender:
            answer = await sender.send(method, url, json=body)
    except ConfigurationError:
        return f"the address of {what} is neither https nor on this machine"
    except TimeoutError:
        return f"{what} did not answer within {SECONDS:.0f} s"
    except StcliError as error:
        return error.message
    return f"{what} was answered with HTTP {answer.status}" if answer.status >= 300 else ""


def called(words: Sequence[str], document: Mapping[str, object]) -> str:
    """Run a command with the document on its stdin; what went wrong, or empty."""
    try:
        process = subprocess.Popen(  # noqa: S603 - the administrator's own command, without a shell
            list(words),
            stdin=subprocess.PIPE,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            start_new_session=True,
        )
    except OSError as error:
        return f"the alarm command cannot be run: {error.strerror or error}"
    try:
        # One that does not read its input may still do its work: the library lets it.
        process.communicate(json.dumps(document).encode(), timeout=SECONDS)
    except subprocess.TimeoutExpired:
        _kill(process)
        return f"the alarm command did not end within {SECONDS:.0f} s"
    code = process.returncode
    return f"the alarm command ended with {code}" if code else ""


def _kill(process: subprocess.Popen[bytes]) -> None:
    """The command and what it started."""
    with suppress(OSError):
        if sys.platform == "win32":
            process.kill()
        else:
            os.killpg(process.pid, signal.SIGKILL)
    process.wait()


def written(file: Path, text: str) -> str:
    """Replace a file at once, readable for the collector; what went wrong, or empty."""
    temporary = file.with_name(f".{file.name}.{os.getpid()}")
    try:
        temporary.write_text(text, encoding="utf-8")
        temporary.chmod(0o644)
        os.replace(temporary, file)
    except OSError as error:
        with suppress(OSError):
            temporary.unlink(missing_ok=True)
        return f"the metrics cannot be written: {error.strerror or error}"
    return ""
