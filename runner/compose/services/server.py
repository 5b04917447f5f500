"""The service `server`: serve this folder's sweeps."""

import os
import signal
import sys
from pathlib import Path

from runner import console
from runner.agent.contract import paths, servers
from runner.agent.owner import become_owner
from runner.compose import pins
from runner.compose.inside import KEY, read_environ, read_server
from runner.settings.kinds import read_size

DATA, SHARED = Path(paths.DATA), Path(paths.COMPOSE)


def run() -> int:
    """Serve this folder's sweeps; if another server does, only wait to be stopped."""
    become_owner(DATA)
    chosen = read_server(SHARED)
    if not chosen.own:
        signal.signal(signal.SIGTERM, lambda *_: sys.exit(0))
        console.note(f"the sweep server is {chosen.url}: nothing to do here")
        signal.pause()
        return 0
    from runner.server.app import serve  # tens of MiB, which an idle server does not need

    floor = read_environ(os.environ).get(pins.MIN_FREE)
    serve(
        "0.0.0.0",  # noqa: S104 - the container's network
        servers.PORT,
        DATA,
        KEY,
        min_free=None if floor is None else read_size(pins.MIN_FREE, floor),
    )
    return 0
