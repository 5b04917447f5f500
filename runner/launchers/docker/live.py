"""`--live`: runs work in the project's own folder, not in a copy of it."""

from dataclasses import dataclass
from pathlib import Path, PurePosixPath

from runner.agent.contract import paths
from runner.engine.types import Mount
from runner.errors import ExitCode, RunnerError
from runner.guard.sources import find_danger
from runner.state.folder import FOLDER, State

HIDDEN = "ro,mode=0755,size=4k"  # options of the tmpfs that covers a state folder


@dataclass(frozen=True, slots=True)
class LiveFolder:
    """The project's folder as runs get it."""

    root: Path
    hidden: tuple[str, ...] = ()  # state folders in it, which hold keys
    kept: tuple[str, ...] = ()  # read-only: git on the host executes what its files name
    installed: bool = False  # the image's packages may come from `paths.PROJECT`

    def mounts(self) -> tuple[Mount, ...]:
        """The folder as working folder; read-only also where the image has it installed."""
        root = str(self.root)
        more = (Mount(root, paths.PROJECT, read_only=True),) if self.installed else ()
        kept = [
            Mount(str(self.root / name), f"{paths.WORKSPACE}/{name}", read_only=True)
            for name in self.kept
        ]
        return (Mount(root, paths.WORKSPACE), *kept, *more)

    def tmpfs(self) -> dict[str, str]:
        """What covers the state folders, by path."""
        places = (paths.WORKSPACE, *([paths.PROJECT] if self.installed else []))
        covered = [str(PurePosixPath(place) / one) for place in places for one in self.hidden]
        return dict.fromkeys(covered, HIDDEN)


def find_live_folder(
    root: Path, state: State, *, installed: bool, by_flag: bool = False
) -> LiveFolder:
    """The project's folder for runs.

    Args:
        root: of the project.
        state: the state folder of the fleet.
        installed: the image has the project.
        by_flag: the user asked for it in this call, not a file of the project.

    Raises:
        RunnerError: programs would get more than a project (6).
    """
    place = root.resolve()
    # a flag may share a project below /opt
    if danger := find_danger(place, read_only=by_flag):
        raise RunnerError(
            f"with `--live` every run would get {danger}",
            hint="move the project into a folder of its own",
            code=ExitCode.UNFIT,
        )
    states = {place / FOLDER, state.root.resolve()}
    inside = [one for one in states if one.is_relative_to(place) and one.is_dir()]
    hidden = tuple(sorted(str(one.relative_to(place)) for one in inside if not one.is_symlink()))
    git = place / ".git"
    kept = (git.name,) if git.exists() and not git.is_symlink() else ()
    return LiveFolder(place, hidden, kept, installed)
