"""What can go wrong at the engine: one class for each answer that callers tell apart."""

from runner.errors import ExitCode, RunnerError


class EngineError(RunnerError):
    """The engine is out of reach or refused."""

    def __init__(
        self, message: str, *, hint: str | None = None, code: ExitCode = ExitCode.UNFIT
    ) -> None:
        super().__init__(message, hint=hint, code=code)


class NameTaken(EngineError):  # noqa: N818 - a lost race is an answer, not a fault
    """Another container has the name, or ours was removed before it started: a lost race."""


class PortTaken(EngineError):  # noqa: N818 - likewise
    """A published port is in use on the host."""


class ImageMissing(EngineError):  # noqa: N818 - likewise
    """The engine has no such image; nothing is ever pulled."""


class GpuAccessError(EngineError):
    """This way of giving a GPU to a container does not work here."""
