"""What is known of hands: which joints are tips, which make a bone, how thick and long they are."""

from __future__ import annotations

import itertools
from dataclasses import dataclass

import torch
from torch import Tensor

from amt.devices import indices

JOINTS = 21  # the wrist, then thumb to little finger, each from its base to its tip
FINGERTIPS = (4, 8, 12, 16, 20)
CHAINS = tuple(tuple(range(first, first + 4)) for first in range(1, JOINTS, 4))  # without the wrist
BONES = tuple(pair for chain in CHAINS for pair in itertools.pairwise((0, *chain)))
# Of the flesh around each joint, metres; an adult hand.
RADII_M = (
    *(0.0180, 0.0125, 0.0110, 0.0100, 0.0085, 0.0115, 0.0098, 0.0088, 0.0078),
    *(0.0115, 0.0098, 0.0088, 0.0078, 0.0110, 0.0093, 0.0083, 0.0074),
    *(0.0100, 0.0083, 0.0074, 0.0066),
)
RARE = 0.02  # of the bones that were seen are shorter than the least length, as many longer


@dataclass(frozen=True, slots=True)
class BoneLengths:
    """Between which lengths each of the 20 bones lies; (20,) metres."""

    least: Tensor
    most: Tensor

    def to(self, device: torch.device) -> BoneLengths:
        """The same on a device."""
        return BoneLengths(self.least.to(device), self.most.to(device))


def bone_lengths(joints: Tensor) -> Tensor:
    """(B, 20) metres, of joints (B, 21, 3)."""
    first, second = indices(BONES, joints.device).unbind(1)
    lengths: Tensor = (joints[:, first] - joints[:, second]).norm(dim=-1)
    return lengths


def measure_bones(joints: Tensor) -> BoneLengths:
    """The usual lengths in a set of hands (N, 21, 3); without any, all lengths are usual."""
    if not len(joints):
        return BoneLengths(torch.zeros(len(BONES)), torch.full((len(BONES),), torch.inf))
    ends = torch.tensor([RARE, 1 - RARE], dtype=joints.dtype)
    least, most = torch.quantile(bone_lengths(joints), ends, dim=0)
    return BoneLengths(least, most)
