"""Where things lie: settings, campaign files, state and logs of one home.

With ``STCLI_HOME`` everything is under that one folder; without it, in the operating system's own
folders for configuration, state and logs. Nothing is created here except on request, and folders
are private to the user (mode 700), because names and email addresses of customers lie in them.
"""

from __future__ import annotations

import os
import re
import threading
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from stcli.errors import StateError, UsageError

_CAMPAIGN_NAME = re.compile(r"[a-z0-9][a-z0-9-]{0,62}")


@dataclass(frozen=True, slots=True)
class Home:
    """The folders of one installation: configuration, state, logs."""

    config: Path
    state: Path
    logs: Path

    @property
    def settings_file(self) -> Path:
        return self.config / "settings.yaml"

    @property
    def campaigns(self) -> Path:
        return self.config / "campaigns"

    @property
    def database(self) -> Path:
        return self.state / "stcli.db"

    @property
    def told(self) -> Path:
        return self.state / "alarms.json"

    @property
    def limits(self) -> Path:
        return self.state / "limits.db"

    @property
    def tokens(self) -> Path:
        return self.state / "tokens"

    @property
    def backups(self) -> Path:
        return self.state / "backups"

    @property
    def log_file(self) -> Path:
        return self.logs / "stcli.log"

    @property
    def schema_file(self) -> Path:
        """What the first line of a campaign file tells editors to check it against."""
        return self.config / "campaign.schema.json"

    def campaign_file(self, name: str) -> Path:
        """The file of a campaign; a name that is none is refused, so no path leaves the folder."""
        return self.campaigns / f"{campaign_name(name)}.yaml"

    def campaign_names(self) -> list[str]:
        """Every campaign with a file here, in alphabetical order."""
        if not self.campaigns.is_dir():
            return []
        return sorted(
            path.stem for path in self.campaigns.glob("*.yaml") if _is_campaign_name(path.stem)
        )

    def passed_over(self) -> list[Path]:
        """Files among those of the campaigns whose names no campaign can have."""
        if not self.campaigns.is_dir():
            return []
        return sorted(
            path
            for path in self.campaigns.iterdir()
            if path.suffix.lower() in (".yaml", ".yml")
            and not path.name.startswith(".")
            and not (path.suffix == ".yaml" and _is_campaign_name(path.stem))
        )


def _is_campaign_name(name: str) -> bool:
    return bool(_CAMPAIGN_NAME.fullmatch(name)) and not name.endswith("-file")


def campaign_name(name: str) -> str:
    """``name`` if it may name a campaign, else a usage error that says what may.

    The ending ``-file`` is refused because ``STCLI_ST_CLIENT_SECRET__NAME`` and the ``_FILE`` form
    of a secret's variable would otherwise be one.
    """
    if _is_campaign_name(name):
        return name
    raise UsageError(
        f"{name!r} cannot be a campaign's name",
        "Use 1 to 63 of a-z, 0-9 and '-', starting with a letter or digit and not ending in "
        "'-file', such as spring-hvac.",
    )


def find_home(environment: Mapping[str, str]) -> Home:
    """The home that ``environment`` points to."""
    chosen = environment.get("STCLI_HOME")
    if chosen:
        try:
            root = Path(chosen).expanduser().absolute()
        except RuntimeError:
            raise UsageError(
                f"STCLI_HOME is {chosen!r}, and that user has no home folder here",
                "Set it to a folder.",
            ) from None
        return Home(config=root, state=root / "state", logs=root / "logs")
    from platformdirs import PlatformDirs

    folders = PlatformDirs("stcli", appauthor=False)
    return Home(
        config=folders.user_config_path,
        state=folders.user_state_path,
        logs=folders.user_log_path,
    )


def private_folder(folder: Path) -> Path:
    """``folder``, made with mode 700 if absent (parents too)."""
    try:
        if not folder.is_dir():
            missing = [folder, *folder.parents]
            for path in reversed([path for path in missing if not path.exists()]):
                path.mkdir(mode=0o700, exist_ok=True)
    except OSError as error:
        raise _unusable(folder, error) from error
    return folder


_MAKING = threading.Lock()


def private_file(path: Path) -> None:
    """Make an empty file that only its owner may read, where there is none; ``OSError``.

    A database that is there already is not opened: POSIX frees all locks that a process has on a file
    as soon as it closes any descriptor of it (see "How To Corrupt An SQLite Database File", 2.2), and
    another thread may be in the middle of a transaction."""
    with _MAKING:
        if not path.exists():
            with suppress(FileExistsError):
                os.close(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600))


def _unusable(place: Path, error: OSError) -> StateError:
    return StateError(
        f"{place} cannot be written: {error.strerror or error}",
        "Check the owner, the permissions and the free space, or set STCLI_HOME to another folder.",
    )


def write_private(path: Path, text: str) -> None:
    """Replace ``path`` atomically with ``text``, mode 600: readers see the old or the new."""
    private_folder(path.parent)
    temporary = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    try:
        descriptor = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
        with os.fdopen(descriptor, "w", encoding="utf-8", newline="") as file:
            file.write(text)
            file.flush()
            os.fsync(file.fileno())
        os.replace(temporary, path)
    except OSError as error:
        raise _unusable(path, error) from error
    finally:
        with suppress(OSError):
            temporary.unlink(missing_ok=True)
