"""What a run leaves on disk: `last.pt` while it runs, `best.pt` for good."""

from __future__ import annotations

import struct
import zlib
from collections.abc import Iterator, Mapping
from pathlib import Path
from pickle import UnpicklingError
from typing import Any
from zipfile import BadZipFile, ZipFile

import torch
from torch import Tensor

from amt.errors import CheckpointError, DiskError
from amt.files import replace_file
from amt.units import format_bytes

FORMAT = 2  # raise it when a state's keys change their meaning
OVERHEAD_BYTES = 1 << 20  # of a file beyond its tensors: names, indexes, alignment
REMEDY = "free space there, or name another folder in RUNNER_CHECKPOINT_DIR"
# what zipfile and torch.load raise for a file that is cut off, overwritten, or not a checkpoint
_LOAD_ERRORS = (
    BadZipFile,
    RuntimeError,
    EOFError,
    UnpicklingError,
    ValueError,
    LookupError,
    TypeError,
    AttributeError,
    NotImplementedError,
    OverflowError,
    struct.error,
    zlib.error,
)


class Checkpoints:
    """The files of one run; each is replaced whole or not at all."""

    def __init__(self, folder: Path) -> None:
        self._last, self._best = folder / "last.pt", folder / "best.pt"

    def load_last(self) -> dict[str, Any] | None:
        """The state to go on from, if this run was interrupted.

        Raises:
            CheckpointError: the file is damaged or of another version.
        """
        if not self._last.exists():
            return None
        return load_checkpoint(self._last, remedy="remove it to begin this run anew")

    def save_last(self, state: Mapping[str, object]) -> None:
        """Keep the whole state of the training.

        Raises:
            DiskError: the disk is full; the file that was there stays.
        """
        _save(self._last, state)

    def save_best(self, state: Mapping[str, object]) -> None:
        """Keep the averaged weights that scored best so far.

        Raises:
            DiskError: the disk is full; the file that was there stays.
        """
        _save(self._best, state)

    def load_best(self) -> dict[str, Any]:
        """What `save_best` has kept.

        Raises:
            CheckpointError: the file is damaged or missing.
        """
        return load_checkpoint(self._best, remedy="its run has to be repeated")

    def remove_last(self) -> None:
        """The run has ended: there is nothing to go on with."""
        self._last.unlink(missing_ok=True)


def load_checkpoint(path: Path, *, remedy: str) -> dict[str, Any]:
    """Read a file that this module wrote; tensors come on the CPU.

    Raises:
        CheckpointError: it cannot be read; the line names its size and the remedy.
    """
    size = "unknown size"
    try:
        size = format_bytes(path.stat().st_size)
        _compare_checksums(path)
        state: dict[str, Any] = torch.load(path, map_location="cpu", weights_only=True)
    except _LOAD_ERRORS as error:
        raise CheckpointError(f"`{path}` ({size}) is damaged; {remedy}") from error
    except OSError as error:
        raise CheckpointError(
            f"cannot read `{path}` ({size}): {error.strerror or remedy}"
        ) from error
    if not isinstance(state, dict) or state.get("format") != FORMAT:
        raise CheckpointError(f"`{path}` ({size}) is not a checkpoint of this version; {remedy}")
    return state


def _compare_checksums(path: Path) -> None:
    """A checkpoint is a zip file; torch reads it without looking at the checksums in it."""
    with ZipFile(path) as archive:
        if (damaged := archive.testzip()) is not None:
            raise BadZipFile(damaged)


def _save(path: Path, state: Mapping[str, object]) -> None:
    content = {"format": FORMAT, **state}
    size = sum(one.nbytes for one in _tensors(content)) + OVERHEAD_BYTES
    with replace_file(path, size_bytes=size, remedy=REMEDY) as file:
        try:
            torch.save(content, file)
        except RuntimeError as error:  # what torch makes of a failed write
            raise DiskError(f"cannot write `{path}` ({format_bytes(size)}); {REMEDY}") from error


def _tensors(value: object) -> Iterator[Tensor]:
    if isinstance(value, Tensor):
        yield value
    elif isinstance(value, Mapping):
        for one in value.values():
            yield from _tensors(one)
    elif isinstance(value, list | tuple):
        for one in value:
            yield from _tensors(one)
