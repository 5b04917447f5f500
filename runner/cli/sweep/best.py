"""Command: `sweep best`."""

from typing import Annotated

import typer

from runner import console
from runner.cli.options import JsonOption, ServerOption, SweepArgument
from runner.cli.session import open_session
from runner.cli.sweep.titles import title
from runner.sweeps.file import to_yaml
from runner.usecases.sweeps import change_config, get_best, read_sweep


def best(
    name: SweepArgument,
    settings: Annotated[
        list[str] | None,
        typer.Option("--set", metavar="KEY=VALUE", help="Change a value of the configuration."),
    ] = None,
    server: ServerOption = None,
    as_json: JsonOption = False,
) -> None:
    """Print the best run's configuration as YAML.

    Use it to train again.
    """
    joined, runs = read_sweep(open_session(read_only=True, quiet=as_json), name, server)
    found = get_best(joined, runs)
    config = change_config(found.config, settings or ())
    if as_json:
        record = {
            "sweep": str(joined.sweep.path),
            "run": found.id,
            "value": found.best,
            "config": config,
        }
        console.data(console.to_json(record))
        return
    console.note(f"run {title(found)}: {joined.sweep.metric} {found.best:.6g}")
    console.data(to_yaml(dict(sorted(config.items()))))
