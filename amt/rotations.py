"""Rotations as matrices (B, 3, 3), in float32; losses and metrics use the same angles.

roma does the algebra. What it leaves open is done here: a 6D vector of zeros, and the gradient of
an angle of 180 degrees, which roma gives as zero or infinite.
"""

from __future__ import annotations

import itertools

import roma
import torch
from torch import Tensor
from torch.nn import functional

from amt.devices import constant

DEGENERATE = 1e-4  # shorter vectors have no direction
SAME_EXTENT = 1e-3  # relative: a box with two such sides looks the same after a quarter turn

_Matrix = tuple[tuple[float, ...], ...]


def _cube_rotations() -> tuple[_Matrix, ...]:
    """The 24 rotations that map a cube onto itself, the identity first."""
    found = []
    for order in itertools.permutations(range(3)):
        for signs in itertools.product((1.0, -1.0), repeat=3):
            matrix = tuple(
                tuple(sign if axis == column else 0.0 for column in range(3))
                for axis, sign in zip(order, signs, strict=True)
            )
            if torch.linalg.det(torch.tensor(matrix)) > 0:
                found.append(matrix)
    return tuple(found)


_CUBE = _cube_rotations()
CUBE_ROTATIONS = torch.tensor(_CUBE)


def rotation_from_6d(vectors: Tensor) -> Tensor:
    """Gram-Schmidt of two columns (Zhou et al. 2019), finite for every input.

    Args:
        vectors: (B, 6), the first column before the second. Where a column has no direction of its
            own, an axis takes its place; the gradient there is that of the axis.

    Returns:
        (B, 3, 3) rotations; zeros give the identity.
    """
    first, second = vectors[:, :3], vectors[:, 3:]
    spare = constant((1.0, 0.0, 0.0), first)
    first = torch.where(_is_short(first), first + spare, first)
    along = functional.normalize(first, dim=-1)
    rest = second - (second * along).sum(-1, keepdim=True) * along
    least = along.detach().abs().argmin(-1)
    spare = torch.eye(3, dtype=vectors.dtype, device=vectors.device)[least]
    second = torch.where(_is_short(rest), second + spare, second)
    rotation: Tensor = roma.special_gramschmidt(torch.stack([first, second], -1))
    return rotation


def geodesic_angle(one: Tensor, other: Tensor) -> Tensor:
    """The angle (B,) in radians between rotations, with a gradient of length one up to 180 degrees.

    At 180 degrees every direction leads back; one of them is chosen. At 0 the gradient is 0.
    """
    quaternion = roma.rotmat_to_unitquat(one.mT @ other)  # x, y, z, w
    real = quaternion[..., 3]
    real = torch.where(real < 0, -real, real)  # not abs(): its gradient at 0 is 0
    return 2 * torch.atan2(quaternion[..., :3].norm(dim=-1), real)


def line_angle(one: Tensor, other: Tensor) -> Tensor:
    """The angle (B,) in radians, 0 to 90 degrees, between the lines along unit vectors (B, 3)."""
    cosine = (one * other).sum(-1)
    cosine = torch.where(cosine < 0, -cosine, cosine)
    return torch.atan2(torch.linalg.cross(one, other).norm(dim=-1), cosine)


def symmetric_angle(one: Tensor, other: Tensor, half: Tensor, is_round: Tensor) -> Tensor:
    """The least angle (B,) in radians by which rotations of an object can be told apart.

    Args:
        one: (B, 3, 3), object to camera.
        other: (B, 3, 3) likewise; the same angle with the two exchanged.
        half: (B, 3) half extents of the objects.
        is_round: (B,), a cylinder about its x axis; else a box.
    """
    nearest = _nearest_alike(one.detach(), other.detach(), half)
    box = geodesic_angle(one, other @ nearest)
    return torch.where(is_round, line_angle(one[..., 0], other[..., 0]), box)


def palm_frame(joints: Tensor) -> Tensor:
    """The palm's frame in that of the joints: y to the knuckles, x to the thumb's side.

    Args:
        joints: (B, 21, 3).

    Returns:
        (B, 3, 3) rotations, palm to camera, also of joints that coincide.
    """
    up = joints[:, 5:18:4].mean(1) - joints[:, 0]
    across = joints[:, 5] - joints[:, 17]
    y_then_x = rotation_from_6d(torch.cat([up, across], -1) * 10)
    y, x = y_then_x[..., 0], y_then_x[..., 1]
    return torch.stack([x, y, torch.linalg.cross(x, y)], -1)


def symmetries(half: Tensor) -> Tensor:
    """(B, 24): which of the cube's rotations map boxes of half extents (B, 3) onto themselves."""
    turned = (constant(_CUBE, half).abs() @ half[:, None, :, None])[..., 0]  # (B, 24, 3)
    alike: Tensor = ((turned - half[:, None]).abs() <= SAME_EXTENT * half[:, None]).all(-1)
    return alike


def _nearest_alike(one: Tensor, other: Tensor, half: Tensor) -> Tensor:
    """Of the box's symmetries (B, 3, 3) the one that brings `other` nearest to `one`."""
    turns = constant(_CUBE, half)
    cosines = torch.einsum("bij,bik,nkj->bn", one, other, turns)  # traces of one^T other turn
    cosines = cosines.masked_fill(~symmetries(half), -torch.inf)
    nearest: Tensor = turns[cosines.argmax(-1)]
    return nearest


def _is_short(vectors: Tensor) -> Tensor:
    length: Tensor = vectors.detach().norm(dim=-1, keepdim=True)
    return length < DEGENERATE
