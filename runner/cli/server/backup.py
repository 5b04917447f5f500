"""Command: `server backup`."""

from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated

import typer

from runner import console
from runner.backend.backup import fetch_backup
from runner.cli.options import JsonOption
from runner.cli.session import open_session
from runner.usecases.server import reach


def backup(
    file: Annotated[
        Path | None, typer.Argument(help="The tar file; by default `runner-backup-DATE.tar`.")
    ] = None,
    as_json: JsonOption = False,
) -> None:
    """Copy everything that the running server keeps.

    The copy is a tar file; the server keeps running.
    """
    url, key, trust = reach(open_session(create=True, read_only=True))
    name = datetime.now(tz=UTC).strftime("runner-backup-%Y%m%d-%H%M%S.tar")
    made = fetch_backup(url, key, file or Path(name), ca_bundle=trust)
    console.note(
        f"restore it with `mkdir DATA && tar xf {made} -C DATA`, `runner serve --data DATA`"
    )
    console.data(console.to_json({"file": str(made)}) if as_json else str(made))
