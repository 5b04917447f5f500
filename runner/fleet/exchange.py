"""The files that host and agents exchange; this is the host's side.

Each agent writes status files into a folder of its own. A program of a run may have written them
too, so the host does not trust them, and they decide about this agent only. Agents cannot write
where the host keeps its own notes and its requests to them.
"""

import os
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from runner.agent.contract.status import (
    Status,
    copy_file,
    drain_file,
    format_drain,
    is_plain,
    manifest_file,
    status_file,
)
from runner.agent.workcopy import read_manifest
from runner.errors import RunnerError
from runner.fleet.agents import Agent
from runner.guard.foreign_files import DamagedFile, read_foreign, read_foreign_object
from runner.guard.walk import (
    clear_name,
    clear_unless_file,
    is_empty,
    make_folders,
    replace_file,
    walk,
)
from runner.state.folder import State

_LONGEST = 100  # characters of a sweep's ID in the name of a folder


def read_status(state: State, agent: str, *, shared: bool = False) -> Status | None:
    """The status that an agent wrote; None if it has not written one yet.

    Args:
        state: the state folder of its fleet.
        agent: its name.
        shared: the agent is from an earlier version, see `State.agents`.

    Raises:
        DamagedFile: the file is not a status file; the message says why.
    """
    folder = state.agents if shared else state.status / agent
    file = folder / status_file(agent)
    try:
        with walk(state.root, *folder.relative_to(state.root).parts) as handle:
            found = read_foreign_object(file, folder=handle)
        return Status.from_record(found)
    except FileNotFoundError:
        return None
    except RunnerError as error:
        raise DamagedFile(error.message) from error
    except DamagedFile:
        raise
    except ValueError as error:
        raise DamagedFile(f"`{file}` is not an agent's status: {error}") from error


@contextmanager
def asked_to_leave(state: State, agent: Agent) -> Iterator[None]:
    """Within this context, the agent ends as soon as its run has ended.

    Raises:
        RunnerError: the request cannot be written.
    """
    place = state.agents if agent.shared else state.orders / agent.name
    name = drain_file(agent.name)
    with walk(state.root, *place.relative_to(state.root).parts, mode=0o755) as folder:
        replace_file(name, folder, place / name, format_drain(agent.container))
        try:
            yield
        finally:
            with suppress(OSError):
                clear_name(name, folder)


def prepare_exchange(state: State, agent: str) -> None:
    """Make and clear the folders of an agent that is about to start.

    Raises:
        RunnerError: something else is in their place, or they cannot be made.
    """
    make_folders(state.root, "orders", agent)
    with walk(state.root, "status", agent, mode=0o755) as folder:
        for name in (status_file(agent), manifest_file(agent)):
            clear_unless_file(name, folder)
            clear_name(f".{name}.new", folder)


def prepare_copy(state: State, agent: str, sweep: str) -> Path | None:
    """Make the working copy for a sweep; rename that of another sweep to `<agent>.<its sweep>`.

    The copy must not be in use: in a container it is a mount point, which cannot be renamed.
    Make mount points in it after this call.

    Args:
        state: the state folder of the fleet.
        agent: the owner of the copy.
        sweep: the ID of the next sweep.

    Returns:
        The new path of the old copy; None if nothing was moved.

    Raises:
        RunnerError: something else is in its place, or it cannot be moved or made.
    """
    before = find_copied_sweep(state, agent)
    aside = None
    if before is not None and before != sweep:
        aside = _set_aside(state, agent, before[:_LONGEST])
        _forget_placed(state, agent)
    make_folders(state.root, "work", agent)
    orders, name = state.orders / agent, copy_file(agent)
    with walk(state.root, "orders", agent, mode=0o755) as folder:
        replace_file(name, folder, orders / name, f"{sweep}\n")
    return aside


def find_copied_sweep(state: State, agent: str) -> str | None:
    """The ID of the sweep of an agent's working copy, from the host's notes."""
    file = state.orders / agent / copy_file(agent)
    try:
        with walk(state.root, "orders", agent) as folder:
            found = read_foreign(file, folder=folder).decode("utf-8").strip()
    except (OSError, ValueError, RunnerError):  # an earlier version kept it in the manifest
        manifest = read_manifest(state.agents / manifest_file(agent))
        found = manifest.sweep if manifest else ""
    return found if is_plain(found) else None


def _set_aside(state: State, agent: str, sweep: str) -> Path | None:
    try:
        with walk(state.root, "work", agent) as copy:
            if is_empty(copy):
                return None
    except FileNotFoundError:
        return None
    with walk(state.root, "work") as work:
        taken, number = {entry.name for entry in os.scandir(work)}, 1
        name = f"{agent}.{sweep}"
        while name in taken:
            number += 1
            name = f"{agent}.{sweep}.{number}"
        try:
            os.rename(agent, name, src_dir_fd=work, dst_dir_fd=work)
        except OSError as error:
            raise RunnerError(
                f"cannot rename `{state.work / agent}`, the copy of sweep {sweep}: "
                f"{error.strerror}",
                hint="see the folder's owner and mode",
            ) from error
    return state.work / name


def _forget_placed(state: State, agent: str) -> None:
    """Remove the list of the copy's files: the copy was renamed."""
    for place in (("status", agent), ("agents",)):
        try:
            with walk(state.root, *place) as folder:
                clear_name(manifest_file(agent), folder)
        except FileNotFoundError:
            continue
        except OSError as error:
            raise RunnerError(
                f"cannot remove `{state.root.joinpath(*place) / manifest_file(agent)}`: "
                f"{error.strerror}",
                hint="see the folder's owner and mode",
            ) from error
