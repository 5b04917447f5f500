"""Make folders and write files below a state folder, without following links out of it.

Every path is opened name by name (`by_handle`). A link, a file or a pipe in the way is an error
with a hint.
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
    """Something else is in the place of one of our folders or files."""

    def __init__(self, path: Path, kind: str, wanted: str = "a folder") -> None:
        super().__init__(
            f"`{path}` is {kind}, but runner needs {wanted} there",
            hint=f"check where it comes from, then `mv {shlex.quote(str(path))} /somewhere/else`",
            code=ExitCode.UNFIT,
        )


@contextmanager
def walk(start: Path, *names: str, mode: int | None = None) -> Iterator[int]:
    """Open the folder at the end of `names` below `start`; gives its handle.

    Args:
        start: a folder of the user, not a link; links above it are allowed.
        names: single names, not paths.
        mode: makes missing folders of `names` with this mode, less the umask; None: do not make.

    Raises:
        FileNotFoundError: a folder is missing and `mode` is None.
        RunnerError: something else is in the way, or a folder cannot be made or opened (6).
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
    """Make the folder at the end of `names` below `start`, if missing; return its path.

    Raises:
        RunnerError: as `walk`.
    """
    with walk(start, *names, mode=mode):
        return start.joinpath(*names)


def make_file(name: str, folder: int, path: Path) -> None:
    """Make an empty file; keep an existing one.

    Args:
        name: in the folder.
        folder: its handle.
        path: of the file, for errors.

    Raises:
        RunnerError: something else is there, or it cannot be made.
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
    """Replace a file, or whatever has its name, in one step. Arguments as in `make_file`.

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
    """Remove this name from the folder.

    Removes a link and not its target. Only renames a folder: a program may have nested it too deep
    to remove.

    Raises:
        OSError: it cannot be removed.
    """
    try:
        os.unlink(name, dir_fd=folder)
    except FileNotFoundError:
        return
    except (IsADirectoryError, PermissionError):  # POSIX raises the second for a folder
        os.rename(name, f".{name}.{secrets.token_hex(4)}", src_dir_fd=folder, dst_dir_fd=folder)


def clear_unless_file(name: str, folder: int) -> None:
    """Remove this name as `clear_name` does, unless it is a regular file."""
    with suppress(FileNotFoundError):
        if not stat.S_ISREG(os.lstat(name, dir_fd=folder).st_mode):
            clear_name(name, folder)


def is_empty(folder: int) -> bool:
    """Whether the folder is empty."""
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
