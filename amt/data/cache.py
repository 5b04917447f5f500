"""Data sets on disk, made once and shared by every process of the machine.

A data set is a folder of plain `.npy` files, mapped into memory: agents in several containers
that mount the same cache share one copy in the page cache, and a batch reads only its rows.
"""

from __future__ import annotations

import fcntl
import logging
import os
import shutil
from collections.abc import Iterable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np
from numpy.lib import format as npy
from numpy.typing import NDArray

from amt.errors import DiskError
from amt.files import reserve, sync_folder
from amt.units import format_bytes

REMEDY = "free space there, or name another folder in AMT_CACHE"

_log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Column:
    """One array of a data set: rows of this type and shape."""

    kind: type[np.generic]
    shape: tuple[int, ...]

    def size_bytes(self, rows: int) -> int:
        """Of so many rows, without the file's header."""
        return rows * int(np.prod(self.shape)) * np.dtype(self.kind).itemsize


Columns = Mapping[str, Column]
Arrays = Mapping[str, NDArray[Any]]


def open_arrays(folder: Path, columns: Columns, *, rows: int, chunks: Iterable[Arrays]) -> Arrays:
    """Map a data set, after making it where it is missing or damaged.

    Args:
        folder: its place; the name says all that its content depends on.
        columns: what it consists of.
        rows: how many there are.
        chunks: some rows of all columns at a time, `rows` in all; only read to make the data set.

    Raises:
        DiskError: the disk has no room left.
    """
    if _find_damage(folder, columns, rows) is not None:
        _make_folder(folder.parent)
        with _locked(folder.with_name(folder.name + ".lock")):
            damage = _find_damage(folder, columns, rows)
            if damage is not None:
                if folder.exists():
                    _log.warning(
                        "the data set `%s` is damaged (%s): making it anew", folder, damage
                    )
                _write(folder, columns, rows, chunks)
    return {name: np.load(folder / f"{name}.npy", mmap_mode="r") for name in columns}


def _find_damage(folder: Path, columns: Columns, rows: int) -> str | None:
    """What differs from a whole data set, or None."""
    for name, column in columns.items():
        file = folder / f"{name}.npy"
        try:
            mapped = np.load(file, mmap_mode="r")
        except OSError as error:
            return f"{file.name}: {error.strerror}"
        except (ValueError, EOFError, SyntaxError):
            return f"{file.name} has {format_bytes(file.stat().st_size)}"
        if mapped.shape != (rows, *column.shape) or mapped.dtype != column.kind:
            return f"{file.name} holds {mapped.dtype} of {mapped.shape}"
    return None


def _make_folder(folder: Path) -> None:
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise DiskError.of(folder, 0, error, REMEDY) from error


@contextmanager
def _locked(path: Path) -> Iterator[None]:
    """Hold the file's lock; the kernel frees that of a process that dies."""
    try:
        file = path.open("w")
    except OSError as error:
        raise DiskError.of(path, 0, error, REMEDY) from error
    with file:
        fcntl.flock(file, fcntl.LOCK_EX)
        yield


def _write(folder: Path, columns: Columns, rows: int, chunks: Iterable[Arrays]) -> None:
    """Fill the files beside their place, then rename the folder: it is whole or not there."""
    size = sum(column.size_bytes(rows) for column in columns.values())
    draft = folder.with_name(folder.name + ".part")
    try:
        shutil.rmtree(draft, ignore_errors=True)  # of a process that was killed
        _log.info("making %d scenes in `%s`: %s", rows, folder, format_bytes(size))
        draft.mkdir()
        with ExitStack() as stack:
            files = {
                name: stack.enter_context(_begin_column(draft / f"{name}.npy", column, rows))
                for name, column in columns.items()
            }
            for chunk in chunks:
                for name, file in files.items():
                    file.write(np.ascontiguousarray(chunk[name], columns[name].kind).data)
        sync_folder(draft)
        shutil.rmtree(folder, ignore_errors=True)  # a damaged one
        draft.rename(folder)
        sync_folder(folder.parent)
    except OSError as error:
        raise DiskError.of(folder, size, error, REMEDY) from error
    finally:
        shutil.rmtree(draft, ignore_errors=True)


@contextmanager
def _begin_column(path: Path, column: Column, rows: int) -> Iterator[BinaryIO]:
    """A `.npy` file after its header, with the space for all rows reserved."""
    with path.open("wb") as file:
        header = {"descr": np.dtype(column.kind).str, "fortran_order": False}
        npy.write_array_header_1_0(file, header | {"shape": (rows, *column.shape)})
        file.flush()
        reserve(file, file.tell() + column.size_bytes(rows))
        yield file
        file.flush()
        os.fsync(file.fileno())
