"""Every failure a user can meet, with its exit code and the next step.

The tree is the single home of the exit codes. A class is named after what went wrong; its bases say
what a caller may do about it: retry later, skip this record, or give up. Messages never carry a
secret, a response body or personal data; a hint is the next step, in the imperative.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from enum import IntEnum
from typing import ClassVar


class ExitCode(IntEnum):
    """What the process tells its caller; the numbers are part of the product."""

    DONE = 0
    DEFECT = 1
    USAGE = 2
    CONFIGURATION = 3
    NOT_CONNECTED = 4
    SOME_FAILED = 5
    UNAVAILABLE = 6
    LOCKED = 7
    INTERRUPTED = 130
    TERMINATED = 143


EXIT_CODE_MEANINGS: dict[ExitCode, str] = {
    ExitCode.DONE: "done",
    ExitCode.DEFECT: "a defect of stcli (traceback only with --debug)",
    ExitCode.USAGE: "wrong usage",
    ExitCode.CONFIGURATION: "configuration invalid, Setup Required, or a brake",
    ExitCode.NOT_CONNECTED: "not connected, or credentials missing or refused",
    ExitCode.SOME_FAILED: "done, but some records failed",
    ExitCode.UNAVAILABLE: "a remote system stayed unavailable",
    ExitCode.LOCKED: "another pass of this campaign holds the lock",
    ExitCode.INTERRUPTED: "stopped by Ctrl-C",
    ExitCode.TERMINATED: "stopped by SIGTERM",
}

_WORST_FIRST = (
    ExitCode.TERMINATED,
    ExitCode.INTERRUPTED,
    ExitCode.DEFECT,
    ExitCode.NOT_CONNECTED,
    ExitCode.CONFIGURATION,
    ExitCode.USAGE,
    ExitCode.UNAVAILABLE,
    ExitCode.LOCKED,
    ExitCode.SOME_FAILED,
    ExitCode.DONE,
)


def worst(codes: Iterable[ExitCode]) -> ExitCode:
    """The exit code of several passes: the first of the product's order that occurred.

    No pass ends with wrong usage; if one did, it stands behind a wrong configuration.
    """
    occurred = set(codes)
    return next((code for code in _WORST_FIRST if code in occurred), ExitCode.DONE)


@dataclass(frozen=True, slots=True)
class Problem:
    """One thing wrong with a file a person wrote. Line and column count from 1; 0 is unknown."""

    file: str
    line: int
    column: int
    path: str
    message: str
    hint: str = ""

    def __str__(self) -> str:
        place = f"{self.file}:{self.line}:{self.column}" if self.line else self.file
        key = f"{self.path}: " if self.path else ""
        return f"{place}: {key}{self.message}"


class StcliError(Exception):
    """Root of the tree: a message for people, a hint, an exit code and a stable kind."""

    exit_code: ClassVar[ExitCode] = ExitCode.DEFECT
    kind: ClassVar[str] = "defect"

    def __init__(self, message: str, hint: str = "") -> None:
        super().__init__(message)
        self.message = message
        self.hint = hint


class UsageError(StcliError):
    """The command line asks for something that does not exist or does not fit together."""

    exit_code = ExitCode.USAGE
    kind = "usage"


class Declined(UsageError):
    """The person was asked and said no."""

    kind = "declined"


class ConfigurationError(StcliError):
    """A file does not say something that can be run; carries every problem found."""

    exit_code = ExitCode.CONFIGURATION
    kind = "configuration"

    def __init__(self, message: str, hint: str = "", problems: Sequence[Problem] = ()) -> None:
        super().__init__(message, hint)
        self.problems = tuple(problems)


class SetupRequired(ConfigurationError):
    """A tab in use has required fields without a mapping."""

    kind = "setup_required"


class ChangedMeanwhile(ConfigurationError):
    """Somebody else set what is about to be set, to something else; ``paths`` names it."""

    kind = "changed_meanwhile"

    def __init__(self, paths: Sequence[tuple[str | int, ...]]) -> None:
        self.paths = tuple(paths)
        self.names = ", ".join(".".join(map(str, path)) for path in paths)
        super().__init__(
            f"changed by somebody else meanwhile: {self.names}; nothing was changed",
            "Look at what stands there now, and begin again.",
        )


class SafetyStop(ConfigurationError):
    """A brake: the pass would do more than the file allows, so it did nothing."""

    kind = "brake"


class IllegalTransition(ConfigurationError):
    """The connection is in a state in which this step makes no sense."""

    kind = "connection_state"


class NotConnected(StcliError):
    """A pass was asked for before the connection stands."""

    exit_code = ExitCode.NOT_CONNECTED
    kind = "not_connected"


class CredentialsMissing(StcliError):
    """No source of secrets has the one that is needed."""

    exit_code = ExitCode.NOT_CONNECTED
    kind = "credentials_missing"


class CredentialsUnusable(StcliError):
    """A source of secrets is there but cannot be used: permissions, keyring, command."""

    exit_code = ExitCode.NOT_CONNECTED
    kind = "credentials_unusable"


class StateError(StcliError):
    """The local database cannot be used as it is."""

    exit_code = ExitCode.CONFIGURATION
    kind = "state"


class StateUnreachable(StateError):
    """The server that keeps the state does not answer; the same command may succeed later."""

    exit_code = ExitCode.UNAVAILABLE
    kind = "state_unreachable"


class Locked(StcliError):
    """Another pass of the campaign is running."""

    exit_code = ExitCode.LOCKED
    kind = "locked"


class LeaseLost(Locked):
    """Another process took this one's lock over; nothing more may be written."""

    kind = "lease_lost"


class ApiError(StcliError):
    """A remote system answered with something other than success, or not at all.

    ``status`` is the HTTP status, 0 where there was no answer. ``trace_id`` is the server's own
    reference for its support; the message ends with it. ``definite`` tells that the request
    certainly had no effect.
    """

    exit_code = ExitCode.UNAVAILABLE
    kind = "api"

    def __init__(
        self,
        message: str,
        hint: str = "",
        *,
        status: int = 0,
        trace_id: str = "",
        definite: bool = True,
    ) -> None:
        # An error that is made of another one has it already.
        told = not trace_id or trace_id in message
        super().__init__(message if told else f"{message} (trace {trace_id})", hint)
        self.status = status
        self.trace_id = trace_id
        self.definite = definite


class Unavailable(ApiError):
    """Try again later: throttled, maintenance, 5xx, no connection. Retries were used up."""

    kind = "unavailable"


class NoAnswer(Unavailable):
    """The request may or may not have taken effect: a timeout, a reset, or a 5xx."""

    kind = "no_answer"

    def __init__(
        self, message: str, hint: str = "", *, status: int = 0, trace_id: str = ""
    ) -> None:
        super().__init__(message, hint, status=status, trace_id=trace_id, definite=False)


class CredentialsRefused(ApiError):
    """A token, an app key or a grant was refused."""

    exit_code = ExitCode.NOT_CONNECTED
    kind = "credentials_refused"


class RemoteGone(ApiError):
    """What the connection rests on no longer exists on the other side."""

    exit_code = ExitCode.NOT_CONNECTED
    kind = "gone"


class RecordRejected(ApiError):
    """The server refused this one record (400, 422); other records may go on."""

    exit_code = ExitCode.SOME_FAILED
    kind = "rejected"


class RecordNotFound(ApiError):
    """The server has no such record (404)."""

    exit_code = ExitCode.SOME_FAILED
    kind = "not_found"


class UnexpectedAnswer(ApiError):
    """The server answered with something its documents do not promise."""

    kind = "unexpected_answer"


class Interrupted(StcliError):
    """Ctrl-C: the pass ended at a clean point."""

    exit_code = ExitCode.INTERRUPTED
    kind = "interrupted"


class Terminated(StcliError):
    """SIGTERM: the pass ended at a clean point."""

    exit_code = ExitCode.TERMINATED
    kind = "terminated"
