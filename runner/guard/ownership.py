"""Check the owner of a folder: ignore other users' folders, as git's `safe.directory` does."""

import grp
import os
import pwd
import shlex
import stat
from collections.abc import Iterable, Iterator
from contextlib import suppress
from pathlib import Path

from runner.agent.contract.paths import CODE_LINK
from runner.errors import ExitCode, RunnerError
from runner.guard.git import ask_git, find_git_root

# our folders that contain more of our folders
_NESTED = ("secrets", "cache", "compose")
# folders that containers write: programs may change their modes, and we do not trust them
_CONTAINERS = ("runs", "work", "checkpoints", "agents")
_OWN_LINK = Path("compose", CODE_LINK)  # Compose's services make it each time


def walk_up(start: Path) -> Iterator[Path]:
    """`start`, then the folders above it, up to the first that another user may have written.

    The caller chose `start`, so its owner does not matter. A folder above it counts if it belongs
    to the caller (for root: also to the owner of `start`) and not everybody can write to it.
    """
    yield start
    owners = find_trusted(start)
    for folder in start.parents:
        try:
            found = folder.stat()
        except OSError:
            return
        if found.st_uid not in owners or found.st_mode & stat.S_IWOTH:
            return
        yield folder


def check_state_folder(root: Path, start: Path, *, read_only: bool) -> None:
    """Check that the state folder `root` can be trusted by a call from `start`.

    Args:
        root: the existing state folder.
        start: the folder that the command was called in.
        read_only: do not correct modes that only the user's own group can abuse.

    Raises:
        RunnerError: it is a link or contains links, belongs to another user, others can write to
            it, or git tracks files in it (6).
    """
    owners = find_trusted(start)
    theirs = {root / name for name in (*_CONTAINERS, "cache/agents")}
    for folder in (root, *_own_folders(root)):
        check_owner(folder, owners)
        if folder not in theirs:
            check_mode(folder, read_only=read_only)
    _check_untracked(root)


def name_user(uid: int) -> str:
    """The user's name, or `#4242` in the form that sudo accepts."""
    try:
        return pwd.getpwuid(uid).pw_name
    except KeyError:
        return f"#{uid}"


def as_user(uid: int) -> str:
    """The shell command to call runner as this user, for hints."""
    return f"`sudo -u {shlex.quote(name_user(uid))} runner …`"


def find_trusted(start: Path) -> frozenset[int]:
    """The trusted owners: the caller; for root also the user who called sudo or owns `start`."""
    me = os.geteuid()
    if me != 0:
        return frozenset((me,))
    called_by = os.environ.get("SUDO_UID", "")
    named = {int(called_by)} if called_by.isdecimal() else set()
    with suppress(OSError):
        named.add(start.stat().st_uid)
    return frozenset((me, *named))


def _own_folders(root: Path) -> Iterator[Path]:
    for name in (".", *_NESTED):
        folder = root / name
        if folder.is_symlink() or not folder.is_dir():
            continue
        try:
            entries = list(os.scandir(folder))
        except OSError:  # another user's; the error comes if a command needs it
            continue
        for entry in entries:
            if entry.is_symlink() and Path(entry.path) == root / _OWN_LINK:
                continue
            if entry.is_symlink() or entry.is_dir(follow_symlinks=False):
                yield folder / entry.name


def check_owner(folder: Path, owners: Iterable[int]) -> None:
    """Check that one of these users owns the folder, and that it is not a link.

    Raises:
        RunnerError: it is a link, or another user's (6).
    """
    found = folder.lstat()
    if stat.S_ISLNK(found.st_mode):
        raise RunnerError(
            f"`{folder}` is a link: it could lead anywhere, and runner writes there",
            hint=f"`rm {shlex.quote(str(folder))}`; for another disk set `RUNNER_HOME`",
            code=ExitCode.UNFIT,
        )
    if found.st_uid not in owners:
        whose = name_user(found.st_uid)
        raise RunnerError(
            f"`{folder}` belongs to {whose}, but you are {name_user(os.geteuid())}",
            hint=f"{as_user(found.st_uid)}, or use your own state folder: `RUNNER_HOME=/a/folder`",
            code=ExitCode.UNFIT,
        )


def check_mode(folder: Path, *, read_only: bool) -> None:
    """Check that no other user can write to the folder; `read_only` as in `check_state_folder`.

    Raises:
        RunnerError: somebody can (6).
    """
    found = folder.stat()
    others = found.st_mode & (stat.S_IWGRP | stat.S_IWOTH)
    if not others:
        return
    if others == stat.S_IWGRP and _is_private(found):
        if not read_only:
            folder.chmod(stat.S_IMODE(found.st_mode) & ~stat.S_IWGRP)
        return
    who = "everybody" if others & stat.S_IWOTH else f"the group {_name_group(found.st_gid)}"
    raise RunnerError(
        f"`{folder}` can be changed by {who}, so others may have put files there",
        hint=f"if you trust its files: `chmod -R go-w {shlex.quote(str(folder))}`",
        code=ExitCode.UNFIT,
    )


def _is_private(found: os.stat_result) -> bool:
    """Whether the group is private: the owner's name and number, without other members."""
    try:
        group = grp.getgrgid(found.st_gid)
    except KeyError:
        return found.st_gid == found.st_uid
    owner = name_user(found.st_uid)
    return group.gr_name == owner and {*group.gr_mem} <= {owner}


def _name_group(gid: int) -> str:
    try:
        return grp.getgrgid(gid).gr_name
    except KeyError:
        return f"#{gid}"


def _check_untracked(root: Path) -> None:
    if find_git_root(root.parent) is None:
        return
    listed = ask_git(root.parent, "ls-files", "-z", "--", root.name)
    if listed is None or listed.returncode or not listed.stdout:
        return
    first = os.fsdecode(listed.stdout).split("\0", 1)[0]
    raise RunnerError(
        f"`{root}` came with the repository: git tracks `{first}`",
        hint=f"check it, then `git rm -r --cached {shlex.quote(root.name)}` and "
        f"`rm -r {shlex.quote(root.name)}`",
        code=ExitCode.UNFIT,
    )
