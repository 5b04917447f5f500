"""Root in another user's folder: refuse to start containers, give new files to the owner."""

import os
from contextlib import suppress
from pathlib import Path

from runner.errors import ExitCode, RunnerError
from runner.guard.ownership import as_user, name_user
from runner.state.folder import State


def check_owner(state: State) -> None:
    """Check that containers can be started for this folder.

    Raises:
        RunnerError: the caller is root, and the folder another user's: containers of root have no
            capabilities and could not read or write there.
    """
    there = next(one for one in (state.root, *state.root.parents) if one.exists())
    owner = there.stat().st_uid
    if os.geteuid() != 0 or owner == 0:
        return
    raise RunnerError(
        f"`{there}` belongs to {name_user(owner)}, and containers of root could not write there",
        hint=as_user(owner),
        code=ExitCode.UNFIT,
    )


def chown_to_owner_of(path: Path, folder: Path) -> None:
    """As root, in another user's folder: give the user all files of root at and below `path`."""
    owner = folder.stat()
    if os.geteuid() != 0 or owner.st_uid == 0:
        return
    if path.is_symlink() or not path.is_dir():
        os.chown(path, owner.st_uid, owner.st_gid, follow_symlinks=False)
        return
    # inner folders first: with only CAP_CHOWN, root cannot enter what it has given away;
    # by handles, so that a link cannot redirect the change
    for _, folders, files, handle in os.fwalk(path, topdown=False):
        for name in (*folders, *files, "."):
            _give(name, owner, handle)


def _give(name: str, owner: os.stat_result, handle: int) -> None:
    with suppress(FileNotFoundError):  # a run may remove files meanwhile
        if os.stat(name, dir_fd=handle, follow_symlinks=False).st_uid == 0:
            os.chown(name, owner.st_uid, owner.st_gid, dir_fd=handle, follow_symlinks=False)
