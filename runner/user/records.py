"""Records of one user outside of projects, so that no project can bring its own."""

import hashlib
import json
import os
import pwd
import stat
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any

from runner.disk.own_files import write_atomic
from runner.errors import RunnerError
from runner.guard.foreign_files import DamagedFile, read_foreign_object


def find_user_folder(environ: Mapping[str, str]) -> Path:
    """`$XDG_STATE_HOME/runner`, by default `~/.local/state/runner`; it may not exist.

    Skips a folder of another user, which `sudo` may leave in the environment. Without a writable
    one, it is a folder in the system's temporary folder.
    """
    for base in _bases(environ):
        there = next(one for one in (base, *base.parents) if os.path.lexists(one))
        if _is_mine(there) and os.access(there, os.W_OK):
            return base / "runner"
    return Path(tempfile.gettempdir(), f"runner-{os.geteuid()}")


def read_record(kind: str, folder: Path, environ: Mapping[str, str]) -> dict[str, Any]:
    """The record about `folder`, a project or a state folder; empty if there is none.

    Args:
        kind: of record; each kind has its own files.
        folder: an absolute path.
        environ: the process's environment.
    """
    file = _file(kind, folder, environ)
    try:
        if not all(_is_mine(one) for one in (file.parent.parent, file.parent, file)):
            return {}
        record = read_foreign_object(file)
    except (OSError, DamagedFile):
        return {}
    return record if record.get("folder") == str(folder) else {}


def write_record(
    kind: str, folder: Path, fields: Mapping[str, object], environ: Mapping[str, str]
) -> None:
    """Replace the record about `folder` by `fields`.

    Raises:
        RunnerError: the file cannot be written (1).
    """
    file = _file(kind, folder, environ)
    try:
        file.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    except OSError as error:
        raise RunnerError(
            f"cannot make `{file.parent}`: {error.strerror}",
            hint="set `XDG_STATE_HOME` to a folder of yours",
        ) from error
    for one in (file.parent.parent, file.parent):
        if not _is_mine(one):
            raise RunnerError(
                f"`{one}` is not a folder that only you can write",
                hint="set `XDG_STATE_HOME` to one",
            )
    text = json.dumps({"folder": str(folder), **fields}, indent=1) + "\n"
    write_atomic(file, text, mode=0o600)


def _file(kind: str, folder: Path, environ: Mapping[str, str]) -> Path:
    name = hashlib.sha256(os.fsencode(folder)).hexdigest()[:32]
    return find_user_folder(environ) / kind / f"{name}.json"


def _bases(environ: Mapping[str, str]) -> Iterator[Path]:
    """Possible parent folders, the preferred one first."""
    if named := environ.get("XDG_STATE_HOME"):
        yield Path(named)
    homes = [environ.get("HOME")]
    with suppress(KeyError):  # the account does not exist
        homes.append(pwd.getpwuid(os.geteuid()).pw_dir)
    yield from (Path(home, ".local", "state") for home in homes if home)


def _is_mine(path: Path) -> bool:
    """Whether this user owns the folder and nobody else can write to it; False for a link."""
    try:
        found = path.lstat()
    except OSError:
        return False
    writable = found.st_mode & (stat.S_IWGRP | stat.S_IWOTH)
    return found.st_uid == os.geteuid() and not writable and not stat.S_ISLNK(found.st_mode)
