"""Ask before something is deleted."""

import sys

import typer

from runner.errors import ExitCode, RunnerError


def confirm(question: str, *, yes: bool) -> None:
    """Return if a person agrees, or has said `--yes`.

    Raises:
        RunnerError: the person refuses (1), or nobody is there to ask (2).
    """
    if yes:
        return
    if "--json" in sys.argv or not (sys.stdin.isatty() and sys.stderr.isatty()):
        raise RunnerError(
            f"{question} Nobody is here to answer",
            hint="`--yes` deletes without a question, `--dry-run` shows what would be deleted",
            code=ExitCode.USAGE,
        )
    if not typer.confirm(question, err=True):
        raise RunnerError("nothing was deleted")
