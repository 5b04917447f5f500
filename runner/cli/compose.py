"""Command: `compose`."""

from typing import Annotated

import typer

from runner import console
from runner.cli.options import GpusOption, JsonOption, ServerOption, SweepOption, YesOption
from runner.cli.session import open_session
from runner.compose.env_file import ENV_FILE
from runner.usecases.compose import pin


def compose(
    gpus: GpusOption = None,
    sweep: SweepOption = None,
    server: ServerOption = None,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Print the lines only.")] = False,
    as_json: JsonOption = False,
    yes: YesOption = False,
) -> None:
    """Write GPUs, sweep and images for `docker compose up`.

    They go into a block of `.env`, which compose.yaml reads.
    """
    overridden = [*(["server"] if server else ()), *(["run.sweep"] if sweep else ())]
    session = open_session(create=True, read_only=dry_run, yes=yes, overridden=overridden)
    pinned = pin(session, gpus, sweep, server, dry_run=dry_run)
    if as_json:
        fields = {
            "dry_run": dry_run,
            "folder": str(session.project.root),
            "files": [*pinned.made, ENV_FILE],
            "values": pinned.values,
        }
        console.data(console.to_json(fields))
    elif dry_run:
        console.data("\n".join(f"{name}={value}" for name, value in pinned.values.items()))
    if dry_run:
        return
    shown = ", ".join(slot for slot in (gpus or "").split(",") if slot) or "GPU 0"
    console.note(f"pinned {shown} in {ENV_FILE}; next: `docker compose up`")
