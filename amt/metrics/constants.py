"""What always giving the same answer would score: the least that a network must beat."""

from __future__ import annotations

import torch
from torch import Tensor

from amt.data.dataset import Batch
from amt.metrics.grasped import TOUCHES_M
from amt.metrics.scores import CONTACT_THRESHOLD, Scores
from amt.model.grasped import ObjectPose
from amt.model.network import Prediction
from amt.rotations import palm_frame, symmetric_angle

CANDIDATES = 200  # rotations of the training set that are tried on each other
_ROUNDS = 10  # until a median of 6,144 hands moves by a micrometre


def score_constant(train: Batch, labels: Batch) -> dict[str, float]:
    """The scores of the best constant answer, found on `train`, for other labels.

    Args:
        train: its labels; images are not looked at.
        labels: likewise.
    """
    scores = Scores(labels.joints.device)
    scores.update(answer_constantly(train, len(labels)), labels)
    return scores.compute()


def answer_constantly(train: Batch, count: int) -> Prediction:
    """One answer for all of `count` images.

    Joints, wrist and object are medians. Rotations, which are relative to the camera and to the
    palm, are those of the training set that fit the others best. Contact is the share of the
    training set in which the joint touches.
    """
    relative = train.joints - train.joints[:, :1]
    both = train.hand_valid & train.object_valid
    position = _median((train.object_position - train.joints[:, 0])[both])
    rotations, palms = train.object_rotation[both], palm_frame(train.joints[both])
    shapes = (train.object_half[both], train.object_round[both])

    def repeat(answer: Tensor) -> Tensor:
        return answer.expand(count, *answer.shape)

    return Prediction(
        stages=(repeat(_median(relative[train.hand_valid])),),
        root=repeat(_median(train.joints[train.hand_valid, 0])),
        object=ObjectPose(
            repeat(position),
            repeat(_nearest_of_all(rotations, *shapes)),
            repeat(_nearest_of_all(palms.mT @ rotations, *shapes)),
        )
        if both.any()
        else None,
        contact_logits=repeat(_prior_logits(train.clearance[train.contact_valid] < TOUCHES_M))
        if train.contact_valid.any()
        else None,
        latent=None,
    )


def _median(points: Tensor) -> Tensor:
    """The point (..., 3) with the least mean distance to points (N, ..., 3) (Weiszfeld 1937)."""
    middle: Tensor = points.mean(0)
    for _ in range(_ROUNDS):
        weights = 1 / (points - middle).norm(dim=-1, keepdim=True).clamp(min=1e-6)
        middle = (points * weights).sum(0) / weights.sum(0)
    return middle


def _nearest_of_all(rotations: Tensor, half: Tensor, is_round: Tensor) -> Tensor:
    """Of rotations (N, 3, 3) that with the least mean angle to the others."""
    rotations = rotations[:CANDIDATES]
    count = len(rotations)
    angles = symmetric_angle(
        rotations.repeat_interleave(count, 0),
        rotations.repeat(count, 1, 1),
        half[:CANDIDATES].repeat(count, 1),
        is_round[:CANDIDATES].repeat(count),
    )
    return rotations[angles.view(count, count).mean(1).argmin()]


def _prior_logits(touches: Tensor) -> Tensor:
    """Logits (J,) in the order of how often joints touch (N, J); the best F1 at the threshold."""
    share = touches.float().mean(0).clamp(1e-3, 1 - 1e-3)
    order = share.argsort(descending=True)
    hits = touches.float().mean(0)[order].cumsum(0)
    said = torch.arange(1, len(order) + 1, device=share.device)
    best = (2 * hits / (said + hits[-1])).argmax()
    cut = share[order[best]].logit()
    threshold = torch.tensor(CONTACT_THRESHOLD, device=share.device).logit()
    return share.logit() - cut + threshold + 1e-3
