"""The grasped object: where it is, how it is turned, and which joints touch it."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor, nn

from amt.model.camera import CropCamera, sample_features, to_fields
from amt.model.layers import decoder_layer, small_mlp
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
    """Does each joint touch the object? Joints read the object's token and the patches."""

    def __init__(self, dim: int, width: int, *, layers: int, heads: int, dropout: float) -> None:
        super().__init__()
        self.joint = nn.Linear(2 * dim + 3, width)
        self.memory = nn.Linear(dim, width)
        self.layers = nn.ModuleList(decoder_layer(width, heads, dropout) for _ in range(layers))
        self.head = nn.Sequential(nn.LayerNorm(width), small_mlp(width, width, 1))

    def forward(self, joints: Tensor, memory: Tensor) -> Tensor:
        """Logits (B, J).

        Args:
            joints: (B, J, 2 H + 3), as `describe_joints` gives them.
            memory: (B, M, H) object token and patches.
        """
        tokens, read = self.joint(joints), self.memory(memory)
        for layer in self.layers:
            tokens = layer(tokens, read)
        logits: Tensor = self.head(tokens)[..., 0]
        return logits


def describe_joints(
    tokens: Tensor,
    joints: Tensor,
    root: Tensor,
    patches: Tensor,
    pose: ObjectPose,
    camera: CropCamera,
    grid: int,
) -> Tensor:
    """Each joint's token, what is seen there, and its place in the object: (B, J, 2 H + 3).

    Args:
        tokens: (B, J, H).
        joints: (B, J, 3), relative to the wrist, metres.
        root: (B, 3), the wrist in the camera frame.
        patches: (B, P, H).
        pose: of the object.
        camera: of the crops.
        grid: patches per side.
    """
    joints, position, rotation = joints.detach(), pose.position.detach(), pose.rotation.detach()
    seen = sample_features(to_fields(patches, grid), joints + root.detach()[:, None], camera)
    place = (joints - position[:, None]) @ rotation
    return torch.cat([tokens, seen, place * 10], -1)
