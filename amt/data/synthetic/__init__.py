"""Procedural hands that grasp objects, and their pictures: a data set without a download."""

from __future__ import annotations

import math
from collections.abc import Iterator
from pathlib import Path

import numpy as np

from amt.data.cache import Arrays, Column, Columns, open_arrays
from amt.data.dataset import Dataset
from amt.data.synthetic.grasp import measure_clearance, sample_scenes
from amt.data.synthetic.render import crop_intrinsics, render

FORMAT = 3  # in the folder's name: raise it when scenes or columns change
CHUNK = 256  # scenes that are drawn at once


def open_synthetic(
    cache: Path, *, count: int, size_px: int, seed: int, context: float = 1.0
) -> Dataset:
    """Map a data set; render it first if nobody has.

    Args:
        cache: the folder of all data sets.
        count: of scenes.
        size_px: the crops' side.
        seed: others give other scenes.
        context: how much more than the crop is stored, in sides of it, for augmentation to move in.

    Raises:
        DiskError: the disk has no room left in the cache.
    """
    border_px = math.ceil(size_px * (context - 1) / 2)
    folder = cache / f"synthetic-{FORMAT}-{size_px}+{border_px}px-{count}-{seed}"
    chunks = _render_chunks(count, size_px=size_px, border_px=border_px, seed=seed)
    columns = _columns(size_px + 2 * border_px)
    return Dataset(**open_arrays(folder, columns, rows=count, chunks=chunks), size_px=size_px)


def _columns(stored_px: int) -> Columns:
    return {
        "images": Column(np.uint8, (3, stored_px, stored_px)),
        "intrinsics": Column(np.float32, (4,)),
        "joints": Column(np.float32, (21, 3)),
        "hand_valid": Column(np.bool_, ()),
        "object_rotation": Column(np.float32, (3, 3)),
        "object_position": Column(np.float32, (3,)),
        "object_half": Column(np.float32, (3,)),
        "object_round": Column(np.bool_, ()),
        "object_valid": Column(np.bool_, ()),
        "clearance": Column(np.float32, (21,)),
        "contact_valid": Column(np.bool_, ()),
    }


def _render_chunks(count: int, *, size_px: int, border_px: int, seed: int) -> Iterator[Arrays]:
    rng = np.random.default_rng(seed)
    for start in range(0, count, CHUNK):
        scenes = sample_scenes(min(CHUNK, count - start), rng)
        intrinsics = crop_intrinsics(scenes.joints, size_px, rng)
        stored = intrinsics + np.array([0, 0, border_px, border_px], np.float32)
        images = render(scenes, stored, size_px + 2 * border_px, rng)
        known = np.ones(len(images), np.bool_)
        yield {
            "images": images,
            "intrinsics": intrinsics,
            "joints": scenes.joints,
            "hand_valid": known,
            "object_rotation": scenes.object_rotation,
            "object_position": scenes.object_position,
            "object_half": scenes.object_half,
            "object_round": scenes.object_round,
            "object_valid": known,
            "clearance": measure_clearance(scenes),
            "contact_valid": known,
        }
