"""Where a state is kept, as people name it: ``postgresql+psycopg://…`` or ``sqlite:///FILE``."""

from __future__ import annotations

import re
from pathlib import Path
from urllib.parse import unquote, urlsplit, urlunsplit

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
    """Whether the address itself tells a password; one that cannot be read counts."""
    try:
        return bool(urlsplit(url).password) or _SECRETS.search(urlsplit(url).query) is not None
    except ValueError:
        return True


def shown(url: str) -> str:
    """The address for people and logs: server and database, without user and password."""
    try:
        parts = urlsplit(url)
        place = parts.netloc.rpartition("@")[2]
    except ValueError:
        return "postgresql://…"
    return urlunsplit(("postgresql", place, parts.path, "", ""))


def is_same(url: str, known: str) -> bool:
    """Whether ``url`` is ``known`` without its password."""
    try:
        parts = urlsplit(driver_address(known))
    except ValueError:
        return False
    user, at, place = parts.netloc.rpartition("@")
    without = parts._replace(netloc=f"{user.partition(':')[0]}{at}{place}")
    return driver_address(url) == urlunsplit(without)


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
