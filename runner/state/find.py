"""Find the state folder that serves a folder, or make one."""

import os
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

from runner import console
from runner.agent.contract.variables import FLEET
from runner.disk.locks import locked
from runner.disk.own_files import write_atomic, write_json
from runner.errors import ExitCode, RunnerError
from runner.guard.foreign_files import DamagedFile, read_foreign_object
from runner.guard.ownership import check_state_folder, walk_up
from runner.state.fleet_name import is_fleet_name, make_fleet_name
from runner.state.folder import FOLDER, FORMAT, State
from runner.state.migrations import find_changes, migrate
from runner.state.owner import chown_to_owner_of
from runner.state.place import Place, judge_place
from runner.user.engines import follow_engine


def find_state(
    start: Path, *, environ: Mapping[str, str], read_only: bool = False, mapped: bool = False
) -> State | None:
    """The state folder that serves `start`: `RUNNER_HOME`, else the nearest up to the git root.

    Args:
        start: the folder that the command was called in.
        environ: the process's environment.
        read_only: nothing is written, not even where the folder has moved.
        mapped: this is a container, and the folder a mount of it.

    Raises:
        RunnerError: the folder may be a stranger's (see `guard.ownership`), was written by a newer
            runner, or is unreadable.
    """
    root = _find_root(start, environ)
    if root is None:
        return None
    check_state_folder(root, start, read_only=read_only)
    return _load(root, environ, read_only=read_only, mapped=mapped)


def open_state(
    start: Path, project: Path, *, environ: Mapping[str, str], mapped: bool = False
) -> State:
    """The state folder that serves `start`, made in `project` where there is none."""
    found = find_state(start, environ=environ, mapped=mapped)
    return found or _create(plan_state(project, environ=environ), start, mapped=mapped)


def find_foreign_state(start: Path) -> Path | None:
    """A state folder above `start` that does not count, because its folder may be a stranger's."""
    own = {*walk_up(start)}
    above = (one for one in start.parents if one not in own)
    return next((one / FOLDER for one in above if (one / FOLDER / "fleet").exists()), None)


def plan_state(project: Path, *, environ: Mapping[str, str], read_only: bool = False) -> State:
    """The state folder that would be made for `project`; nothing is written.

    Raises:
        RunnerError: `RUNNER_FLEET` is not a fleet's name.
    """
    name = environ.get(FLEET) or make_fleet_name(project.name)
    if not is_fleet_name(name):
        raise RunnerError(
            f"`{FLEET}={name}` is not a fleet name",
            hint="use at most 40 of a-z, 0-9 and hyphens",
            code=ExitCode.USAGE,
        )
    root = Path(environ.get("RUNNER_HOME") or project / FOLDER)
    return State(root.absolute(), name, read_only)


def _find_root(start: Path, environ: Mapping[str, str]) -> Path | None:
    if home := environ.get("RUNNER_HOME"):
        root = Path(home).resolve()
        return root if (root / "fleet").exists() else None
    for folder in walk_up(start):
        if os.path.lexists(folder / FOLDER / "fleet"):
            return folder / FOLDER
        if (folder / ".git").exists():
            return None
    return None


def _load(root: Path, environ: Mapping[str, str], *, read_only: bool, mapped: bool) -> State:
    record = _read_fleet(root / "fleet")
    written = record.get("format", 1)
    if not isinstance(written, int) or written > FORMAT:
        raise RunnerError(
            f"`{root}` was written by a newer runner (format {written}, this one knows {FORMAT})",
            hint="upgrade: `pip install --upgrade sweep-runner`",
        )
    name = record.get("name")
    if not isinstance(name, str) or not is_fleet_name(name):
        raise RunnerError(
            f"`{root / 'fleet'}` is damaged: it holds no fleet name",
            hint="move the folder away and start again; its runs stay readable",
        )
    if written < FORMAT and not read_only:
        migrate(root, find_changes())
        record = _read_fleet(root / "fleet")
    state = State(root.absolute(), name, read_only)
    place = Place.from_json(record.get("place"))
    if mapped:
        _check_mapped(state, place)
        return state
    if place == Place.of(root):
        return state
    if read_only:
        return _settle(state, place, environ)
    with locked(root / "lock"):  # two commands in a fresh copy give it one name
        record = _read_fleet(root / "fleet")
        state = replace(state, fleet=str(record.get("name", name)))
        settled = _settle(state, Place.from_json(record.get("place")), environ)
        record |= {"name": settled.fleet, "place": Place.of(root).to_json()}
        write_json(root / "fleet", record)
        chown_to_owner_of(root / "fleet", root)
    return settled


def _check_mapped(state: State, place: Place | None) -> None:
    """In a container: whether the folder is the one that the host knows."""
    if place and not place.is_same_folder(state.root):
        raise RunnerError(
            f"this folder is a copy of `{place.path}`, or was moved: fleet {state.fleet} may be "
            "another folder's",
            hint="run `runner compose` in it, on the host",
            code=ExitCode.UNFIT,
        )


def _read_fleet(file: Path) -> dict[str, Any]:
    try:
        return read_foreign_object(file)
    except (FileNotFoundError, DamagedFile):
        return {}


def _settle(state: State, place: Place | None, environ: Mapping[str, str]) -> State:
    """The state as it is meant here: a copied folder gets a name of its own."""
    verdict = judge_place(place, state.root, state.fleet)
    if place is None or verdict == "here":
        return state
    if verdict == "moved":
        if not state.read_only:
            follow_engine(Path(place.path), state.root, environ)
        return state
    name = environ.get(FLEET)
    if name in (None, state.fleet):
        name = make_fleet_name(state.root.parent.name)
    console.note(
        f"`{state.root}` is a copy of `{place.path}`: its fleet is {name}, not {state.fleet}"
    )
    return replace(state, fleet=name)


def _create(state: State, start: Path, *, mapped: bool) -> State:
    if state.root.exists():
        check_state_folder(state.root, start, read_only=False)
    try:
        state.root.mkdir(mode=0o755, parents=True, exist_ok=True)
        ours = (state.runs, state.checkpoints, state.work, state.status, state.orders)
        for folder in (*ours, state.sweeps, state.cache):
            folder.mkdir(mode=0o755, exist_ok=True)
        state.secrets.mkdir(mode=0o700, exist_ok=True)
        write_atomic(state.root / ".gitignore", "*\n")
        record = {"format": FORMAT, "name": state.fleet}
        place = {} if mapped else {"place": Place.of(state.root).to_json()}
        write_json(state.root / "fleet", {**record, **place})
    except OSError as error:
        raise RunnerError(
            f"cannot make the state folder `{state.root}`: {error.strerror}",
            hint="run in a folder of your own, or set `RUNNER_HOME`",
        ) from error
    return state
