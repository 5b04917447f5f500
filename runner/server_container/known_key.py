"""The key of this folder's own server, restored where its file is lost."""

from collections.abc import Callable
from pathlib import Path

from runner.agent.contract import labels
from runner.backend.hosts import LOCAL
from runner.engine.client import Engine
from runner.errors import RunnerError
from runner.server_container.container import find_server
from runner.server_container.files import ensure_key, read_agent_key, read_key, restore_key
from runner.server_container.health import KeyRefused, read_health
from runner.state.folder import State


def ensure_known_key(engine: Engine, state: State, report: Callable[[str], None]) -> Path:
    """The key's file; a damaged one is restored, and costs no server that is at work.

    Raises:
        RunnerError: the key is lost, and the server works on with it.
    """
    if read_key(state):
        return state.secrets / "server"
    found = find_server(engine, state)
    mine = {labels.FLEET: state.fleet, labels.ROLE: labels.AGENT_ROLE, labels.SERVER: LOCAL}
    names = (one.name.removeprefix(labels.NAME_PREFIX) for one in engine.containers(mine))
    copies = {name: key for name in names if (key := read_agent_key(state, name))}
    for name, key in copies.items():
        if found is None or _opens(found.url, key):
            report(f"the server's key was lost or damaged: restored from the copy of {name}")
            return restore_key(state, key)
    if found is not None and _is_at_work(found.url):
        raise RunnerError(
            f"`{state.secrets / 'server'}` holds no key, no agent has a copy, and the server "
            f"`{found.container}` still uses the lost one",
            hint="put the key back; or `runner down`, and the next `runner up` makes a new one",
        )
    return ensure_key(state)


def _opens(url: str, key: str) -> bool:
    """Whether the server at `url` takes this key."""
    try:
        return read_health(url, key) is not None
    except RunnerError:
        return False


def _is_at_work(url: str) -> bool:
    """Whether a server answers there, be it with a refusal."""
    try:
        return read_health(url, "-") is not None
    except KeyRefused:
        return True
