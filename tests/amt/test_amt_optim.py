"""Optimizer groups, schedule and averaged weights: each does what its setting says."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from amt.model.build import build_model
from amt.training.optim import Ema
from amt.training.step import Training
from amt.training.vectors import WeightVectors
from tests.amt.micro import make_config, open_train


def start(cache: Path, **changes: object) -> Training:
    config = make_config(**changes)
    return Training(config, build_model(config), open_train(cache))


def average_of(layer: torch.nn.Module, decay: float) -> Ema:
    return Ema(WeightVectors([dict(layer.named_parameters())]), decay)


def groups_by_part(training: Training, key: str) -> dict[str, set[float]]:
    """What the optimizer's groups hold for the parameters of each part of the network."""
    found: dict[str, set[float]] = {}
    for names, group in zip(training.weights.names, training.optimizer.param_groups, strict=True):
        for name in names:
            found.setdefault(name.split(".")[0], set()).add(group[key])
    return found


def test_each_part_learns_at_its_own_rate(cache: Path) -> None:
    training = start(
        cache,
        learning_rate=1e-2,
        lr_mult_pretrained=0.01,
        lr_mult_new_encoders=0.5,
        lr_mult_decoders=0.8,
        warmup_share=0.0,
    )

    training.train_step()

    rates = {part: max(values) for part, values in groups_by_part(training, "lr").items()}
    assert rates.pop("trunk") == pytest.approx(1e-4)
    for part in ("adapter", "latent", "fusion"):
        assert rates.pop(part) == pytest.approx(5e-3)
    assert set(rates) == {"decoder", "votes", "refiner", "object", "contact"}
    assert all(rate == pytest.approx(8e-3) for rate in rates.values())


def test_a_part_with_a_rate_of_zero_does_not_move(cache: Path) -> None:
    training = start(cache, lr_mult_pretrained=0.0, weight_decay=0.0)
    before = {name: value.clone() for name, value in training.model.named_parameters()}

    training.train_step()

    moved = {
        name.split(".")[0]
        for name, value in training.model.named_parameters()
        if not torch.equal(value, before[name])
    }
    assert "trunk" not in moved
    assert moved >= {
        "adapter",
        "latent",
        "fusion",
        "decoder",
        "votes",
        "refiner",
        "object",
        "contact",
    }


def test_every_part_but_frozen_blocks_has_matrices_that_decay_at_the_setting(cache: Path) -> None:
    training = start(cache, weight_decay=0.03)

    assert all(
        values == {0.0, 0.03} for values in groups_by_part(training, "weight_decay").values()
    )


def test_the_gradient_that_is_applied_is_no_longer_than_its_limit(cache: Path) -> None:
    training = start(cache, grad_clip=1e-3)

    training.train_step()

    squares = [p.grad.square().sum() for p in training.model.parameters() if p.grad is not None]
    assert torch.stack(squares).sum().sqrt().item() == pytest.approx(1e-3, rel=1e-3)


@pytest.mark.parametrize("decay", [0.9, 0.999])
def test_the_average_is_the_corrected_exponential_one(decay: float) -> None:
    """Sum of decay^(n-k) x_k over the sum of the factors."""
    layer = torch.nn.Linear(3, 1)
    ema = average_of(layer, decay)
    values = torch.rand(5, 1, 3, generator=torch.Generator().manual_seed(0))

    for value in values:
        layer.weight.data.copy_(value)
        ema.update(torch.tensor(True))

    factors = decay ** torch.arange(4.0, -1.0, -1.0)
    expected = (factors[:, None, None] * values).sum(0) / factors.sum()
    torch.testing.assert_close(ema.state_dict()["weight"], expected)


def test_a_step_that_was_not_finite_does_not_count_for_the_average() -> None:
    layer = torch.nn.Linear(3, 1)
    ema = average_of(layer, 0.9)
    before = ema.state_dict()["weight"].clone()
    layer.weight.data.fill_(5.0)

    ema.update(torch.tensor(False))
    assert torch.equal(ema.state_dict()["weight"], before)
    assert ema.updates == 0

    ema.update(torch.tensor(True))
    assert torch.equal(ema.state_dict()["weight"], layer.weight)
    assert ema.updates == 1


def test_averages_take_the_weights_place_for_a_while_only() -> None:
    layer = torch.nn.Linear(3, 1)
    ema = average_of(layer, 0.9)
    before = layer.weight.detach().clone()
    ema.state_dict()["weight"].zero_()

    with ema.applied():
        assert (layer.weight == 0).all()

    assert torch.equal(layer.weight, before)
