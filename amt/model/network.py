"""The network: patches vote for joints, a decoder reads the image, steps refine the pose.

Shapes: B images, P patches (grid * grid), J = 21 joints, H the decoder's width. Joints are in
metres; root-relative means that the wrist is the origin.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn import functional

from amt.geometry import project, unproject
from amt.trunk import Trunk

JOINTS = 21
HAND_WIDTH_M = 0.25  # a hand in its crop: turns a focal length into a first guess of the depth
SMALL_STD = 0.01  # of output layers: they start near "no change"


@dataclass(frozen=True, slots=True)
class Prediction:
    """Root-relative joints (B, J, 3) after the coarse head and each refinement step; the root
    (B, 3) in the camera frame."""

    stages: tuple[Tensor, ...]
    root: Tensor


class Adapter(nn.Module):
    """Trunk features to the decoder's width, with their place in the crop."""

    def __init__(self, trunk_dim: int, dim: int, patches: int) -> None:
        super().__init__()
        self.norm = nn.LayerNorm(trunk_dim)
        self.project = nn.Linear(trunk_dim, dim)
        self.pos_embed = nn.Parameter(torch.randn(patches, dim) * 0.02)

    def forward(self, features: Tensor) -> Tensor:
        """(B, P, trunk_dim) to (B, P, H)."""
        placed: Tensor = self.project(self.norm(features)) + self.pos_embed
        return placed


class Decoder(nn.Module):
    """A query per joint and one for the hand's distance read the patches."""

    def __init__(self, dim: int, *, layers: int, heads: int, dropout: float) -> None:
        super().__init__()
        self.queries = nn.Parameter(torch.randn(JOINTS + 1, dim) * 0.02)
        self.camera = nn.Linear(4, dim)
        self.layers = nn.ModuleList(
            nn.TransformerDecoderLayer(
                dim,
                heads,
                2 * dim,
                dropout=dropout,
                activation="gelu",
                batch_first=True,
                norm_first=True,
            )
            for _ in range(layers)
        )
        self.norm = nn.LayerNorm(dim)

    def forward(self, patches: Tensor, camera: Tensor) -> tuple[Tensor, Tensor]:
        """Patches (B, P, H), camera (B, 4) to joint tokens (B, J, H) and a hand token (B, H)."""
        tokens = self.queries + self.camera(camera)[:, None]
        for layer in self.layers:
            tokens = layer(tokens, patches)
        tokens = self.norm(tokens)
        return tokens[:, :JOINTS], tokens[:, JOINTS]


class CoarseHead(nn.Module):
    """Every patch votes for every joint: a weight, a place near the patch, a relative depth.

    With the hand's distance from its token the votes' weighted means are lifted to 3D (2.5D pose;
    Iqbal et al. 2018).
    """

    centres: Tensor

    def __init__(self, dim: int, grid: int) -> None:
        super().__init__()
        self.grid = grid
        self.vote = nn.Linear(dim, JOINTS * 4)
        self.distance = _small_linear(dim, 1)
        steps = (torch.arange(grid) + 0.5) / grid
        y, x = torch.meshgrid(steps, steps, indexing="ij")
        self.register_buffer("centres", torch.stack([x, y], -1).view(-1, 1, 2), persistent=False)

    def forward(
        self, patches: Tensor, hand: Tensor, intrinsics: Tensor, size_px: int
    ) -> tuple[Tensor, Tensor]:
        """Patches (B, P, H), hand token (B, H) to relative joints (B, J, 3) and root (B, 3)."""
        votes = self.vote(patches).view(*patches.shape[:2], JOINTS, 4)
        weight = votes[..., :1].softmax(1)
        place = self.centres + votes[..., 1:3] * (2 / self.grid)
        mean = (weight * torch.cat([place, votes[..., 3:] * 0.1], -1)).sum(1)  # (B, J, 3)
        focal = intrinsics[:, :2].prod(-1).sqrt() / size_px
        root_depth = HAND_WIDTH_M * focal * self.distance(hand)[:, 0].exp()
        depth = root_depth[:, None] + mean[..., 2] - mean[:, :1, 2]
        joints = unproject(mean[..., :2] * size_px, depth, intrinsics)
        return joints - joints[:, :1], joints[:, 0]


class Refiner(nn.Module):
    """Looks at the image where each joint is now and moves it; the same weights at every step."""

    def __init__(self, dim: int, *, steps: int, grid: int) -> None:
        super().__init__()
        self.grid = grid
        self.step_embedding = nn.Parameter(torch.zeros(steps, dim))
        self.offset = nn.Sequential(
            nn.Linear(2 * dim + 3, dim), nn.GELU(), nn.LayerNorm(dim), _small_linear(dim, 3)
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
        fields = patches.mT.reshape(*patches.mT.shape[:2], self.grid, self.grid)
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


@dataclass(frozen=True, slots=True)
class CropCamera:
    """The camera of B square crops: intrinsics (B, 4) and the side in pixels."""

    intrinsics: Tensor
    size_px: int


class Amt(nn.Module):
    """Hand joints from a crop and its intrinsics."""

    def __init__(
        self,
        trunk: Trunk,
        adapter: Adapter,
        decoder: Decoder,
        coarse: CoarseHead,
        refiner: Refiner | None,
        *,
        use_bf16: bool = False,
    ) -> None:
        super().__init__()
        self.use_bf16 = use_bf16
        self.trunk, self.adapter, self.decoder = trunk, adapter, decoder
        self.coarse, self.refiner = coarse, refiner

    def forward(
        self, images: Tensor, intrinsics: Tensor, joint_noise: Tensor | None = None
    ) -> Prediction:
        """Estimate the hands.

        Args:
            images: (B, 3, S, S), normalized.
            intrinsics: (B, 4) of the crops.
            joint_noise: (B, J, 3) metres, added to the coarse joints before the refinement: it
                learns to correct errors larger than those of the coarse head on training images.
        """
        camera = CropCamera(intrinsics, images.shape[-1])
        with torch.autocast(images.device.type, torch.bfloat16, enabled=self.use_bf16):
            patches = self.adapter(self.trunk(images))
            tokens, hand = self.decoder(patches, camera_features(camera))
        patches, tokens, hand = patches.float(), tokens.float(), hand.float()  # heads: geometry
        coarse, root = self.coarse(patches, hand, intrinsics, camera.size_px)
        stages = [coarse]
        if self.refiner is not None:
            start = coarse if joint_noise is None else coarse + joint_noise
            stages += self.refiner(start, root, tokens, patches, camera)
        return Prediction(tuple(stages), root)


def camera_features(camera: CropCamera) -> Tensor:
    """Intrinsics as numbers of order one: (B, 4)."""
    scaled = camera.intrinsics / camera.size_px
    return torch.cat([scaled[:, :2].log(), scaled[:, 2:] - 0.5], -1)


def sample_features(fields: Tensor, points: Tensor, camera: CropCamera) -> Tensor:
    """Features (B, J, H) of fields (B, H, grid, grid) where camera points (B, J, 3) appear."""
    place = project(points, camera.intrinsics) * (2 / camera.size_px) - 1
    place = place.nan_to_num().clamp(-1, 1)  # grid_sample crashes on NaN and 1e30 (torch 2.13, CPU)
    sampled = functional.grid_sample(
        fields, place[:, :, None], align_corners=False, padding_mode="border"
    )
    return sampled[..., 0].mT


def _small_linear(inputs: int, outputs: int) -> nn.Linear:
    layer = nn.Linear(inputs, outputs)
    nn.init.normal_(layer.weight, std=SMALL_STD)
    nn.init.zeros_(layer.bias)
    return layer
