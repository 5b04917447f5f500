"""Import this before whatever imports torchvision: timm and torchmetrics do.

PyPI's torchvision is built for CUDA. Beside a CPU torch its extension does not load, and its Python
part ends with "operator torchvision::nms does not exist". Declaring the operators that it registers
functions for is enough: nothing here calls them.
"""

from __future__ import annotations

import importlib.util
from pathlib import Path

import torch

_KEPT: list[torch.library.Library] = []  # a declaration lives as long as its library object


def declare_operators() -> None:
    """Declare torchvision's operators where its extension cannot."""
    if _KEPT or _load_extension():
        return
    library = torch.library.Library("torchvision", "FRAGMENT")  # type: ignore[no-untyped-call]
    for operator in ("nms", "qnms"):
        schema = f"{operator}(Tensor dets, Tensor scores, float iou_threshold) -> Tensor"
        library.define(schema)  # type: ignore[no-untyped-call]
    _KEPT.append(library)


def _load_extension() -> bool:
    """As torchvision will do at its import; a second time changes nothing."""
    spec = importlib.util.find_spec("torchvision")
    if spec is None or spec.origin is None:
        return True
    extension = Path(spec.origin).with_name("_C.so")
    try:
        torch.ops.load_library(str(extension))  # type: ignore[no-untyped-call]
    except OSError:
        return False
    return True


declare_operators()
