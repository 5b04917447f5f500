"""What settings do to a training of `amt/tiny.yaml`: measured, not only seen to differ."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor

from amt.config import TrainConfig, load_config
from amt.data.augment import normalize
from amt.data.dataset import Dataset, load_batch
from amt.data.synthetic import open_synthetic
from amt.metrics.hand import mpjpe_mm
from amt.model.build import build_model
from amt.model.network import Noise
from amt.training.step import Training

pytestmark = [pytest.mark.slow, pytest.mark.timeout(900)]  # 100 CPU-seconds in all
ROOT = Path(__file__).resolve().parents[2]
SCENES = 1024


def make_tiny(**changes: object) -> TrainConfig:
    settings = {"train_scenes": SCENES, "val_scenes": 128} | changes
    arguments = [f"--{key}={value}" for key, value in settings.items()]
    return load_config(["--config", str(ROOT / "amt" / "tiny.yaml"), *arguments])


def train(config: TrainConfig, data: Dataset, *, steps: int) -> Training:
    training = Training(config, build_model(config), data)
    for _ in range(steps):
        training.train_step()
    return training


def weights(training: Training) -> Tensor:
    return torch.cat([value.detach().flatten() for value in training.model.parameters()])


def test_the_limit_of_the_gradient_shapes_the_training(cache: Path) -> None:
    data = open_synthetic(cache, count=SCENES, size_px=56, seed=1)
    start = weights(Training(make_tiny(), build_model(make_tiny()), data))

    tight, loose = (train(make_tiny(grad_clip=limit), data, steps=50) for limit in (0.5, 2.0))

    changes = [weights(one) - start for one in (tight, loose)]
    apart = (changes[0] - changes[1]).norm() / torch.stack(changes).norm(dim=1).mean()
    assert apart >= 0.1


def test_the_default_limit_clips_some_steps_after_warm_up(cache: Path) -> None:
    data = open_synthetic(cache, count=SCENES, size_px=56, seed=1)
    training = train(make_tiny(images=60 * 32), data, steps=6)
    training.close_window()

    for _ in range(54):
        training.train_step()

    row = training.close_window()
    assert 0.05 <= row["train/clipped_share"] <= 0.6
    assert 0.2 < row["train/grad_norm"] < 2


def test_noise_on_the_joints_teaches_the_refinement_to_take_it_back(cache: Path) -> None:
    data = open_synthetic(cache, count=SCENES, size_px=56, seed=1)
    val = open_synthetic(cache, count=128, size_px=56, seed=2)
    training = train(make_tiny(aug_joint_noise_std=0.01), data, steps=110)
    batch = load_batch(val, np.arange(128), torch.device("cpu"))
    added = torch.randn(batch.joints.shape, generator=torch.Generator().manual_seed(0)) * 0.02
    assert training.model.latent is not None
    noise = Noise(added, torch.zeros(128, training.model.latent.width))

    training.model.eval()
    with torch.inference_mode():
        images = normalize(batch.images)
        clean = training.model(images, batch.intrinsics).stages
        noisy = training.model(images, batch.intrinsics, noise).stages
    errors = [
        mpjpe_mm(stage, batch.joints).mean().item()
        for stage in (clean[0], clean[-1], clean[0] + added, noisy[-1])
    ]

    cost_before, cost_after = errors[2] - errors[0], errors[3] - errors[1]
    assert cost_before > 3
    assert cost_after <= 0.9 * cost_before
