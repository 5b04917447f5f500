"""The agent's door to NVML: does this container see its GPU, and only that?"""

from collections.abc import Sequence
from dataclasses import dataclass

import pynvml

from runner.agent.refusals import RefusedError


@dataclass(frozen=True)
class SeenGpu:
    """A GPU or MIG slice that NVML shows here."""

    uuid: str
    name: str
    migs: tuple["SeenGpu", ...] = ()


@dataclass(frozen=True)
class Sight:
    """All GPUs that NVML shows, and the driver's version."""

    gpus: tuple[SeenGpu, ...]
    driver: str


def read_sight() -> Sight:
    """What NVML shows in this container.

    Raises:
        RefusedError: NVML does not answer.
    """
    try:
        pynvml.nvmlInit()
        try:
            count = pynvml.nvmlDeviceGetCount()
            handles = [pynvml.nvmlDeviceGetHandleByIndex(index) for index in range(count)]
            gpus = tuple(_read_gpu(handle) for handle in handles)
            return Sight(gpus, str(pynvml.nvmlSystemGetDriverVersion()))
        finally:
            pynvml.nvmlShutdown()
    except pynvml.NVMLError as error:
        raise RefusedError(f"NVML does not answer in this container: {error}") from error


def select_gpu(gpus: Sequence[SeenGpu], wanted: str, *, only: bool) -> SeenGpu:
    """The GPU or MIG slice with this UUID; `only`: it must be the one and only to be seen.

    Raises:
        RefusedError: another one, several or none are seen.
    """
    is_mig = wanted.startswith("MIG-")
    seen = [slice_ for gpu in gpus for slice_ in gpu.migs] if is_mig else list(gpus)
    found = [one for one in seen if one.uuid == wanted]
    if not found:
        raise RefusedError(f"`{wanted}` is not here; NVML shows {_names(seen)}")
    if only and len(seen) > 1:
        raise RefusedError(f"more than `{wanted}` is here; NVML shows {_names(seen)}")
    return found[0]


def _read_gpu(handle: object) -> SeenGpu:
    return SeenGpu(
        pynvml.nvmlDeviceGetUUID(handle), pynvml.nvmlDeviceGetName(handle), _read_migs(handle)
    )


def _read_migs(handle: object) -> tuple[SeenGpu, ...]:
    migs = []
    try:
        count = pynvml.nvmlDeviceGetMaxMigDeviceCount(handle)
    except (pynvml.NVMLError_NotSupported, pynvml.NVMLError_FunctionNotFound):
        return ()
    for index in range(count):
        try:
            slice_ = pynvml.nvmlDeviceGetMigDeviceHandleByIndex(handle, index)
        except (
            pynvml.NVMLError_NotFound,
            pynvml.NVMLError_NotSupported,
            pynvml.NVMLError_NoPermission,
        ):
            continue  # this place holds no slice, or one that this container was not given
        name = pynvml.nvmlDeviceGetName(slice_)
        migs.append(SeenGpu(pynvml.nvmlDeviceGetUUID(slice_), name))
    return tuple(migs)


def _names(seen: Sequence[SeenGpu]) -> str:
    return ", ".join(f"`{one.uuid}`" for one in seen) or "none"
