"""Image features, and the tokens that read them: one per joint, the hand, the object, the latent.

Shapes: B images, P patches (grid * grid), J = 21 joints, H the decoder's width.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor, nn

from amt.anatomy import JOINTS
from amt.model.layers import decoder_layer, encoder_layer, small_linear

MOST_LOG_VARIANCE = 8.0


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


@dataclass(frozen=True, slots=True)
class Tokens:
    """What the decoder knows, by subject."""

    joints: Tensor  # (B, J, H)
    hand: Tensor  # (B, H)
    object: Tensor  # (B, H)
    latent: Tensor  # (B, H)


class Decoder(nn.Module):
    """A query for each joint, the hand's distance, the object and the latent reads the patches."""

    def __init__(self, dim: int, *, layers: int, heads: int, dropout: float) -> None:
        super().__init__()
        self.queries = nn.Parameter(torch.randn(JOINTS + 3, dim) * 0.02)
        self.camera = nn.Linear(4, dim)
        self.layers = nn.ModuleList(decoder_layer(dim, heads, dropout) for _ in range(layers))
        self.norm = nn.LayerNorm(dim)

    def forward(self, patches: Tensor, camera: Tensor) -> Tokens:
        """Patches (B, P, H) and camera features (B, 4) to tokens."""
        tokens = self.queries + self.camera(camera)[:, None]
        for layer in self.layers:
            tokens = layer(tokens, patches)
        tokens = self.norm(tokens)
        return Tokens(tokens[:, :JOINTS], *tokens[:, JOINTS:].unbind(1))


@dataclass(frozen=True, slots=True)
class Latent:
    """A normal distribution for each image: (B, Z) means and log-variances."""

    mean: Tensor
    log_variance: Tensor


class LatentHead(nn.Module):
    """What the image leaves open, as a distribution; a sample of it is added to every token.

    Trained with the sample, its mean is used otherwise (Kingma & Welling 2014).
    """

    def __init__(self, dim: int) -> None:
        super().__init__()
        self.width = max(1, dim // 4)
        self.mean = small_linear(dim, self.width)
        self.log_variance = small_linear(dim, self.width)
        self.expand = small_linear(self.width, dim)

    def forward(self, tokens: Tokens, noise: Tensor | None) -> tuple[Tokens, Latent]:
        """Add the sample that standard normal `noise` (B, Z) gives; the mean where it is None."""
        mean, free = self.mean(tokens.latent), self.log_variance(tokens.latent)
        # bounded, with a gradient everywhere
        log_variance = MOST_LOG_VARIANCE * free / (MOST_LOG_VARIANCE + free.abs())
        sample = mean if noise is None else mean + noise * (log_variance / 2).exp()
        added = self.expand(sample)
        changed = Tokens(
            tokens.joints + added[:, None],
            tokens.hand + added,
            tokens.object + added,
            tokens.latent + added,
        )
        return changed, Latent(mean, log_variance)


class AttentionFusion(nn.Module):
    """Joints and object attend to each other."""

    def __init__(self, dim: int, *, heads: int, dropout: float) -> None:
        super().__init__()
        self.layer = encoder_layer(dim, heads, dropout)

    def forward(self, joints: Tensor, thing: Tensor) -> tuple[Tensor, Tensor]:
        """Joints (B, J, H) and object (B, H), each knowing of the others."""
        fused = self.layer(torch.cat([joints, thing[:, None]], 1))
        return fused[:, :-1], fused[:, -1]


class PooledFusion(nn.Module):
    """Each token sees the mean of the joints and the object."""

    def __init__(self, dim: int, *, dropout: float) -> None:
        super().__init__()
        self.norm = nn.LayerNorm(3 * dim)
        self.mix = nn.Sequential(
            nn.Linear(3 * dim, dim), nn.GELU(), nn.Dropout(dropout), small_linear(dim, dim)
        )

    def forward(self, joints: Tensor, thing: Tensor) -> tuple[Tensor, Tensor]:
        """Joints (B, J, H) and object (B, H), each knowing of the others' mean."""
        tokens = torch.cat([joints, thing[:, None]], 1)
        pooled = torch.cat([joints.mean(1), thing], -1)[:, None].expand(-1, tokens.shape[1], -1)
        fused = tokens + self.mix(self.norm(torch.cat([tokens, pooled], -1)))
        return fused[:, :-1], fused[:, -1]
