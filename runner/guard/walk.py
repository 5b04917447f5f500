"""Make and write below a state folder, where nobody who can write in it leads the host out of it.

Every path is walked name by name (`by_handle`). A link, a file or a pipe in the way is never
followed: it is named, with what to do.
"""

import os
import secrets
import shlex
import stat
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from runner.errors import ExitCode, RunnerError
from runner.guard.by_handle import FILE, FOLDER, NotAFolder, descend, find_kind, open_folder

_NEW_FILE = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC


class InTheWay(RunnerError):  # noqa: N818 - a state of things
    """Something else lies where a folder or file of ours belongs."""

    def __init__(self, path: Path, kind: str, wanted: str = "a folder") -> None:
        super().__init__(
            f"`{path}` is {kind}, but runner needs {wanted} there",
            hint=f"check where it comes from, then `mv {shlex.quote(str(path))} /somewhere/else`",
            code=ExitCode.UNFIT,
        )


@contextmanager
def walk(start: Path, *names: str, mode: int | None = None) -> Iterator[int]:
    """The handle of the folder at the end of `names` below `start`.

    Args:
        start: a folder of the user's; links above it are theirs, it is none itself.
        names: one name each.
        mode: folders of `names` that are missing are made with it, less the umask.

    Raises:
        FileNotFoundError: one is missing, and no mode is given.
        RunnerError: something else lies in the way, or a folder cannot be made or entered.
    """

    def step(name: str, folder: int, path: Path) -> int:
        _check_name(name, path)
        if mode is not None:
            _make(name, folder, path, mode)
        return _enter(name, folder, path)

    handle = descend(_enter(str(start), None, start), start, names, step)
    try:
        yield handle
    finally:
        os.close(handle)


def make_folders(start: Path, *names: str, mode: int = 0o755) -> Path:
    """The folder at the end of `names` below `start`, made where it is missing.

    Raises:
        RunnerError: as `walk`.
    """
    with walk(start, *names, mode=mode):
        return start.joinpath(*names)


def make_file(name: str, folder: int, path: Path) -> None:
    """An empty file where there is nothing; one that is there stays.

    Args:
        name: in the folder.
        folder: its handle.
        path: what errors call the file.

    Raises:
        RunnerError: something else lies there, or it cannot be made.
    """
    _check_name(name, path)
    try:
        os.close(os.open(name, _NEW_FILE, 0o644, dir_fd=folder))
    except FileExistsError:
        kind = find_kind(name, folder)
        if kind != FILE:
            raise InTheWay(path, kind, "a file") from None
    except OSError as error:
        raise _cannot("make", path, error) from error


def replace_file(name: str, folder: int, path: Path, text: str) -> None:
    """Write a file in one step, whatever had its name; the arguments are those of `make_file`.

    Raises:
        RunnerError: it cannot be written.
    """
    _check_name(name, path)
    fresh = f".{name}.{secrets.token_hex(4)}"
    try:
        handle = os.open(fresh, _NEW_FILE, 0o644, dir_fd=folder)
        try:
            with os.fdopen(handle, "w", encoding="utf-8") as file:
                file.write(text)
                os.fchmod(file.fileno(), 0o644)
            if find_kind(name, folder) == FOLDER:
                clear_name(name, folder)
            os.rename(fresh, name, src_dir_fd=folder, dst_dir_fd=folder)
        except BaseException:
            os.unlink(fresh, dir_fd=folder)
            raise
    except OSError as error:
        raise _cannot("write", path, error) from error


def clear_name(name: str, folder: int) -> None:
    """Nothing has this name in the folder any more.

    A link goes, never its target. A folder is only set aside: whoever filled it may have nested it
    deeper than anybody can remove.

    Raises:
        OSError: it cannot be removed.
    """
    try:
        os.unlink(name, dir_fd=folder)
    except FileNotFoundError:
        return
    except (IsADirectoryError, PermissionError):  # POSIX has the second for a folder
        os.rename(name, f".{name}.{secrets.token_hex(4)}", src_dir_fd=folder, dst_dir_fd=folder)


def clear_unless_file(name: str, folder: int) -> None:
    """As `clear_name`, but a regular file stays."""
    with suppress(FileNotFoundError):
        if not stat.S_ISREG(os.lstat(name, dir_fd=folder).st_mode):
            clear_name(name, folder)


def is_empty(folder: int) -> bool:
    """Whether nothing is in the folder."""
    with os.scandir(folder) as entries:
        return next(entries, None) is None


def _check_name(name: str, path: Path) -> None:
    if name in ("", ".", "..") or "/" in name or "\0" in name:
        raise RunnerError(f"`{path}` is not a place for this file", code=ExitCode.UNFIT)


def _make(name: str, folder: int, path: Path, mode: int) -> None:
    try:
        os.mkdir(name, mode, dir_fd=folder)
    except FileExistsError:
        return
    except OSError as error:
        raise _cannot("make", path, error) from error


def _enter(name: str, folder: int | None, path: Path) -> int:
    try:
        return open_folder(name, folder)
    except FileNotFoundError:
        raise
    except NotAFolder as error:
        raise InTheWay(path, error.kind) from error
    except OSError as error:
        raise _cannot("enter", path, error) from error


def _cannot(what: str, path: Path, error: OSError) -> RunnerError:
    return RunnerError(
        f"cannot {what} `{path}`: {error.strerror}",
        hint="see `df -h` and the folder's owner and mode",
    )
