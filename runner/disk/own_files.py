"""Read and write runner's own small files, replaced in one step."""

import json
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from runner.disk.temporary import make_name
from runner.errors import RunnerError
from runner.guard.foreign_files import OWN_BYTES, DamagedFile, read_foreign_object


def read_json(path: Path) -> dict[str, Any] | None:
    """The JSON object in one of our files; None if it is missing or not an object.

    Raises:
        RunnerError: the file exists but cannot be read (1).
    """
    try:
        return read_foreign_object(path, max_bytes=OWN_BYTES)
    except FileNotFoundError:
        return None
    except DamagedFile as error:
        if isinstance(error.__cause__, PermissionError):
            raise RunnerError(
                f"cannot read `{path}`: {error.__cause__.strerror}",
                hint="check the folder's owner and mode",
            ) from error
        return None


def write_atomic(path: Path, text: str, *, mode: int = 0o644) -> None:
    """Replace a file in one step; readers see the old text or the new, never a part.

    Raises:
        RunnerError: the disk is full, or the folder cannot be written (1).
    """
    try:
        _replace(path, text, mode)
    except OSError as error:
        raise RunnerError(
            f"cannot write `{path}`: {error.strerror}",
            hint="see `df -h` and the folder's owner and mode",
        ) from error


def _replace(path: Path, text: str, mode: int) -> None:
    path.parent.mkdir(mode=0o755, parents=True, exist_ok=True)
    fresh = path.with_name(f".{path.name}.{make_name()}")
    try:
        handle = os.open(fresh, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
        with os.fdopen(handle, "w", encoding="utf-8") as file:
            file.write(text)
            os.fchmod(file.fileno(), mode)
        fresh.replace(path)
    except BaseException:
        fresh.unlink(missing_ok=True)
        raise


def write_json(path: Path, value: Mapping[str, object], *, mode: int = 0o644) -> None:
    """Write one of our own files; raises as `write_atomic`."""
    write_atomic(path, json.dumps(value, indent=1) + "\n", mode=mode)
