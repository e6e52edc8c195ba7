"""The built wheel, installed elsewhere, run as a cron job would: from another folder, bare."""

from __future__ import annotations

import json
import subprocess
import sys
import sysconfig
import venv
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from stcli.sandbox.server import RunningSandbox
from stcli.sandbox.settings import Credentials
from tests.conftest import made_once

ROOT = Path(__file__).parents[2]
CLIENT_ID = Credentials.from_seed(1).client_id

Installed = Callable[..., subprocess.CompletedProcess[str]]


@pytest.fixture(scope="module")
def stcli(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The console script of the wheel, in an environment that sees only the wheel's own stcli."""
    return made_once(tmp_path_factory, "installed", _install) / "venv" / "bin" / "stcli"


def _install(folder: Path) -> None:
    subprocess.run(
        [
            sys.executable,
            "-m",
            "pip",
            "wheel",
            "-q",
            "--no-deps",
            "--no-build-isolation",
            "--wheel-dir",
            str(folder),
            str(ROOT),
        ],
        check=True,
        timeout=120,
    )
    wheel = next(folder.glob("stcli-*.whl"))
    environment = folder / "venv"
    venv.create(environment, with_pip=False, symlinks=True)
    python = environment / "bin" / "python"
    site = subprocess.run(
        [str(python), "-c", "import sysconfig; print(sysconfig.get_path('purelib'))"],
        check=True,
        capture_output=True,
        text=True,
    ).stdout.strip()
    # The libraries come from the environment of the tests; its own stcli stands behind the wheel's.
    libraries = sysconfig.get_path("purelib")
    (Path(site) / "libraries.pth").write_text(libraries + "\n", encoding="utf-8")
    subprocess.run(
        [
            sys.executable,
            "-m",
            "pip",
            "--python",
            str(python),
            "install",
            "-q",
            "--no-deps",
            "--no-index",
            "--ignore-installed",
            str(wheel),
        ],
        check=True,
        timeout=120,
    )


@pytest.fixture
def bare(stcli: Path, tmp_path: Path) -> Iterator[Installed]:
    """Runs the script with an environment such as cron gives, pointed at a sandbox."""
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    with RunningSandbox() as sandbox:
        known = sandbox.credentials
        variables = {
            "PATH": "/usr/bin:/bin",
            "HOME": str(tmp_path),
            "STCLI_HOME": str(tmp_path / "cron home"),
            "STCLI_RF_URL": sandbox.rf_url,
            "STCLI_ST_API_URL": sandbox.st_api_url,
            "STCLI_ST_AUTH_URL": sandbox.st_auth_url,
            "STCLI_RF_TOKEN": known.rf_token,
            "STCLI_ST_APP_KEY": known.app_key,
            "STCLI_ST_CLIENT_SECRET": known.client_secret,
        }

        def run(*words: str) -> subprocess.CompletedProcess[str]:
            return subprocess.run(
                [str(stcli), *words],
                cwd=elsewhere,
                env=variables,
                stdin=subprocess.DEVNULL,
                capture_output=True,
                text=True,
                timeout=180,
                check=False,
            )

        yield run


def test_the_wheel_holds_everything(bare: Installed, stcli: Path) -> None:
    """Version, help, typed marker, and the stcli that runs is the wheel's."""
    ran = bare("--version")
    assert ran.returncode == 0, ran.stderr
    assert ran.stdout.startswith("stcli 0.")
    assert "Usage: stcli leads run" in bare("leads", "run", "--help").stdout
    site = next((stcli.parents[1] / "lib").glob("python*/site-packages/stcli"))
    assert (site / "py.typed").exists()


def test_the_main_job_from_a_bare_environment(bare: Installed, tmp_path: Path) -> None:
    """Connect, map, book, status; with data on stdout only."""
    assert bare("connect", "spring-hvac", "--tenant-id", "985798691").returncode == 0
    assert bare("requests", "approve", "spring-hvac").returncode == 0
    ran = bare(
        "finalize", "spring-hvac", "--client-id", CLIENT_ID, "--booking-provider", "4521", "--json"
    )
    assert ran.returncode == 0, ran.stderr
    assert json.loads(ran.stdout)["connection"] == "connected"
    sample = (ROOT / "configs" / "leads-and-qualification.yaml").read_text(encoding="utf-8")
    file = tmp_path / "cron home" / "campaigns" / "spring-hvac.yaml"
    head = "".join(f"  {row}\n" for row in (f"client_id: {CLIENT_ID}", "booking_provider: 4521"))
    file.write_text(
        sample.replace("  tenant_id: 985798691\n", f"  tenant_id: 985798691\n{head}"),
        encoding="utf-8",
    )
    ran = bare("run", "--all", "--json")
    assert ran.returncode == 0, ran.stdout + ran.stderr
    passes = {p["pass"]: p for p in json.loads(ran.stdout)["passes"]}
    assert passes["leads"]["counts"]["created"] > 0
    assert bare("status").stdout.startswith("spring-hvac: connected")


def test_the_demo_tells_the_whole_story(bare: Installed) -> None:
    """To its end, with a table of lead, booking, job and qualified."""
    ran = bare("demo")
    assert ran.returncode == 0, ran.stdout + ran.stderr
    table = ran.stdout[ran.stdout.index("LEAD ") :]
    assert sum(row.endswith("  yes") for row in table.splitlines()) == 2
    assert "Traceback" not in ran.stdout + ran.stderr


def test_a_reader_that_goes_away_is_no_failure(stcli: Path, tmp_path: Path) -> None:
    """As head does: no traceback, exit 0."""
    ran = subprocess.run(
        ["/bin/bash", "-c", f"'{stcli}' map fields | head -1; echo ${{PIPESTATUS[0]}}"],
        env={"PATH": "/usr/bin:/bin", "STCLI_HOME": str(tmp_path)},
        capture_output=True,
        text=True,
        timeout=180,
        check=True,
    )
    assert ran.stdout.splitlines()[-1] == "0"
    assert ran.stderr == ""
