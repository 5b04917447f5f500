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
    """N crops with their labels; images may show some context around the crop."""

    images: NDArray[np.uint8]  # (N, 3, S + 2 border, S + 2 border), mapped read-only
    joints: NDArray[np.float32]  # (N, 21, 3), metres, camera frame
    intrinsics: NDArray[np.float32]  # (N, 4): fx, fy, cx, cy in pixels of the crop
    size_px: int  # S, the crop's side

    def __len__(self) -> int:
        return len(self.images)

    @property
    def border_px(self) -> int:
        """How far the images reach beyond the crop, on each side."""
        stored_px: int = self.images.shape[-1]
        return (stored_px - self.size_px) // 2


@dataclass(frozen=True, slots=True)
class Batch:
    """B crops with their labels."""

    images: Tensor  # (B, 3, S, S) in [0, 1], or more than the crop until it is augmented
    joints: Tensor  # (B, 21, 3), metres, camera frame
    intrinsics: Tensor  # (B, 4), pixels of the crop


def load_batch(
    data: Dataset, rows: NDArray[np.int64], device: torch.device, *, context: bool = False
) -> Batch:
    """These rows on the device, images in [0, 1].

    Args:
        data: mapped; nothing but the pixels asked for is read.
        rows: (B,) numbers.
        device: where to.
        context: images with all that is stored around the crops, else the crops alone.
    """
    border = 0 if context else data.border_px
    inner = slice(border, data.images.shape[-1] - border)
    images, joints, intrinsics = (
        torch.from_numpy(np.array(column)).to(device)
        for column in (
            data.images[rows, :, inner, inner],
            data.joints[rows],
            data.intrinsics[rows],
        )
    )
    return Batch(images.float() / 255, joints, intrinsics)


def batch_indices(step: int, *, count: int, batch_size: int, seed: int) -> NDArray[np.int64]:
    """The rows of a step: every pass has an order of its own and drops what fills no batch."""
    passed, place = divmod(step, count // batch_size)
    return _order(count, seed, passed)[place * batch_size : (place + 1) * batch_size]


@functools.lru_cache(maxsize=1)
def _order(count: int, seed: int, passed: int) -> NDArray[np.int64]:
    return np.random.default_rng((seed, passed)).permutation(count)
