"""The service `server`: serves this folder's sweeps."""

import signal
import sys
from pathlib import Path

from runner import console
from runner.agent.contract import paths, servers
from runner.agent.owner import become_owner
from runner.compose.inside import KEY, read_server

DATA, SHARED = Path(paths.DATA), Path(paths.COMPOSE)


def run() -> int:
    """Serve this folder's sweeps, or wait to be stopped where another server does."""
    become_owner(DATA)
    chosen = read_server(SHARED)
    if not chosen.own:
        console.note(f"the sweep server is {chosen.url}: nothing to do here")
        signal.signal(signal.SIGTERM, lambda *_: sys.exit(0))
        signal.pause()
        return 0
    from runner.server.app import serve  # tens of MiB, which a server that only waits need not hold

    serve("0.0.0.0", servers.PORT, DATA, KEY)  # noqa: S104 - the container's network
    return 0
