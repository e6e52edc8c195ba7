"""Starting and stopping: loopback only, quick, quiet, and safe among threads."""

from __future__ import annotations

import ast
import signal
import socket
import subprocess
import sys
import textwrap
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import httpx
import pytest

import stcli.sandbox
from stcli.sandbox import RunningSandbox

ROOT = Path(stcli.sandbox.__file__).parents[2]
SERVE = textwrap.dedent(
    """
    from stcli.sandbox import SandboxSettings, serve

    caught = serve(SandboxSettings(), on_ready=lambda found: print(found.control_url, flush=True))
    print("ended by", caught.name, flush=True)
    """
)


@pytest.mark.parametrize("host", ["0.0.0.0", "::", "192.0.2.1", "example.com", ""])
def test_other_machines_are_kept_out(host):
    """The sandbox refuses every address that is not this machine's own."""
    with pytest.raises(ValueError, match="listens on"):
        RunningSandbox(host=host)


def test_ipv6_loopback():
    """The other loopback address works where the machine has one."""
    try:
        socket.create_server(("::1", 0), family=socket.AF_INET6).close()
    except OSError:
        pytest.skip("this machine has no IPv6 loopback")
    with RunningSandbox(host="::1") as sandbox:
        assert httpx.get(f"{sandbox.control_url}/state", trust_env=False).status_code == 200


def test_port_in_use_is_an_error():
    """A taken port is reported as the operating system says it."""
    with socket.create_server(("127.0.0.1", 0)) as taken, pytest.raises(OSError, match="in use"):
        RunningSandbox(port=taken.getsockname()[1])


def test_quick_start_and_stop_with_an_open_connection():
    """Three rounds, each with a client that keeps its connection, take well under a second each."""
    started = time.monotonic()
    for _ in range(3):
        client = httpx.Client(trust_env=False)
        with RunningSandbox() as sandbox:
            assert client.get(f"{sandbox.control_url}/state").status_code == 200
        client.close()
    assert time.monotonic() - started < 1.5


def test_stop_does_not_wait_for_a_delayed_answer():
    """A request that hangs does not hold the end up; its client sees the connection go."""
    with httpx.Client(trust_env=False, timeout=10) as client, ThreadPoolExecutor(1) as pool:
        with RunningSandbox() as sandbox:
            fault = {"kind": "delay", "api": "rf", "seconds": 60}
            client.post(f"{sandbox.control_url}/faults", json=fault)
            hanging = pool.submit(httpx.get, f"{sandbox.rf_url}/users", trust_env=False)
            while not client.get(f"{sandbox.control_url}/faults").json()[0]["applied"]:
                time.sleep(0.01)
            before = time.monotonic()
        assert time.monotonic() - before < 1
        answer = hanging.exception(timeout=5) or hanging.result()
        assert isinstance(answer, httpx.TransportError) or answer.status_code == 500


def test_environment_points_the_tool_here():
    """The three variables hold the addresses of this sandbox."""
    with RunningSandbox() as sandbox:
        assert sandbox.environment() == {
            "STCLI_RF_URL": f"{sandbox.base_url}/rf/api/v2",
            "STCLI_ST_API_URL": f"{sandbox.base_url}/st",
            "STCLI_ST_AUTH_URL": f"{sandbox.base_url}/auth",
        }


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_serve_ends_cleanly_by_signal(number):
    """The command's function says where it listens, ends on either signal, and prints nothing."""
    process = subprocess.Popen(
        [sys.executable, "-c", SERVE],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        cwd=ROOT,
    )
    try:
        url = process.stdout.readline().strip()
        assert httpx.get(f"{url}/state", trust_env=False).status_code == 200
        process.send_signal(number)
        out, err = process.communicate(timeout=5)
    finally:
        process.kill()
    assert (process.returncode, out, err) == (0, f"ended by {number.name}\n", "")


def test_world_is_safe_among_threads(start):
    """Bookings from the network and from the test's own threads: none is lost, no id is used twice."""
    servers = start(st_requests_per_window=10_000, feed_lag_seconds=0)
    servers.token()

    def over_http(number):
        return servers.booked(externalId=f"http-{number}")

    def directly(number):
        return servers.world.add_booking({"externalId": f"own-{number}"}, provider=7788).id

    with ThreadPoolExecutor(8) as pool:
        jobs = [pool.submit(f, n) for n in range(100) for f in (over_http, directly)]
        made = [job.result() for job in jobs]
    assert len(set(made)) == 200
    fed = [record["id"] for record in servers.feed("crm/export/bookings")["data"]]
    assert sorted(fed[1:]) == sorted(made)


def test_a_thousand_requests_a_second(start):
    """One kept connection is answered without Nagle's delay."""
    servers = start(rf_requests_per_window=10_000)
    started = time.monotonic()
    for _ in range(200):
        servers.rf("GET", "/campaigns/spring-hvac")
    assert time.monotonic() - started < 4


def test_defects_show(servers, caplog):
    """A failure of the sandbox itself is logged, counted, and answered with 500."""
    servers.world.tenants.clear()
    servers.world.tenants[servers.credentials.tenant_id] = None
    assert servers.st("GET", "crm/bookings").status_code == 500
    assert servers.world.traffic.defects == 1
    assert "failed to answer" in caplog.text


def test_imports_none_of_our_own_code():
    """The sandbox knows the published documents only, so it cannot share the tool's mistakes."""
    allowed = {"msgspec", "starlette", "uvicorn", *sys.stdlib_module_names}
    for file in sorted(Path(stcli.sandbox.__file__).parent.glob("**/*.py")):
        for node in ast.walk(ast.parse(file.read_text(encoding="utf-8"))):
            names = []
            if isinstance(node, ast.Import):
                names = [alias.name for alias in node.names]
            elif isinstance(node, ast.ImportFrom):
                names = [node.module or ""]
            for name in names:
                inside = name.startswith("stcli.sandbox.") or name == "stcli.sandbox"
                assert inside or name.partition(".")[0] in allowed, f"{file.name}: {name}"


def test_large_worlds_are_built_quickly():
    """A hundred thousand customers are ready within a few seconds and a few hundred megabytes."""
    script = (
        "import time, resource; from stcli.sandbox import RunningSandbox, SandboxSettings\n"
        "began = time.process_time()\n"
        "world = RunningSandbox(SandboxSettings(customers=100_000)).world\n"
        "assert len(world.tenant.customers) == 100_000\n"
        "spent = time.process_time() - began\n"
        # Linux counts the parent's memory in ru_maxrss, from before the program was loaded.
        "import pathlib; status = pathlib.Path('/proc/self/status')\n"
        "lines = status.read_text().splitlines() if status.exists() else []\n"
        "peak = [line.split()[1] for line in lines if line.startswith('VmHWM')]\n"
        "print(spent, *(peak or [resource.getrusage(resource.RUSAGE_SELF).ru_maxrss]))"
    )
    pytest.importorskip("resource")
    ran = subprocess.run(
        [sys.executable, "-c", script], capture_output=True, text=True, check=True, cwd=ROOT
    )
    seconds, kilobytes = (float(part) for part in ran.stdout.split())
    assert seconds < 6
    # Apple's kernel says it in bytes, and has no /proc.
    assert kilobytes / (1024 if sys.platform == "darwin" else 1) < 250_000
