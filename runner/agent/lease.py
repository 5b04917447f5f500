"""The lease of a GPU: a kernel lock that all users and engines of a host share."""

import contextlib
import fcntl
import os
from pathlib import Path

from runner.agent.refusals import RefusedError


class Lease:
    """Held from `take` until the process ends, however it ends, and any run that has `handle`."""

    def __init__(self, handle: int) -> None:
        self.handle = handle  # a run inherits it: while one lives on, the GPU is not free

    @classmethod
    def take(cls, folder: Path, gpu_uuid: str) -> "Lease":
        """Lock this GPU for us.

        Raises:
            RefusedError: somebody else holds it, or the folder cannot be used.
        """
        file = folder / gpu_uuid
        try:
            make_folder(folder)
            while True:
                handle = _open(file)
                fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
                if _is_at(handle, file):
                    return cls(handle)
                os.close(handle)  # a clean-up took the file away meanwhile
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


def make_folder(folder: Path) -> None:
    """The folder of all leases, writable for all users of the host like `/tmp`."""
    try:
        folder.mkdir(parents=True)
    except FileExistsError:
        return
    folder.chmod(0o1777)  # mkdir's mode is cut by the umask


def _open(file: Path) -> int:
    """Read only: `fs.protected_regular` refuses to create over another user's file."""
    flags = os.O_RDONLY | os.O_CLOEXEC | os.O_NOFOLLOW
    while True:
        with contextlib.suppress(FileNotFoundError):
            return os.open(file, flags)
        try:
            handle = os.open(file, flags | os.O_CREAT | os.O_EXCL, 0o666)
        except FileExistsError:
            continue
        os.fchmod(handle, 0o666)
        return handle


def _is_at(handle: int, file: Path) -> bool:
    held = os.fstat(handle)
    try:
        there = file.lstat()
    except FileNotFoundError:
        return False
    return (held.st_dev, held.st_ino) == (there.st_dev, there.st_ino)
