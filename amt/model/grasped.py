"""The grasped object: where it is, how it is turned, and which joints touch it."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor, nn

from amt.model.camera import CropCamera, sample_features, to_fields
from amt.model.layers import encoder_layer, small_mlp
from amt.model.tokens import Tokens
from amt.rotations import palm_frame, rotation_from_6d


@dataclass(frozen=True, slots=True)
class ObjectPose:
    """The object's pose; metres."""

    position: Tensor  # (B, 3), relative to the wrist, camera frame
    rotation: Tensor  # (B, 3, 3), object to camera
    in_palm: Tensor  # (B, 3, 3), object to palm: what the head itself estimates


class ObjectHead(nn.Module):
    """Corrects the patches' vote for the object's middle, and turns it within the palm's frame."""

    def __init__(self, dim: int) -> None:
        super().__init__()
        self.offset = small_mlp(dim, dim, 3)
        self.turn = small_mlp(dim, dim, 6)
        # at the start it lies as the palm does: the first two columns of the identity
        self.start: Tensor
        self.register_buffer("start", torch.tensor([1.0, 0, 0, 0, 1, 0]), persistent=False)

    def forward(self, token: Tensor, vote: Tensor, joints: Tensor) -> ObjectPose:
        """Object token (B, H), vote (B, 3) and joints (B, J, 3), both relative to the wrist."""
        in_palm = rotation_from_6d(self.turn(token) + self.start)
        palm = palm_frame(joints.detach())
        return ObjectPose(vote + self.offset(token) * 0.1, palm @ in_palm, in_palm)


class ContactDecoder(nn.Module):
    """Does each joint touch the object? Joints and object attend to each other."""

    def __init__(self, dim: int, width: int, *, layers: int, heads: int, dropout: float) -> None:
        super().__init__()
        self.joint = nn.Linear(2 * dim + 3, width)
        self.object = nn.Linear(2 * dim, width)
        self.layers = nn.ModuleList(encoder_layer(width, heads, dropout) for _ in range(layers))
        self.head = nn.Sequential(nn.LayerNorm(width), small_mlp(width, width, 1))

    def forward(self, seen: SeenPose) -> Tensor:
        """Logits (B, J)."""
        tokens = torch.cat([self.joint(seen.joints), self.object(seen.object)[:, None]], 1)
        for layer in self.layers:
            tokens = layer(tokens)
        logits: Tensor = self.head(tokens[:, :-1])[..., 0]
        return logits


@dataclass(frozen=True, slots=True)
class SeenPose:
    """Hand and object as the contact decoder is given them; without a gradient to the pose."""

    joints: Tensor  # (B, J, 2 H + 3): token, features where it appears, place in the object
    object: Tensor  # (B, 2 H): token, features where its middle appears

    @classmethod
    def of(
        cls,
        tokens: Tokens,
        joints: Tensor,
        root: Tensor,
        pose: ObjectPose,
        patches: Tensor,
        camera: CropCamera,
    ) -> SeenPose:
        """Look up what is seen where.

        Args:
            tokens: of the decoder.
            joints: (B, J, 3), relative to the wrist, metres.
            root: (B, 3), the wrist in the camera frame.
            pose: of the object.
            patches: (B, P, H), row by row.
            camera: of the crops.
        """
        joints, position, rotation = (
            one.detach() for one in (joints, pose.position[:, None], pose.rotation)
        )
        points = torch.cat([joints, position], 1) + root.detach()[:, None]
        seen = sample_features(to_fields(patches), points, camera)
        place = (joints - position) @ rotation * 10
        return cls(
            torch.cat([tokens.joints, seen[:, :-1], place], -1),
            torch.cat([tokens.object, seen[:, -1]], -1),
        )
