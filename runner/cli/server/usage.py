"""Command: `server usage`."""

from collections.abc import Iterator, Mapping
from typing import Annotated, Any

import typer

from runner import console
from runner.cli import shapes
from runner.cli.options import JsonOption
from runner.cli.session import open_session
from runner.console import format_bytes
from runner.usecases.server import connect
from runner.usecases.space import read_usage

HEADER = ("KIND", "NAME", "RUNS", "ROWS", "DATABASE", "FILES", "ARTIFACTS", "TOTAL")


def usage(
    runs: Annotated[bool, typer.Option("--runs", help="Also list each run.")] = False,
    as_json: JsonOption = False,
) -> None:
    """Show how much room each project and sweep takes."""
    client = connect(open_session(create=True, read_only=True))
    found = read_usage(client, with_runs=runs)
    if as_json:
        console.data(console.to_json(shapes.usage(found)))
        return
    console.data(console.table(HEADER, [*_rows(found)]))
    disk, database = found["disk"], found["database"]
    console.note(
        f"disk: {format_bytes(disk['free_bytes'])} free of {format_bytes(disk['total_bytes'])}; "
        f"files are refused below {format_bytes(disk['floor_bytes'])}"
    )
    console.note(
        f"database: {format_bytes(database['bytes'])}, "
        f"{format_bytes(database['free_bytes'])} of it free for new rows"
    )


def _rows(found: Mapping[str, Any]) -> Iterator[tuple[object, ...]]:
    """Projects, each with its sweeps, each with its runs; the largest first."""
    runs = _largest(found.get("runs", ()))
    for project in _largest(found["projects"]):
        inside = f"{project['project']}/"
        yield _row("project", project["project"], project)
        for sweep in _largest(found["sweeps"]):
            if sweep["sweep"].startswith(inside):
                yield _row("sweep", sweep["sweep"], sweep)
                yield from _runs(runs, inside, sweep["sweep"].removeprefix(inside))
        yield from _runs(runs, inside, None)


def _runs(
    runs: list[Mapping[str, Any]], inside: str, sweep: str | None
) -> Iterator[tuple[object, ...]]:
    for run in runs:
        if run["sweep"] == sweep and run["run"].startswith(inside):
            yield _row("run", run["run"], run)


def _row(kind: str, name: str, held: Mapping[str, Any]) -> tuple[object, ...]:
    sizes = ("database_bytes", "file_bytes", "artifact_bytes", "bytes")
    return kind, name, held["runs"], held["rows"], *(format_bytes(held[one]) for one in sizes)


def _largest(held: Any) -> list[Mapping[str, Any]]:
    return sorted(held, key=lambda one: one["bytes"], reverse=True)
