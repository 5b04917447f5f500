"""Fetch a backup of a running sweep server over HTTP (`GET /backup` of our server)."""

import os
import tarfile
from pathlib import Path

from runner.backend.http import ErrorAnswer, Http, NoAnswer
from runner.errors import ExitCode, RunnerError

_NEW_FILE = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
TIMEOUT_S = 600.0  # the server copies its database before it answers


def fetch_backup(url: str, key: str, file: Path, *, ca_bundle: Path | None = None) -> Path:
    """Write a whole backup to `file`, or nothing.

    Args:
        url: of the server, without a path.
        key: the server's own key.
        file: the tar file to write.
        ca_bundle: trusted certificates; None: the system's.

    Raises:
        RunnerError: the file exists, the server refuses (4) or breaks off, or the disk is full (1).
    """
    if os.path.lexists(file):
        raise RunnerError(f"`{file}` exists already", hint="name another file")
    part = file.with_name(f"{file.name}.part")
    _clear(part)
    try:
        with (
            Http(url, key, ca_bundle=ca_bundle).stream("/backup", timeout_s=TIMEOUT_S) as pieces,
            os.fdopen(os.open(part, _NEW_FILE, 0o600), "wb") as target,
        ):
            target.writelines(pieces)
            target.flush()
            os.fsync(target.fileno())
        _check(part)
        part.rename(file)
    except ErrorAnswer as error:
        code = ExitCode.AUTH if error.status in (401, 403) else ExitCode.FAILED
        raise RunnerError(f"{url} answered {error.status} to a backup", code=code) from error
    except (OSError, NoAnswer) as error:
        why = error.why if isinstance(error, NoAnswer) else error.strerror
        raise RunnerError(
            f"the backup of {url} is incomplete: {why}",
            hint="check the free space here and on the server",
        ) from error
    finally:
        part.unlink(missing_ok=True)
    return file


def _clear(part: Path) -> None:
    """Remove what a killed call has left; of a link that a stranger left, the link alone."""
    try:
        part.unlink(missing_ok=True)
    except OSError as error:
        raise RunnerError(
            f"cannot write `{part}`: {error.strerror}", hint="name a file elsewhere"
        ) from error


def _check(part: Path) -> None:
    """Refuse a tar file without its end blocks, which `tarfile` would accept."""
    with part.open("rb") as file:
        file.seek(-min(part.stat().st_size, 2 * tarfile.BLOCKSIZE), os.SEEK_END)
        if file.read() != bytes(2 * tarfile.BLOCKSIZE):
            raise NoAnswer("its answer broke off")
