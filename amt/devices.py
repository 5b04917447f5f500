"""Where a training runs, what is slow there, and how numbers get there.

A copy from the host to a GPU makes the host wait until all work before it is done. `constant` and
`indices` copy the same numbers once; `send` gives the GPU memory that it reads by itself.
"""

from __future__ import annotations

import functools
from collections.abc import Hashable
from pathlib import Path

import torch
from torch import Tensor

from amt.errors import ConfigError

CPU_INFO = Path("/proc/cpuinfo")
FAST_BF16 = frozenset({"avx512_bf16", "amx_bf16", "bf16"})  # flags on x86 and arm64


def pick_device(wanted: str) -> torch.device:
    """The device of `auto`, `cpu` or `cuda`.

    Raises:
        ConfigError: `cuda`, and torch sees no GPU.
    """
    if wanted == "auto":
        wanted = "cuda" if torch.cuda.is_available() else "cpu"
    elif wanted == "cuda" and not torch.cuda.is_available():
        raise ConfigError("device is `cuda`: torch sees no GPU")
    return torch.device(wanted)


def has_fast_bf16(device: torch.device, cpu_info: Path | None = None) -> bool:
    """Does the hardware multiply bfloat16? A CPU that does not is slower with it than without."""
    if device.type != "cpu":
        return bool(torch.cuda.is_bf16_supported(including_emulation=False))
    try:
        words = (cpu_info or CPU_INFO).read_text().split()
    except OSError:
        return True  # not Linux: nothing is known
    return not FAST_BF16.isdisjoint(words)


def send(values: Tensor, device: torch.device) -> Tensor:
    """Numbers of the host on a device; nothing waits for their arrival."""
    return (values.pin_memory() if device.type == "cuda" else values).to(device, non_blocking=True)


def constant(numbers: Hashable, like: Tensor) -> Tensor:
    """Numbers in tuples, of the type and on the device of a tensor; not to be changed."""
    return _copy_once(numbers, like.dtype, like.device)


def indices(numbers: Hashable, device: torch.device) -> Tensor:
    """Whole numbers in tuples on a device; not to be changed."""
    return _copy_once(numbers, torch.int64, device)


@functools.cache
def _copy_once(numbers: Hashable, kind: torch.dtype, device: torch.device) -> Tensor:
    with torch.inference_mode(mode=False):  # a training uses what a validation may have made
        return torch.tensor(numbers, dtype=kind, device=device)
