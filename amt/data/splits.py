"""The splits of the data that the settings name; every run sees the same, whatever its own seed."""

from __future__ import annotations

from pathlib import Path
from typing import Literal

from amt.config.schema import DataConfig
from amt.data.dataset import Dataset
from amt.data.synthetic import open_synthetic

Split = Literal["train", "val", "test"]
_SEEDS: dict[Split, int] = {"train": 1, "val": 2, "test": 3}


def open_split(config: DataConfig, split: Split, cache: Path) -> Dataset:
    """Map one split, after making it where nobody has; only training crops have context.

    Raises:
        DiskError: the disk has no room left in the cache.
    """
    counts = {"train": config.train_scenes, "val": config.val_scenes, "test": config.test_scenes}
    return open_synthetic(
        cache,
        count=counts[split],
        size_px=config.image_size,
        seed=_SEEDS[split],
        context=config.crop_context if split == "train" else 1.0,
    )
