"""Command: `sweep create`."""

from pathlib import Path
from typing import Annotated

import typer

from runner import console
from runner.cli import shapes
from runner.cli.options import JsonOption, ServerOption, YesOption
from runner.cli.session import open_session
from runner.sweeps.create import create_sweep, take_or_create


def create(
    file: Annotated[
        Path | None, typer.Argument(help="The sweep file (default: sweep.yaml).")
    ] = None,
    project: Annotated[str | None, typer.Option(help="The W&B project.")] = None,
    entity: Annotated[str | None, typer.Option(help="The W&B entity.")] = None,
    name: Annotated[str | None, typer.Option(help="The sweep's display name.")] = None,
    if_absent: Annotated[
        bool, typer.Option("--if-absent", help="Use the unfinished sweep of the same file, if any.")
    ] = False,
    server: ServerOption = None,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Check the file only.")] = False,
    as_json: JsonOption = False,
    yes: YesOption = False,
) -> None:
    """Check a sweep file and create its sweep."""
    overridden = [*(["server"] if server else ()), *(["run.sweep"] if file else ())]
    session = open_session(create=True, read_only=dry_run, yes=yes, overridden=overridden)
    path = file or session.settings.run.sweep or session.project.sweep_file or Path("sweep.yaml")
    parsed = session.load_sweep(Path(path))
    session.warn_of_command(parsed, Path(path))
    if dry_run:
        console.note(f"`{path}` is valid; nothing was created")
        return
    servers, names = session.servers(server), session.names(entity=entity, project=project)
    make = take_or_create if if_absent else create_sweep
    joined = make(parsed, servers, names, name=name)
    console.note(
        f"{'created' if joined.created else 'took the unfinished'} sweep {joined.sweep.path}"
    )
    if as_json:
        console.data(console.to_json(shapes.sweep(joined)))
        return
    console.data(str(joined.sweep.path))
    console.note(f"page: {joined.url}")
    console.note(f"next: runner up --gpus free --sweep {joined.sweep.id}")
