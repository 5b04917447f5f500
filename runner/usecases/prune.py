"""`runner prune`: what this folder has left on the engine and on its disk, and nothing uses."""

import os
import shutil
from collections.abc import Callable, Iterable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from runner.agent.contract import labels
from runner.agent.workcopy import is_held
from runner.engine.client import Engine
from runner.engine.types import Container, Image
from runner.errors import RunnerError
from runner.fleet.agents import Agent
from runner.image.built import read_record
from runner.image.server import server_tag
from runner.launchers.docker.copy_out import remove_agents
from runner.launchers.docker.observe import ROLE, read_all
from runner.state.folder import State
from runner.usecases.session import Session

LeftoverKind = Literal["container", "image", "working copy", "build cache"]


@dataclass(frozen=True, slots=True)
class Leftover:
    """One thing that nothing uses."""

    kind: LeftoverKind
    name: str
    why: str
    size_bytes: int | None  # None: it is not known


def find_leftovers(session: Session, *, keep_cache: bool = False) -> Sequence[Leftover]:
    """Everything that `prune` would remove, the containers first.

    Args:
        session: of this call.
        keep_cache: leave the build cache out.
    """
    engine, state = session.engine(), session.state
    agents = read_all(engine.containers(ROLE), state)
    gone = select_ended(agents, state.fleet)
    record = read_record(state)
    images = select_images(
        engine.images.with_labels({labels.KIND: None}),
        engine.containers({}),
        ended={agent.container for agent in gone},
        current={server_tag(), *([record["tag"]] if record else [])},
    )
    cache_bytes = 0 if keep_cache else engine.images.read_cache_bytes()
    return [
        *(Leftover("container", agent.name, _say_why(agent), None) for agent in gone),
        *(
            Leftover("image", tag, "replaced by a later build", image.size_bytes)
            for image, tag in images
        ),
        *_find_copies(state, agents),
        *([Leftover("build cache", "-", "of all projects", cache_bytes)] if cache_bytes else []),
    ]


def remove_leftovers(
    session: Session, found: Iterable[Leftover], on_removed: Callable[[Leftover], None]
) -> None:
    """Remove these; what is in use by now stays, and so does what is gone.

    Args:
        session: of this call.
        found: as `find_leftovers` gave it.
        on_removed: is called after each.

    Raises:
        RunnerError: the engine refuses, or folders cannot be removed; the others are (1).
    """
    engine, state = session.engine(), session.state
    faults: list[str] = []
    for one in found:
        match one.kind:
            case "container":
                _remove_container(session, one.name)
            case "image":
                engine.images.remove(one.name)
            case "build cache":
                engine.images.prune_cache()
            case "working copy":
                fault = remove_copy(state.work / one.name)
                if fault is not None:
                    faults.append(fault)
                    continue
                if (state.work / one.name).exists():  # it came into use
                    continue
        on_removed(one)
    if faults:
        raise RunnerError(
            f"not deleted: {'; '.join(faults)}",
            hint="`chmod -R u+rwX` lets you delete what a run has made read-only",
        )


def remove_copy(folder: Path) -> str | None:
    """Remove a working copy that nobody uses; gives the obstacle as a line."""
    if folder.is_symlink() or is_held(folder):
        return None
    try:
        shutil.rmtree(folder)
    except FileNotFoundError:
        return None
    except OSError as error:
        return f"`{folder}`: {error.strerror} ({error.filename})"
    return None


def select_ended(agents: Sequence[Agent], fleet: str) -> list[Agent]:
    """The fleet's containers that a later one replaced, commands that ended, and placeholders."""
    return [
        agent
        for agent in agents
        if agent.fleet == fleet
        and not agent.alive
        and (agent.retired or agent.command is not None or agent.keeps_for is not None)
    ]


def select_images(
    images: Sequence[Image],
    containers: Sequence[Container],
    *,
    ended: set[str],
    current: set[str],
) -> list[tuple[Image, str]]:
    """The images of the repositories of `current` that nothing uses, each with its tag there.

    An image of another project may be one that its folder is about to start: it stays.

    Args:
        images: all that runner built.
        containers: all of the engine.
        ended: IDs of containers that are removed before.
        current: the tags that the next commands of this folder start.
    """
    used = {one.image_id for one in containers if one.id not in ended}
    repositories = {tag.rpartition(":")[0] for tag in current}
    found = []
    for image in images:
        tags = [tag for tag in image.tags if tag.rpartition(":")[0] in repositories]
        if tags and image.id not in used and not current & {*image.tags}:
            found.append((image, tags[0]))
    return found


def _find_copies(state: State, agents: Sequence[Agent]) -> list[Leftover]:
    """Working copies that a sweep left to the next one: `<agent>.<sweep>`."""
    if not state.work.is_dir():
        return []
    alive = {agent.name for agent in agents if agent.alive}
    return [
        Leftover("working copy", folder.name, "of an earlier sweep", measure(folder))
        for folder in sorted(state.work.iterdir())
        if "." in folder.name
        and folder.name not in alive
        and folder.is_dir()
        and not folder.is_symlink()
        and not is_held(folder)
    ]


def measure(folder: Path) -> int:
    """Bytes on the disk of the files in a folder; links count as themselves."""
    total = 0
    for place, _, names in os.walk(folder):
        for name in names:
            with suppress(OSError):  # it is gone by now
                total += Path(place, name).lstat().st_blocks * 512
    return total


def _say_why(agent: Agent) -> str:
    if agent.keeps_for is not None:
        return "its command has ended"
    return "the command has ended" if agent.command is not None else "a later one replaced it"


def _remove_container(session: Session, name: str) -> None:
    engine: Engine = session.engine()
    found = select_ended(read_all(engine.containers(ROLE), session.state), session.state.fleet)
    named = [agent for agent in found if agent.name == name]
    kept = [agent for agent in named if agent.keeps_for is not None]
    for agent in kept:
        engine.remove(agent.container)
    remove_agents(engine, session.state, [one for one in named if one not in kept], session.report)
