"""The reference of the commands and the man page, out of the help: python -m tests.reference."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from enum import Enum
from pathlib import Path
from typing import Any, get_args

import typer

from stcli import __version__
from stcli.cli.app import COMMANDS, _load, app
from stcli.errors import EXIT_CODE_MEANINGS

DOCS = Path(__file__).parents[1] / "docs"


@dataclass(frozen=True, slots=True)
class Documented:
    """One command: its words, what its help says, and its parameters as pairs of text."""

    words: tuple[str, ...]
    usage: str
    text: str
    parameters: tuple[tuple[str, str], ...]
    example: str


def documented() -> Iterator[Documented]:
    """Every command that ``--help`` shows, in its order."""
    for name, entry in COMMANDS.items():
        yield from _walk((name,), _load(name, entry))


def _walk(words: tuple[str, ...], command: Any) -> Iterator[Documented]:
    children = getattr(command, "commands", None)
    if children:
        for name, child in children.items():
            if not child.hidden:
                yield from _walk((*words, name), child)
        return
    arguments = [p for p in command.params if p.param_type_name == "argument"]
    options = [p for p in command.params if p.param_type_name == "option" and not p.hidden]
    shown = [p.metavar or p.name.upper() for p in arguments]
    usage = " ".join(["stcli", *words, *(["[OPTIONS]"] if options else []), *shown])
    parameters = [(p.metavar or p.name.upper(), _sentence(p.help)) for p in arguments]
    parameters += [(_option(p), _sentence(p.help)) for p in options if p.name != "help"]
    yield Documented(
        words,
        usage,
        _plain(command.help),
        tuple(parameters),
        (command.epilog or "").removeprefix("Example: "),
    )


def _option(option: Any) -> str:
    names = ", ".join([*option.opts, *option.secondary_opts])
    if getattr(option, "is_flag", False) or getattr(option, "count", False):
        return names
    return f"{names} {option.metavar or _value(option.type_descriptor.annotation)}"


def _value(annotation: Any) -> str:
    """What may stand behind an option of this type."""
    kinds = [kind for kind in get_args(annotation) or (annotation,) if kind is not type(None)]
    kind = kinds[0]
    if isinstance(kind, type) and issubclass(kind, Enum):
        return "|".join(str(one.value) for one in kind)
    if isinstance(kind, type) and issubclass(kind, Path):
        return "FILE"
    return "N" if kind in (int, float) else "TEXT"


def _plain(text: str | None) -> str:
    paragraphs = re.split(r"\n\s*\n", (text or "").strip())
    return "\n\n".join(" ".join(paragraph.split()) for paragraph in paragraphs)


def _sentence(text: str | None) -> str:
    return " ".join((text or "").split())


def global_options() -> list[tuple[str, str]]:
    """Those that stand before the command."""
    return [
        (_option(p), _sentence(p.help))
        for p in typer.main.get_command(app).params
        if p.name != "help"
    ]


def markdown() -> str:
    """The page of the commands."""
    lines = [
        "# Commands",
        "",
        "Written by `python -m tests.reference` out of the help of each command.",
        "",
        "Before the command:",
        "",
        *(f"- `{name}`: {text}" for name, text in global_options()),
    ]
    for one in documented():
        lines += ["", f"## stcli {' '.join(one.words)}", "", f"`{one.usage}`", "", one.text]
        if one.parameters:
            lines += ["", *(f"- `{name}`: {text}" for name, text in one.parameters)]
        if one.example:
            lines += ["", f"Example: `{one.example}`"]
    return "\n".join(lines) + "\n"


def man_page() -> str:
    """The same as a manual page, section 1."""
    lines = [
        f'.TH STCLI 1 "" "stcli {__version__}" "User commands"',
        ".SH NAME",
        "stcli \\- referral campaigns of Referral Factory in step with ServiceTitan",
        ".SH SYNOPSIS",
        ".B stcli",
        "[\\fIOPTIONS\\fR] \\fICOMMAND\\fR \\fR[\\fIARGUMENTS\\fR]...",
        ".SH DESCRIPTION",
        _roff(_plain(typer.main.get_command(app).help)),
        ".SH OPTIONS",
    ]
    for name, text in global_options():
        lines += [".TP", f"\\fB{_roff(name)}\\fR", _roff(text)]
    lines.append(".SH COMMANDS")
    for one in documented():
        lines += [f".SS {_roff(one.usage)}", _roff(one.text).replace("\n\n", "\n.PP\n")]
        for name, text in one.parameters:
            lines += [".TP", f"\\fB{_roff(name)}\\fR", _roff(text) or "\\&"]
        if one.example:
            lines += [".PP", f"Example: \\fB{_roff(one.example)}\\fR"]
    lines.append(".SH EXIT STATUS")
    for code, meaning in EXIT_CODE_MEANINGS.items():
        lines += [".TP", f"\\fB{int(code)}\\fR", _roff(meaning)]
    return "\n".join(lines) + "\n"


def _roff(text: str) -> str:
    escaped = text.replace("\\", "\\e").replace("-", "\\-")
    plain = "".join(c if ord(c) < 128 else f"\\[u{ord(c):04X}]" for c in escaped)
    return re.sub(r"(?m)^([.'])", r"\\&\1", plain)


def pages() -> dict[Path, str]:
    return {DOCS / "reference" / "commands.md": markdown(), DOCS / "stcli.1": man_page()}


def main() -> None:
    for path, text in pages().items():
        path.write_text(text, encoding="utf-8")


if __name__ == "__main__":
    main()
