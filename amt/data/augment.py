"""Crops and their labels, changed together."""

from __future__ import annotations

import math
from dataclasses import replace

import torch
from torch import Tensor
from torch.nn import functional

from amt.config.schema import AugmentConfig
from amt.data.dataset import Batch
from amt.devices import constant, send
from amt.geometry import Move, move_intrinsics, roll_matrix, sampling_matrix

IMAGE_MEAN, IMAGE_STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)  # ImageNet's, as DINOv2


def augment(batch: Batch, how: AugmentConfig, generator: torch.Generator, *, size_px: int) -> Batch:
    """Roll, zoom and shift each crop with its labels, and change its colours.

    Args:
        batch: images may reach beyond the crops, equally far on all sides.
        how: the ranges.
        generator: on the CPU; drawn from the same number of times whatever the ranges.
        size_px: the crops' side S.

    Returns:
        The crops alone, (B, 3, S, S); what lies beyond the images is smeared from their edges.
    """
    images, count, device = batch.images, len(batch.images), batch.images.device

    def uniform(low: float, high: float, *shape: int) -> Tensor:
        drawn = torch.rand(count, *shape, generator=generator)
        return send(low + (high - low) * drawn, device)

    limit = math.radians(how.aug_rotation_range)
    move = Move(
        roll=uniform(-limit, limit),
        zoom=uniform(how.aug_scale_min, how.aug_scale_max),
        shift=send(torch.randn(count, 2, generator=generator), device) * how.aug_translation_std,
    )
    moved = _sample(batch, move, size_px) if _moves(how) else _cut_out(images, size_px)
    gain = uniform(1 - how.aug_color_jitter, 1 + how.aug_color_jitter, 3, 1, 1)
    rolled = roll_matrix(move.roll)
    return replace(
        batch,
        images=(moved * gain).clamp(0, 1),
        intrinsics=move_intrinsics(batch.intrinsics, move, size_px),
        joints=batch.joints @ rolled.mT,
        object_rotation=rolled @ batch.object_rotation,
        object_position=(rolled @ batch.object_position[..., None])[..., 0],
    )


def _moves(how: AugmentConfig) -> bool:
    """Does anything move? Sampling each pixel where it is takes 3 % of a small training's step."""
    ranges = (how.aug_rotation_range, how.aug_translation_std)
    return ranges != (0, 0) or how.aug_scale_min != 1 or how.aug_scale_max != 1


def _cut_out(images: Tensor, size_px: int) -> Tensor:
    """The crops (B, 3, S, S) in the middle."""
    border = (images.shape[-1] - size_px) // 2
    inner = slice(border, border + size_px)
    return images[..., inner, inner]


def _sample(batch: Batch, move: Move, size_px: int) -> Tensor:
    """The crops (B, 3, S, S) after the move, bilinear."""
    images = batch.images
    grid = functional.affine_grid(
        sampling_matrix(batch.intrinsics, move) * (size_px / images.shape[-1]),
        [len(images), 3, size_px, size_px],
        align_corners=False,
    )
    return functional.grid_sample(images, grid, align_corners=False, padding_mode="border")


def normalize(images: Tensor) -> Tensor:
    """Images in [0, 1] as the trunk wants them."""
    mean, std = (constant(one, images)[:, None, None] for one in (IMAGE_MEAN, IMAGE_STD))
    return (images - mean) / std
