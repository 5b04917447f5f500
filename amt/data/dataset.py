"""Crops and labels: all of a data set, and the batch of a step."""

from __future__ import annotations

import functools
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor


@dataclass(frozen=True, slots=True)
class Dataset:
    """N crops with their labels."""

    images: NDArray[np.uint8]  # (N, 3, S, S), mapped read-only
    joints: NDArray[np.float32]  # (N, 21, 3), metres, camera frame
    intrinsics: NDArray[np.float32]  # (N, 4): fx, fy, cx, cy in pixels of the crop

    def __len__(self) -> int:
        return len(self.images)


@dataclass(frozen=True, slots=True)
class Batch:
    """B crops: images (B, 3, S, S), joints (B, 21, 3) in metres, intrinsics (B, 4)."""

    images: Tensor
    joints: Tensor
    intrinsics: Tensor


def load_batch(data: Dataset, rows: NDArray[np.int64], device: torch.device) -> Batch:
    """These rows on the device, images in [0, 1]."""
    images, joints, intrinsics = (
        torch.from_numpy(np.array(column[rows])).to(device)
        for column in (data.images, data.joints, data.intrinsics)
    )
    return Batch(images.float() / 255, joints, intrinsics)


def batch_indices(step: int, *, count: int, batch_size: int, seed: int) -> NDArray[np.int64]:
    """The rows of a step: every pass has an order of its own and drops what fills no batch."""
    passed, place = divmod(step, count // batch_size)
    return _order(count, seed, passed)[place * batch_size : (place + 1) * batch_size]


@functools.lru_cache(maxsize=1)
def _order(count: int, seed: int, passed: int) -> NDArray[np.int64]:
    return np.random.default_rng((seed, passed)).permutation(count)
