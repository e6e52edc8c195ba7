"""When two email addresses or phone numbers are the same one, and what an email address is. Pure."""

from __future__ import annotations

import re
import unicodedata

LONGEST_EMAIL = 254
"""RFC 5321, 4.5.3.1.3: a path has 256 characters with its brackets."""
LONGEST_LOCAL_PART = 64

_EMAIL = re.compile(
    r"[^\s@\"(),:;<>\[\]\\.]+(?:\.[^\s@\"(),:;<>\[\]\\.]+)*"
    r"@(?:[^\W_](?:[\w-]*[^\W_])?\.)+[^\W\d_](?:[\w-]*[^\W_])"
)
_NO_DIGITS = re.compile(r"[^0-9]+")
SHORTEST_PHONE = 7


def email_key(text: str) -> str:
    """What two spellings of one address have in common; blank for blank."""
    return unicodedata.normalize("NFC", text.strip()).lower()


def is_email(text: str) -> bool:
    """Whether a text is one address that mail can be sent to: of the usual form, without a name,
    comments or quotes, at a domain with a dot. Whether it exists nobody can tell from here."""
    address = text.strip()
    return (
        len(address) <= LONGEST_EMAIL
        and address.isprintable()
        and len(address.partition("@")[0]) <= LONGEST_LOCAL_PART
        and _EMAIL.fullmatch(address) is not None
    )


def phone_key(text: str) -> str:
    """What two spellings of one number have in common: its digits, without North America's leading
    1; blank where there are too few to tell people apart."""
    digits = _NO_DIGITS.sub("", text)
    if len(digits) == 11 and digits.startswith("1"):
        digits = digits[1:]
    return digits if len(digits) >= SHORTEST_PHONE else ""
