"""Questions to a person; where stdin is no terminal, an error that names the flag or variable."""

from __future__ import annotations

import sys

import typer

from stcli.cli.signals import end_if_stopped
from stcli.domain.secret import Secret
from stcli.errors import Declined, UsageError


def _refuse_without_terminal(what: str, instead: str) -> None:
    if not sys.stdin.isatty():
        raise UsageError(f"{what} is missing, and there is no terminal to ask on", instead)
    end_if_stopped()


def ask(what: str, instead: str, *, known: str = "") -> str:
    """A line of text that is not blank; ``known`` is offered, and taken where nobody can be asked."""
    if known and not sys.stdin.isatty():
        return known
    _refuse_without_terminal(what, instead)
    while True:
        answer = str(typer.prompt(what, default=known or None, err=True)).strip()
        if answer:
            return answer


def ask_secret(what: str, instead: str) -> Secret:
    """A secret, typed without being shown."""
    _refuse_without_terminal(what, instead)
    while True:
        answer = str(typer.prompt(what, hide_input=True, err=True)).strip()
        if answer:
            return Secret(answer)


def secret_from_stdin(what: str) -> Secret:
    """A secret that a program or a file gives; the first line, without its end."""
    answer = sys.stdin.readline().strip()
    if not answer:
        raise UsageError(f"stdin gave no {what}", "Pipe it in: … | stcli …")
    return Secret(answer)


def confirm(question: str, *, yes: bool, flag: str = "--yes") -> None:
    """Go on only with a yes; ``flag`` answers beforehand."""
    if yes:
        return
    _refuse_without_terminal("confirmation", f"Add {flag} to answer yes.")
    if not typer.confirm(question, err=True):
        raise Declined("not confirmed, so nothing was changed")
