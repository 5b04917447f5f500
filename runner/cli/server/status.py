"""Command: `server status`."""

from runner import console
from runner.cli.options import JsonOption
from runner.cli.session import open_session
from runner.console.terminal import inline
from runner.usecases.server import read_status


def status(as_json: JsonOption = False) -> None:
    """Show the address and state of the server."""
    fields = read_status(open_session(read_only=True))
    if as_json:
        console.data(console.to_json(fields))
        return
    rows = [(name.replace("_", " "), value) for name, value in fields.items() if value is not None]
    console.data("\n".join(inline(f"{name:<12}{value}") for name, value in rows))
