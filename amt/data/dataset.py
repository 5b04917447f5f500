"""Crops and labels: all of a data set, and the batch of a step."""

from __future__ import annotations

import functools
from dataclasses import dataclass, fields, replace

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from amt.data import Array
from amt.devices import constant


@dataclass(frozen=True, slots=True)
class Dataset:
    """N crops with their labels; images may show some context around the crop."""

    images: NDArray[np.uint8]  # (N, 3, S + 2 border, S + 2 border), mapped read-only
    intrinsics: Array  # (N, 4): fx, fy, cx, cy in pixels of the crop
    joints: Array  # (N, 21, 3), metres, camera frame
    hand_valid: NDArray[np.bool_]  # (N,): are there joints?
    object_rotation: Array  # (N, 3, 3), object to camera
    object_position: Array  # (N, 3), its middle in the camera frame
    object_half: Array  # (N, 3) half extents
    object_round: NDArray[np.bool_]  # (N,): a cylinder about its x axis, else a box
    object_valid: NDArray[np.bool_]  # (N,): is there an object?
    clearance: Array  # (N, 21): from the flesh around each joint to the object, negative inside
    contact_valid: NDArray[np.bool_]  # (N,): is the clearance known?
    size_px: int  # S, the crop's side

    def __len__(self) -> int:
        return len(self.images)

    @property
    def border_px(self) -> int:
        """How far the images reach beyond the crop, on each side."""
        stored_px: int = self.images.shape[-1]
        return (stored_px - self.size_px) // 2

    def first(self, count: int) -> Dataset:
        """The first so many crops."""
        return replace(self, **{name: getattr(self, name)[:count] for name in COLUMNS})


@dataclass(frozen=True, slots=True)
class Batch:
    """B crops with their labels: columns of a data set, on the device."""

    images: Tensor  # (B, 3, S, S) in [0, 1], or more than the crop until it is augmented
    intrinsics: Tensor
    joints: Tensor
    hand_valid: Tensor
    object_rotation: Tensor
    object_position: Tensor
    object_half: Tensor
    object_round: Tensor
    object_valid: Tensor
    clearance: Tensor
    contact_valid: Tensor

    def __len__(self) -> int:
        return len(self.images)

    def part(self, rows: slice) -> Batch:
        """Some of the crops."""
        return Batch(**{name: getattr(self, name)[rows] for name in COLUMNS})

    def filled(self) -> Batch:
        """Some finite label where there is none: what is multiplied by 0 must not be NaN."""

        def fill(values: Tensor, valid: Tensor, stand_in: Tensor) -> Tensor:
            return torch.where(valid.view(-1, *[1] * (values.ndim - 1)), values, stand_in)

        ahead = constant((0.0, 0.0, 1.0), self.joints)
        unturned = torch.eye(3, dtype=ahead.dtype, device=ahead.device)
        return replace(
            self,
            joints=fill(self.joints, self.hand_valid, ahead),
            object_position=fill(self.object_position, self.object_valid, ahead),
            object_rotation=fill(self.object_rotation, self.object_valid, unturned),
            object_half=fill(self.object_half, self.object_valid, torch.ones_like(ahead)),
            clearance=fill(self.clearance, self.contact_valid, torch.zeros_like(ahead[:1])),
        )

    def pinned(self) -> Batch:
        """The same in memory that a GPU reads by itself."""
        return Batch(**{name: getattr(self, name).pin_memory() for name in COLUMNS})

    def to(self, device: torch.device) -> Batch:
        """The same on a device, images of bytes as numbers in [0, 1]."""
        moved = {name: getattr(self, name).to(device, non_blocking=True) for name in COLUMNS}
        if moved["images"].dtype == torch.uint8:
            moved["images"] = moved["images"].float() / 255
        return Batch(**moved)


COLUMNS = tuple(field.name for field in fields(Batch))


def read_batch(data: Dataset, rows: NDArray[np.int64], *, context: bool) -> Batch:
    """These rows as stored, images of bytes.

    Args:
        data: mapped; nothing but the pixels asked for is read.
        rows: (B,) numbers.
        context: images with all that is stored around the crops, else the crops alone.
    """
    border = 0 if context else data.border_px
    inner = slice(border, data.images.shape[-1] - border)
    columns = {name: getattr(data, name)[rows] for name in COLUMNS[1:]}
    columns["images"] = data.images[rows, :, inner, inner]  # row numbers copy; no second copy here
    return Batch(**{name: torch.from_numpy(np.asarray(one)) for name, one in columns.items()})


def read_labels(data: Dataset) -> Batch:
    """All labels, with images of no pixels."""
    columns = {name: torch.from_numpy(getattr(data, name).copy()) for name in COLUMNS[1:]}
    return Batch(images=torch.zeros(len(data), 0), **columns)


def load_batch(data: Dataset, rows: NDArray[np.int64], device: torch.device) -> Batch:
    """The crops of these rows on the device."""
    return read_batch(data, rows, context=False).to(device)


def batch_indices(step: int, *, count: int, batch_size: int, seed: int) -> NDArray[np.int64]:
    """The rows of a step: every pass has an order of its own and drops what fills no batch."""
    passed, place = divmod(step, count // batch_size)
    return _order(count, seed, passed)[place * batch_size : (place + 1) * batch_size]


@functools.lru_cache(maxsize=1)
def _order(count: int, seed: int, passed: int) -> NDArray[np.int64]:
    return np.random.default_rng((seed, passed)).permutation(count)
