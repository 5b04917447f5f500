"""Whether the service `server` works."""

from pathlib import Path

from runner.agent.contract import paths, servers
from runner.agent.owner import become_owner
from runner.compose.inside import KEY, read_server
from runner.server_container.health import read_health

DATA, SHARED = Path(paths.DATA), Path(paths.COMPOSE)


def run() -> int:
    """0 once the server answers, or where it has nothing to do."""
    become_owner(DATA)
    if not read_server(SHARED).own:
        return 0
    found = read_health(f"http://127.0.0.1:{servers.PORT}", KEY.read_text("ascii").strip())
    return 0 if found else 1
