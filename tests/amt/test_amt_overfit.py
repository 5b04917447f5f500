"""Can the network learn anything by heart?"""

from __future__ import annotations

from pathlib import Path

import pytest

from amt.config import load_config
from amt.data.synthetic import open_synthetic
from amt.model.build import build_model
from amt.training.step import Training
from amt.training.validation import validate

ROOT = Path(__file__).resolve().parents[2]


@pytest.mark.slow
@pytest.mark.timeout(900)  # 50 CPU-seconds
def test_one_batch_overfits_to_under_two_millimetres_in_1000_steps(cache: Path) -> None:
    """The network, rates and average of `amt/tiny.yaml`, a batch of 8; it comes to 0.1 mm."""
    changes = {"batch_size": 8, "train_scenes": 8, "images": 8000, "aug_joint_noise_std": 0}
    length = {"validations": 1, "scheduler_T_0": 1}
    arguments = [f"--{key}={value}" for key, value in (changes | length).items()]
    config = load_config(["--config", str(ROOT / "amt" / "tiny.yaml"), *arguments])
    data = open_synthetic(cache, count=8, size_px=config.data.image_size, seed=1)
    training = Training(config, build_model(config), data)

    for _ in range(1000):
        training.train_step()

    assert validate(training, data)["hand_mpjpe"] < 2
