"""Which image a machine needs."""

import pytest

from runner.errors import RunnerError
from runner.gpus.gpu import Gpu
from runner.image.variant import choose_variant, select_cuda


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
    with pytest.raises(RunnerError, match="no images for CUDA 11"):
        choose_variant(cpu=False, cuda=11)
