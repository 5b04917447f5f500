"""Random numbers of a step."""

from __future__ import annotations

from pathlib import Path
from typing import get_args

import torch

from amt.model.build import build_model
from amt.training.step import Training
from amt.training.streams import Stream, generator_of, seed_of
from tests.amt.micro import make_config, open_train


def test_streams_steps_and_seeds_all_differ() -> None:
    drawn = {
        tuple(torch.rand(4, generator=generator_of(seed, step, stream)).tolist())
        for seed in (0, 1)
        for step in (0, 1, 2)
        for stream in get_args(Stream)
    }

    assert len(drawn) == 2 * 3 * len(get_args(Stream))


def test_equal_places_give_equal_numbers() -> None:
    assert seed_of(3, 5, "dropout") == seed_of(3, 5, "dropout")


def test_the_noise_does_not_follow_the_augmentations_draws() -> None:
    """The crop's roll, zoom and shift and the joints' noise once came from one sequence."""
    noise = torch.randn(8, 21, 3, generator=generator_of(0, 0, "joint_noise")).flatten()
    moves = torch.randn(noise.shape, generator=generator_of(0, 0, "augmentation"))

    assert torch.corrcoef(torch.stack([noise, moves]))[0, 1].abs() < 0.15


def test_dropout_is_the_same_whatever_was_drawn_before(cache: Path) -> None:
    """A resumed step drops what the unbroken one dropped."""
    config = make_config(dropout=0.3)
    outcomes = []
    for spoil in (False, True):
        training = Training(config, build_model(config), open_train(cache))
        training.train_step()
        if spoil:
            torch.rand(7)
        training.train_step()
        outcomes.append(torch.cat([p.detach().flatten() for p in training.model.parameters()]))

    assert torch.equal(*outcomes)
