"""The network of a config, put together from its parts."""

from __future__ import annotations

import torch

from amt.config import TrainConfig
from amt.model.network import Adapter, Amt, CoarseHead, Decoder, Refiner
from amt.trunk import Trunk, TrunkSpec, build_trunk


def build_model(config: TrainConfig) -> Amt:
    """The network of this config; equal seeds give equal weights."""
    torch.manual_seed(config.seed)
    trunk = build_trunk(trunk_spec(config))
    return assemble(config, trunk)


def trunk_spec(config: TrainConfig) -> TrunkSpec:
    """The part of the config that makes the trunk."""
    return TrunkSpec(
        backbone=config.backbone,
        image_size=config.image_size,
        pretrained=config.pretrained,
        pretrained_path=config.pretrained_path,
        patch_size=config.patch_size,
        dim=config.trunk_dim,
        depth=config.trunk_depth,
        heads=config.trunk_heads,
        layer_scale=config.layer_scale,
        freeze_layers=config.freeze_layers,
    )


def assemble(config: TrainConfig, trunk: Trunk) -> Amt:
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
        use_bf16=config.use_bf16,
    )
