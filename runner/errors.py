"""All that the user can cause or cure, each with its exit code."""

from enum import IntEnum


class ExitCode(IntEnum):
    """What the process tells its caller."""

    OK = 0
    FAILED = 1
    USAGE = 2
    NOT_FOUND = 3
    AUTH = 4
    RUNS_FAILED = 5  # `--follow`: the fleet ended and some runs failed
    UNFIT = 6  # the host cannot do it, or a GPU was refused
    PARTLY_SYNCED = 7
    INTERRUPTED = 130


class RunnerError(Exception):
    """An expected failure: what happened in the user's words, and the way out."""

    def __init__(
        self, message: str, *, hint: str | None = None, code: ExitCode = ExitCode.FAILED
    ) -> None:
        super().__init__(message)
        self.message, self.hint, self.code = message, hint, code
