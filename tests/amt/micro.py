"""A training so small that a step takes milliseconds."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING

from amt.config import DEFAULTS, TrainConfig, build_config, read_yaml

if TYPE_CHECKING:
    import pytest

    from amt.data.dataset import Dataset

MICRO: dict[str, object] = {
    "train_scenes": 32,
    "val_scenes": 16,
    "test_scenes": 0,
    "image_size": 28,
    "crop_context": 1.0,
    "backbone": "vit_small_patch14_dinov2.lvd142m",
    "pretrained": False,
    "trunk_dim": 32,
    "trunk_depth": 2,
    "trunk_heads": 2,
    "freeze_layers": 0,
    "hidden_dim": 32,
    "contact_hidden_dim": 32,
    "contact_layers": 1,
    "decoder_layers": 1,
    "decoder_heads": 4,
    "dropout": 0.0,
    "epochs": 0,
    "images": 48,
    "batch_size": 8,
    "learning_rate": 1.0e-3,
    "lr_mult_pretrained": 1.0,
    "validations": 2,
    "device": "cpu",
    "use_amp": False,
    "log_steps": 1000,
    "overlay_epochs": 0,
    "scheduler_T_0": 2,
}


def make_config(**changes: object) -> TrainConfig:
    """The micro config with some settings changed."""
    return build_config(read_yaml(DEFAULTS) | MICRO | changes)


def make_arguments(**changes: object) -> list[str]:
    """The same as a command line."""
    return [f"--{key}={value}" for key, value in (MICRO | changes).items()]


def open_train(cache: Path) -> Dataset:
    """The scenes that micro configs train on."""
    from amt.data.synthetic import open_synthetic  # here: it loads torch, arguments need none

    return open_synthetic(cache, count=32, size_px=28, seed=1)


def open_val(cache: Path) -> Dataset:
    """The scenes that micro configs are validated on."""
    from amt.data.synthetic import open_synthetic

    return open_synthetic(cache, count=16, size_px=28, seed=2)


def silence_wandb(patch: pytest.MonkeyPatch) -> None:
    """Let runs of this process log nothing, whatever client an earlier test has left in it."""
    if "wandb" in sys.modules:
        sys.modules["wandb"].teardown()  # it keeps the mode of its first call in this process
    patch.setenv("WANDB_MODE", "disabled")
