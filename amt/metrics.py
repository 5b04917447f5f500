"""Errors of predicted hands, in millimetres."""

from __future__ import annotations

import torch
from torch import Tensor


def mpjpe_mm(predicted: Tensor, joints: Tensor) -> Tensor:
    """Mean joint error (B,) of (B, J, 3) metres after the wrists are laid on each other."""
    relative = (predicted - predicted[:, :1]) - (joints - joints[:, :1])
    distance: Tensor = relative.norm(dim=-1)
    return distance.mean(-1) * 1000


def pa_mpjpe_mm(predicted: Tensor, joints: Tensor) -> Tensor:
    """Mean joint error (B,) after the best similarity transform (Procrustes; Umeyama 1991)."""
    source = predicted - predicted.mean(1, keepdim=True)
    target = joints - joints.mean(1, keepdim=True)
    u, sizes, vt = torch.linalg.svd(source.mT @ target)
    mirror = torch.ones_like(sizes)
    mirror[:, -1] = torch.linalg.det(u @ vt).sign()  # a reflection is no rotation
    rotation = (u * mirror[:, None]) @ vt
    scale = (sizes * mirror).sum(-1) / source.square().sum((1, 2)).clamp(min=1e-12)
    distance: Tensor = (scale[:, None, None] * (source @ rotation) - target).norm(dim=-1)
    return distance.mean(-1) * 1000


def mean_pose_mpjpe_mm(train_joints: Tensor, val_joints: Tensor) -> float:
    """What always answering the training set's mean pose would score."""
    mean = (train_joints - train_joints[:, :1]).mean(0, keepdim=True)
    return mpjpe_mm(mean.expand_as(val_joints), val_joints).mean().item()
