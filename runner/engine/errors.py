"""Errors of the engine: a class for each one that callers distinguish."""

from runner.errors import ExitCode, RunnerError


class EngineError(RunnerError):
    """The engine cannot be reached, or refused a request."""

    def __init__(
        self, message: str, *, hint: str | None = None, code: ExitCode = ExitCode.UNFIT
    ) -> None:
        super().__init__(message, hint=hint, code=code)


class NameTaken(EngineError):  # noqa: N818 - an answer, not a fault
    """A lost race: another container has the name, or ours was removed before it started."""


class PortTaken(EngineError):  # noqa: N818 - as above
    """A published port is in use on the host."""


class ImageMissing(EngineError):  # noqa: N818 - as above
    """The engine does not have the image; runner never pulls."""


class GpuAccessError(EngineError):
    """This way of giving a GPU to a container does not work here."""
