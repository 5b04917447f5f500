"""Commands: `sweep …`."""

import typer

from runner.cli.catalog import SWEEP_COMMANDS
from runner.cli.lazy import lazy_group

app = typer.Typer(
    name="sweep",
    cls=lazy_group(SWEEP_COMMANDS),
    add_completion=False,
    rich_markup_mode=None,
)


@app.callback()
def sweep() -> None:
    """Create sweeps and look at them."""
