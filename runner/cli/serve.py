"""Command: `serve`."""

from pathlib import Path
from typing import Annotated

import typer

from runner import console
from runner.agent.contract.servers import PORT
from runner.cli.server.extra import server_extra
from runner.cli.session import open_session
from runner.disk.file_systems import find_file_system, is_network
from runner.errors import ExitCode, RunnerError
from runner.server_container.files import ensure_key, make_data

LOOPBACK = ("127.0.0.1", "::1", "localhost")


def serve(
    host: Annotated[str, typer.Option(help="Address to listen on.")] = "127.0.0.1",
    port: Annotated[int, typer.Option(help="Port; 0 takes a free one.", min=0, max=65535)] = PORT,
    data: Annotated[
        Path | None, typer.Option(help="Folder with its data; by default this folder's server's.")
    ] = None,
    key_file: Annotated[
        Path | None, typer.Option(help="File with the key; by default `key` in the data folder.")
    ] = None,
    tls_cert: Annotated[
        Path | None, typer.Option(help="Certificate, a PEM file: the server answers over HTTPS.")
    ] = None,
    tls_key: Annotated[Path | None, typer.Option(help="The certificate's key, a PEM file.")] = None,
) -> None:
    """Run the sweep server in the foreground.

    Its first line on stdout is its URL.
    """
    with server_extra():  # the packages of a server may be missing here
        from runner.server.app import Tls
        from runner.server.app import serve as run_server
    if (tls_cert is None) != (tls_key is None):
        raise RunnerError("`--tls-cert` and `--tls-key` belong together", code=ExitCode.USAGE)
    tls = Tls(tls_cert, tls_key) if tls_cert and tls_key else None
    if data is None:
        data, key_file = _own_data(key_file)
    else:
        _check_local(data)
    if host not in LOOPBACK and tls is None:
        console.note(
            "others on the network can read keys and values: set `--tls-cert` and `--tls-key`"
        )
    run_server(host, port, data, key_file, tls)


def _check_local(data: Path) -> None:
    """Refuse a network file system, where SQLite's locks do not hold."""
    there = next(one for one in (data.absolute(), *data.absolute().parents) if one.exists())
    kind = find_file_system(there)
    if is_network(kind):
        raise RunnerError(
            f"`{data}` is on {kind}, a network file system, where a database can be damaged",
            hint="choose a folder on a local disk with --data",
            code=ExitCode.UNFIT,
        )


def _own_data(key_file: Path | None) -> tuple[Path, Path]:
    """Data folder and key file of this folder's own server, as its container uses them."""
    state = open_session(create=True).state
    return make_data(state, report=console.note), key_file or ensure_key(state)
