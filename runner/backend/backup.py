"""A backup of a running sweep server, fetched over HTTP."""

import base64
import http.client
import os
import shutil
import tarfile
import urllib.error
import urllib.request
from pathlib import Path

from runner.backend.client import describe_silence
from runner.backend.reach import make_opener
from runner.errors import ExitCode, RunnerError

TIMEOUT_S = 600.0  # the server copies its database before it answers


def fetch_backup(url: str, key: str, file: Path, *, ca_bundle: Path | None = None) -> Path:
    """Write a whole backup to `file`, or nothing.

    Raises:
        RunnerError: the file is there already, the server refuses or breaks off, the disk is full.
    """
    if file.exists():
        raise RunnerError(f"`{file}` is there already", hint="name another file")
    token = base64.b64encode(f"api:{key}".encode()).decode()
    request = urllib.request.Request(  # noqa: S310 - the URL is the user's own setting
        f"{url}/backup", headers={"Authorization": f"Basic {token}"}
    )
    part = file.with_name(f"{file.name}.part")
    try:
        with (
            make_opener(url, ca_bundle).open(request, timeout=TIMEOUT_S) as answer,
            os.fdopen(os.open(part, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), "wb") as target,
        ):
            shutil.copyfileobj(answer, target, 1 << 20)
            target.flush()
            os.fsync(target.fileno())
        _check(part)
        part.rename(file)
    except urllib.error.HTTPError as error:
        with error:
            code = ExitCode.AUTH if error.code in (401, 403) else ExitCode.FAILED
            raise RunnerError(f"{url} answered {error.code} to a backup", code=code) from error
    except (OSError, http.client.HTTPException) as error:
        raise RunnerError(
            f"the backup of {url} is not whole: {describe_silence(error)}",
            hint="is there room on the disks here and there?",
        ) from error
    finally:
        part.unlink(missing_ok=True)
    return file


def _check(part: Path) -> None:
    """A tar file that broke off has no end, which `tarfile` overlooks."""
    with part.open("rb") as file:
        file.seek(-min(part.stat().st_size, 2 * tarfile.BLOCKSIZE), os.SEEK_END)
        if file.read() != bytes(2 * tarfile.BLOCKSIZE):
            raise http.client.IncompleteRead(b"")
