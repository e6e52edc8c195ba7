"""Where a state is kept, as people name it: ``postgresql+psycopg://…`` or ``sqlite:///FILE``."""

from __future__ import annotations

import re
from pathlib import Path
from urllib.parse import unquote

from stcli.errors import UsageError

VARIABLE = "STCLI_DATABASE_URL"
_POSTGRES = re.compile(r"postgresql(?:\+psycopg)?://", re.IGNORECASE)
_FILE = re.compile(r"sqlite:///", re.IGNORECASE)
_SECRETS = re.compile(r"(?i)(?:^|[?&])(?:password|sslpassword)=")


def is_server(url: str) -> bool:
    """Whether ``url`` names a PostgreSQL database."""
    return _POSTGRES.match(url) is not None


def file_of(url: str) -> Path | None:
    """The file that an ``sqlite:///…`` address names; None for any other address."""
    found = _FILE.match(url)
    return Path(unquote(url[found.end() :])).expanduser() if found else None


def has_password(url: str) -> bool:
    """Whether the address itself tells a password."""
    return ":" in _parts(url)[0] or _SECRETS.search(url) is not None


def shown(url: str) -> str:
    """The address for people and logs: server and database, without user and password."""
    place = _parts(url)[1]
    return "postgresql://" + re.split(r"[?#]", place, maxsplit=1)[0]


def is_same(url: str, known: str) -> bool:
    """Whether ``url`` is ``known`` without its password."""
    user, place = _parts(known)
    ours, there = _parts(url)
    return (ours, there) == (user.partition(":")[0], place)


def _parts(url: str) -> tuple[str, str]:
    """User and password, and what stands behind them. A password may hold characters that it should
    not, so the last ``@`` counts."""
    user, _, place = url.partition("://")[2].rpartition("@")
    return user, place


def checked(url: str, source: str = VARIABLE) -> str:
    """``url`` if it names a PostgreSQL database in words that the driver understands, else a usage
    error; ``source`` says where it stands. The error never quotes the address: it may hold a
    password."""
    if not is_server(url):
        raise UsageError(
            f"{source} is no address of a PostgreSQL database",
            "Such as postgresql+psycopg://db.example/stcli; unset, the state is in the home.",
        )
    return url


def driver_address(url: str) -> str:
    """The address as libpq writes it."""
    return _POSTGRES.sub("postgresql://", url, count=1)
