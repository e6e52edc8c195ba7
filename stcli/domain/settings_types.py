"""Building blocks of what people write: immutable models that refuse unknown keys.

Scalars of a file arrive as the text the person wrote, so a field takes them by its own type: a text
field keeps ``0123``, ``8:30`` and ``NO``, a number field reads digits, a switch reads ``true`` and
``false`` and nothing else.
"""

from __future__ import annotations

import re
from datetime import date, timedelta
from typing import Annotated, Any, Literal, TypeVar

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field

Model = TypeVar("Model", bound=BaseModel)

MOST_DIGITS = 18
HIGHEST_NUMBER = 10**MOST_DIGITS - 1
AMOUNT = r"^([0-9]{1,9}(\.[0-9]{1,6})?|\.[0-9]{1,6})$"
"""Money as people write it, below a billion."""
DAY = r"(?!0000)[0-9]{4}-(0[1-9]|1[0-2])-(0[1-9]|[12][0-9]|3[01])"


class Written(BaseModel):
    """Base of everything that is read from a file of a person.

    What validates a model is built when it is first used: a file is validated by the outermost model
    alone, and each command pays for that one only.
    """

    model_config = ConfigDict(frozen=True, extra="forbid", populate_by_name=True, defer_build=True)


def left_out(model: type[Model]) -> Any:
    """The default of a part that the file leaves out: the model with all its own defaults, made
    without validation, which would have to be built for it."""
    return Field(default_factory=model.model_construct)


def _read_switch(value: Any) -> Any:
    if isinstance(value, str):
        match value:
            case "true" | "True" | "TRUE":
                return True
            case "false" | "False" | "FALSE":
                return False
            case _:
                raise ValueError("must be true or false")
    if not isinstance(value, bool):
        raise ValueError("must be true or false")  # noqa: TRY004 - pydantic reports ValueError only
    return value


def _read_whole_number(value: Any) -> Any:
    if isinstance(value, bool):
        raise ValueError("must be a whole number")  # noqa: TRY004 - pydantic reports ValueError only
    if isinstance(value, str):
        if not (value.isascii() and value.isdigit()):
            raise ValueError("must be a whole number, written with digits only")
        if len(value) > MOST_DIGITS:
            raise ValueError("is too large a number")
        return int(value)
    return value


def _read_version(value: Any) -> Any:
    number = _read_whole_number(value)
    return value if isinstance(value, str) and value != str(number) else number


def _read_amount(value: Any) -> Any:
    if isinstance(value, str):
        if not re.fullmatch(AMOUNT, value):
            raise ValueError("must be an amount below a billion, such as 250 or 99.50")
        return float(value)
    return value


def _read_day(value: Any) -> Any:
    if isinstance(value, str):
        try:
            # Weeks and days without dashes would be ISO 8601 too.
            return date.fromisoformat(value if re.fullmatch(DAY, value) else "")
        except ValueError:
            raise ValueError("must be a day such as 2026-11-23") from None
    return value


def _read_keys(value: Any) -> Any:
    return {} if value is None else value


def _read_text(value: Any) -> Any:
    if isinstance(value, (bool, int, float)):
        return str(value)
    return value


Switch = Annotated[bool, BeforeValidator(_read_switch)]
# Limits stand before the reader, so that the JSON Schema of a type has them too.
ReadWholeNumber = BeforeValidator(_read_whole_number)
WholeNumber = Annotated[int, Field(ge=0, le=HIGHEST_NUMBER), ReadWholeNumber]
PositiveNumber = Annotated[int, Field(ge=1, le=HIGHEST_NUMBER), ReadWholeNumber]
Amount = Annotated[float, Field(ge=0, lt=10**9), BeforeValidator(_read_amount)]
Day = Annotated[date, BeforeValidator(_read_day)]
Version = Annotated[Literal[1], BeforeValidator(_read_version)]
ReadKeys = BeforeValidator(_read_keys)
"""A mapping whose lines were all deleted is an empty one."""
Text = Annotated[str, BeforeValidator(_read_text)]
FilledText = Annotated[str, Field(min_length=1), BeforeValidator(_read_text)]


DURATION = r"^[1-9][0-9]{0,3}[mhd]$"
"""Minutes, hours or days, such as ``15m`` or ``1d``."""

_UNITS = {"m": timedelta(minutes=1), "h": timedelta(hours=1), "d": timedelta(days=1)}


def duration(text: str) -> timedelta:
    """What a text of ``DURATION`` means."""
    return _UNITS[text[-1]] * int(text[:-1])
