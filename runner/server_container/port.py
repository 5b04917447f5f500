"""The port of this folder's own server on the host."""

import socket
from collections.abc import Callable

from runner.disk.own_files import read_json
from runner.server_container.container import ADDRESS
from runner.state.folder import State


def select_port(state: State, report: Callable[[str], None]) -> int:
    """The port that this folder's server had before, so that its URL stays; else a free one."""
    before = (read_json(state.server_file) or {}).get("port")
    if not isinstance(before, int):
        return free_port()
    try:
        return free_port(before)
    except OSError:
        report(
            f"something else uses port {before} of the sweep server: the server gets another one"
        )
        return free_port()


def free_port(wanted: int = 0) -> int:
    with socket.socket() as door:
        door.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        door.bind((ADDRESS, wanted))
        return int(door.getsockname()[1])
