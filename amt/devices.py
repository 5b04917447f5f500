"""Where a training runs, and what is slow there."""

from __future__ import annotations

from pathlib import Path

import torch

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
