"""The file that ``--insecure-storage`` writes: plain text that only its owner can read."""

from __future__ import annotations

import json
import os
from pathlib import Path

from stcli.domain.secret import Secret
from stcli.errors import CredentialsUnusable
from stcli.paths import write_private

FILE_NAME = "secrets.json"


class InsecureFile:
    """Secrets by name in one file of mode 600; refused when others can read it."""

    def __init__(self, folder: Path) -> None:
        self.path = folder / FILE_NAME

    def get(self, name: str) -> Secret | None:
        text = self._entries().get(name)
        return Secret(text) if text else None

    def set(self, name: str, secret: Secret) -> None:
        self._write({**self._entries(), name: secret.reveal()})

    def delete(self, name: str) -> None:
        entries = self._entries()
        if entries.pop(name, None) is None:
            return
        if entries:
            self._write(entries)
        else:
            self.path.unlink(missing_ok=True)

    def _write(self, entries: dict[str, str]) -> None:
        write_private(self.path, json.dumps(entries, indent=2))

    def _entries(self) -> dict[str, str]:
        try:
            mode = self.path.stat().st_mode
        except FileNotFoundError:
            return {}
        except OSError as error:
            raise CredentialsUnusable(
                f"{self.path} cannot be read: {error.strerror}", "Check its owner and permissions."
            ) from None
        if os.name != "nt" and mode & 0o077:
            raise CredentialsUnusable(
                f"{self.path} can be read by others, so the secrets in it are not used",
                f"Run: chmod 600 {self.path}; and make new secrets if others may have read it.",
            )
        try:
            entries = json.loads(self.path.read_text(encoding="utf-8"))
        except (OSError, ValueError):
            entries = None
        if not isinstance(entries, dict) or not all(isinstance(v, str) for v in entries.values()):
            raise CredentialsUnusable(
                f"{self.path} cannot be read as the file that stcli wrote",
                "Delete it and store the secrets again.",
            )
        return entries
