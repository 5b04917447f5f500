"""Which image a machine needs: CUDA 13, CUDA 12, or none."""

import http.client
import re
import urllib.request
from collections.abc import Sequence
from typing import TYPE_CHECKING, Literal

from runner.errors import ExitCode, RunnerError
from runner.image.pipconfig import PipSettings

if TYPE_CHECKING:
    from runner.gpus import Gpu

Name = Literal["cpu", "cuda12", "cuda13"]
# CUDA 12.6: the last that PyTorch builds for compute capability below 7.5
BASES: dict[Name, str] = {
    "cpu": "debian:bookworm-slim",
    "cuda12": "nvidia/cuda:12.6.3-base-ubuntu24.04",
    "cuda13": "nvidia/cuda:13.0.2-base-ubuntu24.04",
}
CPU_INDEX = "https://download.pytorch.org/whl/cpu"
CUDA12_INDEX = "https://download.pytorch.org/whl/cu126"
CUDA13_DRIVER = 580
CUDA13_CAPABILITY = (7, 5)
INDEX_TIMEOUT_S = 3


def choose_variant(*, cpu: bool, cuda: int | None) -> Name:
    """What the flags say, else what this machine's GPUs can run.

    Raises:
        RunnerError: no flag, and NVML is not there.
    """
    if cpu and cuda:
        raise RunnerError(
            "`--cpu` and `--cuda` exclude each other", hint="keep one", code=ExitCode.USAGE
        )
    if cpu:
        return "cpu"
    if cuda is not None:
        if cuda not in (12, 13):
            raise RunnerError(f"no CUDA {cuda}", hint="12 or 13", code=ExitCode.USAGE)
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


def find_torch_index(
    variant: Name, pinned: str, pip: PipSettings, *, needed_by: str | None
) -> str | None:
    """Where this variant's torch is, beyond what pip's settings already name.

    Args:
        variant: PyPI's torch is CUDA 13's.
        pinned: the CPU's, `torch==2.13.0+cpu`.
        pip: a local wheel or an index of the user's goes before PyTorch's.
        needed_by: the dependency file that names torch; None where only a dependency's may.

    Raises:
        RunnerError: torch is needed and no build for CPUs is in reach (exit 6).
    """
    if variant == "cuda12":
        return CUDA12_INDEX
    if variant == "cuda13" or offers_torch(pinned, pip):
        return None
    if _lists(CPU_INDEX, pinned):
        return CPU_INDEX
    if needed_by is None:
        return None
    raise RunnerError(
        f"`{needed_by}` needs torch, and no build of it for CPUs (`{pinned}`) is in reach",
        hint=f"let this machine reach {CPU_INDEX}, or point pip at a folder that has the wheel: "
        "`pip config set global.find-links FOLDER`",
        code=ExitCode.UNFIT,
    )


def offers_torch(pinned: str, pip: PipSettings) -> bool:
    """Whether the user's own pip settings lead to this torch."""
    indexes = [*([pip.index_url] if pip.index_url else []), *pip.extra_index_urls]
    return pip.has_wheel(pinned) or any(_lists(index, pinned) for index in indexes)


def _lists(index: str, pinned: str) -> bool:
    name, _, version = pinned.partition("==")
    request = urllib.request.Request(f"{index.rstrip('/')}/{name}/")  # noqa: S310 - the user's or PyTorch's
    try:
        with urllib.request.urlopen(request, timeout=INDEX_TIMEOUT_S) as reply:  # noqa: S310
            page = reply.read().decode("utf-8", errors="replace")
    except (OSError, http.client.HTTPException, ValueError):
        return False
    return bool(re.search(re.escape(version).replace(r"\+", r"(\+|%2B)"), page, re.IGNORECASE))


def _read_gpus() -> Sequence["Gpu"]:
    from runner.nvml import read_gpus

    hint = "`--cpu` for an image without CUDA, `--cuda 13` for one that another machine runs"
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
