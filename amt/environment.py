"""What the environment decides: places and threads, nothing that changes a result."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path

SHARED_CACHE = Path("/cache")  # mounted into containers, the same folder in all of them


@dataclass(frozen=True, slots=True)
class Environment:
    """The variables that count here, parsed."""

    cache: Path  # rendered scenes
    checkpoints: Path | None  # this run's folder, if its agent names one
    threads: int


def read_environment() -> Environment:
    """`AMT_CACHE`, `RUNNER_CHECKPOINT_DIR`, `OMP_NUM_THREADS`."""
    folder = os.environ.get("RUNNER_CHECKPOINT_DIR")
    threads = os.environ.get("OMP_NUM_THREADS", "")
    return Environment(
        cache=_cache(),
        checkpoints=Path(folder) if folder else None,
        threads=int(threads) if threads.isdigit() and int(threads) else 1,
    )


def _cache() -> Path:
    if chosen := os.environ.get("AMT_CACHE"):
        return Path(chosen)
    if os.access(SHARED_CACHE, os.W_OK):
        return SHARED_CACHE / "amt"
    return Path.home() / ".cache" / "amt"
