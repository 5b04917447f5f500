"""Camera and crop geometry on tensors.

Intrinsics are (B, 4): fx, fy, cx, cy in pixels of the crop. Pixel centres lie at half integers:
the crop spans [0, size].
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

NEAREST_M = 0.1  # nothing is projected from nearer: a wild prediction must stay finite


def soft_depth(depth: Tensor) -> Tensor:
    """The depth, but positive: below `NEAREST_M` it falls ever more slowly, with a gradient."""
    nearer = NEAREST_M**2 / (2 * NEAREST_M - depth.clamp(max=NEAREST_M))
    return torch.where(depth < NEAREST_M, nearer, depth)


def project(points: Tensor, intrinsics: Tensor) -> Tensor:
    """Pixels (B, P, 2) of camera points (B, P, 3), at `soft_depth`."""
    depth = soft_depth(points[..., 2:])
    return points[..., :2] / depth * intrinsics[:, None, :2] + intrinsics[:, None, 2:]


def unproject(pixels: Tensor, depth: Tensor, intrinsics: Tensor) -> Tensor:
    """Camera points (B, P, 3) of pixels (B, P, 2) at depths (B, P)."""
    rays = (pixels - intrinsics[:, None, 2:]) / intrinsics[:, None, :2]
    return torch.cat([rays * depth[..., None], depth[..., None]], -1)


def roll_matrix(angle: Tensor) -> Tensor:
    """Rotations (B, 3, 3) by angles (B,) in radians about the optical axis."""
    zero, one = torch.zeros_like(angle), torch.ones_like(angle)
    rows = [angle.cos(), -angle.sin(), zero, angle.sin(), angle.cos(), zero, zero, zero, one]
    return torch.stack(rows, -1).view(-1, 3, 3)


@dataclass(frozen=True, slots=True)
class Move:
    """How B crops are moved: rolled and zoomed about their centres, then shifted."""

    roll: Tensor  # (B,) radians, about the optical axis
    zoom: Tensor  # (B,), above one enlarges
    shift: Tensor  # (B, 2), in sides of the crop


def move_intrinsics(intrinsics: Tensor, move: Move, size_px: int) -> Tensor:
    """Intrinsics (B, 4) of moved crops.

    With them, points that were rolled by `roll_matrix` project where the image's pixels went.
    """
    middle = size_px / 2
    offset = (intrinsics[:, 2:] - middle)[..., None]
    turned = (_pixel_roll(intrinsics, move.roll) @ offset)[..., 0]
    centre = turned * move.zoom[:, None] + middle + move.shift * size_px
    return torch.cat([intrinsics[:, :2] * move.zoom[:, None], centre], -1)


def sampling_matrix(intrinsics: Tensor, move: Move) -> Tensor:
    """The (B, 2, 3) matrices for `affine_grid` that move pixels as `move_intrinsics` says.

    Args:
        intrinsics: (B, 4) before the move.
        move: of the crops.
    """
    back = _pixel_roll(intrinsics, -move.roll) / move.zoom[:, None, None]
    return torch.cat([back, -back @ (2 * move.shift)[..., None]], -1)


def _pixel_roll(intrinsics: Tensor, roll: Tensor) -> Tensor:
    """What a roll of the camera does to pixels about its axis: (B, 2, 2), F R F^-1.

    A rotation only where fx = fy, else it shears.
    """
    focal = intrinsics[:, :2]
    return roll_matrix(roll)[:, :2, :2] * focal[:, :, None] / focal[:, None, :]
