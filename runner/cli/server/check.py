"""Command: `server check`."""

from pathlib import Path
from typing import Annotated

import typer

from runner import console
from runner.cli.options import JsonOption
from runner.cli.server.extra import server_extra
from runner.cli.session import open_session
from runner.console.terminal import inline
from runner.errors import ExitCode
from runner.server_container.files import find_data


def check(
    data: Annotated[
        Path | None, typer.Option(help="Folder with its data; by default this folder's server's.")
    ] = None,
    repair: Annotated[bool, typer.Option("--repair", help="Repair what can be repaired.")] = False,
    as_json: JsonOption = False,
) -> None:
    """Check the data of a stopped server for faults."""
    with server_extra():  # the packages of a server may be missing here
        from runner.server.check import check as look
    if data is None:
        data = find_data(open_session(create=True, read_only=True).state, report=console.note)
    found = look(data, repair=repair)
    if as_json:
        rows = [
            {
                "where": fault.where,
                "what": fault.what,
                "repairable": fault.repair is not None,
                "repaired": mended,
            }
            for fault, mended in found
        ]
        console.data(console.to_json({"fit": not found, "faults": rows}))
    else:
        for fault, mended in found:
            left = "can be repaired: --repair" if fault.repair else "cannot be repaired"
            state = "repaired" if mended else left
            console.data(inline(f"{fault.where}: {fault.what} ({state})"))
        console.note(f"{len(found)} faults" if found else "no faults found")
    if any(not mended for _, mended in found):
        raise typer.Exit(int(ExitCode.FAILED))
