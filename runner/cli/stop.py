"""Command: `stop`."""

import typer

from runner.cli import render
from runner.cli.options import AgentsArgument, DryRunOption, JsonOption
from runner.cli.session import open_session
from runner.usecases.stop import stop_agents


def stop(
    names: AgentsArgument = None, dry_run: DryRunOption = False, as_json: JsonOption = False
) -> None:
    """Stop agents; their runs finish a step and save.

    They stay down until the next `up`.
    """
    session = open_session(read_only=dry_run)
    results = stop_agents(session, names or (), dry_run=dry_run, on_result=render.report_result)
    code = render.show_stopped(session.state.fleet, results, as_json=as_json, dry_run=dry_run)
    raise typer.Exit(int(code))
