"""What a program wrote in a container that is about to be removed."""

import secrets
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from runner.agent.contract import paths
from runner.agent.contract.labels import short_id
from runner.engine.client import Engine
from runner.engine.types import Places
from runner.errors import RunnerError
from runner.fleet.agents import Agent
from runner.guard.walk import is_empty, walk
from runner.state.folder import State

THREADS = 8
_ENGINES = ("/.dockerenv", "/sbin/docker-init")  # put into every container by the engine


def remove_agents(
    engine: Engine, state: State, agents: Sequence[Agent], report: Callable[[str], None]
) -> None:
    """Remove the agents' containers, several at a time, after what they wrote was saved."""

    def remove(agent: Agent) -> None:
        if saved := save_files(engine, state, agent, report):
            report(f"{agent.name}: what it wrote is in `{saved}`")
        engine.remove(agent.container)

    with ThreadPoolExecutor(THREADS, thread_name_prefix="remove") as pool:
        list(pool.map(remove, agents))


def save_files(
    engine: Engine, state: State, agent: Agent, report: Callable[[str], None]
) -> Path | None:
    """Copy what an image of the user's own has in its working folder to `work/<agent>`.

    Agents with a project in their image work on the host: of those there is nothing to copy.

    Returns:
        The folder; None where nothing was copied.
    """
    places = engine.files.places_of(agent.container)
    if places is None or places.working_dir == paths.WORKSPACE:
        return None
    changed = select_files(engine.files.changed(agent.container), places)
    if not changed:
        return None
    folder = _find_place(state, agent)
    left = engine.files.copy_out(agent.container, places.working_dir, folder, only=changed)
    for path in left:
        report(f"{agent.name}: `{path}` was not copied: it leads out of the working folder")
    return folder if folder.is_dir() and any(folder.iterdir()) else None


def _find_place(state: State, agent: Agent) -> Path:
    """An empty folder for the files, which is not there yet or lies where it should."""
    for name in (agent.name, f"{agent.name}.{short_id(agent.container)}"):
        try:
            with walk(state.root, "work", name, mode=0o755) as folder:
                if is_empty(folder):
                    return state.work / name
        except RunnerError:  # something else has this name
            continue
    return state.work / f"{agent.name}.{short_id(agent.container)}.{secrets.token_hex(4)}"


def select_files(changed: list[str], places: Places) -> set[str]:
    """Paths below the working folder that a program may have written."""
    root = places.working_dir.rstrip("/") + "/"
    foreign = (*_ENGINES, *places.mounts)
    return {
        path
        for path in changed
        if path.startswith(root)
        and "/__pycache__" not in path
        and not any(path == one or path.startswith(f"{one}/") for one in foreign)
    }
