"""Where a training runs."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from amt.devices import constant, has_fast_bf16, pick_device
from amt.environment import read_environment
from amt.errors import ConfigError
from amt.stopping import Stop
from amt.training.loop import run_training
from tests.amt.micro import make_config, silence_wandb


@pytest.mark.parametrize(
    ("flags", "fast"),
    [
        ("flags : fpu avx2 avx512f", False),
        ("flags : fpu avx512_bf16", True),
        ("flags : amx_bf16 amx_tile", True),
        ("Features : fp asimd bf16", True),
    ],
)
def test_a_cpu_says_whether_it_multiplies_bfloat16(tmp_path: Path, flags: str, fast: bool) -> None:
    info = tmp_path / "cpuinfo"
    info.write_text(f"processor : 0\n{flags}\n")

    assert has_fast_bf16(torch.device("cpu"), info) is fast


def test_bfloat16_on_a_cpu_that_emulates_it_is_warned_of(
    tmp_path: Path, cache: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    info = tmp_path / "cpuinfo"
    info.write_text("flags : avx2\n")
    monkeypatch.setattr("amt.devices.CPU_INFO", info)
    silence_wandb(monkeypatch)
    monkeypatch.setenv("AMT_CACHE", str(cache))
    monkeypatch.setenv("RUNNER_CHECKPOINT_DIR", str(tmp_path / "run"))
    stop = Stop()
    stop.early()

    run_training(make_config(use_amp=True), read_environment(), stop)

    assert "use_bf16: this cpu emulates bfloat16, float32 is faster here" in caplog.text


@pytest.mark.skipif(torch.cuda.is_available(), reason="bare: there is a GPU")
def test_a_gpu_that_is_not_there_is_a_wrong_setting() -> None:
    assert pick_device("auto").type == "cpu"
    with pytest.raises(ConfigError, match="torch sees no GPU"):
        pick_device("cuda")


def test_a_constant_is_copied_once_and_may_be_trained_with() -> None:
    """Also one that a validation has asked for first."""
    weights = torch.zeros(3, requires_grad=True)
    with torch.inference_mode():
        first = constant((1.0, 2.0, 3.0), weights)

    again = constant((1.0, 2.0, 3.0), weights)
    (weights * again).sum().backward()  # type: ignore[no-untyped-call]

    assert again is first
    assert weights.grad is not None
    assert weights.grad.tolist() == [1, 2, 3]
