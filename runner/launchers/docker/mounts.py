"""The user's mounts for agents: `SRC:DST[:ro]`."""

from collections.abc import Sequence
from pathlib import Path, PurePosixPath

from runner.agent.contract import paths
from runner.engine.types import Mount
from runner.errors import ExitCode, RunnerError
from runner.guard.sources import find_danger
from runner.guard.walk import make_file, walk
from runner.launchers.docker.live import LiveFolder
from runner.settings.model import FLAG
from runner.settings.mounts import UserMount, not_a_mount
from runner.state.folder import State

WORKSPACE = PurePosixPath(paths.WORKSPACE)
_SYSTEM = ("/proc", "/sys", "/dev")  # the engine mounts them in every container


def resolve_mounts(
    mounts: Sequence[UserMount], base: Path, *, own: Sequence[str] = paths.OWN_MOUNTS
) -> tuple[Mount, ...]:
    """The mounts for the engine; if two have the same target, the last one counts.

    Args:
        mounts: of the user.
        base: the project folder, to which relative sources refer; each source must exist.
        own: targets of the agents' own mounts.

    Raises:
        RunnerError: the target is not allowed (2), or the source does not exist (3).
    """
    found = {mount.target: _resolve(mount, base, own) for mount in mounts}
    return tuple(found.values())


def describe_outside(mounts: Sequence[UserMount], base: Path) -> list[dict[str, str]]:
    """The mounts whose sources are outside of the project, to show to the user.

    Args:
        mounts: of the user, checked by `resolve_mounts`.
        base: the project.
    """
    return [
        {
            "source": str(source),
            "target": str(mount.target),
            "mode": "ro" if mount.read_only else "rw",
            "origin": mount.origin,
        }
        for mount in mounts
        if not (source := _find_source(mount, base)).is_relative_to(base.resolve())
    ]


def _find_source(mount: UserMount, base: Path) -> Path:
    return (base / Path(mount.source).expanduser()).resolve()


def make_mount_points(
    mounts: Sequence[Mount], state: State, agent: str, *, live: LiveFolder | None = None
) -> None:
    """Make the mount points in the working copy: the engine would make them as root.

    Args:
        mounts: of the user.
        state: the state folder of the fleet.
        agent: whose working copy it is.
        live: the folder in which runs work instead.

    Raises:
        RunnerError: a program has put something else in the way.
    """
    for mount in mounts:
        is_file = not Path(mount.source).is_dir()
        make_point(state, agent, mount.target, is_file=is_file, live=live.root if live else None)


def make_point(
    state: State, agent: str, target: str, *, is_file: bool, live: Path | None = None
) -> None:
    """Make the folder or file in a working copy on which something is mounted.

    Args:
        state: the state folder of the fleet.
        agent: whose working copy it is.
        target: path in the container; outside of the working copy nothing is made.
        is_file: a file is mounted there.
        live: the folder in which runs work instead.

    Raises:
        RunnerError: a program has put something else in the way.
    """
    if WORKSPACE not in PurePosixPath(target).parents:
        return
    parts = PurePosixPath(target).relative_to(WORKSPACE).parts
    start, above = (live, ()) if live else (state.root, ("work", agent))
    folders = (*above, *(parts[:-1] if is_file else parts))
    with walk(start, *folders, mode=0o755) as folder:
        if is_file:
            make_file(parts[-1], folder, start.joinpath(*folders, parts[-1]))


def _resolve(mount: UserMount, base: Path, own: Sequence[str]) -> Mount:
    target = mount.target
    if target in (PurePosixPath("/"), WORKSPACE) or _is_in(target, own):
        hint = f"`{target}` is used by the agent itself; mount below `{WORKSPACE}`"
        raise not_a_mount(mount, hint)
    if _is_in(target, _SYSTEM):
        raise not_a_mount(mount, f"`{target}` belongs to the engine; mount below `{WORKSPACE}`")
    source = _find_source(mount, base)
    if not source.exists():
        raise RunnerError(
            f"mount `{mount}`: there is no `{source}`",
            hint="make the folder first, or correct the path",
            code=ExitCode.NOT_FOUND,
        )
    danger = find_danger(source, read_only=mount.read_only)
    if danger and mount.origin != FLAG:
        raise RunnerError(
            f"mount `{mount}` ({mount.origin}) would open {danger} to every program of a run",
            hint=f"if you want that: `--mount {mount}`",
            code=ExitCode.USAGE,
        )
    return Mount(str(source), str(target), read_only=mount.read_only)


def _is_in(target: PurePosixPath, folders: Sequence[str]) -> bool:
    """Whether `target` is one of these folders or below one."""
    return any(target.is_relative_to(folder) for folder in folders)
