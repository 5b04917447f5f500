"""Errors that the user can cause or fix, with exit codes."""

from enum import IntEnum


class ExitCode(IntEnum):
    """How a command ended. `docs/exit-codes.md` is generated from the string below each code."""

    OK = 0
    """The command did what you asked."""
    FAILED = 1
    """The command failed; the error line says why."""
    USAGE = 2
    """Wrong usage: an option, a setting or the sweep file."""
    NOT_FOUND = 3
    """A sweep, image, agent, fleet, file or server does not exist."""
    AUTH = 4
    """There is no key, or the server refuses it."""
    RUNS_FAILED = 5
    """`runner up --follow`: the fleet ended, and some runs failed."""
    UNFIT = 6
    """This machine cannot do it, or a GPU was refused."""
    PARTLY_SYNCED = 7
    """`runner sync-offline`: some runs were not sent; each is named."""
    INTERRUPTED = 130
    """Ctrl-C or SIGINT."""


class RunnerError(Exception):
    """An expected failure: a message in the user's words, and a hint with the way out."""

    def __init__(
        self, message: str, *, hint: str | None = None, code: ExitCode = ExitCode.FAILED
    ) -> None:
        super().__init__(message)
        self.message, self.hint, self.code = message, hint, code
