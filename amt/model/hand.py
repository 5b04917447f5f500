"""Where the hand is: a first guess by votes, then looks at the image around each joint."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor, nn

from amt.anatomy import JOINTS
from amt.geometry import unproject
from amt.model.camera import CropCamera, sample_features, to_fields
from amt.model.layers import small_linear

HAND_WIDTH_M = 0.25  # a hand in its crop: turns a focal length into a first guess of the depth


@dataclass(frozen=True, slots=True)
class Votes:
    """What the patches agree on; metres, camera frame."""

    joints: Tensor  # (B, J, 3), relative to the wrist
    root: Tensor  # (B, 3), the wrist
    object: Tensor  # (B, 3), the object's middle, relative to the wrist


class VoteHead(nn.Module):
    """Every patch votes for every joint and the object: a weight, a place near it, a depth.

    With the hand's distance, which its token gives, the votes' weighted means are lifted to 3D
    (2.5D pose; Iqbal et al. 2018).
    """

    centres: Tensor

    def __init__(self, dim: int, grid: int) -> None:
        super().__init__()
        self.grid = grid
        self.vote = nn.Linear(dim, (JOINTS + 1) * 4)
        self.distance = small_linear(dim, 1)
        steps = (torch.arange(grid) + 0.5) / grid
        y, x = torch.meshgrid(steps, steps, indexing="ij")
        self.register_buffer("centres", torch.stack([x, y], -1).view(-1, 1, 2), persistent=False)

    def forward(self, patches: Tensor, hand: Tensor, camera: CropCamera) -> Votes:
        """Patches (B, P, H), hand token (B, H)."""
        votes = self.vote(patches).view(*patches.shape[:2], JOINTS + 1, 4)
        weight = votes[..., :1].softmax(1)
        place = self.centres + votes[..., 1:3] * (2 / self.grid)
        mean = (weight * torch.cat([place, votes[..., 3:] * 0.1], -1)).sum(1)  # (B, J + 1, 3)
        root_depth = HAND_WIDTH_M * camera.focal() * self.distance(hand)[:, 0].exp()
        depth = root_depth[:, None] + mean[..., 2] - mean[:, :1, 2]
        points = unproject(mean[..., :2] * camera.size_px, depth, camera.intrinsics)
        relative = points - points[:, :1]
        return Votes(relative[:, :JOINTS], points[:, 0], relative[:, JOINTS])


class Refiner(nn.Module):
    """Looks at the image where each joint is now and moves it; the same weights at every step."""

    def __init__(self, dim: int, *, steps: int) -> None:
        super().__init__()
        self.step_embedding = nn.Parameter(torch.zeros(steps, dim))
        self.offset = nn.Sequential(
            nn.Linear(2 * dim + 3, dim), nn.GELU(), nn.LayerNorm(dim), small_linear(dim, 3)
        )

    def forward(
        self, start: Tensor, root: Tensor, tokens: Tensor, patches: Tensor, camera: CropCamera
    ) -> list[Tensor]:
        """Move the joints once per step.

        Args:
            start: (B, J, 3) joints relative to the wrist, metres.
            root: (B, 3) the wrist in the camera frame.
            tokens: (B, J, H) what the decoder knows of each joint.
            patches: (B, P, H) image features, row by row.
            camera: of the crops.

        Returns:
            (B, J, 3) relative joints after each step.
        """
        fields = to_fields(patches)
        stages, joints = [], start
        for embedding in self.step_embedding:
            here = joints.detach()
            seen = sample_features(fields, here + root.detach()[:, None], camera)
            offset = self.offset(torch.cat([tokens + embedding, seen, here * 10], -1))
            joints = joints + offset * 0.1
            joints = joints - joints[:, :1]
            stages.append(joints)
            joints = joints.detach()
        return stages
