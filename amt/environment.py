"""What the environment decides: places and threads, nothing that changes a result."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path

SHARED_CACHE = Path("/cache")  # mounted into containers, the same folder in all of them
AGENTS_CACHE = Path("cache/agents")  # what that is outside of them, in runner's state folder
HUB_URL = "https://huggingface.co"


@dataclass(frozen=True, slots=True)
class Environment:
    """The variables that count here, parsed."""

    cache: Path  # rendered scenes
    weights: tuple[Path, ...]  # where weights lie; `fetch` stores them in the first
    checkpoints: Path | None  # this run's folder, if its agent names one
    threads: int
    hub_url: str  # of the hub that weights are downloaded from


def read_environment() -> Environment:
    """`AMT_CACHE`, `RUNNER_HOME`, `RUNNER_CHECKPOINT_DIR`, `OMP_NUM_THREADS`, `HF_ENDPOINT`."""
    folder = os.environ.get("RUNNER_CHECKPOINT_DIR")
    threads = os.environ.get("OMP_NUM_THREADS", "")
    cache = _find_cache()
    shared = _find_agents_cache()
    return Environment(
        cache=cache,
        weights=tuple(one / "weights" for one in (shared, cache) if one is not None),
        checkpoints=Path(folder) if folder else None,
        threads=int(threads) if threads.isdigit() and int(threads) else 1,
        hub_url=os.environ.get("HF_ENDPOINT") or HUB_URL,
    )


def _find_cache() -> Path:
    if chosen := os.environ.get("AMT_CACHE"):
        return Path(chosen)
    if os.access(SHARED_CACHE, os.W_OK):
        return SHARED_CACHE / "amt"
    return Path.home() / ".cache" / "amt"


def _find_agents_cache() -> Path | None:
    """On the host: the folder that agents' containers see as `/cache/amt`, where there is one."""
    if os.environ.get("AMT_CACHE"):
        return None
    if home := os.environ.get("RUNNER_HOME"):
        return Path(home) / AGENTS_CACHE / "amt"
    here = Path.cwd()
    states = (folder / ".runner" for folder in (here, *here.parents))
    found = next((state for state in states if state.is_dir()), None)
    return found / AGENTS_CACHE / "amt" if found else None
