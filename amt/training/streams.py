"""Random numbers of a step: one stream for each use, drawn from (seed, step).

A resumed run needs no generator's state, and no use of chance depends on how much another draws.
"""

from __future__ import annotations

from typing import Literal, get_args

import numpy as np
import torch

Stream = Literal["augmentation", "dropout", "joint_noise"]


def seed_of(seed: int, step: int, stream: Stream) -> int:
    """The seed of one stream at one step of the training with this seed."""
    place = get_args(Stream).index(stream)
    state = np.random.SeedSequence((seed, step, place)).generate_state(1, np.uint64)
    return int(state[0] >> np.uint64(1))


def generator_of(seed: int, step: int, stream: Stream) -> torch.Generator:
    """A generator on the CPU at the start of the stream."""
    return torch.Generator().manual_seed(seed_of(seed, step, stream))
