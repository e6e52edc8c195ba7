"""The container image without a container: what its file copies, makes and calls, done here."""

from __future__ import annotations

import fnmatch
import json
import os
import re
import shlex
import shutil
import subprocess
import sys
import sysconfig
import tomllib
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
INSTRUCTIONS = [
    (word, rest)
    for word, _, rest in (
        line.partition(" ")
        for line in (ROOT / "Containerfile").read_text(encoding="utf-8").splitlines()
        if line and not line.startswith("#")
    )
]


def _all(word: str) -> list[str]:
    return [rest for name, rest in INSTRUCTIONS if name == word]


def _ignored(_folder: str, names: list[str]) -> list[str]:
    patterns = (ROOT / ".dockerignore").read_text(encoding="utf-8").splitlines()
    return [n for n in names if any(fnmatch.fnmatch(n, p.removeprefix("**/")) for p in patterns)]


@pytest.mark.timeout(300)
def test_what_it_builds_is_what_it_calls(tmp_path: Path) -> None:
    """The build's own commands on the files that it is given, then the command of the image, in the
    environment of the image: it asks for a campaign, as in any new home."""
    copied, made = (shlex.split(one) for one in _all("COPY"))
    assert copied == [".", "/src"]
    source, target = tmp_path / "src", tmp_path / "stcli"
    shutil.copytree(ROOT, source, ignore=_ignored)
    # The libraries come from the environment of the tests, so that nothing is downloaded.
    libraries = {
        "PYTHONPATH": sysconfig.get_path("purelib"),
        "PIP_NO_INDEX": "1",
        "PIP_NO_DEPS": "1",
        "PIP_IGNORE_INSTALLED": "1",
        "PIP_NO_BUILD_ISOLATION": "0",  # which is how pip spells that there is none
    }
    build = _all("RUN")[0].replace("/opt/stcli", str(target)).replace("/src", str(source))
    subprocess.run(
        ["/bin/sh", "-ec", build.replace("python -m venv", f"{sys.executable} -m venv", 1)],
        env={**os.environ, **libraries},
        check=True,
        timeout=200,
    )
    assert made == ["--from=build", "/opt/stcli", "/opt/stcli"]
    given = dict(pair.split("=", 1) for pair in shlex.split(_all("ENV")[0]))
    given["STCLI_HOME"] = str(tmp_path / "home")
    given["PATH"] = given["PATH"].replace("/opt/stcli", str(target))
    command = [*json.loads(_all("ENTRYPOINT")[0]), *json.loads(_all("CMD")[0])]
    found = shutil.which(command[0], path=given["PATH"])
    assert found == str(target / "bin" / "stcli")
    ended = subprocess.run(
        [found, *command[1:]],
        env={**given, "PYTHONPATH": libraries["PYTHONPATH"]},
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
    )
    assert ended.returncode == 2, ended.stderr
    assert "Begin with: stcli connect" in ended.stderr


def test_its_user_and_its_home_fit() -> None:
    """One user without rights, whose private folder is the home and the volume; a Python that serves."""
    given = dict(pair.split("=", 1) for pair in shlex.split(_all("ENV")[0]))
    assert _all("VOLUME") == [given["STCLI_HOME"]]
    user, home = _all("RUN")[1].split(" && ")
    assert shlex.split(user)[:3] == ["useradd", "--uid", "10001"]
    assert _all("USER") == ["10001:10001"]
    assert shlex.split(home) == [
        *("install", "-d", "-m", "700", "-o", "stcli", "-g", "stcli"),
        given["STCLI_HOME"],
    ]
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    least = int(re.findall(r"3\.(\d+)", project["requires-python"])[0])
    images = [re.search(r"/python:3\.(\d+)-slim", one) for one in _all("FROM")]
    assert all(image and int(image[1]) >= least for image in images)


def test_the_how_to_gives_every_secret_that_it_names() -> None:
    """Each file that a variable names is a secret that was made, and handed to the image's user."""
    text = (ROOT / "docs" / "install.md").read_text(encoding="utf-8")
    named = dict(re.findall(r"-e (STCLI_\w+_FILE)=/run/secrets/([\w-]+)", text))
    assert set(named) == {
        "STCLI_RF_TOKEN_FILE",
        "STCLI_ST_APP_KEY_FILE",
        "STCLI_ST_CLIENT_SECRET_FILE",
    }
    assert set(named.values()) == set(re.findall(r"--secret ([\w-]+),uid=10001,mode=0400", text))
    assert set(named.values()) == set(re.findall(r"podman secret create ([\w-]+) ", text))
