"""How well amt uses a GPU: share of its matmul rate, speed beside a plain loop, idle time, memory.

    python -m tests.bench.amt_gpu [STEPS] [--KEY=VALUE…]

Of the full-size network at the batch of 64 unless settings say otherwise; weights are random, so
nothing is downloaded. On a CPU it runs too, without what only a GPU has. Under 8 minutes on an H200
with 16 cores, most of them for the scenes.
"""

from __future__ import annotations

import math
import os
import statistics
import sys
import tempfile
import time
import warnings
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path

import numpy as np
import torch
from torch.nn.utils import clip_grad_norm_
from torch.profiler import ProfilerActivity, profile
from torch.utils.flop_counter import FlopCounterMode

from amt.anatomy import JOINTS, measure_bones
from amt.config import TrainConfig, load_config
from amt.data.augment import augment, normalize
from amt.data.dataset import COLUMNS, Batch, Dataset, batch_indices, read_batch
from amt.data.splits import open_split
from amt.devices import pick_device
from amt.losses import LOSS_SCALE, Counts, LossContext, loss_terms, weigh
from amt.model.build import build_model
from amt.model.network import Noise
from amt.training.precision import Precision
from amt.training.step import Training

FULL_SIZE = (
    *("--pretrained=false", "--allow_random_frozen=true", "--freeze_layers=8"),
    *("--batch_size=64", "--train_scenes=1024", "--epochs=20"),
)
ROUNDS, WARM_UP = 3, 5
PLAIN_SHARE = 5  # the plain loop does so many times fewer steps
MATMUL_SIDE = 8192
GOALS = {"matmul rate": 0.30, "plain loop": 3.0, "idle": 0.05, "peak": 12e9}


def main(arguments: Sequence[str]) -> int:
    """Run and print the figures with their goals."""
    numbers = [int(one) for one in arguments if one.isdigit()]
    steps = numbers[0] if numbers else 60
    settings = [one for one in arguments if not one.isdigit()]
    config = load_config([*FULL_SIZE, *settings])
    device = pick_device(config.run.device)
    torch.set_num_threads(os.cpu_count() or 1)
    name = torch.cuda.get_device_name(device) if device.type == "cuda" else device.type
    print(f"{name}, torch {torch.__version__}")
    with tempfile.TemporaryDirectory() as folder:
        data = open_split(config.data, "train", Path(os.environ.get("AMT_CACHE", folder)))
        measure_all(config, data, device, steps)
    return 0


def measure_all(config: TrainConfig, data: Dataset, device: torch.device, steps: int) -> None:
    """Print a line for each figure."""
    batch = config.optim.batch_size
    training = make_training(config, data, device)
    flops = count_flops(training) / batch
    training.close_window()
    seconds = time_steps(training.train_step, steps, device)
    waited = training.close_window()["train/data_wait_share"]
    on_gpu = measure_gpu(training, seconds) if device.type == "cuda" else []
    training.close()
    rate = read_matmul_rate(device)
    plain = time_steps(PlainLoop(config, data, device).step, max(2, steps // PLAIN_SHARE), device)
    share = flops * batch / seconds / rate
    print(f"{batch / seconds:8.1f} images per second, {flops / 1e9:.1f} GFLOP per image")
    print(f"{share:8.2f} of {rate / 1e12:.2f} TFLOP/s of matmul, goal {GOALS['matmul rate']}")
    print(f"{plain / seconds:8.2f} times a plain loop, goal {GOALS['plain loop']}")
    print(f"{waited:8.3f} of the time for batches")
    for line in on_gpu:
        print(line)


def measure_gpu(training: Training, step_seconds: float) -> list[str]:
    """The lines of figures that a CPU does not have."""
    peak = torch.cuda.max_memory_allocated(training.device)
    busy = read_busy_seconds(training, 20)
    places = find_waits(training)
    return [
        f"{1 - busy / step_seconds:8.3f} of the time idle, goal {GOALS['idle']}",
        f"{peak / 1e9:8.2f} GB at most, goal {GOALS['peak'] / 1e9:.0f}",
        f"{len(places):8} times a step waits for the GPU, goal 0",
        *(f"         {place}" for place in places),
    ]


def make_training(config: TrainConfig, data: Dataset, device: torch.device) -> Training:
    """As a run makes it."""
    precision = Precision.of(config.run, device)
    model = build_model(config, autocast=precision.autocast).to(device)
    return Training(config, model, data, precision)


def count_flops(training: Training) -> int:
    """Of one step, forward and backward: matmuls, attention and convolutions."""
    counter = FlopCounterMode(display=False)
    with counter:
        training.train_step()
    return int(counter.get_total_flops())


def time_steps(step: Callable[[], object], steps: int, device: torch.device) -> float:
    """Seconds per step, the median of some rounds."""
    found = []
    for count in (WARM_UP, *[max(1, steps // ROUNDS)] * ROUNDS):
        began = time.perf_counter()
        for _ in range(count):
            step()
        wait_for(device)
        found.append((time.perf_counter() - began) / count)
    return statistics.median(found[1:])


def wait_for(device: torch.device) -> None:
    """Until the device has done what it was given."""
    if device.type == "cuda":
        torch.cuda.synchronize(device)


def read_busy_seconds(training: Training, steps: int) -> float:
    """For how long per step a kernel or copy runs, those at the same time counted once."""
    with profile(activities=[ProfilerActivity.CUDA]) as profiled:
        for _ in range(steps):
            training.train_step()
        wait_for(training.device)
    spans = (
        (event.time_range.start, event.time_range.end)
        for event in profiled.events()
        if event.device_type.name == "CUDA" and not event.is_user_annotation
    )
    return add_spans(spans) / 1e6 / steps


def add_spans(spans: Iterable[tuple[float, float]]) -> float:
    """For how long at least one of the spans from start to end lasts."""
    total, until = 0.0, -math.inf
    for start, end in sorted(spans):
        total += max(0.0, end - max(start, until))
        until = max(until, end)
    return total


def find_waits(training: Training) -> list[str]:
    """Where in a step the host waits for the GPU: file, line, and what torch says."""
    with warnings.catch_warnings(record=True) as told:
        warnings.simplefilter("always")
        torch.cuda.set_sync_debug_mode("warn")
        training.train_step()
        torch.cuda.set_sync_debug_mode("default")
    return [
        f"{one.filename}:{one.lineno}: {one.message}"
        for one in told
        if "synchronizing" in str(one.message)
    ]


def read_matmul_rate(device: torch.device) -> float:
    """FLOP per second of large matrices, in bfloat16 on a GPU, in float32 on a CPU."""
    side = MATMUL_SIDE if device.type == "cuda" else 1024
    kind = torch.bfloat16 if device.type == "cuda" else torch.float32
    one, other = (torch.randn(side, side, device=device, dtype=kind) for _ in range(2))
    return 2 * side**3 / time_steps(lambda: torch.mm(one, other), 60, device)


class PlainLoop:
    """The same training as one writes it first.

    Crop by crop from a data set, augmented on the CPU, float32, an optimizer that goes from tensor
    to tensor, the loss read after each step.
    """

    def __init__(self, config: TrainConfig, data: Dataset, device: torch.device) -> None:
        self._config, self._data, self._device, self._number = config, data, device, 0
        self._model = build_model(config).to(device)
        self._weights = [one for one in self._model.parameters() if one.requires_grad]
        self._optimizer = torch.optim.AdamW(self._weights, lr=1e-4, foreach=False)
        bones = measure_bones(torch.from_numpy(data.joints[data.hand_valid]))
        self._context = LossContext(config.data.image_size, 1.5, bones.to(device))
        self._generator = torch.Generator().manual_seed(0)

    def step(self) -> None:
        """Take one."""
        batch = self._read_batch()
        latent = self._model.latent.width if self._model.latent is not None else 0
        noise = Noise(
            torch.randn(len(batch), JOINTS, 3, device=self._device) * 0.005,
            torch.randn(len(batch), latent, device=self._device),
        )
        predicted = self._model(normalize(batch.images), batch.intrinsics, noise)
        terms = loss_terms(predicted, batch, Counts.of(batch), self._context)
        loss = torch.stack(list(weigh(terms, self._config.losses).values())).sum() * LOSS_SCALE
        self._optimizer.zero_grad()
        loss.backward()  # type: ignore[no-untyped-call]
        clip_grad_norm_(self._weights, 1.0, foreach=False)
        self._optimizer.step()
        loss.item()
        self._number += 1

    def _read_batch(self) -> Batch:
        size = self._config.optim.batch_size
        rows = batch_indices(self._number, count=len(self._data), batch_size=size, seed=0)
        crops = [self._read_crop(row) for row in rows]
        columns = {name: torch.cat([getattr(one, name) for one in crops]) for name in COLUMNS}
        return Batch(**columns).to(self._device)

    def _read_crop(self, row: np.int64) -> Batch:
        stored = read_batch(self._data, np.array([row]), context=True).to(torch.device("cpu"))
        how, size_px = self._config.augment, self._config.data.image_size
        return augment(stored, how, self._generator, size_px=size_px)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
