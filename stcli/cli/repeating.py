"""Running the sync of a campaign with its write-back: once, or again and again until told to stop."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING

from stcli.cli import running
from stcli.cli.output import emit, json_text, note_error
from stcli.cli.passes import show_result
from stcli.cli.watching import watched
from stcli.domain.outcome import PassKind, PassResult
from stcli.errors import ExitCode, StcliError, worst
from stcli.usecases.report import error_document, pass_document

if TYPE_CHECKING:
    from stcli.domain.ids import CampaignName
    from stcli.usecases.passes.concurrency import StopSignal
    from stcli.usecases.passes.context import PassOptions
    from stcli.usecases.passes.progress import Progress
    from stcli.wiring import Application

GOES_ON_AFTER = (ExitCode.DONE, ExitCode.SOME_FAILED, ExitCode.UNAVAILABLE, ExitCode.LOCKED)
"""Ends of a pass that the next one may do better than; anything else needs a person."""


def run_sync_once(
    app: Application, name: CampaignName, options: PassOptions, *, as_json: bool
) -> int:
    """One sync pass and its write-back, shown at the end."""
    with watched() as progress:
        results = running.run(lambda stop: _passes(app, name, options, stop, progress))

    def render() -> None:
        for result in results:
            show_result(result)

    emit(_document(results), render, as_json=as_json)
    return worst(result.exit_code for result in results)


def run_repeatedly(
    app: Application, name: CampaignName, options: PassOptions, seconds: float, *, as_json: bool
) -> int:
    """A sync every so often until a signal comes; each pass is shown when it ends (with ``--json``
    as one line)."""

    async def body(stop: StopSignal) -> int:
        while True:
            code = await _one_of_many(app, name, options, stop, as_json=as_json)
            if stop.reason is None and code in GOES_ON_AFTER:
                await stop.wait(seconds)
            if stop.reason is not None:
                return stop.reason.exit_code
            if code not in GOES_ON_AFTER:
                return code

    return running.run(body)


async def _one_of_many(
    app: Application,
    name: CampaignName,
    options: PassOptions,
    stop: StopSignal,
    *,
    as_json: bool,
) -> ExitCode:
    document: dict[str, object]
    try:
        with watched() as progress:
            results = await _passes(app, name, options, stop, progress)
    except StcliError as error:
        # What kept a pass from starting: another pass holds the lock, no connection, …
        code, document = error.exit_code, error_document(error)
        note_error(error)
    else:
        code, document = worst(result.exit_code for result in results), _document(results)
        if not as_json:
            for result in results:
                show_result(result)
    if as_json:
        sys.stdout.write(json_text(document))
    sys.stdout.flush()
    return code


async def _passes(
    app: Application,
    name: CampaignName,
    options: PassOptions,
    stop: StopSignal,
    progress: Progress,
) -> list[PassResult]:
    # Read each time: whoever changes the file changes the next pass.
    subject = app.subject(name)
    wanted = [(PassKind.SYNC, subject)]
    if subject.config.sync is not None and subject.config.sync.return_fields:
        wanted.append((PassKind.RETURN, subject))
    results: list[PassResult] = []
    await app.run_passes(wanted, options, stop, results.append, keep_going=False, progress=progress)
    return results


def _document(results: list[PassResult]) -> dict[str, object]:
    """The sync pass; the write-back that followed it under ``return``."""
    first, *rest = results
    document = pass_document(first)
    for result in rest:
        document[result.kind.value] = pass_document(result)
    return document
