"""Command: `sweep delete`."""

from typing import Annotated

import typer

from runner import console
from runner.cli import shapes
from runner.cli.confirm import confirm
from runner.cli.options import (
    DeleteYesOption,
    DryRunOption,
    JsonOption,
    ServerOption,
    SweepArgument,
)
from runner.cli.session import open_session
from runner.usecases.space import delete_sweep, describe, plan_sweep
from runner.usecases.sweeps import find_own_sweep


def delete(
    name: SweepArgument,
    force: Annotated[
        bool, typer.Option("--force", help="Also delete a sweep that has live runs.")
    ] = False,
    server: ServerOption = None,
    dry_run: DryRunOption = False,
    as_json: JsonOption = False,
    yes: DeleteYesOption = False,
) -> None:
    """Delete a sweep with its runs, files and artifacts."""
    session = open_session(create=True, read_only=True, quiet=as_json)
    joined = find_own_sweep(session, name, server)
    client, path = joined.server.client, joined.sweep.path
    plan = plan_sweep(client, path, force=force)
    what = f"sweep {path}: {describe(plan)}"
    if not dry_run:
        confirm(f"Delete {what}?", yes=yes)
        delete_sweep(client, path, force=force, report=console.note)
    if as_json:
        fields = {"sweep": str(path), "dry_run": dry_run, "live": plan["live"]}
        console.data(console.to_json({**fields, **shapes.held(plan)}))
    elif dry_run:
        console.data(f"would delete {what}")
    else:
        console.note(f"deleted {what}")
