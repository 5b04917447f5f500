"""Boxes and cylinders as shapes: distances to their surface, points on it, an outline; metres."""

from __future__ import annotations

import itertools
import math

import torch
from torch import Tensor

_POINTS = 64  # on a surface: enough for a mean distance
_RIM_POINTS = 24  # of a cylinder's drawn ends


def signed_distance(points: Tensor, half: Tensor, is_round: Tensor) -> Tensor:
    """Distance (B, P) of points to the surface, negative inside.

    Args:
        points: (B, P, 3) in the object's frame.
        half: (B, 3) half extents; of a cylinder half its length and its radius twice.
        is_round: (B,), a cylinder about x; else a box.
    """
    beyond = points.abs() - half[:, None]
    across = _norm(points[..., 1:]) - half[:, None, 1]
    box = _norm(beyond.clamp(min=0)) + beyond.amax(-1).clamp(max=0)
    ends = torch.stack([beyond[..., 0], across], -1)
    tube = _norm(ends.clamp(min=0)) + ends.amax(-1).clamp(max=0)
    return torch.where(is_round[:, None], tube, box)


def surface_points(half: Tensor, is_round: Tensor) -> Tensor:
    """Points (B, P, 3) spread over the surfaces, the same ones for every call.

    Args:
        half: (B, 3).
        is_round: (B,).
    """
    boxes, tubes = (one.to(half) for one in (_UNIT_BOX, _UNIT_CYLINDER))
    return torch.where(is_round[:, None, None], tubes, boxes) * half[:, None]


def outline(half: Tensor, is_round: bool) -> Tensor:
    """Lines (E, 2, 3) that show one object of half extents (3,): its edges, or rims and length."""
    if not is_round:
        corners = torch.tensor(list(itertools.product((-1.0, 1.0), repeat=3)))
        ends = torch.combinations(torch.arange(8))
        edges = corners[ends][(corners[ends].diff(dim=1) != 0).sum((1, 2)) == 1]
        return edges.to(half) * half
    turn = torch.linspace(0, 2 * math.pi, _RIM_POINTS + 1)
    rim = torch.stack([torch.ones_like(turn), turn.cos(), turn.sin()], -1)
    lines = torch.stack([rim[:-1], rim[1:]], 1)
    mirrored = lines * torch.tensor([-1.0, 1.0, 1.0])
    along = torch.stack([rim[:-1], rim[:-1] * torch.tensor([-1.0, 1.0, 1.0])], 1)
    return torch.cat([lines, mirrored, along[:: _RIM_POINTS // 4]]).to(half) * half


def _norm(vectors: Tensor) -> Tensor:
    length: Tensor = vectors.norm(dim=-1)
    return length


def _unit_box() -> Tensor:
    """A golden spiral, pushed out to the faces of the cube from -1 to 1."""
    sphere = _spiral(_POINTS)
    return sphere / sphere.abs().amax(-1, keepdim=True)


def _unit_cylinder() -> Tensor:
    """The same, pushed out to the cylinder about x of radius 1 from -1 to 1."""
    sphere = _spiral(_POINTS)
    reach = torch.maximum(sphere[:, :1].abs(), sphere[:, 1:].norm(dim=-1, keepdim=True))
    return sphere / reach


def _spiral(count: int) -> Tensor:
    steps = torch.arange(count) + 0.5
    x = 1 - 2 * steps / count
    turn = steps * math.pi * (3 - math.sqrt(5))
    across = (1 - x.square()).sqrt()
    return torch.stack([x, across * turn.cos(), across * turn.sin()], -1)


_UNIT_BOX, _UNIT_CYLINDER = _unit_box(), _unit_cylinder()
