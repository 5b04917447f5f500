"""The image trunk: a vision transformer of DINOv2 form, from timm. The only door to timm."""

from __future__ import annotations

import importlib
import sys
from pathlib import Path
from pickle import UnpicklingError
from types import ModuleType
from typing import Protocol, cast

import torch
from torch import Tensor, nn

from amt.config.schema import TrunkConfig
from amt.errors import ConfigError

PATCH = 14  # of all DINOv2 backbones
_CPU_OPERATORS: list[torch.library.Library] = []  # a schema lives as long as its library object


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

    def __init__(self, vit: nn.Module, *, grid: int, freeze_layers: int) -> None:
        super().__init__()
        self.vit = vit
        self.grid = grid
        typed = cast(_VisionTransformer, vit)
        self.dim, self.prefix = typed.embed_dim, typed.num_prefix_tokens
        if freeze_layers:
            _freeze(typed, freeze_layers)

    def forward(self, images: Tensor) -> Tensor:
        """(B, 3, S, S) to (B, grid * grid, dim), row by row.

        Autograd records nothing in the frozen part, for none of its inputs asks for a gradient.
        """
        tokens = cast(_VisionTransformer, self.vit).forward_features(images)
        return tokens[:, self.prefix :]


def _freeze(vit: _VisionTransformer, layers: int) -> None:
    frozen: list[nn.Module] = [vit.patch_embed, vit.norm_pre, *list(vit.blocks)[:layers]]
    if layers == len(vit.blocks):
        frozen.append(vit.norm)
    for part in frozen:
        part.requires_grad_(False)
    for token in (vit.cls_token, vit.pos_embed, vit.reg_token):
        if token is not None:
            token.requires_grad_(False)


def build_trunk(config: TrunkConfig, image_size: int) -> Trunk:
    """Make the trunk, with weights where the config wants them.

    Args:
        config: which trunk.
        image_size: the crops' side in pixels.

    Raises:
        ConfigError: unknown backbone, sizes that do not fit, weights that are not there.
    """
    models = _import_timm_models()
    known = models.list_models("vit_*_patch14*_dinov2*", pretrained=True)
    if config.backbone not in known:
        raise ConfigError(f"unknown backbone `{config.backbone}`: one of {', '.join(known)}")
    patch = config.patch_size or PATCH
    if image_size % patch:
        raise ConfigError(f"image_size {image_size} is not a multiple of the patch, {patch}")
    try:
        vit = models.create_model(
            config.backbone,
            pretrained=config.pretrained,
            num_classes=0,
            img_size=image_size,
            **_options(config),
        )
    except _BUILD_ERRORS as error:
        raise _translate(error, config) from error
    depth = len(vit.blocks)
    if config.freeze_layers > depth:
        raise ConfigError(
            f"freeze_layers {config.freeze_layers} exceeds the {depth} blocks of the trunk: "
            f"freeze_layers={depth} freezes all of it"
        )
    return Trunk(vit, grid=image_size // patch, freeze_layers=config.freeze_layers)


def _options(config: TrunkConfig) -> dict[str, object]:
    own = {
        "patch_size": config.patch_size,
        "embed_dim": config.trunk_dim,
        "depth": config.trunk_depth,
        "num_heads": config.trunk_heads,
    }
    options: dict[str, object] = {key: value for key, value in own.items() if value}
    if not config.pretrained:
        return options | {"init_values": config.layer_scale or None}
    if config.pretrained_path:
        if not Path(config.pretrained_path).is_file():
            raise ConfigError(f"pretrained_path `{config.pretrained_path}` is not a file")
        # not `checkpoint_path`: that one does not resample the position embedding
        options["pretrained_cfg_overlay"] = {"file": config.pretrained_path}
    return options


def _translate(error: Exception, config: TrunkConfig) -> ConfigError:
    reason = str(error).splitlines()[0] if str(error) else type(error).__name__
    if not config.pretrained:
        return ConfigError(f"trunk of these sizes: {reason}")
    if config.pretrained_path:
        return ConfigError(f"pretrained_path `{config.pretrained_path}` does not fit: {reason}")
    return ConfigError(
        f"no weights for `{config.backbone}` ({reason}): give pretrained_path or set "
        "pretrained=false"
    )


def _import_timm_models() -> ModuleType:
    """Import timm, which imports torchvision, beside whatever torch there is.

    PyPI's torchvision is built for CUDA. Beside a CPU torch its extension does not load, and its
    Python part ends with "operator torchvision::nms does not exist". Declaring the operators it
    registers functions for is enough: no vision transformer calls them.
    """
    try:
        return importlib.import_module("timm.models")
    except RuntimeError as error:
        if "torchvision::" not in str(error):
            raise
    for name in [name for name in sys.modules if name.split(".")[0] in {"timm", "torchvision"}]:
        del sys.modules[name]
    library = torch.library.Library("torchvision", "FRAGMENT")  # type: ignore[no-untyped-call]
    for operator in ("nms", "qnms"):
        schema = f"{operator}(Tensor dets, Tensor scores, float iou_threshold) -> Tensor"
        library.define(schema)  # type: ignore[no-untyped-call]
    _CPU_OPERATORS.append(library)
    return importlib.import_module("timm.models")
