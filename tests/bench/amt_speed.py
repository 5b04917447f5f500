"""How fast amt trains on one core: the full task beside the hand alone, in turns.

    python -m tests.bench.amt_speed [ROUNDS] [STEPS] [--config FILE] [--KEY=VALUE…]

Prints images per CPU-second, medians over the rounds, and their ratio.
"""

from __future__ import annotations

import os
import statistics
import sys
import time
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import torch

from amt.config import TrainConfig, load_config
from amt.data.dataset import Dataset
from amt.data.synthetic import open_synthetic
from amt.environment import read_environment
from amt.model.build import make_parts
from amt.model.network import Amt
from amt.training.step import Training
from amt.trunk import build_trunk

ROOT = Path(__file__).resolve().parents[2]
TINY = ["--config", str(ROOT / "amt" / "tiny.yaml")]


def main(arguments: Sequence[str]) -> int:
    """Run and print the figures."""
    numbers = [int(one) for one in arguments if one.isdigit()]
    rounds, steps = [*numbers, *(5, 20)[len(numbers) :]]
    config = load_config([*TINY, *(one for one in arguments if not one.isdigit())])
    torch.set_num_threads(read_environment().threads)
    data = open_synthetic(
        read_environment().cache, count=1024, size_px=config.data.image_size, seed=1
    )
    trainings = {
        "full task": make_training(config, data, hand_only=False),
        "hand alone": make_training(config, data, hand_only=True),
    }
    speeds: dict[str, list[float]] = {name: [] for name in trainings}
    for _ in range(rounds + 1):
        for name, training in trainings.items():
            speeds[name].append(measure(training, steps))
    medians = {name: statistics.median(found[1:]) for name, found in speeds.items()}
    for name, found in speeds.items():
        low, high = min(found[1:]), max(found[1:])
        print(f"{name:11} {medians[name]:6.1f} images per CPU-second ({low:.1f} to {high:.1f})")
    print(f"ratio       {medians['full task'] / medians['hand alone']:.2f}, goal at least 0.75")
    print(f"load {os.getloadavg()[0]:.1f}")
    return 0


def make_training(config: TrainConfig, data: Dataset, *, hand_only: bool) -> Training:
    """A training of the whole network, or of one without object, contact, latent and fusion."""
    torch.manual_seed(config.run.seed)
    parts = make_parts(config.model, build_trunk(config.trunk, config.data.image_size))
    if hand_only:
        parts = replace(parts, latent=None, fusion=None, object=None, contact=None)
    return Training(config, Amt(parts), data)


def measure(training: Training, steps: int) -> float:
    """Images per CPU-second over so many steps."""
    began = time.process_time()
    for _ in range(steps):
        training.train_step()
    return steps * training.config.optim.batch_size / (time.process_time() - began)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
