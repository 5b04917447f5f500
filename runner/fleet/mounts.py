"""What the user mounts into agents: `SRC:DST[:ro]`."""

from collections.abc import Sequence
from pathlib import Path, PurePosixPath

from runner.agent.contract import paths
from runner.engine.types import Mount
from runner.errors import ExitCode, RunnerError

WORKSPACE = PurePosixPath(paths.WORKSPACE)
_SYSTEM = ("/proc", "/sys", "/dev")  # the engine's own in every container


def parse_mounts(
    texts: Sequence[str], base: Path, *, own: Sequence[str] = paths.OWN_MOUNTS
) -> tuple[Mount, ...]:
    """Mounts as the engine wants them; sources are relative to `base` and must exist.

    Args:
        texts: the user's.
        base: the project.
        own: where agents have mounts of their own.

    Raises:
        RunnerError: no such form (2), a target of our own (2), no such source (3).
    """
    mounts = {mount.target: mount for mount in (_parse(text, base, own) for text in texts)}
    return tuple(mounts.values())


def make_mount_points(mounts: Sequence[Mount], workspace: Path) -> None:
    """Make what mounts below the working copy need there: the engine would make it as root."""
    for mount in mounts:
        target = PurePosixPath(mount.target)
        if WORKSPACE not in target.parents:
            continue
        place = workspace / target.relative_to(WORKSPACE)
        if Path(mount.source).is_dir():
            place.mkdir(parents=True, exist_ok=True)
        elif not place.exists():
            place.parent.mkdir(parents=True, exist_ok=True)
            place.touch()


def _parse(text: str, base: Path, own: Sequence[str]) -> Mount:
    parts = text.split(":")
    if len(parts) not in (2, 3) or not all(parts) or parts[2:] not in ([], ["ro"], ["rw"]):
        raise _wrong(text, "a mount is `SRC:DST`, or `SRC:DST:ro`")
    target = PurePosixPath(parts[1])
    if not target.is_absolute() or ".." in target.parts:
        raise _wrong(text, f"`{parts[1]}` must be an absolute path; the project is `{WORKSPACE}`")
    if target in (PurePosixPath("/"), WORKSPACE) or _is_in(target, own):
        raise _wrong(text, f"`{target}` is used by the agent itself; mount below `{WORKSPACE}`")
    if _is_in(target, _SYSTEM):
        raise _wrong(text, f"`{target}` belongs to the engine; mount below `{WORKSPACE}`")
    source = (base / Path(parts[0]).expanduser()).resolve()
    if not source.exists():
        raise RunnerError(
            f"mount `{text}`: there is no `{source}`",
            hint="make the folder first, or correct the path",
            code=ExitCode.NOT_FOUND,
        )
    return Mount(str(source), str(target), read_only=parts[2:] == ["ro"])


def _is_in(target: PurePosixPath, folders: Sequence[str]) -> bool:
    """Whether it is one of these folders or below one."""
    return any(target.is_relative_to(folder) for folder in folders)


def _wrong(text: str, hint: str) -> RunnerError:
    return RunnerError(f"`{text}` is not a mount", hint=hint, code=ExitCode.USAGE)
