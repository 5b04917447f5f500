"""Commands: `server …`."""

import typer

from runner.cli.catalog import SERVER_COMMANDS
from runner.cli.lazy import lazy_group

app = typer.Typer(
    name="server",
    cls=lazy_group(SERVER_COMMANDS),
    add_completion=False,
    rich_markup_mode=None,
)


@app.callback()
def server() -> None:
    """Look at this folder's sweep server, back it up, make room."""
