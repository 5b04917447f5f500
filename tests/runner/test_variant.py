"""Which image a machine needs."""

from pathlib import Path

import pytest

from runner.errors import ExitCode, RunnerError
from runner.gpus import Gpu
from runner.image.pipconfig import PipSettings
from runner.image.variant import choose_variant, find_torch_index, select_cuda


def gpu(driver: str, capability: tuple[int, int] | None) -> Gpu:
    return Gpu(
        index=0,
        uuid="GPU-0",
        name="card",
        driver=driver,
        compute_capability=capability,
        memory_total_bytes=1,
        memory_used_bytes=0,
        utilization_percent=0,
        temperature_c=30,
    )


@pytest.mark.parametrize(
    ("driver", "capability", "variant"),
    [
        ("580.65.06", (9, 0), "cuda13"),
        ("580.65.06", (7, 5), "cuda13"),
        ("580.65.06", (7, 0), "cuda12"),
        ("570.172.08", (9, 0), "cuda12"),
        ("590.1", None, "cuda13"),
    ],
)
def test_cuda_13_needs_its_driver_and_its_cards(
    driver: str, capability: tuple[int, int] | None, variant: str
) -> None:
    assert select_cuda([gpu(driver, capability)]) == variant


def test_one_old_card_decides_for_all() -> None:
    assert select_cuda([gpu("580.1", (9, 0)), gpu("580.1", (6, 1))]) == "cuda12"


def test_flags_decide_without_nvml() -> None:
    assert choose_variant(cpu=True, cuda=None) == "cpu"
    assert choose_variant(cpu=False, cuda=12) == "cuda12"
    with pytest.raises(RunnerError, match="exclude each other"):
        choose_variant(cpu=True, cuda=13)
    with pytest.raises(RunnerError, match="no CUDA 11"):
        choose_variant(cpu=False, cuda=11)


def test_without_a_cpu_torch_in_reach_the_build_stops(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("runner.image.variant.CPU_INDEX", "http://127.0.0.1:9/whl/cpu")
    pinned = "torch==2.13.0+cpu"

    with pytest.raises(RunnerError, match=r"`requirements.txt` needs torch") as caught:
        find_torch_index("cpu", pinned, PipSettings(), needed_by="requirements.txt")

    assert caught.value.code == ExitCode.UNFIT
    assert find_torch_index("cpu", pinned, PipSettings(), needed_by=None) is None
    (tmp_path / "torch-2.13.0+cpu-cp311-cp311-x.whl").touch()
    pip = PipSettings(wheels=tmp_path)
    assert find_torch_index("cpu", pinned, pip, needed_by="requirements.txt") is None
