"""Steps, validations and the state between them."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from amt.data.dataset import batch_indices
from amt.errors import CheckpointError, NotFiniteError
from amt.model.build import build_model
from amt.training.checkpoint import Checkpoints
from amt.training.step import Training
from amt.training.validation import validate
from tests.amt.micro import make_config, open_train, open_val


def start(cache: Path, **changes: object) -> Training:
    config = make_config(**changes)
    return Training(config, build_model(config), open_train(cache))


def save_trunk(file: Path, *, seed: int) -> None:
    trunk = build_model(make_config(seed=seed)).trunk
    torch.save(trunk.vit.state_dict(), file)


def fingerprint(training: Training) -> list[float]:
    """Two numbers that differ wherever weights or their averages do."""
    weights = (p.detach().double().square().sum() for p in training.model.parameters())
    average = (value.double().square().sum() for value in training.ema.state_dict().values())
    return [float(sum(weights)), float(sum(average))]


@pytest.mark.slow
def test_a_resumed_training_equals_an_unbroken_one(cache: Path, tmp_path: Path) -> None:
    settings = {"dropout": 0.2, "freeze_layers": 1, "allow_random_frozen": True}
    unbroken, first, second = (start(cache, **settings) for _ in range(3))
    checkpoints = Checkpoints(tmp_path)
    for _ in range(6):
        unbroken.train_step()

    for _ in range(3):
        first.train_step()
    checkpoints.save_last(first.state_dict())
    state = checkpoints.load_last()
    assert state is not None
    second.load_state_dict(state)
    for _ in range(3):
        second.train_step()

    val = open_val(cache)
    assert fingerprint(second) == fingerprint(unbroken)
    assert validate(second, val) == validate(unbroken, val)


def test_a_checkpoint_leaves_the_frozen_weights_out(cache: Path) -> None:
    training = start(cache, freeze_layers=1, allow_random_frozen=True)

    weights = training.state_dict()["model"]

    assert isinstance(weights, dict)
    assert "trunk.vit.blocks.1.mlp.fc1.weight" in weights
    assert not [name for name in weights if "blocks.0." in name or "vit.pos_embed" in name]


def test_other_frozen_weights_behind_the_same_path_are_refused(cache: Path, tmp_path: Path) -> None:
    file = tmp_path / "weights.pth"
    settings = {"pretrained": True, "pretrained_path": str(file), "freeze_layers": 1}
    save_trunk(file, seed=0)
    state = start(cache, **settings).state_dict()

    start(cache, **settings).load_state_dict(state)

    save_trunk(file, seed=1)
    with pytest.raises(CheckpointError, match="not those that this run began with: restore"):
        start(cache, **settings).load_state_dict(state)


@pytest.mark.parametrize("part", ["model", "ema"])
def test_a_checkpoint_without_a_tensor_or_with_a_foreign_one_is_refused(
    cache: Path, part: str
) -> None:
    training = start(cache)
    for names, message in (
        (
            lambda weights: {n: v for n, v in weights.items() if "decoder" not in n},
            "lacks `decoder",
        ),
        (lambda weights: weights | {"decoder.extra": torch.zeros(1)}, "holds `decoder.extra`"),
    ):
        state = training.state_dict()
        state[part] = names(state[part])

        with pytest.raises(CheckpointError, match=message):
            start(cache).load_state_dict(state)


@pytest.mark.slow
def test_steps_without_a_finite_gradient_change_nothing_and_ten_in_a_row_end_the_run(
    cache: Path,
) -> None:
    config = make_config(images=480)
    data = open_train(cache)
    broken = replace(data, intrinsics=np.full_like(data.intrinsics, np.nan))
    training = Training(config, build_model(config), broken)
    before = fingerprint(training)

    for _ in range(9):
        training.train_step()

    assert training.step == 9
    assert training.close_window()["train/skipped_steps"] == 9
    assert fingerprint(training) == before
    assert training.ema.updates == 0
    assert all(state["step"] == 0 for state in training.optimizer.state.values())
    training.train_step()
    with pytest.raises(NotFiniteError, match="10 steps in a row"):
        training.close_window()


def test_validation_scores_the_averages_and_leaves_the_weights(cache: Path) -> None:
    training, val = start(cache, ema_decay=0.99), open_val(cache)
    for _ in range(3):
        training.train_step()
    before = fingerprint(training)

    averaged = validate(training, val)["hand_mpjpe"]

    assert fingerprint(training) == before
    assert training.model.training
    training.ema.load_state_dict(dict(training.model.named_parameters()), updates=3)
    assert validate(training, val)["hand_mpjpe"] != averaged


def test_training_and_validation_show_the_trunk_normalized_crops(cache: Path) -> None:
    """Nothing is augmented here: both must see the same pixels, as DINOv2 was trained on them."""
    still = {"aug_rotation_range": 0, "aug_scale_min": 1, "aug_scale_max": 1}
    training = start(
        cache, **still, aug_translation_std=0, aug_color_jitter=0, images=640, batch_size=32
    )
    seen: list[torch.Tensor] = []
    training.model.trunk.register_forward_pre_hook(lambda _, inputs: seen.append(inputs[0]))

    training.train_step()
    validate(training, training.data)

    images = torch.from_numpy(training.data.images.copy()).float() / 255
    mean, std = torch.tensor([0.485, 0.456, 0.406]), torch.tensor([0.229, 0.224, 0.225])
    expected = (images - mean[:, None, None]) / std[:, None, None]
    torch.testing.assert_close(seen[1], expected)
    order = seen[0].flatten(1).sum(1).argsort()
    torch.testing.assert_close(
        seen[0][order], expected[expected.flatten(1).sum(1).argsort()], atol=1e-3, rtol=1e-3
    )


def test_only_matrices_decay(cache: Path) -> None:
    training = start(cache)
    names = {name for name, _ in training.model.named_parameters()}

    still = {
        name
        for group, own in zip(training.optimizer.param_groups, training.weights.names, strict=True)
        for name in own
        if group["weight_decay"] == 0
    }

    assert {"decoder.queries", "adapter.pos_embed", "trunk.vit.cls_token"} <= still
    assert {name for name in names if name.endswith("bias")} <= still
    assert not [name for name in still if name.endswith(("fc1.weight", "in_proj_weight"))]


def test_every_scene_is_seen_once_per_pass_in_another_order_each_time() -> None:
    passes = [
        [batch_indices(step, count=32, batch_size=8, seed=0) for step in range(first, first + 4)]
        for first in (0, 4)
    ]
    one, two = (np.concatenate(rows) for rows in passes)

    assert sorted(one) == sorted(two) == list(range(32))
    assert not np.array_equal(one, two)
