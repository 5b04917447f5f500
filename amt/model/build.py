"""The network of a config, put together from its parts."""

from __future__ import annotations

from pathlib import Path

import torch

from amt.config import TrainConfig
from amt.config.schema import ModelConfig
from amt.model.network import Adapter, Amt, CoarseHead, Decoder, Refiner
from amt.trunk import Trunk, build_trunk


def build_model(config: TrainConfig, weights: Path | None = None) -> Amt:
    """The network of this config; equal seeds give equal weights.

    Args:
        config: of the training.
        weights: the file with the trunk's pretrained ones, where the config names none.

    Raises:
        ConfigError: the trunk cannot be made.
    """
    torch.manual_seed(config.run.seed)
    trunk = build_trunk(config.trunk, config.data.image_size, weights)
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
