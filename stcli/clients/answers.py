"""From an HTTP answer to a typed value or to one of our errors, for both systems alike."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from typing import TypeVar

import msgspec

from stcli.clients.retry import Again, retry_after_seconds
from stcli.clients.transport import Answer
from stcli.errors import ApiError, NoAnswer, Unavailable, UnexpectedAnswer

Shape = TypeVar("Shape")

LONGEST_MESSAGE = 500
LATER = "Run again later."

_PERSONAL = re.compile(r"[^\s@<>\"'(),;:]+@[^\s@<>\"'(),;:]+|\+?\(?\d(?:[\s()./-]*\d){6,}")
_TRACE_ID = re.compile(r"[0-9A-Za-z|:._-]{1,100}")
_MAINTENANCE = b"suspended for maintenance"
_OBJECT = msgspec.json.Decoder()


def masked(text: str) -> str:
    """Text of a server without what looks like an email address or a phone number."""
    cleaned = " ".join("".join(c if c.isprintable() else " " for c in text).split())
    return _PERSONAL.sub("***", cleaned)[:LONGEST_MESSAGE]


def is_maintenance(answer: Answer) -> bool:
    """ServiceTitan answers 409 while a tenant is suspended; some outages answer with a page."""
    return answer.status == 409 and (_MAINTENANCE in answer.body.lower() or answer.is_html)


def raise_if_passing(
    answer: Answer, system: str, now: float, *, is_repeatable: bool, is_write: bool
) -> None:
    """Raise ``Again`` or ``NoAnswer`` for what may pass by itself; return for any other answer.

    429 and maintenance certainly had no effect, so any request may be sent again after them. A 5xx
    (or a 408) may hide an effect: only a request that may be repeated is.
    """
    wait = retry_after_seconds(answer.retry_after, answer.date, now)
    status = answer.status
    if status == 429:
        raise Again(Unavailable(f"{system} gets too many requests", LATER, status=status), wait)
    if is_maintenance(answer):
        raise Again(
            Unavailable(f"{system} is suspended for maintenance", LATER, status=status), wait
        )
    if status >= 500 or status == 408:
        page = ", with a page instead of a document" if answer.is_html else ""
        failure = (NoAnswer if is_write else Unavailable)(
            f"{system} failed by itself (HTTP {status}{page})",
            LATER,
            status=status,
            trace_id=trace_id(error_document(answer)),
        )
        if not is_repeatable:
            raise failure
        raise Again(failure, wait)


def error_document(answer: Answer) -> dict[str, object]:
    """The JSON object of an error; empty where the body is none or was cut off."""
    try:
        document = _OBJECT.decode(answer.body)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        return {}
    if not isinstance(document, dict):
        return {}
    return {str(name): value for name, value in document.items()}


def text_of(document: dict[str, object], name: str) -> str:
    value = document.get(name)
    return value if isinstance(value, str) else ""


def trace_id(document: dict[str, object]) -> str:
    """The server's reference for its support, if it looks like one."""
    text = text_of(document, "traceId")
    return text if _TRACE_ID.fullmatch(text) else ""


def field_messages(errors: object) -> Iterator[str]:
    """``field: message`` for each entry of an ``errors`` member, in whatever of the known forms.

    ServiceTitan: field to messages. Referral Factory: group to a list of ``field`` and ``message``.
    """
    if not isinstance(errors, dict):
        return
    for name, entries in errors.items():
        for entry in entries if isinstance(entries, list) else [entries]:
            if isinstance(entry, dict):
                field, message = entry.get("field"), entry.get("message")
                yield f"{field or name}: {message if isinstance(message, str) else 'refused'}"
            elif isinstance(entry, str):
                yield f"{name}: {entry}" if name else entry


def explained(title: str, fields: Sequence[str], otherwise: str) -> str:
    """One masked line of what the server says of a refusal."""
    details = masked("; ".join(part for part in (title, *fields) if part.strip()))
    return details or otherwise


def unexpected_page(answer: Answer, system: str) -> UnexpectedAnswer:
    """A page for people, and an error: whoever sent it, it was not the API."""
    return UnexpectedAnswer(
        f"{system} answered with a web page (HTTP {answer.status}) instead of a document",
        "A proxy, a firewall or a wrong address may be in between: check both addresses.",
        status=answer.status,
    )


def decoded(
    answer: Answer, decoder: msgspec.json.Decoder[Shape], system: str, *, is_write: bool
) -> Shape:
    """The body of a success. A body of another shape does not tell what was done."""
    try:
        return decoder.decode(answer.body)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        # msgspec names the field and the types, never the value; other faults are named by kind.
        where = f": {masked(str(error))}" if isinstance(error, msgspec.ValidationError) else ""
        what = "a web page" if answer.is_html else "something its documents do not promise"
        message = f"{system} answered with {what}{where}"
        if is_write:
            raise NoAnswer(message, LATER, status=answer.status) from None
        raise UnexpectedAnswer(
            message,
            "Run again later; if it stays so, a newer stcli may be needed.",
            status=answer.status,
        ) from None


def as_read_failure(error: ApiError) -> Unavailable:
    """A read without an answer: nothing is in doubt, it is just not available."""
    return Unavailable(error.message, error.hint, status=error.status, trace_id=error.trace_id)
