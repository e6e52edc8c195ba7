"""What a command line starts with: global options, and the application behind it."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING

import typer

from stcli.cli.signals import check_stop, stop_reason
from stcli.errors import StateError, UsageError
from stcli.paths import find_home

if TYPE_CHECKING:
    from stcli.domain.ids import CampaignName
    from stcli.wiring import Application


@dataclass(frozen=True, slots=True)
class GlobalOptions:
    debug: bool = False
    show_pii: bool = False
    verbosity: int = 0
    log_json: bool = False


def log_place() -> str:
    """Where the log is, for people, and whether there is any."""
    from stcli.machine import unwritable_log

    home = find_home(os.environ)
    return f"{home.log_file}{' (which cannot be written)' if unwritable_log(home) else ''}"


def warn_without_log() -> None:
    """What runs unattended should not go without its log unsaid."""
    from stcli.cli.output import note
    from stcli.machine import unwritable_log

    reason = unwritable_log(find_home(os.environ))
    if reason:
        note(f"warning: {reason}")


def log_defect(error: Exception) -> None:
    """Keep the traceback of a defect, masked, also where it came before the log was set up."""
    import logging

    from stcli.logs import set_up_logging

    logger = logging.getLogger("stcli")
    if not logger.handlers:
        set_up_logging(find_home(os.environ).log_file, show_pii=False)
    logger.error("defect", exc_info=error)


@contextmanager
def application(context: typer.Context) -> Iterator[Application]:
    """The application of this home, closed at the end of the command."""
    from stcli.wiring import Application

    options = context.obj if isinstance(context.obj, GlobalOptions) else GlobalOptions()
    opened = Application(
        os.environ,
        show_pii=options.show_pii,
        verbosity=options.verbosity,
        log_json=options.log_json,
        check_stop=check_stop,
    )
    try:
        yield opened
    except KeyboardInterrupt as stopped:
        # Before Typer sees it, which would end without a word, also under --json.
        raise stop_reason(stopped) from None
    finally:
        opened.close()


def update_schema(application: Application) -> None:
    """Give editors this version's schema after a campaign file was begun. It is a convenience, so
    what keeps it from being written is only told."""
    from stcli.cli.output import note

    try:
        application.files.update_schema()
    except StateError as error:
        note(f"Editors have no schema of this version to check the file with: {error.message}")


def every_campaign(application: Application) -> list[CampaignName]:
    """All campaigns of this home; files that look like some and cannot be are told."""
    from stcli.cli.output import note, plain

    for file in application.home.passed_over():
        note(
            f"Passed over: {plain(file)}; a campaign's file is called NAME.yaml, of a-z, 0-9 and '-'."
        )
    return application.files.names()


def campaign_and_code(application: Application, words: list[str]) -> tuple[CampaignName, str]:
    """``[CAMPAIGN] CODE``: the last word is the code, the campaign may be left out."""
    return campaign_and_word(application, words, "one code, such as: spring-hvac NCLOS3U")


def campaign_and_word(
    application: Application, words: list[str], wanted: str
) -> tuple[CampaignName, str]:
    """``[CAMPAIGN] WORD``: the campaign may be left out. ``wanted`` says what the word is."""
    if len(words) > 2:
        raise UsageError("there are too many words", f"Give a campaign and {wanted}")
    return chosen_campaign(application, words[0] if len(words) == 2 else None), words[-1]


def campaign_and_ids(
    application: Application, words: list[str] | None
) -> tuple[CampaignName, list[int]]:
    """``[CAMPAIGN] [ID…]``: a first word that is no number is the campaign."""
    words = words or []
    name = words[0] if words and not words[0].isdecimal() else None
    numbers = words[1:] if name is not None else words
    wrong = [word for word in numbers if not (word.isascii() and word.isdecimal())]
    if wrong:
        raise UsageError(f"{wrong[0]!r} is no number of a failure", "See: stcli failures list")
    return chosen_campaign(application, name), [int(word[:18]) for word in numbers]


def chosen_campaign(application: Application, name: str | None) -> CampaignName:
    """The campaign that was named, or the settings' default, or the only one there is."""
    from stcli.domain.ids import CampaignName
    from stcli.paths import campaign_name

    if name is not None:
        return CampaignName(campaign_name(name))
    default = application.settings.default_campaign
    if default is not None:
        return CampaignName(campaign_name(default))
    names = application.files.names()
    if len(names) == 1:
        return names[0]
    if not names:
        raise UsageError(
            "there is no campaign here yet", "Begin with: stcli connect NAME --tenant-id ID"
        )
    raise UsageError(
        "there are several campaigns, so name one: " + ", ".join(names),
        "Put the name behind the command, or choose one in settings.yaml: default_campaign: …",
    )
