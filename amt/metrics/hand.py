"""Errors of predicted hands, (B,) of joints (B, J, 3) in metres."""

from __future__ import annotations

import roma
import torch
from torch import Tensor

PCK_LIMIT_MM = 50.0
LEAST_SIZE_M = 1e-6  # joints that coincide have no direction and no size


def mpjpe_mm(predicted: Tensor, joints: Tensor) -> Tensor:
    """Mean joint error in millimetres after the wrists are laid on each other."""
    return _joint_errors_mm(predicted, joints).mean(-1)


def absolute_mpjpe_mm(predicted: Tensor, joints: Tensor) -> Tensor:
    """Mean joint error in the camera frame, millimetres."""
    distance: Tensor = (predicted - joints).norm(dim=-1)
    return distance.mean(-1) * 1000


def pa_mpjpe_mm(predicted: Tensor, joints: Tensor) -> Tensor:
    """Mean joint error after the best similarity transform, millimetres (Umeyama 1991).

    A reflection is not among them. Joints that coincide are laid on the middle.
    """
    middle = joints.mean(1, keepdim=True) + 0 * predicted  # NaN stays NaN, the decomposition raises
    reach = (predicted - predicted.mean(1, keepdim=True)).norm(dim=-1).amax(-1)
    usable = (reach.isfinite() & (reach >= LEAST_SIZE_M))[:, None, None]
    source = torch.where(usable, predicted, joints)
    rotation, shift, scale = roma.rigid_points_registration(source, joints, compute_scaling=True)
    moved = scale[:, None, None] * (source @ rotation.mT) + shift[:, None]
    return absolute_mpjpe_mm(torch.where(usable, moved, middle), joints)


def pck_auc(predicted: Tensor, joints: Tensor) -> Tensor:
    """The share of joints whose error is below a threshold, averaged over 0 to 50 mm: 0 to 1.

    The integral itself, where other evaluations sum over 100 thresholds; wrists are laid on each
    other.
    """
    return (1 - _joint_errors_mm(predicted, joints) / PCK_LIMIT_MM).clamp(min=0).mean(-1)


def _joint_errors_mm(predicted: Tensor, joints: Tensor) -> Tensor:
    relative = (predicted - predicted[:, :1]) - (joints - joints[:, :1])
    distance: Tensor = relative.norm(dim=-1)
    return distance * 1000
