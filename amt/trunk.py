"""The image trunk: a vision transformer of DINOv2 form, from timm. The only door to timm.

`python -m amt.trunk fetch` stores its pretrained weights.
"""

from __future__ import annotations

import amt.vision  # noqa: F401 - first: timm imports torchvision

# isort: split

import argparse
import functools
import logging
import sys
from collections.abc import Callable
from pathlib import Path
from pickle import UnpicklingError
from typing import Any, Protocol, cast

import torch
from timm import models
from torch import Tensor, nn
from torch.utils.checkpoint import checkpoint

from amt.config import load_config
from amt.config.schema import TrunkConfig
from amt.environment import read_environment
from amt.errors import AmtError, ConfigError
from amt.weights import fetch_weights

PATCH = 14  # of all DINOv2 backbones


# what timm and torch.load raise for missing weights, a file that is none, sizes that do not fit
_BUILD_ERRORS = (
    OSError,
    RuntimeError,
    AssertionError,
    ValueError,
    LookupError,
    EOFError,
    UnpicklingError,
)


class _VisionTransformer(Protocol):
    patch_embed: nn.Module
    cls_token: nn.Parameter
    pos_embed: nn.Parameter
    reg_token: nn.Parameter | None
    norm_pre: nn.Module
    blocks: nn.Sequential
    norm: nn.Module
    embed_dim: int
    num_prefix_tokens: int

    def forward_features(self, images: Tensor) -> Tensor: ...


class Trunk(nn.Module):
    """Patch features of images; the first `freeze_layers` blocks and all before them are fixed."""

    def __init__(
        self, vit: nn.Module, *, grid: int, freeze_layers: int, recomputed_share: float = 0.0
    ) -> None:
        """`recomputed_share` of the trained blocks keep no activations for the way back."""
        super().__init__()
        self.vit = vit
        self.grid = grid
        typed = cast(_VisionTransformer, vit)
        self.dim, self.prefix = typed.embed_dim, typed.num_prefix_tokens
        if freeze_layers:
            _freeze(typed, freeze_layers)
        trained = list(typed.blocks)[freeze_layers:]
        for block in trained[: round(recomputed_share * len(trained))]:
            block.forward = functools.partial(_recompute, block.forward)

    def forward(self, images: Tensor) -> Tensor:
        """(B, 3, S, S) to (B, grid * grid, dim), row by row.

        Autograd records nothing in the frozen part, for none of its inputs asks for a gradient.
        """
        tokens = cast(_VisionTransformer, self.vit).forward_features(images)
        return tokens[:, self.prefix :]


def _recompute(forward: Callable[[Tensor], Tensor], tokens: Tensor) -> Tensor:
    """As `forward`, keeping its input alone; a trunk draws no random numbers on the way."""
    if not torch.is_grad_enabled():
        return forward(tokens)
    again: Tensor = checkpoint(forward, tokens, use_reentrant=False, preserve_rng_state=False)
    return again


def _freeze(vit: _VisionTransformer, layers: int) -> None:
    frozen: list[nn.Module] = [vit.patch_embed, vit.norm_pre, *list(vit.blocks)[:layers]]
    if layers == len(vit.blocks):
        frozen.append(vit.norm)
    for part in frozen:
        part.requires_grad_(False)
    for token in (vit.cls_token, vit.pos_embed, vit.reg_token):
        if token is not None:
            token.requires_grad_(False)


def build_trunk(config: TrunkConfig, image_size: int, weights: Path | None = None) -> Trunk:
    """Make the trunk, with weights where the config wants them.

    Args:
        config: which trunk.
        image_size: the crops' side in pixels.
        weights: the file with pretrained ones; else `pretrained_path`.

    Raises:
        ConfigError: unknown backbone, sizes that do not fit, weights that are not there.
    """
    known = models.list_models("vit_*_patch14*_dinov2*", pretrained=True)
    if config.backbone not in known:
        raise ConfigError(f"unknown backbone `{config.backbone}`: one of {', '.join(known)}")
    patch = config.patch_size or PATCH
    if image_size % patch:
        raise ConfigError(f"image_size {image_size} is not a multiple of the patch, {patch}")
    file = (weights or Path(config.pretrained_path)) if config.pretrained else None
    if file is not None and not file.is_file():
        raise ConfigError(f"pretrained_path `{file}` is not a file")
    try:
        vit = models.create_model(
            config.backbone,
            pretrained=config.pretrained,
            num_classes=0,
            img_size=image_size,
            **_options(config, file),
        )
    except _BUILD_ERRORS as error:
        raise _translate(error, file) from error
    depth = len(cast(_VisionTransformer, vit).blocks)
    if config.freeze_layers > depth:
        raise ConfigError(
            f"freeze_layers {config.freeze_layers} exceeds the {depth} blocks of the trunk: "
            f"freeze_layers={depth} freezes all of it"
        )
    return Trunk(
        vit,
        grid=image_size // patch,
        freeze_layers=config.freeze_layers,
        recomputed_share=config.checkpoint_ratio if config.gradient_checkpointing else 0.0,
    )


def _options(config: TrunkConfig, weights: Path | None) -> dict[str, Any]:
    own = {
        "patch_size": config.patch_size,
        "embed_dim": config.trunk_dim,
        "depth": config.trunk_depth,
        "num_heads": config.trunk_heads,
    }
    options: dict[str, Any] = {key: value for key, value in own.items() if value}
    if weights is None:
        return options | {"init_values": config.layer_scale or None}
    # not `checkpoint_path`: that one does not resample the position embedding
    return options | {"pretrained_cfg_overlay": {"file": str(weights)}}


def _translate(error: Exception, weights: Path | None) -> ConfigError:
    reason = str(error).splitlines()[0] if str(error) else type(error).__name__
    if weights is None:
        return ConfigError(f"trunk of these sizes: {reason}")
    return ConfigError(f"the weights in `{weights}` do not fit: {reason}")


def main(arguments: list[str]) -> int:
    """`fetch`: store pretrained weights where runs find them, those in containers, too."""
    parser = argparse.ArgumentParser(prog="python -m amt.trunk", description=main.__doc__)
    commands = parser.add_subparsers(required=True)
    fetch = commands.add_parser("fetch", help="store pretrained weights where runs find them")
    default = load_config([]).trunk.backbone
    fetch.add_argument("backbone", nargs="?", default=default, help="default: %(default)s")
    fetch.add_argument("--to", type=Path, metavar="FOLDER", help="store them in this folder")
    options = parser.parse_args(arguments)
    logging.basicConfig(format="%(message)s", level=logging.INFO, stream=sys.stderr)
    environment = read_environment()
    try:
        stored = fetch_weights(options.backbone, options.to or environment.weights[0], environment)
    except AmtError as error:
        sys.stderr.write(f"error: {error}\n")
        return error.exit_code
    sys.stdout.write(f"{stored}\n")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
