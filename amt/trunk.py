"""The image trunk: a vision transformer of DINOv2 form, from timm. The only door to timm."""

from __future__ import annotations

import importlib
import sys
from dataclasses import dataclass
from pathlib import Path
from pickle import UnpicklingError
from types import ModuleType
from typing import Protocol, cast

import torch
from torch import Tensor, nn

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


@dataclass(frozen=True, slots=True)
class TrunkSpec:
    """Which trunk; a zero means the backbone's own."""

    backbone: str
    image_size: int
    pretrained: bool
    pretrained_path: str
    patch_size: int = 0
    dim: int = 0
    depth: int = 0
    heads: int = 0
    layer_scale: float = 0.1
    freeze_layers: int = 0


class Trunk(nn.Module):
    """Patch features of images; the first `freeze_layers` blocks and all before them are fixed."""

    def __init__(self, vit: nn.Module, *, grid: int, freeze_layers: int) -> None:
        super().__init__()
        self.vit = vit
        self.grid = grid
        typed = cast(_VisionTransformer, vit)
        self.dim, self.prefix = typed.embed_dim, typed.num_prefix_tokens
        if freeze_layers:
            self._freeze(typed, freeze_layers)

    def forward(self, images: Tensor) -> Tensor:
        """(B, 3, S, S) to (B, grid * grid, dim), row by row.

        Autograd records nothing in the frozen part, for none of its inputs asks for a gradient.
        """
        tokens = cast(_VisionTransformer, self.vit).forward_features(images)
        return tokens[:, self.prefix :]

    def _freeze(self, vit: _VisionTransformer, layers: int) -> None:
        frozen: list[nn.Module] = [vit.patch_embed, vit.norm_pre, *list(vit.blocks)[:layers]]
        if layers >= len(vit.blocks):
            frozen.append(vit.norm)
        for part in frozen:
            part.requires_grad_(False)
        for token in (vit.cls_token, vit.pos_embed, vit.reg_token):
            if token is not None:
                token.requires_grad_(False)


def build_trunk(spec: TrunkSpec) -> Trunk:
    """Make the trunk, with weights where the spec wants them.

    Raises:
        ConfigError: unknown backbone, size no multiple of the patch, weights not to be had.
    """
    models = _import_timm_models()
    known = models.list_models("vit_*_patch14*_dinov2*", pretrained=True)
    if spec.backbone not in known:
        raise ConfigError(f"unknown backbone `{spec.backbone}`: one of {', '.join(known)}")
    patch = spec.patch_size or PATCH
    if spec.image_size % patch:
        raise ConfigError(f"image_size {spec.image_size} is no multiple of the patch, {patch}")
    try:
        vit = models.create_model(
            spec.backbone,
            pretrained=spec.pretrained,
            num_classes=0,
            img_size=spec.image_size,
            **_options(spec),
        )
    except _BUILD_ERRORS as error:
        raise _translate(error, spec) from error
    return Trunk(vit, grid=spec.image_size // patch, freeze_layers=spec.freeze_layers)


def _options(spec: TrunkSpec) -> dict[str, object]:
    own = {
        "patch_size": spec.patch_size,
        "embed_dim": spec.dim,
        "depth": spec.depth,
        "num_heads": spec.heads,
    }
    options: dict[str, object] = {key: value for key, value in own.items() if value}
    if not spec.pretrained:
        return options | {"init_values": spec.layer_scale or None}
    if spec.pretrained_path:
        if not Path(spec.pretrained_path).is_file():
            raise ConfigError(f"pretrained_path `{spec.pretrained_path}` is not a file")
        # not `checkpoint_path`: that one does not resample the position embedding
        options["pretrained_cfg_overlay"] = {"file": spec.pretrained_path}
    return options


def _translate(error: Exception, spec: TrunkSpec) -> ConfigError:
    reason = str(error).splitlines()[0] if str(error) else type(error).__name__
    if not spec.pretrained:
        return ConfigError(f"trunk of these sizes: {reason}")
    if spec.pretrained_path:
        return ConfigError(f"pretrained_path `{spec.pretrained_path}` does not fit: {reason}")
    return ConfigError(
        f"no weights for `{spec.backbone}`: give pretrained_path or set pretrained=false ({reason})"
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
