"""Which process this is, and whether another one of this host still runs."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path

from stcli.store.locks import Process


def this_process(environment: Mapping[str, str]) -> Process:
    """This process, with the host it runs on and the moment it started."""
    pid = os.getpid()
    return Process(host_id(environment), pid, process_start(pid))


def host_id(environment: Mapping[str, str]) -> str:
    """Names the host since it was last started: after a restart no process of before is alive."""
    chosen = environment.get("STCLI_HOST_ID")
    if chosen:
        return chosen
    try:
        boot = Path("/proc/sys/kernel/random/boot_id").read_text(encoding="ascii").strip()
    except OSError:
        boot = ""
    return f"{socket.gethostname()} {boot}".strip()


def process_start(pid: int) -> str:
    """When a process started, in whatever form the system tells it; empty where none runs."""
    if sys.platform == "win32":
        return ""
    try:
        # The 22nd field counts clock ticks since boot; the name before it may hold anything.
        fields = Path(f"/proc/{pid}/stat").read_text(encoding="utf-8", errors="replace")
        return fields.rpartition(")")[2].split()[19]
    except OSError:
        pass
    if Path("/proc/self/stat").exists():
        return ""
    answer = subprocess.run(  # noqa: S603 - fixed words and a number
        ["/bin/ps", "-o", "lstart=", "-p", str(pid)],
        capture_output=True,
        text=True,
        check=False,
        timeout=5,
    )
    return answer.stdout.strip()


def is_alive(process: Process) -> bool:
    """Whether this very process still runs; another one that got its number does not count."""
    if sys.platform == "win32":
        # There is no cheap way to ask: the lease's expiry decides, as for another host.
        return True
    start = process_start(process.pid)
    if start or Path("/proc/self/stat").exists():
        return start == process.start != ""
    # Neither /proc nor ps tells when it started: that it runs at all has to do.
    try:
        os.kill(process.pid, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        return True
    return True
