"""The sample schedules in ``configs/``, by the code that installs them: python -m tests.samples."""

from __future__ import annotations

from pathlib import Path

from stcli.scheduling.crontab import block
from stcli.scheduling.job import Job
from stcli.scheduling.systemd_units import units

CONFIGS = Path(__file__).parents[1] / "configs"


def samples() -> dict[str, str]:
    """Name of each file and its text: a home of its own, every campaign, every 15 minutes."""
    home = Path("/srv/stcli")
    job = Job("stcli", home, ("/usr/local/bin/stcli",), (), {"STCLI_HOME": str(home)})
    return {"stcli.crontab": block(job), **units(job)}


def main() -> None:
    for name, text in samples().items():
        (CONFIGS / name).write_text(text, encoding="utf-8")


if __name__ == "__main__":
    main()
