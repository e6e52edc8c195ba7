"""``config upgrade``: every file that people write, as this version reads it."""

from __future__ import annotations

import json
from pathlib import Path


def test_files_of_this_version_stay_as_they_are(connected, cli, home: Path) -> None:
    """Each is named; only the schema for editors was missing, and a dry run leaves it so."""
    (home / "settings.yaml").write_text("# ours\nversion: 1\n", encoding="utf-8")
    before = connected.read_bytes()
    schema = home / "campaign.schema.json"
    schema.unlink(missing_ok=True)
    dry = cli("config", "upgrade", "--dry-run")
    assert dry.code == 0, dry.text
    assert "campaign.schema.json: would be written anew" in dry.out
    assert not schema.exists()
    ran = cli("config", "upgrade", "--json")
    assert ran.code == 0, ran.text
    assert ran.err == ""
    assert [(Path(one["file"]).name, one["from"], one["to"]) for one in ran.document["files"]] == [
        ("settings.yaml", 1, 1),
        ("spring-hvac.yaml", 1, 1),
    ]
    assert ran.document["schema"] == {"file": str(schema), "changed": True}
    assert json.loads(schema.read_text(encoding="utf-8"))["title"] == "stcli campaign file"
    again = cli("config", "upgrade")
    assert again.out.count("version 1, nothing to do\n") == 2
    assert again.out.endswith("campaign.schema.json: up to date\n")
    assert connected.read_bytes() == before
    assert (home / "settings.yaml").read_text(encoding="utf-8") == "# ours\nversion: 1\n"


def test_a_newer_file_is_refused_and_keeps_the_others_from_nothing(
    connected, cli, home: Path
) -> None:
    """Exit 3, naming the version that is needed, for a campaign's file and for the settings."""
    newer = connected.with_name("autumn-hvac.yaml")
    newer.write_bytes(connected.read_bytes().replace(b"version: 1", b"version: 3"))
    ran = cli("config", "upgrade")
    assert ran.code == 3
    assert f"{newer} has version 3, and this stcli reads 1" in ran.err
    assert "reads version 3" in ran.err
    assert "spring-hvac.yaml: version 1, nothing to do" in ran.out
    assert b"version: 3" in newer.read_bytes()
    (home / "settings.yaml").write_text("version: 2\n", encoding="utf-8")
    files = cli("config", "upgrade", "--json").document["files"]
    assert [one.get("error", {}).get("exit_code") for one in files] == [3, 3, None]


def test_a_schema_that_cannot_be_written_is_told_here(connected, cli, home: Path) -> None:
    """It was asked for; the files are reported all the same."""
    (home / "campaign.schema.json").mkdir()
    ran = cli("config", "upgrade")
    assert ran.code == 3
    assert "campaign.schema.json cannot be written" in ran.err
    assert "spring-hvac.yaml: version 1, nothing to do" in ran.out
