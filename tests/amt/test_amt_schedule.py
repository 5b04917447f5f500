"""How long a training is, where it validates, and its learning rates; torch's own is the oracle."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from torch.optim.lr_scheduler import CosineAnnealingWarmRestarts

from amt.config import load_config
from amt.environment import read_environment
from amt.errors import ConfigError
from amt.stopping import Stop
from amt.training.loop import run_training
from amt.training.schedule import Schedule
from tests.amt.micro import make_config, silence_wandb


def make_schedule(**changes: object) -> Schedule:
    return Schedule.of(make_config(**changes))


@pytest.mark.parametrize("cycle", [1, 2, 3, 5, 7])
@pytest.mark.parametrize("images", [8 * 60, 8 * 61])
def test_rates_are_those_of_torchs_warm_restarts(cycle: int, images: int) -> None:
    schedule = make_schedule(
        images=images,
        validations=6,
        learning_rate=1e-2,
        scheduler_min_lr=1e-4,
        scheduler_T_0=cycle,
        warmup_share=0.0,
    )
    optimizer = torch.optim.SGD([torch.nn.Parameter(torch.zeros(1))], lr=1e-2)
    oracle = CosineAnnealingWarmRestarts(optimizer, T_0=cycle, eta_min=1e-4)

    for step in range(schedule.steps):
        oracle.step(step * 6 / schedule.steps)
        assert schedule.learning_rate(step) == pytest.approx(optimizer.param_groups[0]["lr"])


def test_the_rate_rises_over_its_share_of_all_steps() -> None:
    schedule = make_schedule(images=800, validations=4, scheduler_T_0=4, warmup_share=0.1)
    plain = make_schedule(images=800, validations=4, scheduler_T_0=4, warmup_share=0.0)

    shares = [schedule.learning_rate(step) / plain.learning_rate(step) for step in range(100)]

    assert shares[:10] == pytest.approx([0.1 * n for n in range(1, 11)])
    assert shares[10:] == pytest.approx([1.0] * 90)


@pytest.mark.parametrize(("steps", "epochs"), [(6, 2), (60, 6), (61, 6), (7, 7), (100, 3), (13, 5)])
def test_each_epoch_ends_once_the_last_with_the_last_step(steps: int, epochs: int) -> None:
    schedule = make_schedule(images=8 * steps, validations=epochs)

    ends = {
        step: epoch
        for step in range(1, steps + 1)
        if (epoch := schedule.epoch_ending_at(step)) is not None
    }

    assert list(ends.values()) == list(range(1, epochs + 1))
    assert max(ends) == steps
    lengths = [b - a for a, b in zip([0, *ends], ends, strict=False)]
    assert max(lengths) - min(lengths) <= 1


def test_epochs_are_passes_over_the_scenes() -> None:
    config = make_config(epochs=3, images=0, validations=0, batch_size=5)

    assert config.steps == 3 * (32 // 5)
    assert config.epochs == 3


def test_epochs_that_end_in_mid_cycle_are_warned_of(
    tmp_path: Path, cache: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    silence_wandb(monkeypatch)
    monkeypatch.setenv("AMT_CACHE", str(cache))
    monkeypatch.setenv("RUNNER_CHECKPOINT_DIR", str(tmp_path))
    stop = Stop()
    stop.early()

    for cycle, warned in ((1, False), (2, False), (3, True)):
        caplog.clear()
        run_training(make_config(scheduler_T_0=cycle), read_environment(), stop)
        assert ("scheduler_T_0 3 does not divide the 2 epochs" in caplog.text) is warned


# -- epochs, or images and validations -------------------------------------------------------------


def write(folder: Path, name: str, text: str) -> str:
    (folder / name).write_text(text)
    return str(folder / name)


def length_of(arguments: list[str]) -> tuple[int, int, int]:
    optim = load_config(arguments).optim
    return optim.epochs, optim.images, optim.validations


def test_the_last_who_says_how_long_to_train_decides(tmp_path: Path) -> None:
    by_images = write(tmp_path, "images.yaml", "images: 96000\nvalidations: 12\n")
    by_epochs = write(tmp_path, "epochs.yaml", "epochs: 7\n")

    assert length_of([]) == (20, 0, 0)
    assert length_of(["--config", by_images]) == (0, 96000, 12)
    assert length_of(["--config", by_images, "--config", by_epochs]) == (7, 0, 0)
    assert length_of(["--config", by_epochs, "--config", by_images]) == (0, 96000, 12)
    assert length_of(["--config", by_images, "--epochs=50"]) == (50, 0, 0)
    assert length_of(["--config", by_images, "--validations=4"]) == (0, 96000, 4)


def test_a_whole_config_of_a_run_is_trained_longer_with_epochs(tmp_path: Path) -> None:
    """As `runner sweep best` prints it: all three are in it, those not meant as 0."""
    best = write(tmp_path, "best.yaml", "epochs: 0\nimages: 9600\nvalidations: 10\n")

    assert length_of(["--config", best]) == (0, 9600, 10)
    assert length_of(["--config", best, "--epochs=50"]) == (50, 0, 0)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--epochs=3", "--images=9600"], "the command line gives both epochs and images"),
        (["--epochs=3", "--validations=5"], "the command line gives both epochs and validations"),
        (["--config", "both.yaml"], "`both.yaml` gives both epochs and images"),
        (["--images=9600"], "images 9600 and validations 0: both must be given"),
        (["--epochs=0"], "how long to train is either epochs or images and validations"),
        (["--images=320", "--validations=20"], "fewer than validations 20"),
    ],
)
def test_contradictions_are_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, arguments: list[str], message: str
) -> None:
    monkeypatch.chdir(tmp_path)
    write(tmp_path, "both.yaml", "epochs: 3\nimages: 9600\nvalidations: 10\n")

    with pytest.raises(ConfigError, match=message):
        load_config(arguments)
