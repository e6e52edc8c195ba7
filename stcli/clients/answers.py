"""From an HTTP answer to a typed value or one of our errors, for both systems alike."""

from __future__ import annotations

import re
from collections.abc import Sequence
from datetime import UTC, datetime
from typing import TypeVar

import msgspec

from stcli.clients.retry import Again, retry_after_seconds
from stcli.clients.transport import Answer
from stcli.errors import (
    NoAnswer,
    RecordNotFound,
    RecordRejected,
    Unavailable,
    UnexpectedAnswer,
)

Shape = TypeVar("Shape")

_PERSONAL = re.compile(r"[^\s@<>\"']+@[^\s@<>\"']+|\+?\d[\d\s().-]{5,}\d")
_MAINTENANCE = b"suspended for maintenance"
LONGEST_MESSAGE = 500


def masked(text: str) -> str:
    """Text of a server without what looks like an email address or a phone number."""
    cleaned = "".join(c if c.isprintable() else " " for c in text)
    return _PERSONAL.sub("***", cleaned)[:LONGEST_MESSAGE]


def is_maintenance(answer: Answer) -> bool:
    """ServiceTitan answers 409 while a tenant is suspended; proxies answer with a page of HTML."""
    if answer.status == 409:
        return _MAINTENANCE in answer.body.lower() or answer.is_html
    return False


def raise_for_passing(answer: Answer, system: str, *, is_write: bool) -> None:
    """Raise ``Again`` or ``NoAnswer`` for what may pass by itself; return for any other answer.

    429 and maintenance certainly had no effect, so even a write may be sent again after them. A 5xx
    may hide an effect, so a write is not.
    """
    wait = retry_after_seconds(answer.headers.get("retry-after"), datetime.now(UTC))
    if answer.status == 429:
        failure = Unavailable(
            f"{system} throttles: too many requests", "Run again later.", status=429
        )
        raise Again(failure, wait)
    if is_maintenance(answer):
        failure = Unavailable(
            f"{system} is suspended for maintenance", "Run again later.", status=answer.status
        )
        raise Again(failure, wait)
    if answer.status >= 500:
        message = f"{system} had a failure of its own (HTTP {answer.status})"
        if is_write:
            raise NoAnswer(message, "Run again later.", status=answer.status)
        raise Again(Unavailable(message, "Run again later.", status=answer.status), wait)


def rejection(
    system: str, status: int, title: str, fields: Sequence[str], trace_id: str, what: str
) -> RecordRejected | RecordNotFound:
    """A refusal of one record or one request, with what the server says of it."""
    details = masked("; ".join(part for part in (title, *fields) if part))
    trace = f" (trace {masked(trace_id)})" if trace_id else ""
    if status == 404:
        return RecordNotFound(
            f"{system} has no such {what}{trace}", status=status, trace_id=trace_id
        )
    return RecordRejected(
        f"{system} refused: {details or f'HTTP {status}'}{trace}", status=status, trace_id=trace_id
    )


def decoded(
    answer: Answer, decoder: msgspec.json.Decoder[Shape], system: str, *, is_write: bool
) -> Shape:
    """The body of a success. A body that is no such document says nothing about what was done."""
    if not 200 <= answer.status < 300:
        raise UnexpectedAnswer(
            f"{system} answered with HTTP {answer.status}",
            "Tell its support if it stays so.",
            status=answer.status,
        )
    try:
        return decoder.decode(answer.body)
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        message = f"{system} answered with something its documents do not promise"
        if is_write:
            raise NoAnswer(message, "Run again later.", status=answer.status) from error
        # msgspec names the field, never its value.
        raise UnexpectedAnswer(
            f"{message}: {error}",
            "Run again later; if it stays so, a newer stcli may be needed.",
            status=answer.status,
        ) from error
