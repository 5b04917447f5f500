"""Command: `sync-offline`."""

import os
from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Annotated

import typer

from runner import console
from runner.cli import shapes
from runner.cli.options import JsonOption, YesOption
from runner.cli.session import ask
from runner.errors import ExitCode
from runner.offline.transfer import Outcome
from runner.usecases.sync import Synced, SyncRequest, sync


def sync_offline(
    paths: Annotated[
        list[Path] | None,
        typer.Argument(metavar="PATH…", help="Folders of runs (default: .runner/runs, ./wandb)."),
    ] = None,
    to: Annotated[str | None, typer.Option(metavar="URL", help="The W&B server.")] = None,
    entity: Annotated[str | None, typer.Option(help="The W&B entity.")] = None,
    project: Annotated[str | None, typer.Option(help="The W&B project.")] = None,
    sweep: Annotated[
        str | None,
        typer.Option(
            metavar="SWEEP",
            help="An existing sweep there for the runs of a sweep; with PATH for all runs.",
        ),
    ] = None,
    workers: Annotated[
        int | None, typer.Option(min=1, max=64, help="Processes that send (default: up to 4).")
    ] = None,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Print what would be sent.")] = False,
    as_json: JsonOption = False,
    yes: YesOption = False,
) -> None:
    """Send offline runs to W&B, each once, and verify them.

    This includes runs that logged to this folder's own server.
    """
    request = SyncRequest(
        paths=paths or (),
        to=to,
        entity=entity,
        project=project,
        sweep=sweep,
        workers=workers,
        dry_run=dry_run,
        yes=yes,
    )
    done = sync(Path.cwd(), os.environ, request, report=console.note, ask=ask)
    counts = Counter[str](one.status for one in done.outcomes)
    if as_json:
        console.data(_to_json(done, counts))
    else:
        _show(done, counts, dry_run=dry_run)
    if any(not one.whole for one in done.outcomes):
        codes = {one.code for one in done.outcomes if one.status == "failed"}
        refused = codes == {ExitCode.AUTH} and not (counts["synced"] or counts["already"])
        raise typer.Exit(int(ExitCode.AUTH if refused else ExitCode.PARTLY_SYNCED))


def _to_json(done: Synced, counts: Mapping[str, int]) -> str:
    runs = [shapes.synced_run(one) for one in done.outcomes]
    runs += [shapes.planned_run(one) for one in done.planned]
    totals = {status: counts[status] for status in ("synced", "already", "failed", "skipped")}
    return console.to_json({"target": done.url, "runs": runs, **totals})


def _show(done: Synced, counts: Mapping[str, int], *, dry_run: bool) -> None:
    for one in done.outcomes:
        if not one.whole and one.reason:
            console.note(f"{one.status}: run {one.run_id} in {one.folder}: {one.reason}")
    for transfer in done.planned:
        console.data(
            f"would send {transfer.found.run_id} to {transfer.to.path}"
            + (f" in sweep {transfer.to.sweep}" if transfer.to.sweep else "")
            + f": {transfer.expected.rows} rows, {console.format_bytes(transfer.size)}"
        )
    console.data(_summary(done.url, done.outcomes, counts, len(done.planned), dry_run=dry_run))


def _summary(
    url: str, ended: Sequence[Outcome], counts: Mapping[str, int], would: int, *, dry_run: bool
) -> str:
    if not ended and not would:
        return "no runs to send"
    rows = sum(one.rows for one in ended if one.status == "synced")
    parts = [f"{would} to send"] if dry_run else [f"{counts['synced']} synced ({rows} rows)"]
    parts.append(f"{counts['already']} already there")
    parts += [f"{counts[word]} {word}" for word in ("failed", "skipped") if counts[word]]
    if lacking := sum(len(one.lacking) for one in ended):
        parts.append(f"{lacking} artifacts lacking")
    if left := sum(len(one.files) for one in ended):
        parts.append(f"{left} files left out")
    return f"{url}: {', '.join(parts)}"
