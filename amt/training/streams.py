"""Random numbers of a step: one stream for each use, drawn from (seed, step).

A resumed run needs no generator's state, and no use of chance depends on how much another draws.
"""

from __future__ import annotations

from typing import Literal, get_args

import numpy as np
import torch

Stream = Literal["augmentation", "dropout", "joint_noise", "latent"]


def seed_of(seed: int, step: int, stream: Stream) -> int:
    """The seed of one stream at one step of the training with this seed."""
    place = get_args(Stream).index(stream)
    state = np.random.SeedSequence((seed, step, place)).generate_state(1, np.uint64)
    return int(state[0] >> np.uint64(1))


def seed_dropout(device: torch.device, seed: int) -> None:
    """Seed torch's own generator of this device: dropout takes no other.

    Not by `torch.manual_seed`: without a GPU it keeps the seed for each kind of GPU that may come,
    with a traceback, so that a long run slows down and grows.
    """
    if device.type == "cuda":
        torch.cuda.manual_seed(seed)
    else:
        torch.default_generator.manual_seed(seed)


def generator_of(seed: int, step: int, stream: Stream) -> torch.Generator:
    """A generator on the CPU at the start of the stream."""
    return torch.Generator().manual_seed(seed_of(seed, step, stream))
