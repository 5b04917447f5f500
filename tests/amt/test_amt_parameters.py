"""Each of the 35 swept parameters: what is read is the thing that it names."""

from __future__ import annotations

import contextlib
import functools
import itertools
import math
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import yaml
from torch import Tensor, nn

from amt.data.dataset import Dataset
from amt.errors import ConfigError
from amt.model.build import build_model
from amt.model.network import Noise
from amt.training.optim import NEW_ENCODERS
from amt.training.precision import Precision
from amt.training.step import Training
from tests.amt.held import held_bytes
from tests.amt.micro import make_config, open_train

ROOT = Path(__file__).resolve().parents[2]
SWEEPS = ("sweep_config.yaml", "amt/tiny_sweep_35.yaml")
LOSSES = tuple(
    f"loss_weight_{name}"
    for name in (
        *("hand_coarse", "hand_refined", "object_position", "object_rotation", "contact"),
        *("physics", "diversity", "reprojection", "kl"),
    )
)
STILL = {
    "aug_rotation_range": 0.0,
    "aug_scale_min": 1.0,
    "aug_scale_max": 1.0,
    "aug_translation_std": 0.0,
    "aug_color_jitter": 0.0,
    "aug_joint_noise_std": 0.0,
}
OFFSET_PX = 5.0  # of the principal point from the crop's middle, to the right


@dataclass(frozen=True, slots=True)
class Reading:
    """How a parameter shows: what `read` finds in a training with a value is `expected` of it."""

    values: tuple[Any, ...]
    read: Callable[[Training], Any]
    expected: Callable[[Any], Any] = lambda value: value
    beside: dict[str, Any] = field(default_factory=dict)  # other settings
    rel: float = 1e-3


def start(data: Dataset, **changes: object) -> Training:
    config = make_config(**changes)
    precision = Precision.of(config.run, torch.device("cpu"))
    return Training(config, build_model(config, autocast=precision.autocast), data, precision)


# -- readers ---------------------------------------------------------------------------------------


def rate_of(part: str, training: Training) -> float:
    """The highest rate among the groups of a part after a step at the full rate."""
    training.train_step()
    groups = zip(training.weights.names, training.optimizer.param_groups, strict=True)
    rates = [group["lr"] for names, group in groups if any(n.split(".")[0] == part for n in names)]
    return float(max(rates)) / training.config.optim.learning_rate


def read_rate(training: Training) -> float:
    return rate_of("decoder", training) * training.config.optim.learning_rate


def read_encoders(training: Training) -> float:
    rates = [rate_of(part, training) for part in NEW_ENCODERS]
    assert max(rates) == pytest.approx(min(rates), rel=1e-3)
    return max(rates)


def read_decay(training: Training) -> float:
    groups = [group["weight_decay"] for group in training.optimizer.param_groups]
    assert set(groups) == {0.0, max(groups)}
    return float(max(groups))


def read_gradient(training: Training) -> float:
    training.train_step()
    squares = [p.grad.square().sum() for p in training.model.parameters() if p.grad is not None]
    return torch.stack(squares).sum().sqrt().item()


def seen_by(module: nn.Module, training: Training, *, output: bool = False) -> list[Any]:
    """What a module is given, or gives, in one step."""
    seen: list[Any] = []
    hook = (
        module.register_forward_hook(lambda _module, _given, out: seen.append(out))
        if output
        else module.register_forward_pre_hook(lambda _module, given: seen.append(given))
    )
    training.train_step()
    hook.remove()
    return seen


def read_batch_size(training: Training) -> int:
    return sum(len(given[0]) for given in seen_by(training.model, training))


def read_dropout(training: Training) -> float:
    parts = (training.model.decoder, training.model.fusion, training.model.contact)
    layers = [one for part in parts if part is not None for one in part.modules()]
    [share] = {one.p for one in layers if isinstance(one, nn.Dropout)}
    return share


def read_contact_width(training: Training) -> int:
    assert training.model.contact is not None
    return training.model.contact.joint.out_features


def read_stages(training: Training) -> int:
    [predicted] = seen_by(training.model, training, output=True)
    return len(predicted.stages) - 1


def read_frozen(training: Training) -> int:
    blocks: Any = training.model.trunk.vit.blocks
    return sum(not any(p.requires_grad for p in block.parameters()) for block in blocks)


def read_weight(name: str, training: Training) -> float:
    training.train_step()
    row = training.close_window()
    assert row[f"train/{name}"] != 0
    return row[f"train/weighted_{name}"] / row[f"train/{name}"]


def read_cycle(training: Training) -> int:
    """Epochs until the rate begins anew."""
    rates = [training.schedule.learning_rate(step) for step in range(training.schedule.steps)]
    rises = [step for step, (one, two) in enumerate(itertools.pairwise(rates), 1) if two > one]
    return rises[0] * training.schedule.epochs // training.schedule.steps


def read_lowest(training: Training) -> float:
    return training.schedule.learning_rate(training.schedule.steps - 1)


def read_average(training: Training) -> float:
    """Two steps: the average is (d x1 + x2) / (1 + d)."""
    values = []
    for _ in range(2):
        training.train_step()
        values.append(training.model.decoder.queries.detach().clone())
    share = (training.ema.state_dict()["decoder.queries"] - values[1]) / (values[0] - values[1])
    share = share.median()
    return float(share / (1 - share))


class _EnoughError(Exception):
    """The network has been given what was to be seen."""


def shown(training: Training) -> tuple[Tensor, Tensor]:
    """Images and intrinsics as the network is given them, in 40 batches; it does nothing itself."""
    given: list[tuple[Tensor, Tensor]] = []

    def note(_module: nn.Module, inputs: tuple[Any, ...]) -> None:
        given.append(inputs[:2])
        raise _EnoughError

    hook = training.model.register_forward_pre_hook(note)
    for _ in range(40):
        with contextlib.suppress(_EnoughError):
            training.train_step()
        training.step += 1
    hook.remove()
    return torch.cat([one[0] for one in given]), torch.cat([one[1] for one in given])


def read_roll(training: Training) -> float:
    _, intrinsics = shown(training)
    offset = intrinsics[:, 2:] - training.data.size_px / 2
    return math.degrees(torch.atan2(offset[:, 1], offset[:, 0]).abs().max())


def read_zoom(end: str, training: Training) -> float:
    before = training.data.intrinsics[0, 0].item()
    zoom = shown(training)[1][:, 0] / before
    return float(zoom.min() if end == "min" else zoom.max())


def read_shift(training: Training) -> float:
    _, intrinsics = shown(training)
    return float(intrinsics[:, 2:].std(0).mean()) / training.data.size_px


def read_gain(training: Training) -> float:
    """Of grey images, by channel."""
    grey = np.full_like(training.data.images, 128)
    training = Training(training.config, training.model, replace(training.data, images=grey))
    images, _ = shown(training)
    std = torch.tensor([0.229, 0.224, 0.225])
    mean = torch.tensor([0.485, 0.456, 0.406])
    gain = (images.mean((2, 3)) * std + mean) / (128 / 255)
    return float((gain - 1).abs().max())


def read_noise(training: Training) -> float:
    """Between where the votes end and the refinement starts."""
    assert training.model.refiner is not None
    votes: list[Any] = []
    training.model.votes.register_forward_hook(lambda _module, _given, out: votes.append(out))
    starts = [given[0] for _ in range(4) for given in seen_by(training.model.refiner, training)]
    return (torch.cat(starts) - torch.cat([one.joints for one in votes])).std().item()


def saved_share(training: Training) -> float:
    """Of the bytes that autograd holds for the trunk, beside one that recomputes nothing."""
    plain = start(training.data, trunk_depth=8).model.trunk
    return 1 - held_bytes(training.model.trunk) / held_bytes(plain)


def read_recomputed(training: Training) -> float:
    """Of what recomputing all blocks saves."""
    settings = {"trunk_depth": 8, "gradient_checkpointing": True, "checkpoint_ratio": 1.0}
    return saved_share(training) / saved_share(start(training.data, **settings))


def read_dtype(training: Training) -> torch.dtype:
    [seen] = seen_by(training.model.decoder.camera, training, output=True)
    dtype: torch.dtype = seen.dtype
    return dtype


def has_attention(training: Training) -> bool:
    assert training.model.fusion is not None
    return any(isinstance(one, nn.MultiheadAttention) for one in training.model.fusion.modules())


def is_sampled(training: Training) -> bool:
    """Do other random numbers for the latent give other hands?"""
    width = training.model.latent.width if training.model.latent is not None else 0
    images, intrinsics = torch.rand(1, 3, 28, 28), torch.tensor([[40.0, 40, 14, 14]])
    training.model.eval()
    hands = [
        training.model(images, intrinsics, Noise(torch.zeros(1, 21, 3), torch.full((1, width), x)))
        for x in (-1.0, 1.0)
    ]
    return not torch.equal(hands[0].stages[-1], hands[1].stages[-1])


FULL_RATE = {"warmup_share": 0.0, "images": 80000, "validations": 10, "scheduler_T_0": 10}
TWENTY = {"warmup_share": 0.0, "images": 16000, "validations": 20}
PARAMETERS: dict[str, Reading] = {
    "learning_rate": Reading((1e-5, 1e-2), read_rate, beside=FULL_RATE),
    "lr_mult_pretrained": Reading(
        (0.001, 0.1), functools.partial(rate_of, "trunk"), beside=FULL_RATE
    ),
    "lr_mult_new_encoders": Reading((0.3, 0.8), read_encoders, beside=FULL_RATE),
    "batch_size": Reading((4, 16), read_batch_size),
    "weight_decay": Reading((1e-4, 0.1), read_decay),
    "grad_clip": Reading((0.01, 0.02), read_gradient),
    "hidden_dim": Reading((16, 32), lambda one: one.model.decoder.queries.shape[1]),
    "contact_hidden_dim": Reading((16, 64), read_contact_width),
    "dropout": Reading((0.1, 0.3), read_dropout),
    "num_refinement_steps": Reading((1, 3), read_stages),
    "freeze_layers": Reading((0, 1, 2), read_frozen, beside={"allow_random_frozen": True}),
    **{
        name: Reading((0.1, 2.0), functools.partial(read_weight, name.removeprefix("loss_weight_")))
        for name in LOSSES
    },
    "scheduler_T_0": Reading((5, 10), read_cycle, beside=TWENTY),
    "scheduler_min_lr": Reading(
        (1e-7, 1e-5), read_lowest, beside=TWENTY | {"scheduler_T_0": 20}, rel=0.05
    ),
    "ema_decay": Reading((0.9, 0.99), read_average, rel=0.02),
    "aug_rotation_range": Reading((10.0, 30.0), read_roll, beside=STILL, rel=0.05),
    "aug_scale_min": Reading(
        (0.7, 0.9), functools.partial(read_zoom, "min"), beside=STILL, rel=0.02
    ),
    "aug_scale_max": Reading(
        (1.1, 1.3), functools.partial(read_zoom, "max"), beside=STILL, rel=0.02
    ),
    "aug_translation_std": Reading((0.02, 0.1), read_shift, beside=STILL, rel=0.15),
    "aug_color_jitter": Reading((0.1, 0.3), read_gain, beside=STILL, rel=0.05),
    "aug_joint_noise_std": Reading((0.002, 0.01), read_noise, beside=STILL, rel=0.1),
    "gradient_checkpointing": Reading(
        (False, True),
        lambda one: saved_share(one) > 0.2,
        beside={"trunk_depth": 8, "checkpoint_ratio": 0.5},
    ),
    "checkpoint_ratio": Reading(
        (0.25, 0.75),
        read_recomputed,
        beside={"trunk_depth": 8, "gradient_checkpointing": True},
        rel=0.1,
    ),
    "use_amp": Reading(
        (False, True), read_dtype, {False: torch.float32, True: torch.bfloat16}.__getitem__
    ),
    "use_bf16": Reading((True,), read_dtype, lambda _: torch.bfloat16, beside={"use_amp": True}),
    "use_attention_fusion": Reading((False, True), has_attention),
    "use_sigma_reparam": Reading((False, True), is_sampled),
}


@pytest.fixture(scope="module")
def data(cache: Path) -> Dataset:
    """Scenes that one camera sees, its principal point off the crop's middle."""
    scenes = open_train(cache)
    middle = scenes.size_px / 2
    intrinsics = np.array([40.0, 40.0, middle + OFFSET_PX, middle], np.float32)
    return replace(scenes, intrinsics=np.tile(intrinsics, (len(scenes), 1)))


@pytest.mark.slow
@pytest.mark.parametrize("name", PARAMETERS)
def test_a_parameter_is_what_it_names(data: Dataset, name: str) -> None:
    reading = PARAMETERS[name]
    for value in reading.values:
        training = start(data, **(reading.beside | {name: value}))

        found = reading.read(training)

        expected = reading.expected(value)
        if isinstance(expected, float):
            expected = pytest.approx(expected, rel=reading.rel)
        assert found == expected


def test_float16_needs_a_gpu(data: Dataset) -> None:
    with pytest.raises(ConfigError, match="float16"):
        start(data, use_amp=True, use_bf16=False)


@pytest.mark.slow
@pytest.mark.parametrize("name", LOSSES)
def test_a_losss_weight_scales_its_gradient(data: Dataset, name: str) -> None:
    """Alone, twice the weight is twice the gradient; without it there is none."""
    alone = dict.fromkeys((*LOSSES, "loss_weight_root_depth"), 0.0) | {"grad_clip": 1e9}

    norms = [read_gradient(start(data, **(alone | {name: weight}))) for weight in (0.5, 1.0)]

    assert norms[0] > 0
    assert norms[1] == pytest.approx(2 * norms[0], rel=1e-3)


@pytest.mark.parametrize("name", SWEEPS)
def test_the_sweeps_search_over_all_35_parameters(name: str) -> None:
    sweep = yaml.safe_load((ROOT / name).read_text())

    assert set(sweep["parameters"]) == set(PARAMETERS)
    assert len(PARAMETERS) == 35


def test_the_full_sweep_has_the_guides_ranges() -> None:
    spaces = yaml.safe_load((ROOT / "sweep_config.yaml").read_text())["parameters"]

    assert spaces["hidden_dim"]["values"] == [512, 768, 1024]
    assert spaces["contact_hidden_dim"]["values"] == [256, 384, 512]
    assert spaces["dropout"]["values"] == [0.1, 0.2, 0.3]
    assert spaces["num_refinement_steps"]["values"] == [1, 2, 3]
    assert spaces["freeze_layers"]["values"] == [8, 10, 12]
    assert spaces["batch_size"]["values"] == [16, 32, 64]
    assert spaces["scheduler_T_0"]["values"] == [5, 10, 20]
    ranges = {
        name: (space["distribution"], space["min"], space["max"])
        for name, space in spaces.items()
        if "min" in space
    }
    log, even = "log_uniform_values", "uniform"
    assert ranges == {
        "learning_rate": (log, 1e-5, 1e-2),
        "weight_decay": (log, 1e-4, 0.1),
        "grad_clip": (even, 0.5, 2.0),
        "loss_weight_hand_coarse": (even, 0.5, 2.0),
        "loss_weight_hand_refined": (even, 0.8, 2.5),
        "loss_weight_object_position": (even, 0.5, 2.0),
        "loss_weight_object_rotation": (even, 0.2, 1.0),
        "loss_weight_contact": (even, 0.1, 0.5),
        "loss_weight_physics": (even, 0.05, 0.2),
        "loss_weight_diversity": (log, 0.001, 0.1),
        "loss_weight_reprojection": (even, 0.2, 1.0),
        "loss_weight_kl": (log, 1e-4, 1e-2),
        "lr_mult_pretrained": (log, 1e-3, 0.1),
        "lr_mult_new_encoders": (even, 0.3, 0.8),
        "scheduler_min_lr": (log, 1e-7, 1e-5),
        "ema_decay": (even, 0.99, 0.999),
        "aug_rotation_range": (even, 10.0, 30.0),
        "aug_scale_min": (even, 0.7, 0.9),
        "aug_scale_max": (even, 1.1, 1.3),
        "aug_translation_std": (even, 0.02, 0.1),
        "aug_color_jitter": (even, 0.1, 0.3),
        "aug_joint_noise_std": (even, 0.002, 0.01),
        "checkpoint_ratio": (even, 0.3, 0.7),
    }
    assert math.prod(len(space.get("values", [0])) for space in spaces.values()) > 1000
