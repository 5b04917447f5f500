"""The network of a config, put together from its parts."""

from __future__ import annotations

import torch

from amt.config import TrainConfig
from amt.config.schema import ModelConfig
from amt.model.network import Adapter, Amt, CoarseHead, Decoder, Refiner
from amt.trunk import Trunk, build_trunk


def build_model(config: TrainConfig) -> Amt:
    """The network of this config; equal seeds give equal weights.

    Raises:
        ConfigError: the trunk cannot be made.
    """
    torch.manual_seed(config.run.seed)
    trunk = build_trunk(config.trunk, config.data.image_size)
    return assemble(config.model, trunk, use_bf16=config.run.use_bf16)


def assemble(config: ModelConfig, trunk: Trunk, *, use_bf16: bool) -> Amt:
    """The trunk with all that is learned on top of it."""
    dim, grid = config.hidden_dim, trunk.grid
    refiner = Refiner(dim, steps=config.num_refinement_steps, grid=grid)
    return Amt(
        trunk,
        Adapter(trunk.dim, dim, grid * grid),
        Decoder(
            dim,
            layers=config.decoder_layers,
            heads=config.decoder_heads,
            dropout=config.dropout,
        ),
        CoarseHead(dim, grid),
        refiner if config.num_refinement_steps else None,
        use_bf16=use_bf16,
    )
