"""Command: `down`."""

import typer

from runner.cli import render
from runner.cli.options import DryRunOption, JsonOption
from runner.cli.session import open_session
from runner.usecases.stop import take_down


def down(dry_run: DryRunOption = False, as_json: JsonOption = False) -> None:
    """Stop the fleet and remove its containers; data stays.

    It also removes the server, unless runs still log to it.
    """
    session = open_session(read_only=dry_run)
    results = take_down(session, dry_run=dry_run, on_result=render.report_result)
    code = render.show_stopped(session.state.fleet, results, as_json=as_json, dry_run=dry_run)
    raise typer.Exit(int(code))
