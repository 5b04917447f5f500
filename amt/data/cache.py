"""The rendered scenes, made once and shared by every process of the machine.

A data set is a folder of plain `.npy` files, mapped into memory: agents in several containers
that mount the same cache share one copy in the page cache.
"""

from __future__ import annotations

import fcntl
import logging
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np

from amt.data.dataset import Dataset
from amt.data.synthetic.grasp import sample_scenes
from amt.data.synthetic.render import crop_intrinsics, render

_log = logging.getLogger(__name__)

FORMAT = 2  # in the folder's name: raise it when scenes or files change
CHUNK = 256
_FILES = ("images", "joints", "intrinsics")


def open_synthetic(cache: Path, *, count: int, size_px: int, seed: int) -> Dataset:
    """Map the data set of this count, size and seed; render it first if nobody has."""
    folder = cache / f"synthetic-{FORMAT}-{size_px}px-{count}-{seed}"
    if not folder.exists():
        cache.mkdir(parents=True, exist_ok=True)
        with _locked(folder.with_suffix(".lock")):
            if not folder.exists():
                _render_into(folder, count=count, size_px=size_px, seed=seed)
    arrays = (np.load(folder / f"{name}.npy", mmap_mode="r") for name in _FILES)
    return Dataset(*arrays)


@contextmanager
def _locked(path: Path) -> Iterator[None]:
    """Hold the file's lock; the kernel frees that of a process that dies."""
    with path.open("w") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        yield


def _render_into(folder: Path, *, count: int, size_px: int, seed: int) -> None:
    """Write the files beside their place and rename the folder: it is whole or not there."""
    _log.info("rendering %d scenes of %d px into %s", count, size_px, folder)
    draft = folder.with_suffix(".part")
    shutil.rmtree(draft, ignore_errors=True)  # of a process that was killed
    draft.mkdir()
    shapes = ((3, size_px, size_px), (21, 3), (4,))
    kinds = (np.uint8, np.float32, np.float32)
    files = [
        np.lib.format.open_memmap(
            draft / f"{name}.npy", mode="w+", dtype=kind, shape=(count, *shape)
        )
        for name, kind, shape in zip(_FILES, kinds, shapes, strict=True)
    ]
    rng = np.random.default_rng(seed)
    for start in range(0, count, CHUNK):
        part = slice(start, min(start + CHUNK, count))
        scenes = sample_scenes(part.stop - start, rng)
        intrinsics = crop_intrinsics(scenes.joints, size_px, rng)
        images = render(scenes, intrinsics, size_px, rng)
        for file, values in zip(files, (images, scenes.joints, intrinsics), strict=True):
            file[part] = values
    for file in files:
        file.flush()
    draft.rename(folder)
