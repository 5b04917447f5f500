"""Options that several commands share."""

from pathlib import Path
from typing import Annotated

import typer

JsonOption = Annotated[bool, typer.Option("--json", help="Print one JSON object.")]
DryRunOption = Annotated[bool, typer.Option("--dry-run", help="Print the plan only.")]
YesOption = Annotated[
    bool, typer.Option("--yes", help="Accept where the project's files send keys and code.")
]
DeleteYesOption = Annotated[bool, typer.Option("--yes", help="Delete without a question.")]
ServerOption = Annotated[
    str | None, typer.Option("--server", metavar="local|URL", help="The sweep server to use.")
]
GpusOption = Annotated[
    str | None,
    typer.Option("--gpus", help="`0,1`, `0-3`, `all`, `free`, `free:2`, a UUID, `MIG-…`, `cpu:2`."),
]
SweepOption = Annotated[
    str | None, typer.Option("--sweep", help="An ID, `entity/project/id`, or a YAML file.")
]
ImageOption = Annotated[str | None, typer.Option("--image", help="Use an existing image.")]
BuildOption = Annotated[bool, typer.Option("--build", help="Build the image first.")]
OfflineOption = Annotated[
    bool, typer.Option("--offline", help="Log runs on disk, for `sync-offline` later.")
]
LiveOption = Annotated[
    bool | None,
    typer.Option("--live/--no-live", help="Work in the project's own folder, not in a copy."),
]
RelaxedOption = Annotated[
    bool, typer.Option("--relaxed", help="Let runs use and change every file of the image.")
]
EnvFileOption = Annotated[Path | None, typer.Option("--env-file", help="Read lines of NAME=VALUE.")]
ForceOption = Annotated[bool, typer.Option("--force", help="Start beside other processes.")]
AgentsArgument = Annotated[
    list[str] | None, typer.Argument(metavar="[AGENT…]", help="Agents (default: all).")
]
SweepArgument = Annotated[str, typer.Argument(metavar="SWEEP", help="An ID or a full path.")]
