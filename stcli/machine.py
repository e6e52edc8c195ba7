"""What the machine says of the home: may it be used, who else may read it, how much room is left."""

from __future__ import annotations

import os
import shutil
import stat
from collections.abc import Iterator
from pathlib import Path

from stcli.paths import Home

_OTHERS = stat.S_IRWXG | stat.S_IRWXO


def unusable(home: Home) -> str:
    """What keeps the home from being written to; empty if nothing does."""
    return next(filter(None, map(_closed, (home.config, home.state, home.logs))), "")


def unwritable_log(home: Home) -> str:
    """What keeps the log from being written; empty if nothing does. No file is made for that."""
    file = home.log_file
    try:
        if file.exists():
            with file.open("ab"):
                return ""
    except OSError as error:
        return f"{file} cannot be written: {error.strerror or error}"
    return _closed(home.logs)


def _closed(folder: Path) -> str:
    """Why nothing can be put into a folder, or into what there is of its parents."""
    place = folder
    while not place.exists() and place != place.parent:
        place = place.parent
    if not place.is_dir():
        return f"{place} is no folder"
    if not os.access(place, os.W_OK | os.X_OK):
        return f"{place} cannot be written by this user"
    return ""


def readable_by_others(home: Home) -> list[str]:
    """What of the home other users of this machine may read: names and addresses lie in it."""
    return [
        f"{path} (mode {stat.S_IMODE(path.stat().st_mode):o})"
        for path in _private(home)
        if stat.S_IMODE(path.stat().st_mode) & _OTHERS
    ]


def _private(home: Home) -> Iterator[Path]:
    if os.name != "posix":
        return
    folders = (home.config, home.campaigns, home.state, home.tokens, home.backups, home.logs)
    for folder in dict.fromkeys(folders):
        # One that only its owner may enter protects what is in it.
        if folder.is_dir() and not folder.is_symlink():
            yield folder
    for file in (home.database, home.limits):
        if file.is_file():
            yield file


def free_bytes(home: Home) -> int:
    """Room on the disk that holds the state."""
    place = home.state
    while not place.exists() and place != place.parent:
        place = place.parent
    return shutil.disk_usage(place).free
