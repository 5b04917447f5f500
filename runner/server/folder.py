"""The data folder: one server at a time, and the key."""

import fcntl
import os
import secrets
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from runner.errors import RunnerError
from runner.guard.by_handle import FILE, GONE, find_kind
from runner.guard.data_folder import check_data_folder
from runner.guard.walk import InTheWay
from runner.server.disk import sync_folder

KEY_LENGTH = 40  # what W&B's client takes for a key
LONGEST_KEY = 1024
_LOCK = os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW | os.O_NONBLOCK


@contextmanager
def locked(data: Path) -> Iterator[None]:
    """Hold the folder, made where there is none; refused while another server holds it.

    Raises:
        RunnerError: another server holds it, it cannot be written, or it is not to be trusted.
    """
    handle = _open_lock(data)
    try:
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
            check_data_folder(data)
            os.ftruncate(handle, 0)
            os.pwrite(handle, f"{os.getpid()}\n".encode(), 0)
        except BlockingIOError:
            raise RunnerError(
                f"another server uses the folder {data}", hint=_how_to_stop(handle)
            ) from None
        except OSError as error:
            raise _unwritable(data, error) from error
        yield
    finally:
        os.close(handle)


def read_key(path: Path) -> str:
    """The key in the file, made where there is no file; the first of two makers wins."""
    try:
        if not path.exists():
            _make_key(path)
        key = path.read_text().strip()
    except (OSError, UnicodeDecodeError) as error:
        raise RunnerError(
            f"the key file {path} cannot be read or made: {error}",
            hint="name another with --key-file",
        ) from error
    if not KEY_LENGTH <= len(key) <= LONGEST_KEY or not key.isascii() or not key.isprintable():
        raise RunnerError(
            f"the key file {path} holds no key: {KEY_LENGTH} or more printable characters",
            hint="remove the file, and the server makes a new key",
        )
    return key


def _how_to_stop(lock: int) -> str:
    """How to end who holds the lock: a process of this machine, or one in a container.

    A process in a container has another number there than here, and comes back where it is killed.
    """
    ours = "`runner down` stops this folder's own server"
    holder = os.pread(lock, 32, 0).decode(errors="replace").strip()
    if not (holder.isascii() and holder.isdecimal()):
        return ours
    with suppress(OSError):
        for handle in Path("/proc", holder, "fd").iterdir():
            with suppress(OSError):
                if os.path.samestat(handle.stat(), os.fstat(lock)):
                    return f"{ours}; `kill {holder}` stops a `runner serve`"
    return ours


def _open_lock(data: Path) -> int:
    lock = data / "lock"
    try:
        data.mkdir(parents=True, exist_ok=True, mode=0o700)
        return os.open(lock, _LOCK, 0o600)
    except OSError as error:
        kind = find_kind(str(lock), None)
        if kind not in (FILE, GONE):
            raise InTheWay(lock, kind, "a file of its own") from error
        raise _unwritable(data, error) from error


def _unwritable(data: Path, error: OSError) -> RunnerError:
    return RunnerError(
        f"the data folder {data} cannot be written: {error.strerror}",
        hint="choose a folder of your own with --data, on a disk that has room",
    )


def _make_key(path: Path) -> None:
    """Made aside, for its owner alone, and linked into place: a kill leaves a whole key or none."""
    path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
    handle, aside = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.")
    try:
        with os.fdopen(handle, "w", encoding="ascii") as file:
            file.write(secrets.token_hex(KEY_LENGTH // 2) + "\n")
            file.flush()
            os.fsync(file.fileno())
        with suppress(FileExistsError):
            os.link(aside, path)
    finally:
        Path(aside).unlink()
    sync_folder(path.parent)
