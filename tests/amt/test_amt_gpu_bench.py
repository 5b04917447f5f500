"""The check for a card, run without one: what it measures on any device, with tiny sizes."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
import torch

from amt.config import load_config
from tests.amt.micro import MICRO
from tests.bench import amt_gpu


@pytest.fixture
def threads() -> Iterator[None]:
    """The bench takes all cores; later tests have what they had."""
    before = torch.get_num_threads()
    yield
    torch.set_num_threads(before)


@pytest.mark.slow
@pytest.mark.usefixtures("threads")
def test_one_command_prints_each_figure_with_its_goal(
    cache: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("AMT_CACHE", str(cache))
    length = {"epochs", "images", "validations"}
    settings = [f"--{key}={value}" for key, value in MICRO.items() if key not in length]

    exit_code = amt_gpu.main(["3", *settings])

    shown = capsys.readouterr().out
    assert exit_code == 0
    assert shown.startswith("cpu, torch ")
    assert "images per second" in shown
    assert "TFLOP/s of matmul, goal 0.3\n" in shown
    assert "times a plain loop, goal 3.0\n" in shown
    assert "of the time for batches\n" in shown


def test_by_default_it_measures_the_full_size_network() -> None:
    config = load_config(amt_gpu.FULL_SIZE)

    assert config.trunk.backbone.startswith("vit_base_")
    assert (config.trunk.freeze_layers, config.data.image_size) == (8, 224)
    assert (config.optim.batch_size, config.run.use_amp, config.run.use_bf16) == (64, True, True)


def test_spans_at_the_same_time_count_once() -> None:
    assert amt_gpu.add_spans([(2, 3), (0, 1), (0.5, 1.5), (0.6, 0.7), (3, 4)]) == 3.5
