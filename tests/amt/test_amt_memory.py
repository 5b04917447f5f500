"""Mixed precision, memory, and what becomes of a step that does not fit."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from amt.config.schema import RunConfig
from amt.errors import ConfigError, OutOfMemoryError
from amt.model.build import build_model
from amt.model.network import Amt
from amt.training.precision import Precision
from amt.training.step import Training
from amt.trunk import Trunk, build_trunk
from tests.amt.held import held_bytes
from tests.amt.micro import make_config, open_train

pytestmark = pytest.mark.slow

CPU = torch.device("cpu")
QUIET = {"dropout": 0.0, "loss_weight_diversity": 0.0, "aug_joint_noise_std": 0.01}


def start(cache: Path, **changes: object) -> Training:
    config = make_config(**(QUIET | changes))
    return Training(config, build_model(config), open_train(cache))


def weights(training: Training) -> Tensor:
    return torch.cat([value.detach().flatten() for value in training.model.parameters()])


def gradients(training: Training) -> Tensor:
    """As the optimizer has used them in the last step."""
    found = [value.grad for value in training.model.parameters()]
    return torch.cat([one.flatten() for one in found if one is not None])


# -- a batch in parts ------------------------------------------------------------------------------


def raise_above(model: Amt, most: int) -> None:
    """What a GPU does whose memory holds that many images."""

    def check(_module: nn.Module, inputs: tuple[Any, ...]) -> None:
        if len(inputs[0]) > most:
            raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 1 GiB")

    model.register_forward_pre_hook(check)


@pytest.mark.parametrize(("fits", "micro_batch"), [(7, 4), (3, 2), (1, 1)])
def test_a_step_that_does_not_fit_is_taken_in_halves_with_the_same_result(
    cache: Path, fits: int, micro_batch: int
) -> None:
    whole, parts = start(cache), start(cache)
    raise_above(parts.model, fits)

    for training in (whole, parts):
        training.train_step()
    assert distance(gradients(parts), gradients(whole)) <= 1e-6
    assert distance(weights(parts), weights(whole)) <= 1e-5
    for training in (whole, parts):
        training.train_step()

    assert parts.micro_batch == micro_batch
    assert parts.close_window()["system/micro_batch"] == micro_batch
    assert distance(gradients(parts), gradients(whole)) <= 1e-6


def distance(one: Tensor, other: Tensor) -> float:
    """Relative, L2; Adam turns the sign of a gradient of 1e-9 into a whole step."""
    return float((one - other).norm() / other.norm())


def test_the_gradient_of_a_batch_in_parts_is_the_batchs(cache: Path) -> None:
    whole, parts = start(cache), start(cache, micro_batch=3)

    for training in (whole, parts):
        training.train_step()
    assert distance(gradients(parts), gradients(whole)) <= 1e-6
    assert distance(weights(parts), weights(whole)) <= 1e-5
    for training in (whole, parts):
        training.train_step()

    for (name, one), (_, other) in zip(
        whole.model.named_parameters(), parts.model.named_parameters(), strict=True
    ):
        torch.testing.assert_close(one.grad, other.grad, atol=1e-5, rtol=1e-4, msg=name)


def test_images_without_labels_weigh_the_same_in_parts(cache: Path) -> None:
    """Sums are divided by the whole batch's counts, not by those of a part."""
    whole, parts = start(cache), start(cache, micro_batch=3)
    for training in (whole, parts):
        valid = training.data.hand_valid.copy()
        valid[::3] = False
        object.__setattr__(training.data, "hand_valid", valid)
        training.train_step()

    assert distance(weights(parts), weights(whole)) <= 1e-5


def test_the_logged_terms_are_those_of_the_whole_batch(cache: Path) -> None:
    rows = []
    for micro_batch in (0, 3):
        training = start(cache, micro_batch=micro_batch)
        training.train_step()
        rows.append(training.close_window())

    for name in ("train/loss", "train/hand_coarse", "train/contact", "train/kl"):
        assert rows[0][name] == pytest.approx(rows[1][name], rel=1e-4)


def test_one_image_that_does_not_fit_ends_the_run_with_one_line(cache: Path) -> None:
    training = start(cache)
    raise_above(training.model, 0)

    with pytest.raises(OutOfMemoryError, match="OutOfMemoryError with one image at a time"):
        training.train_step()


def test_a_resumed_run_does_not_try_what_did_not_fit(cache: Path) -> None:
    training, resumed = start(cache), start(cache)
    raise_above(training.model, 3)
    training.train_step()

    resumed.load_state_dict(training.state_dict())

    assert resumed.micro_batch == 2


# -- precision -------------------------------------------------------------------------------------


def run_config(**changes: object) -> RunConfig:
    return make_config(**changes).run


@pytest.mark.parametrize(
    ("settings", "autocast"),
    [
        ({"use_amp": False, "use_bf16": True}, None),
        ({"use_amp": False, "use_bf16": False}, None),
        ({"use_amp": True, "use_bf16": True}, torch.bfloat16),
    ],
)
def test_without_amp_all_is_float32_and_with_it_bfloat16_where_asked_for(
    settings: dict[str, object], autocast: torch.dtype | None
) -> None:
    precision = Precision.of(run_config(**settings), CPU)

    assert (precision.autocast, precision.scaler) == (autocast, None)


def test_float16_is_refused_on_a_cpu_and_has_a_scaler_on_a_gpu() -> None:
    float16 = run_config(use_amp=True, use_bf16=False)

    with pytest.raises(ConfigError, match="float16, which no CPU is made for: set use_bf16=true"):
        Precision.of(float16, CPU)
    if torch.cuda.is_available():
        assert Precision.of(float16, torch.device("cuda")).scaler is not None


def dtypes_in(training: Training) -> set[torch.dtype]:
    """What the trunk's blocks and the decoder compute in."""
    found = set()

    def note(_module: nn.Module, _inputs: Any, output: Any) -> None:
        found.add(output.dtype)

    for layer in (training.model.adapter.project, training.model.decoder.camera):
        layer.register_forward_hook(note)
    training.train_step()
    return found


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16, None])
def test_matrices_are_multiplied_in_the_precision_asked_for(
    cache: Path, dtype: torch.dtype | None
) -> None:
    config = make_config()
    model = build_model(config, autocast=dtype)

    training = Training(config, model, open_train(cache), Precision(dtype))

    assert dtypes_in(training) == {dtype or torch.float32}
    assert {value.dtype for value in model.parameters()} == {torch.float32}


def test_float16s_scaled_loss_leaves_the_step_as_it_is(cache: Path) -> None:
    """The scaler alone, in float32: gradients are unscaled before they are clipped."""
    plain, scaled = start(cache), start(cache)
    scaled.precision = Precision(None, torch.amp.GradScaler("cpu", init_scale=1024.0))

    for training in (plain, scaled):
        for _ in range(3):
            training.train_step()

    torch.testing.assert_close(weights(scaled), weights(plain), atol=1e-6, rtol=1e-5)
    norms = [one.close_window()["train/grad_norm"] for one in (plain, scaled)]
    assert norms[0] == pytest.approx(norms[1], rel=1e-3)


def test_a_scale_that_is_too_large_skips_a_step_and_is_halved(cache: Path) -> None:
    config = make_config(**QUIET)
    model = build_model(config, autocast=torch.float16)
    scaler = torch.amp.GradScaler("cpu", init_scale=1e30)
    training = Training(config, model, open_train(cache), Precision(torch.float16, scaler))
    before = weights(training)

    training.train_step()

    assert torch.equal(weights(training), before)
    assert scaler.get_scale() == pytest.approx(0.5e30)
    assert training.close_window()["train/skipped_steps"] == 1
    again = start(cache)
    again.precision = Precision(None, torch.amp.GradScaler("cpu"))
    again.load_state_dict(training.state_dict())
    assert again.precision.state_dict()["scale"] == pytest.approx(0.5e30)


# -- activations -----------------------------------------------------------------------------------


def make_trunk(**changes: object) -> Trunk:
    config = make_config(**({"trunk_depth": 10, "allow_random_frozen": True} | changes))
    torch.manual_seed(0)
    return build_trunk(config.trunk, config.data.image_size)


@pytest.mark.parametrize(("ratio", "saved"), [(0.3, 0.15), (0.5, 0.28), (0.7, 0.4), (1.0, 0.7)])
def test_recomputed_blocks_keep_no_activations(ratio: float, saved: float) -> None:
    plain = held_bytes(make_trunk())

    recomputed = held_bytes(make_trunk(gradient_checkpointing=True, checkpoint_ratio=ratio))

    assert recomputed <= (1 - saved) * plain


def test_the_ratio_counts_trained_blocks_and_only_where_it_is_switched_on() -> None:
    """Two of ten blocks are trained: half of them is one."""
    frozen = {"freeze_layers": 8}
    plain = held_bytes(make_trunk(**frozen))

    off = held_bytes(make_trunk(**frozen, checkpoint_ratio=0.5))
    half = held_bytes(make_trunk(**frozen, gradient_checkpointing=True, checkpoint_ratio=0.5))
    none = held_bytes(make_trunk(**frozen, gradient_checkpointing=True, checkpoint_ratio=0.1))

    assert off == none == plain
    assert 0.4 * plain < half < 0.65 * plain


def test_freezing_two_thirds_of_the_blocks_saves_half_of_what_is_held() -> None:
    whole = held_bytes(make_trunk(trunk_depth=12))

    assert held_bytes(make_trunk(trunk_depth=12, freeze_layers=8)) <= whole / 2
    assert held_bytes(make_trunk(trunk_depth=12, freeze_layers=12)) == 0


def test_recomputing_changes_neither_result_nor_gradient() -> None:
    images = torch.randn(2, 3, 28, 28, generator=torch.Generator().manual_seed(0))
    outcomes = []
    for ratio in (0.0, 1.0):
        trunk = make_trunk(gradient_checkpointing=True, checkpoint_ratio=ratio)
        output = trunk(images)
        gradients = torch.autograd.grad(output.square().sum(), list(trunk.parameters()))
        outcomes.append(torch.cat([output.flatten(), *(one.flatten() for one in gradients)]))

    torch.testing.assert_close(*outcomes)
