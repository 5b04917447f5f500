"""Command: `sweep list`."""

from runner import console
from runner.cli import shapes
from runner.cli.options import JsonOption, ServerOption
from runner.cli.session import open_session
from runner.sweeps.known import known_sweeps

HEADER = ("SWEEP", "NAME", "STATE", "RUNS", "SERVER")


def list_(server: ServerOption = None, as_json: JsonOption = False) -> None:
    """Show the sweeps of this folder, oldest first."""
    session = open_session(read_only=True, quiet=as_json)
    found = known_sweeps(session.servers(server, own="start"))
    if as_json:
        rows = [{**shapes.sweep(joined), "runs": joined.sweep.run_count} for joined in found]
        console.data(console.to_json({"sweeps": rows}))
        return
    table = [
        (j.sweep.path, j.sweep.name, j.sweep.state.lower(), j.sweep.run_count, j.server.name)
        for j in found
    ]
    console.data(console.table(HEADER, table) if table else "no sweeps yet")
