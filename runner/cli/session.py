"""Open the session of a command in a terminal."""

import os
import sys
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path

import typer

from runner import console
from runner.project.find import find_project
from runner.settings.load import load_settings
from runner.settings.model import Settings
from runner.usecases import consent
from runner.usecases import session as usecase
from runner.usecases.session import Session
from runner.user.accepted import Claim


def open_session(
    *,
    flags: Mapping[str, object] | None = None,
    create: bool = False,
    read_only: bool = False,
    quiet: bool = False,
    yes: bool | None = None,
    overridden: Iterable[str] = (),
) -> Session:
    """The session of the current folder; reports go to stderr. See `usecases.session`."""
    return usecase.open_session(
        Path.cwd(),
        os.environ,
        report=console.note,
        ask=ask,
        flags=flags,
        create=create,
        read_only=read_only,
        quiet=quiet,
        yes=yes,
        overridden=overridden,
    )


def load_checked() -> Settings:
    """The current folder's settings, for a command that changes nothing."""
    project = find_project(Path.cwd())
    return consent.load_checked(lambda: load_settings(project, environ=os.environ), console.note)


def ask(claims: Sequence[Claim]) -> bool:
    """Ask a person to accept the claims; False without a terminal."""
    if "--json" in sys.argv or not (sys.stdin.isatty() and sys.stderr.isatty()):
        return False
    what = "this" if len(claims) == 1 else "these"
    return typer.confirm(f"Accept {what} for the project in `{claims[0].folder}`?", err=True)
