"""The support bundle: what someone who helps needs to see, without secrets and without people."""

from __future__ import annotations

import json
import zipfile
from collections.abc import Sequence
from pathlib import Path

from stcli.domain.ids import CampaignName
from stcli.errors import StateError
from stcli.logs import masked, masked_values
from stcli.wiring import Application

LOG_LINES = 2000
RUNS = 200


def write_bundle(
    app: Application, target: Path, examination: object, names: Sequence[CampaignName]
) -> None:
    """A zip with the checks, campaign files, past passes and the end of the log, all masked.

    The database is not in it: it holds names and addresses. ``settings.yaml`` is not either: its
    commands may tell where secrets are kept.
    """
    parts = {"doctor.json": _json(examination), "history.json": _json(_history(app))}
    for name in names:
        parts[f"campaigns/{name}.yaml"] = masked(_text(app.home.campaign_file(name)))
    log = _text(app.home.log_file).splitlines()[-LOG_LINES:]
    parts["stcli.log"] = masked("\n".join(log))
    try:
        with target.open("xb") as file:
            target.chmod(0o600)
            with zipfile.ZipFile(file, "w", zipfile.ZIP_DEFLATED) as bundle:
                for part, text in parts.items():
                    bundle.writestr(part, text)
    except FileExistsError:
        raise StateError(f"{target} is there already", "Choose another name.") from None
    except OSError as error:
        raise StateError(
            f"{target} cannot be written: {error.strerror or error}", "Choose another folder."
        ) from error


def _text(file: Path) -> str:
    try:
        return file.read_text(encoding="utf-8", errors="replace")
    except OSError as error:
        return f"cannot be read: {error.strerror or error}\n"


def _json(value: object) -> str:
    """Each text masked by itself, so that it stays JSON."""
    return json.dumps(masked_values(value), indent=2)


def _history(app: Application) -> list[object]:
    """Counts and reasons; what failed is told by number, because records are named after people."""
    if not app.has_state:
        return []
    try:
        runs = app.state.runs.newest(RUNS)
    except StateError as error:
        return [error.message]
    entries: list[object] = []
    for run in runs:
        report = dict(run.report)
        failures = report.pop("failures", [])
        entries.append(
            report
            | {
                "run_id": run.run_id,
                "campaign": run.campaign,
                "pass": run.kind,
                "status": run.status,
                "failed": len(failures) if isinstance(failures, list) else 0,
            }
        )
    return entries
