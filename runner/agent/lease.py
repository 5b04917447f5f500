"""The lease of a GPU: a kernel lock that all users and engines of a host share."""

import contextlib
import fcntl
import os
import stat
from pathlib import Path

from runner.agent.refusals import RefusedError

_FOLDER = os.O_RDONLY | os.O_CLOEXEC | os.O_NOFOLLOW | os.O_DIRECTORY
_FILE = os.O_RDONLY | os.O_CLOEXEC | os.O_NOFOLLOW | os.O_NONBLOCK
_OVERFLOW = 65534  # who an owner is that a user namespace does not know


class Lease:
    """Held from `take` until the process ends, however it ends, and any run that has `handle`."""

    def __init__(self, handle: int) -> None:
        self.handle = handle  # a run inherits it: while one lives on, the GPU is not free

    @classmethod
    def take(cls, folder: Path, gpu_uuid: str, *, mounted: bool = False) -> "Lease":
        """Lock this GPU for us.

        Args:
            folder: of all leases, or with that of our GPU alone.
            gpu_uuid: names the file.
            mounted: this is a container, and who made it has looked at the folder.

        Raises:
            RefusedError: somebody else holds it, or the folder cannot be used.
        """
        file = folder / gpu_uuid
        try:
            place = os.open(folder, _FOLDER) if mounted else open_folder(folder)
            try:
                return cls(_lock(gpu_uuid, place))
            finally:
                os.close(place)
        except BlockingIOError as error:
            raise RefusedError(
                f"the lease of `{gpu_uuid}` is held by another agent (`{file}`)"
            ) from error
        except OSError as error:
            raise RefusedError(f"cannot take the lease `{file}`: {error.strerror}") from error

    def touch(self) -> None:
        """Keep the file young: systems clean `/var/tmp` of old ones."""
        with contextlib.suppress(PermissionError):  # the lock holds, whoever owns the file
            os.utime(self.handle)


def make_lease(folder: Path, gpu_uuid: str) -> None:
    """The file of this GPU, which its agent then has as a mount.

    Raises:
        RefusedError: it cannot be made, or something else lies there.
    """
    try:
        place = open_folder(folder)
        try:
            os.close(_open(gpu_uuid, place))
        finally:
            os.close(place)
    except OSError as error:
        raise RefusedError(
            f"cannot make the lease `{folder / gpu_uuid}`: {error.strerror}"
        ) from error


def open_folder(folder: Path) -> int:
    """The handle of the folder of all leases, writable for all users of the host like `/tmp`.

    It is made where it is missing. It is root's or ours: its owner may take leases away in it.
    Root takes over one that another user was the first to make.

    Raises:
        RefusedError: it is something else.
        OSError: it cannot be made or opened.
    """
    with contextlib.suppress(FileExistsError):
        folder.mkdir(parents=True)
        folder.chmod(0o1777)  # mkdir's mode is cut by the umask
    found = folder.lstat()
    if not stat.S_ISDIR(found.st_mode):
        kind = "a link" if stat.S_ISLNK(found.st_mode) else "not a folder"
        raise RefusedError(
            f"`{folder}` is {kind}: nobody's leases of GPUs can be seen there",
            f"who is root removes it: `rm {folder}`",
        )
    handle = os.open(folder, _FOLDER)
    try:
        _check_folder(folder, handle)
    except BaseException:
        os.close(handle)
        raise
    return handle


def _check_folder(folder: Path, handle: int) -> None:
    found = os.fstat(handle)
    if found.st_mode & stat.S_IWOTH and not found.st_mode & stat.S_ISVTX:
        raise RefusedError(
            f"in `{folder}` everybody may remove everybody's leases of GPUs",
            f"who owns it corrects it: `chmod 1777 {folder}`",
        )
    if found.st_uid in _find_owners():
        return
    if os.geteuid() == 0:
        os.fchown(handle, 0, 0)
        return
    raise RefusedError(
        f"`{folder}` belongs to user {found.st_uid}, who may take leases of GPUs away in it",
        f"root makes it everybody's: `sudo chown root {folder}`",
    )


def _find_owners() -> "set[int]":
    ours = {0, os.geteuid()}
    with contextlib.suppress(OSError):
        known = Path("/proc/self/uid_map").read_text("utf-8").split()
        if known != ["0", "0", "4294967295"]:  # within a rootless engine root has no name
            ours.add(_OVERFLOW)
    return ours


def _lock(name: str, folder: int) -> int:
    while True:
        handle = _open(name, folder)
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
            if _is_at(handle, name, folder):
                _check_there(handle)
                return handle
        except BaseException:
            os.close(handle)
            raise
        os.close(handle)  # a clean-up took the file away meanwhile


def _open(name: str, folder: int) -> int:
    """Read only: `fs.protected_regular` refuses to create over another user's file."""
    while True:
        with contextlib.suppress(FileNotFoundError):
            handle = os.open(name, _FILE, dir_fd=folder)
            if stat.S_ISREG(os.fstat(handle).st_mode):
                return handle
            os.close(handle)
            raise OSError(22, "not a regular file")
        try:
            handle = os.open(name, _FILE | os.O_CREAT | os.O_EXCL, 0o666, dir_fd=folder)
        except FileExistsError:
            continue
        os.fchmod(handle, 0o666)
        return handle


def _check_there(handle: int) -> None:
    """A mount stays, although its file was removed from the host: others lock another one."""
    if not os.fstat(handle).st_nlink:
        raise FileNotFoundError(2, "a clean-up removed its file; `runner up` makes it anew")


def _is_at(handle: int, name: str, folder: int) -> bool:
    held = os.fstat(handle)
    try:
        there = os.lstat(name, dir_fd=folder)
    except FileNotFoundError:
        return False
    return (held.st_dev, held.st_ino) == (there.st_dev, there.st_ino)
