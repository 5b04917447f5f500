"""Command: `prune`."""

from collections.abc import Sequence
from dataclasses import asdict
from typing import Annotated

import typer

from runner import console
from runner.cli.confirm import confirm
from runner.cli.options import DeleteYesOption, DryRunOption, JsonOption
from runner.cli.session import open_session
from runner.console import format_bytes
from runner.usecases.prune import Leftover, find_leftovers, remove_leftovers


def prune(
    keep_cache: Annotated[
        bool, typer.Option("--keep-cache", help="Leave the engine's build cache alone.")
    ] = False,
    dry_run: DryRunOption = False,
    as_json: JsonOption = False,
    yes: DeleteYesOption = False,
) -> None:
    """Delete old images, containers and working copies.

    It deletes only what nothing uses, and asks first. The build cache is that of all projects on
    this engine. Runs, checkpoints and current working copies stay.
    """
    session = open_session(read_only=dry_run)
    found = find_leftovers(session, keep_cache=keep_cache)
    if not as_json:
        console.data(_table(found) if found else "nothing to delete")
    if found and not dry_run:
        total = format_bytes(sum(one.size_bytes or 0 for one in found))
        confirm(f"Delete these {len(found)}, up to {total}?", yes=yes)
        remove_leftovers(session, found, _report)
    if as_json:
        records = [asdict(one) for one in found]
        console.data(console.to_json({"dry_run": dry_run, "leftovers": records}))


def _table(found: Sequence[Leftover]) -> str:
    rows = [
        (
            one.kind,
            one.name,
            "-" if one.size_bytes is None else format_bytes(one.size_bytes),
            one.why,
        )
        for one in found
    ]
    return console.table(("WHAT", "NAME", "SIZE", "CAUSE"), rows)


def _report(one: Leftover) -> None:
    console.note(f"deleted {one.kind} {one.name}")
