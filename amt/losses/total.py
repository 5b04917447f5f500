"""All terms of a batch, or of a part of it, with their weights."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import torch
from torch import Tensor

from amt.anatomy import BoneLengths
from amt.config.schema import LossConfig
from amt.data.dataset import Batch
from amt.losses import terms
from amt.model.grasped import ObjectPose
from amt.model.network import Prediction
from amt.rotations import symmetric_angle

TERMS = (
    "hand_coarse",
    "hand_refined",
    "object_position",
    "object_rotation",
    "contact",
    "physics",
    "diversity",
    "reprojection",
    "kl",
    "root_depth",
)
# Brings the gradient's norm to order one, so that `grad_clip` decides something: without it every
# step of `amt/tiny.yaml` is clipped at 1.0. Adam itself does not see a constant factor.
LOSS_SCALE = 0.15
CONTACT_GAP_SHARE = 0.3  # of the physics, beside contact's own term


@dataclass(frozen=True, slots=True)
class LossContext:
    """What the terms need beside prediction and labels."""

    size_px: int  # the crops' side
    fingertip_weight: float
    bones: BoneLengths


@dataclass(frozen=True, slots=True)
class Counts:
    """How many images of a whole batch have labels of a kind: what sums are divided by."""

    hands: Tensor
    objects: Tensor
    pairs: Tensor  # both
    contacts: Tensor
    grasps: Tensor  # all three
    any: Tensor

    @classmethod
    def of(cls, batch: Batch) -> Counts:
        """Count; a kind that nothing has counts as one, for its sum is zero."""
        masks = (
            batch.hand_valid,
            batch.object_valid,
            batch.hand_valid & batch.object_valid,
            batch.contact_valid,
            batch.hand_valid & batch.object_valid & batch.contact_valid,
            _any_label(batch),
        )
        return cls(*(mask.sum().clamp(min=1) for mask in masks))


def loss_terms(
    predicted: Prediction, batch: Batch, counts: Counts, context: LossContext
) -> dict[str, Tensor]:
    """Every term, unweighted: sums over these images, divided by the whole batch's counts.

    So the terms of a batch's parts add up to the batch's; `diversity` alone is of each part.
    A term without labels, or of a part that the network lacks, is zero.
    """
    batch = batch.filled()
    nothing = predicted.root.sum() * 0
    found = dict.fromkeys(TERMS, nothing)
    found |= _hand_terms(predicted, batch, counts, context)
    if predicted.object is not None:
        found |= _object_terms(predicted.object, batch, counts)
    if predicted.contact_logits is not None:
        each = terms.contact(predicted.contact_logits, batch.clearance)
        found["contact"] = _mean(each, batch.contact_valid, counts.contacts)
    if predicted.latent is not None:
        each = terms.kl_divergence(predicted.latent)
        found["kl"] = _mean(each, _any_label(batch), counts.any)
    found["physics"] = _physics(predicted, batch, counts, context)
    return found


def weigh(found: Mapping[str, Tensor], weights: LossConfig) -> dict[str, Tensor]:
    """The same terms times their weights."""
    return {name: value * getattr(weights, f"loss_weight_{name}") for name, value in found.items()}


def _hand_terms(
    predicted: Prediction, batch: Batch, counts: Counts, context: LossContext
) -> dict[str, Tensor]:
    valid, count = batch.hand_valid, counts.hands
    relative = batch.joints - batch.joints[:, :1]
    coarse, *refined = (
        _mean(
            terms.joint_distance(stage, relative, fingertip_weight=context.fingertip_weight),
            valid,
            count,
        )
        for stage in predicted.stages
    )
    last = predicted.stages[-1]
    absolute = last + predicted.root[:, None]
    seen = terms.reprojection(absolute, batch.joints, batch.intrinsics, size_px=context.size_px)
    spread = terms.lack_of_spread(last, relative, valid) * (valid.sum() / count)
    found = {
        "hand_coarse": coarse,
        "reprojection": _mean(seen, valid, count),
        "root_depth": _mean(terms.root_depth(predicted.root, batch.joints[:, 0]), valid, count),
        "diversity": spread,
    }
    return found | ({"hand_refined": torch.stack(refined).mean()} if refined else {})


def _object_terms(pose: ObjectPose, batch: Batch, counts: Counts) -> dict[str, Tensor]:
    target = batch.object_position - batch.joints[:, 0]
    angle = symmetric_angle(
        pose.rotation, batch.object_rotation, batch.object_half, batch.object_round
    )
    both = batch.hand_valid & batch.object_valid
    return {
        "object_position": _mean(
            terms.position_distance(pose.position, target), both, counts.pairs
        ),
        "object_rotation": _mean(angle, batch.object_valid, counts.objects),
    }


def _physics(predicted: Prediction, batch: Batch, counts: Counts, context: LossContext) -> Tensor:
    joints, pose = predicted.stages[-1], predicted.object
    hand = terms.unusual_bones(joints, context.bones) + terms.bent_back(joints)
    total = _mean(hand, batch.hand_valid, counts.hands)
    if pose is None:
        return total
    in_object = (joints - pose.position[:, None]) @ pose.rotation
    shape = (batch.object_half, batch.object_round)
    both = batch.hand_valid & batch.object_valid
    total = total + _mean(terms.penetration(in_object, *shape), both, counts.pairs)
    if predicted.contact_logits is not None:
        gap = terms.contact_gap(predicted.contact_logits, in_object, *shape)
        known = both & batch.contact_valid
        total = total + CONTACT_GAP_SHARE * _mean(gap, known, counts.grasps)
    return total


def _mean(each: Tensor, valid: Tensor, count: Tensor) -> Tensor:
    """Sum of the valid ones, divided by the count."""
    return torch.where(valid, each, 0).sum() / count


def _any_label(batch: Batch) -> Tensor:
    return batch.hand_valid | batch.object_valid | batch.contact_valid
