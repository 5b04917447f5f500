"""The terms of the loss, one value per image; in units of 0.1 m or radians, so of order one.

Shapes: B images, J = 21 joints. Joints are relative to the wrist where it is not said; metres.
"""

from __future__ import annotations

from torch import Tensor
from torch.nn import functional

from amt.anatomy import CHAINS, FINGERTIPS, RADII_M, BoneLengths, bone_lengths
from amt.devices import constant, indices
from amt.geometry import project, soft_depth
from amt.model.tokens import Latent
from amt.shapes import signed_distance

PER_M = 10.0
PER_M_PHYSICS = 100.0  # errors here are centimetres
CROP_WIDTH = 4.0  # a crop shows about 0.4 m of the scene: from crop widths to 0.1 m
CONTACT_M = 0.010  # the clearance at which contact is a third as likely as at 0
STRAIGHT_BACK = -0.3  # cosine between bones beyond which a joint would be bent back
SHORT_M = 1e-3  # bones below it have no direction
LEAST_SPREAD_M = 1e-4


def joint_distance(predicted: Tensor, joints: Tensor, *, fingertip_weight: float) -> Tensor:
    """Mean distance (B,) of joints (B, J, 3), fingertips counting more."""
    factors = (fingertip_weight if one in FINGERTIPS else 1.0 for one in range(joints.shape[1]))
    distance: Tensor = (predicted - joints).norm(dim=-1) * constant(tuple(factors), joints)
    return distance.mean(-1) * PER_M


def position_distance(predicted: Tensor, position: Tensor) -> Tensor:
    """Distance (B,) of points (B, 3)."""
    distance: Tensor = (predicted - position).norm(dim=-1)
    return distance * PER_M


def reprojection(predicted: Tensor, joints: Tensor, intrinsics: Tensor, *, size_px: int) -> Tensor:
    """L1 distance (B,) in the image of camera points (B, J, 3)."""
    gap = project(predicted, intrinsics) - project(joints, intrinsics)
    return gap.abs().mean((1, 2)) / size_px * CROP_WIDTH


def root_depth(root: Tensor, wrist: Tensor) -> Tensor:
    """Ratio (B,) of two depths (B, 3), as a logarithm: depth is known up to the hand's size."""
    return (soft_depth(root[:, 2]).log() - wrist[:, 2].log()).abs()


def contact(logits: Tensor, clearance: Tensor) -> Tensor:
    """Cross entropy (B,) of logits (B, J) with soft targets from clearances (B, J) in metres."""
    target = (-clearance.clamp(min=0) / CONTACT_M).exp()
    return functional.binary_cross_entropy_with_logits(logits, target, reduction="none").mean(-1)


def penetration(in_object: Tensor, half: Tensor, is_round: Tensor) -> Tensor:
    """How deep (B,) the inner half of the flesh around joints lies in the object.

    Args:
        in_object: (B, J, 3) joints in the object's frame.
        half: (B, 3) half extents.
        is_round: (B,).
    """
    inner = constant(RADII_M, in_object) / 2
    depth = functional.relu(inner - signed_distance(in_object, half, is_round))
    return depth.mean(-1) * PER_M_PHYSICS


def contact_gap(logits: Tensor, in_object: Tensor, half: Tensor, is_round: Tensor) -> Tensor:
    """How far (B,) from the surface the flesh is that is said to touch it; as `penetration`."""
    gap = signed_distance(in_object, half, is_round) - constant(RADII_M, in_object)
    return (logits.sigmoid() * gap.abs()).mean(-1) * PER_M_PHYSICS


def unusual_bones(joints: Tensor, usual: BoneLengths) -> Tensor:
    """How much (B,) bones are shorter or longer than usual."""
    lengths = bone_lengths(joints)
    beyond = functional.relu(usual.least - lengths) + functional.relu(lengths - usual.most)
    return beyond.mean(-1) * PER_M_PHYSICS


def bent_back(joints: Tensor) -> Tensor:
    """How far (B,) finger joints are bent beyond what a hand can."""
    chains = joints[:, indices(CHAINS, joints.device)]  # (B, 5, 4, 3)
    bones = functional.normalize(chains.diff(dim=2), dim=-1, eps=SHORT_M)
    cosines = (bones[:, :, 1:] * bones[:, :, :-1]).sum(-1)
    return functional.relu(STRAIGHT_BACK - cosines).mean((1, 2))


def lack_of_spread(predicted: Tensor, joints: Tensor, valid: Tensor) -> Tensor:
    """How much less hands differ within the batch than they should, from 0 to 1: a scalar.

    Args:
        predicted: (B, J, 3).
        joints: (B, J, 3).
        valid: (B,), which of them count; fewer than two have no spread.
    """
    spread, wanted = (_spread(one[:, 1:], valid) for one in (predicted, joints))
    lack = functional.relu(1 - spread / wanted).mean()
    return lack * (valid.sum() > 1)


def kl_divergence(latent: Latent) -> Tensor:
    """From a standard normal, (B,): summed over the latent's numbers (Kingma & Welling 2014)."""
    mean, log_variance = latent.mean, latent.log_variance
    return (mean.square() + log_variance.exp() - 1 - log_variance).sum(-1) / 2


def _spread(points: Tensor, valid: Tensor) -> Tensor:
    """Standard deviation (J,) over the batch of points (B, J, 3)."""
    share = valid.to(points)[:, None, None] / valid.sum().clamp(min=1)
    middle = (points * share).sum(0)
    variance = ((points - middle).square() * share).sum((0, 2)) / 3
    return (variance + LEAST_SPREAD_M**2).sqrt()
