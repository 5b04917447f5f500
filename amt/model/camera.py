"""What the network knows of the crops' cameras, and how it looks up what is seen where."""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn import functional

from amt.geometry import project


@dataclass(frozen=True, slots=True)
class CropCamera:
    """The cameras of B square crops."""

    intrinsics: Tensor  # (B, 4): fx, fy, cx, cy in pixels
    size_px: int  # the crops' side

    def focal(self) -> Tensor:
        """(B,) focal lengths in sides of the crop, the geometric mean of both."""
        return self.intrinsics[:, :2].prod(-1).sqrt() / self.size_px


def camera_features(camera: CropCamera) -> Tensor:
    """Intrinsics as numbers of order one: (B, 4)."""
    scaled = camera.intrinsics / camera.size_px
    return torch.cat([scaled[:, :2].log(), scaled[:, 2:] - 0.5], -1)


def sample_features(fields: Tensor, points: Tensor, camera: CropCamera) -> Tensor:
    """What lies where points appear, bilinear; beyond the edge, what is at the edge.

    Args:
        fields: (B, H, grid, grid) over the crops.
        points: (B, N, 3), camera frame, metres.
        camera: of the crops.

    Returns:
        (B, N, H).
    """
    place = project(points, camera.intrinsics) * (2 / camera.size_px) - 1
    place = place.nan_to_num().clamp(-1, 1)  # grid_sample crashes on NaN and 1e30 (torch 2.13, CPU)
    sampled = functional.grid_sample(
        fields, place[:, :, None], align_corners=False, padding_mode="border"
    )
    return sampled[..., 0].mT


def to_fields(patches: Tensor) -> Tensor:
    """Patches (B, grid * grid, H), row by row, as (B, H, grid, grid)."""
    grid = math.isqrt(patches.shape[1])
    return patches.mT.reshape(len(patches), -1, grid, grid)
