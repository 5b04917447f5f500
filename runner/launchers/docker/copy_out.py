"""Save what a program wrote in a container, before the container is removed."""

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
_ENGINES = ("/.dockerenv", "/sbin/docker-init")  # the engine puts them into every container


def remove_agents(
    engine: Engine, state: State, agents: Sequence[Agent], report: Callable[[str], None]
) -> None:
    """Save what the agents wrote, then remove their containers, several at a time."""

    def remove(agent: Agent) -> None:
        if saved := save_files(engine, state, agent, report):
            report(f"{agent.name}: its files are in `{saved}`")
        engine.remove(agent.container)

    with ThreadPoolExecutor(THREADS, thread_name_prefix="remove") as pool:
        list(pool.map(remove, agents))


def save_files(
    engine: Engine, state: State, agent: Agent, report: Callable[[str], None]
) -> Path | None:
    """Copy changed files of the image's working folder to `work/<agent>`.

    Agents with the project in their image work in a host folder: nothing is copied for them.

    Returns:
        The folder; None if nothing was copied.
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
    """A new folder for the files, under a free name."""
    for name in (agent.name, f"{agent.name}.{short_id(agent.container)}"):
        try:
            with walk(state.root, "work", name, mode=0o755) as folder:
                if is_empty(folder):
                    return state.work / name
        except RunnerError:  # something else has the name
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
