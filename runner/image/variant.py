"""Choose the image for a machine: CUDA 13, CUDA 12, or none."""

import re
from collections.abc import Sequence
from typing import TYPE_CHECKING, Literal

from runner.errors import ExitCode, RunnerError

if TYPE_CHECKING:
    from runner.gpus.gpu import Gpu

Name = Literal["cpu", "cuda12", "cuda13"]
# CUDA 12.6 is the last one that PyTorch builds for compute capability below 7.5
BASES: dict[Name, str] = {
    "cpu": "debian:bookworm-slim",
    "cuda12": "nvidia/cuda:12.6.3-base-ubuntu24.04",
    "cuda13": "nvidia/cuda:13.0.2-base-ubuntu24.04",
}
CUDA12_INDEX = "https://download.pytorch.org/whl/cu126"
CUDA13_DRIVER = 580
CUDA13_CAPABILITY = (7, 5)


def choose_variant(*, cpu: bool, cuda: int | None) -> Name:
    """The variant of the flags, else the newest that this machine's GPUs can run.

    Raises:
        RunnerError: wrong flags (2); or no flags, and the machine has no GPU or driver (6).
    """
    if cpu and cuda:
        raise RunnerError(
            "`--cpu` and `--cuda` exclude each other", hint="keep one", code=ExitCode.USAGE
        )
    if cpu:
        return "cpu"
    if cuda is not None:
        if cuda not in (12, 13):
            raise RunnerError(f"no images for CUDA {cuda}", hint="12 or 13", code=ExitCode.USAGE)
        return "cuda12" if cuda == 12 else "cuda13"
    return select_cuda(_read_gpus())


def select_cuda(gpus: Sequence["Gpu"]) -> Name:
    """CUDA 13 needs driver 580 and, on every GPU, compute capability 7.5."""
    new = all(
        _major(gpu.driver) >= CUDA13_DRIVER
        and (gpu.compute_capability or CUDA13_CAPABILITY) >= CUDA13_CAPABILITY
        for gpu in gpus
    )
    return "cuda13" if new else "cuda12"


def _read_gpus() -> Sequence["Gpu"]:
    from runner.gpus.nvml import read_gpus

    hint = "`--cpu` builds without CUDA; `--cuda 13` builds for another machine"
    try:
        gpus = read_gpus()
    except RunnerError as error:
        raise RunnerError(error.message, hint=hint, code=ExitCode.UNFIT) from error
    if not gpus:
        raise RunnerError("this machine has no GPU", hint=hint, code=ExitCode.UNFIT)
    return gpus


def _major(driver: str) -> int:
    found = re.match(r"\d+", driver)
    return int(found.group(0)) if found else 0
