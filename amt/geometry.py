"""Camera and crop geometry on tensors.

Intrinsics are (B, 4): fx, fy, cx, cy in pixels of the crop; fx = fy. Pixel centres lie at half
integers: the crop spans [0, size].
"""

from __future__ import annotations

import torch
from torch import Tensor

NEAREST_M = 0.1  # nothing is projected from nearer: a wild prediction must stay finite


def project(points: Tensor, intrinsics: Tensor) -> Tensor:
    """Pixels (B, P, 2) of camera points (B, P, 3)."""
    depth = points[..., 2:].clamp(min=NEAREST_M)
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


def move_intrinsics(
    intrinsics: Tensor, roll: Tensor, zoom: Tensor, shift: Tensor, size_px: int
) -> Tensor:
    """Intrinsics of a crop that was rolled and zoomed about its centre, then shifted.

    With the points rolled by `roll_matrix`, they project where the image's pixels went.

    Args:
        intrinsics: (B, 4).
        roll: (B,) radians.
        zoom: (B,), above one enlarges.
        shift: (B, 2), in sides of the crop.
        size_px: the crop's side.
    """
    middle = size_px / 2
    offset = (intrinsics[:, 2:] - middle)[..., None]
    turned = (roll_matrix(roll)[:, :2, :2] @ offset)[..., 0]
    centre = turned * zoom[:, None] + middle + shift * size_px
    return torch.cat([intrinsics[:, :2] * zoom[:, None], centre], -1)


def sampling_matrix(roll: Tensor, zoom: Tensor, shift: Tensor) -> Tensor:
    """The (B, 2, 3) matrices for `affine_grid` that move pixels as `move_intrinsics` says."""
    back = roll_matrix(-roll)[:, :2, :2] / zoom[:, None, None]
    return torch.cat([back, -back @ (2 * shift)[..., None]], -1)
