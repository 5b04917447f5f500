"""Root in another user's folder: what it may start there, and whose its files become."""

import os
from contextlib import suppress
from pathlib import Path

from runner.errors import ExitCode, RunnerError
from runner.guard.ownership import as_user, name_user
from runner.state.folder import State


def check_owner(state: State) -> None:
    """Whether containers may be started for this folder.

    Raises:
        RunnerError: root works in another user's folder, where its containers, which have no
            capabilities, may neither read nor write.
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
    """As root in a folder of another user's: give them what is root's at `path` and below it."""
    owner = folder.stat()
    if os.geteuid() != 0 or owner.st_uid == 0:
        return
    if path.is_symlink() or not path.is_dir():
        os.chown(path, owner.st_uid, owner.st_gid, follow_symlinks=False)
        return
    # the inner first: who has no more than CAP_CHOWN cannot enter what it has given away;
    # by handles: nobody can put a link in the way
    for _, folders, files, handle in os.fwalk(path, topdown=False):
        for name in (*folders, *files, "."):
            _give(name, owner, handle)


def _give(name: str, owner: os.stat_result, handle: int) -> None:
    with suppress(FileNotFoundError):  # of a run that goes on meanwhile
        if os.stat(name, dir_fd=handle, follow_symlinks=False).st_uid == 0:
            os.chown(name, owner.st_uid, owner.st_gid, dir_fd=handle, follow_symlinks=False)
