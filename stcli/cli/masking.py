"""What errors say, without people and secrets: what somebody typed comes back in them.

Reports are not masked; they are what was asked for.
"""

from __future__ import annotations

import os
import re
from collections.abc import Mapping
from contextvars import ContextVar
from typing import Any

shows_people: ContextVar[bool] = ContextVar("shows_people", default=False)
"""Whether this command line has ``--show-pii``."""

_SECRET_VARIABLE = re.compile(r"STCLI_(?:RF_TOKEN|ST_APP_KEY|ST_CLIENT_SECRET(?:__\w+)?)")
_SHORTEST_SECRET = 6
"""A shorter value would be found in words that are no secret."""


def masked_error(text: str) -> str:
    """A message without the secrets that the environment has, and without email addresses and phone
    numbers unless they are asked for."""
    for name, secret in os.environ.items():
        # A variable of a file's name ends in _FILE, which no campaign's name does.
        is_secret = _SECRET_VARIABLE.fullmatch(name) and not name.endswith("_FILE")
        if is_secret and len(secret.strip()) >= _SHORTEST_SECRET:
            text = text.replace(secret.strip(), "***")
    if shows_people.get():
        return text
    # A command line without an error need not load it.
    from stcli.logs import masked_people

    return masked_people(text)


def with_masked_errors(document: Any) -> Any:
    """A document in which errors say no more than on a terminal."""
    if isinstance(document, Mapping):
        return {
            key: _masked(one) if key in ("error", "errors") else with_masked_errors(one)
            for key, one in document.items()
        }
    if isinstance(document, list | tuple):
        return [with_masked_errors(one) for one in document]
    return document


def _masked(value: Any) -> Any:
    if isinstance(value, str):
        return masked_error(value)
    if isinstance(value, Mapping):
        return {key: _masked(one) for key, one in value.items()}
    if isinstance(value, list | tuple):
        return [_masked(one) for one in value]
    return value
