"""Asking for what a project's file decides about keys, code and files outside of it."""

import os
import sys
from collections.abc import Callable
from typing import Annotated

import typer

from runner import console
from runner.errors import ExitCode, RunnerError
from runner.project.find import Project
from runner.settings.load import Settings, load_settings, variable_of
from runner.user.accepted import Claim, accept

YesOption = Annotated[
    bool, typer.Option("--yes", help="Accept where the project's files send keys and code.")
]


def load_checked(project: Project) -> Settings:
    """The settings, for a command that only looks: what is not accepted yet does not count."""
    settings = load_settings(project, environ=os.environ)
    tell_open(settings)
    return settings


def tell_open(settings: Settings) -> None:
    """Say in a line each what of the project's files does not count yet."""
    for claim in settings.claims:
        console.note(f"does not count yet, `runner up` or `runner build` asks: {claim}")


def settle(
    load: Callable[[], Settings], *, yes: bool, overridden: frozenset[str], dry_run: bool
) -> Settings:
    """The settings, for a command that acts on them: what is open is asked for, once per folder.

    Args:
        load: reads the settings anew.
        yes: `--yes`.
        overridden: keys that a flag of this call decides.
        dry_run: nothing is remembered.

    Raises:
        RunnerError: something is open, and nobody is there to be asked, or they said no (2).
    """
    settings = load()
    still = [claim for claim in settings.claims if claim.key not in overridden]
    if not still:
        return settings
    for claim in still:
        console.note(str(claim))
    if not yes and not _ask(still):
        names = ", ".join(f"`{claim.key}`" for claim in still)
        raise RunnerError(
            f"{names} of the project in `{still[0].folder}` decides about your keys and files, "
            "and was not accepted",
            hint=f"`--yes` accepts it for this folder; {variable_of(still[0].key)} overrides it",
            code=ExitCode.USAGE,
        )
    accept(still, os.environ, remember=not dry_run)
    return load()


def _ask(claims: list[Claim]) -> bool:
    if "--json" in sys.argv or not (sys.stdin.isatty() and sys.stderr.isatty()):
        return False
    what = "this" if len(claims) == 1 else "these"
    return typer.confirm(f"Accept {what} for the project in `{claims[0].folder}`?", err=True)
