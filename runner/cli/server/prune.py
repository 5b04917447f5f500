"""Command: `server prune`."""

from typing import Annotated

import typer

from runner import console
from runner.cli import shapes
from runner.cli.confirm import confirm
from runner.cli.options import DeleteYesOption, DryRunOption, JsonOption
from runner.cli.session import open_session
from runner.usecases.server import connect
from runner.usecases.space import describe, plan_prune, read_criteria
from runner.usecases.space import prune as carry_out


def prune(
    place: Annotated[
        str | None,
        typer.Argument(help="`entity/project`, or a sweep's path (default: everything)."),
    ] = None,
    older_than: Annotated[
        str | None, typer.Option(metavar="AGE", help="Runs that ended before: `12h`, `30d`, `2w`.")
    ] = None,
    keep_best: Annotated[
        int | None, typer.Option(help="All but this many best runs of each sweep.", min=0)
    ] = None,
    media_only: Annotated[
        bool,
        typer.Option("--media-only", help="Of these only images, audio and tables; rows stay."),
    ] = False,
    dry_run: DryRunOption = False,
    as_json: JsonOption = False,
    yes: DeleteYesOption = False,
) -> None:
    """Delete ended runs that nobody needs any more.

    It keeps live runs, and runs of sweeps that still give out runs.
    """
    criteria = read_criteria(
        place, older_than=older_than, keep_best=keep_best, media_only=media_only
    )
    client = connect(open_session(create=True, read_only=True))
    plan = plan_prune(client, criteria)
    what = describe(plan, media_only=media_only)
    if not as_json:
        for why, count in sorted(plan["kept"].items()):
            console.note(f"kept: {count} ({why})")
    if not dry_run and plan["runs"]:
        confirm(f"Delete {what}?", yes=yes)
        carry_out(client, criteria, report=console.note)
    if as_json:
        fields = {"dry_run": dry_run, "kept": plan["kept"]}
        console.data(console.to_json({**fields, **shapes.held(plan)}))
    elif dry_run:
        console.data(f"would delete {what}")
    else:
        console.note(f"deleted {what}")
