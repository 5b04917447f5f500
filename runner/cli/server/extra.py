"""The packages that only a server needs."""

from collections.abc import Iterator
from contextlib import contextmanager

from runner.errors import ExitCode, RunnerError

_PACKAGES = {
    *("graphql", "httptools", "jinja2", "numpy", "optuna", "re2", "starlette", "tsdownsample"),
    *("uvicorn", "uvloop"),
}


@contextmanager
def server_extra() -> Iterator[None]:
    """Turn the import error of a package of the server into an error with a hint.

    Raises:
        RunnerError: a package is missing (6).
    """
    try:
        yield
    except ModuleNotFoundError as error:
        if (error.name or "").partition(".")[0] not in _PACKAGES:
            raise
        raise RunnerError(
            f"the sweep server needs the Python package `{error.name}`, which is not installed",
            hint="`pip install 'sweep-runner[server]'`",
            code=ExitCode.UNFIT,
        ) from error
