"""Command: `init`."""

from pathlib import Path
from typing import Annotated

import typer

from runner import console
from runner.project.find import find_project
from runner.project.init import init_project


def init(
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Print the files only.")] = False,
) -> None:
    """Write runner.toml, and an example sweep if there is none."""
    for line in init_project(find_project(Path.cwd()), dry_run=dry_run):
        console.note(line)
    console.note("next: `runner build` (without GPUs: `runner build --cpu`)")
