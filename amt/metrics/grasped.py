"""Errors of predicted objects and of contact; objects are boxes and cylinders, all symmetric."""

from __future__ import annotations

import torch
from torch import Tensor

from amt.rotations import palm_frame, symmetric_angle
from amt.shapes import signed_distance, surface_points

TOUCHES_M = 0.006  # a joint whose flesh is nearer to the object touches it
ADD_SHARE = 0.1  # of the diameter: a pose that is nearer is right


def position_mm(predicted: Tensor, position: Tensor) -> Tensor:
    """Distance (B,) of points (B, 3) in millimetres."""
    distance: Tensor = (predicted - position).norm(dim=-1)
    return distance * 1000


def rotation_deg(predicted: Tensor, rotation: Tensor, half: Tensor, is_round: Tensor) -> Tensor:
    """The least angle (B,) by which the poses can be told apart, degrees."""
    return torch.rad2deg(symmetric_angle(predicted, rotation, half, is_round))


def in_true_palm(in_palm: Tensor, joints: Tensor) -> Tensor:
    """Rotations (B, 3, 3) that were predicted in the palm's frame, seen from the true palm."""
    return palm_frame(joints) @ in_palm


def diameter(half: Tensor, is_round: Tensor) -> Tensor:
    """The largest distance (B,) between two points of the objects with half extents (B, 3)."""
    across = torch.where(is_round[:, None], half[:, :2], half[:, :2] * 0)
    reach = torch.where(is_round, across.norm(dim=-1), half.norm(dim=-1))
    return 2 * reach


def add_s(
    predicted: tuple[Tensor, Tensor], truth: tuple[Tensor, Tensor], half: Tensor, is_round: Tensor
) -> Tensor:
    """How far (B,) the predicted surface is from the true one on average, metres (ADD-S).

    Exact where others look for the nearest of many points: the true surface is known.

    Args:
        predicted: rotations (B, 3, 3) and positions (B, 3), object to camera.
        truth: likewise.
        half: (B, 3) half extents.
        is_round: (B,), a cylinder about x.
    """
    points = surface_points(half, is_round)
    in_camera = points @ predicted[0].mT + predicted[1][:, None]
    in_object = (in_camera - truth[1][:, None]) @ truth[0]
    return signed_distance(in_object, half, is_round).abs().mean(-1)


def add_s_right(
    predicted: tuple[Tensor, Tensor], truth: tuple[Tensor, Tensor], half: Tensor, is_round: Tensor
) -> Tensor:
    """One (B,) where the pose is right: ADD-S below a tenth of the diameter."""
    distance = add_s(predicted, truth, half, is_round)
    return (distance < ADD_SHARE * diameter(half, is_round)).to(distance)
