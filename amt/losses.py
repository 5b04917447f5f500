"""What the hand is trained on; each term is in units of 0.1 m, so weights are of order one."""

from __future__ import annotations

import torch
from torch import Tensor

from amt.config.schema import LossConfig
from amt.geometry import NEAREST_M, project
from amt.model.network import Prediction

FINGERTIPS = (4, 8, 12, 16, 20)
PER_M = 10.0
# Brings the gradient's norm to order one, so that `grad_clip` decides something: without it every
# step of `amt/tiny.yaml` is clipped at 1.0 (norms 1.8 to 9.1, 5th to 95th percentile, 2026-11-28).
# Adam itself does not see a constant factor.
LOSS_SCALE = 0.2
CROP_WIDTH = 4.0  # a crop shows about 0.4 m of the scene: from crop widths to 0.1 m


def hand_loss(
    predicted: Prediction,
    joints: Tensor,
    intrinsics: Tensor,
    *,
    size_px: int,
    weights: LossConfig,
) -> Tensor:
    """The weighted sum of all terms.

    Args:
        predicted: the model's stages, root-relative, and the root.
        joints: (B, 21, 3) true joints, camera frame.
        intrinsics: (B, 4).
        size_px: the crop's side.
        weights: factors of the terms.
    """
    relative = joints - joints[:, :1]
    coarse, *refined = (
        joint_loss(stage, relative, fingertip_weight=weights.fingertip_weight)
        for stage in predicted.stages
    )
    total = weights.loss_weight_hand_coarse * coarse
    if refined:
        total = total + weights.loss_weight_hand_refined * torch.stack(refined).mean()
    absolute = predicted.stages[-1] + predicted.root[:, None]
    total = total + weights.loss_weight_reprojection * reprojection_loss(
        absolute, joints, intrinsics, size_px=size_px
    )
    return total + weights.loss_weight_root_depth * root_depth_loss(predicted.root, joints[:, 0])


def joint_loss(predicted: Tensor, joints: Tensor, *, fingertip_weight: float) -> Tensor:
    """Mean distance of (B, 21, 3) joints."""
    factors = joints.new_ones(joints.shape[1])
    factors[list(FINGERTIPS)] = fingertip_weight
    distance: Tensor = (predicted - joints).norm(dim=-1)
    return (distance * factors).mean() * PER_M


def reprojection_loss(
    predicted: Tensor, joints: Tensor, intrinsics: Tensor, *, size_px: int
) -> Tensor:
    """L1 distance in the image of (B, 21, 3) camera points."""
    gap = project(predicted, intrinsics) - project(joints, intrinsics)
    return gap.abs().mean() / size_px * CROP_WIDTH


def root_depth_loss(root: Tensor, wrist: Tensor) -> Tensor:
    """Ratio of the depths (B, 3), as a logarithm: depth is known up to the hand's size."""
    return (root[:, 2].clamp(min=NEAREST_M).log() - wrist[:, 2].log()).abs().mean()
