"""The network of a config, put together from its parts."""

from __future__ import annotations

from pathlib import Path

import torch

from amt.config import TrainConfig
from amt.config.schema import ModelConfig
from amt.model.grasped import ContactDecoder, ObjectHead
from amt.model.hand import Refiner, VoteHead
from amt.model.network import Amt, Parts
from amt.model.tokens import Adapter, AttentionFusion, Decoder, LatentHead, PooledFusion
from amt.trunk import Trunk, build_trunk


def build_model(
    config: TrainConfig, weights: Path | None = None, autocast: torch.dtype | None = None
) -> Amt:
    """The network of this config; equal seeds give equal weights.

    Args:
        config: of the training.
        weights: the file with the trunk's pretrained ones, where the config names none.
        autocast: what matrices are multiplied in; None: float32.

    Raises:
        ConfigError: the trunk cannot be made.
    """
    torch.manual_seed(config.run.seed)
    trunk = build_trunk(config.trunk, config.data.image_size, weights)
    return Amt(make_parts(config.model, trunk), autocast=autocast)


def make_parts(config: ModelConfig, trunk: Trunk) -> Parts:
    """The trunk with all that is learned on top of it."""
    dim, grid, heads = config.hidden_dim, trunk.grid, config.decoder_heads
    steps = config.num_refinement_steps
    fusion: AttentionFusion | PooledFusion
    if config.use_attention_fusion:
        fusion = AttentionFusion(dim, heads=heads, dropout=config.dropout)
    else:
        fusion = PooledFusion(dim, dropout=config.dropout)
    return Parts(
        trunk=trunk,
        adapter=Adapter(trunk.dim, dim, grid * grid),
        decoder=Decoder(dim, layers=config.decoder_layers, heads=heads, dropout=config.dropout),
        votes=VoteHead(dim, grid),
        latent=LatentHead(dim) if config.use_sigma_reparam else None,
        fusion=fusion,
        refiner=Refiner(dim, steps=steps) if steps else None,
        object=ObjectHead(dim),
        contact=ContactDecoder(
            dim,
            config.contact_hidden_dim,
            layers=config.contact_layers,
            heads=heads,
            dropout=config.dropout,
        ),
    )
