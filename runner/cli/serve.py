"""Command: `serve`."""

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated

import typer

from runner import console
from runner.agent.contract.servers import PORT
from runner.backend.hosts import LOOPBACK, is_loopback
from runner.cli.server.extra import server_extra
from runner.cli.session import open_session
from runner.disk.file_systems import find_file_system, is_network
from runner.errors import ExitCode, RunnerError
from runner.server_container.files import ensure_key, make_data
from runner.settings.kinds import read_size


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
    min_free: Annotated[
        str | None,
        typer.Option(metavar="SIZE", help="Refuse files, not rows, below this free space: `5g`."),
    ] = None,
) -> None:
    """Run the sweep server in the foreground.

    Its first line on stdout is its URL.
    """
    with server_extra():  # the packages of a server may be missing here
        from runner.server.app import serve as run_server
        from runner.server.tls import Tls
    if (tls_cert is None) != (tls_key is None):
        raise RunnerError("`--tls-cert` and `--tls-key` belong together", code=ExitCode.USAGE)
    tls = Tls(tls_cert, tls_key) if tls_cert and tls_key else None
    if data is None:
        data, key_file = _own_data(key_file)
    else:
        _check_local(data)
    if host not in LOOPBACK and tls is None and not _is_published_here(os.environ):
        console.note(
            "warning: others on the network can read keys and values (plain HTTP): "
            "`--tls-cert` and `--tls-key` encrypt them"
        )
    floor = None if min_free is None else read_size("`--min-free`", min_free)
    run_server(host, port, data, key_file, tls, floor)


def _is_published_here(environ: Mapping[str, str]) -> bool:
    """Whether this is a container that publishes the port on this machine's loopback alone."""
    return is_loopback(environ.get("RUNNER_PUBLIC_URL", ""))


def _check_local(data: Path) -> None:
    """Refuse a network file system, where SQLite's locks do not hold."""
    kind = find_file_system(data)
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
