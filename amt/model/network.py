"""The network: patches vote, tokens read the image, steps refine the hand, heads find the object.

Shapes: B images, P patches (grid * grid), J = 21 joints, H the decoder's width. Points are in
metres; relative means that the wrist is the origin.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import torch
from torch import Tensor, nn

from amt.model.camera import CropCamera, camera_features
from amt.model.grasped import ContactDecoder, ObjectHead, ObjectPose, SeenPose
from amt.model.hand import Refiner, VoteHead
from amt.model.tokens import (
    Adapter,
    AttentionFusion,
    Decoder,
    Latent,
    LatentHead,
    PooledFusion,
    Tokens,
)
from amt.trunk import Trunk


@dataclass(frozen=True, slots=True)
class Noise:
    """What training adds to a batch; drawn for all of it, before it may be split."""

    joints: Tensor  # (B, J, 3) metres, on the coarse joints where the refinement starts
    latent: Tensor  # (B, Z), standard normal

    def part(self, rows: slice) -> Noise:
        """That of some of the images."""
        return Noise(self.joints[rows], self.latent[rows])


@dataclass(frozen=True, slots=True)
class Prediction:
    """What the network says of B crops; a part that it lacks is None."""

    stages: tuple[Tensor, ...]  # (B, J, 3) relative joints: coarse, then after each refinement
    root: Tensor  # (B, 3), the wrist in the camera frame
    object: ObjectPose | None
    contact_logits: Tensor | None  # (B, J)
    latent: Latent | None


@dataclass(frozen=True, slots=True)
class Parts:
    """What a network is made of; None leaves a part out."""

    trunk: Trunk
    adapter: Adapter
    decoder: Decoder
    votes: VoteHead
    latent: LatentHead | None = None
    fusion: AttentionFusion | PooledFusion | None = None
    refiner: Refiner | None = None
    object: ObjectHead | None = None
    contact: ContactDecoder | None = None  # only with an object


class Amt(nn.Module):
    """Hand joints, the grasped object's pose and contact, from crops and their intrinsics."""

    def __init__(self, parts: Parts, *, autocast: torch.dtype | None = None) -> None:
        """Geometry is computed in float32 whatever `autocast` is."""
        super().__init__()
        self.autocast = autocast
        self.trunk, self.adapter, self.decoder = parts.trunk, parts.adapter, parts.decoder
        self.latent, self.fusion = parts.latent, parts.fusion
        self.votes, self.refiner = parts.votes, parts.refiner
        self.object, self.contact = parts.object, parts.contact

    def forward(self, images: Tensor, intrinsics: Tensor, noise: Noise | None = None) -> Prediction:
        """Estimate hands and objects.

        Args:
            images: (B, 3, S, S), normalized.
            intrinsics: (B, 4) of the crops.
            noise: what training adds.
        """
        camera = CropCamera(intrinsics, images.shape[-1])
        with self._precision(images):
            patches = self.adapter(self.trunk(images))
            tokens = self.decoder(patches, camera_features(camera))
            tokens, latent = self._sample_latent(tokens, noise)
            tokens = self._fuse(tokens)
        patches = patches.float()
        tokens = Tokens(*(one.float() for one in _fields(tokens)))
        votes = self.votes(patches, tokens.hand, camera)
        stages = [votes.joints]
        if self.refiner is not None:
            start = votes.joints if noise is None else votes.joints + noise.joints
            stages += self.refiner(start, votes.root, tokens.joints, patches, camera)
        pose = contact = None
        if self.object is not None:
            pose = self.object(tokens.object, votes.object, stages[-1])
        if self.contact is not None and pose is not None:
            seen = SeenPose.of(tokens, stages[-1], votes.root, pose, patches, camera)
            with self._precision(images):
                contact = self.contact(seen)
            contact = contact.float()
        return Prediction(tuple(stages), votes.root, pose, contact, latent)

    def _precision(self, images: Tensor) -> torch.autocast:
        return torch.autocast(images.device.type, self.autocast, enabled=self.autocast is not None)

    def _sample_latent(self, tokens: Tokens, noise: Noise | None) -> tuple[Tokens, Latent | None]:
        if self.latent is None:
            return tokens, None
        tokens, latent = self.latent(tokens, None if noise is None else noise.latent)
        return tokens, Latent(latent.mean.float(), latent.log_variance.float())

    def _fuse(self, tokens: Tokens) -> Tokens:
        if self.fusion is None:
            return tokens
        joints, thing = self.fusion(tokens.joints, tokens.object)
        return replace(tokens, joints=joints, object=thing)


def _fields(tokens: Tokens) -> tuple[Tensor, ...]:
    return tokens.joints, tokens.hand, tokens.object, tokens.latent
