"""The agent's door to NVML.

A CPU slot never imports it: compiling `pynvml`, which a read-only mount makes each start do, takes
0.2 s (2 shared cores, 2026-11).
"""

import pynvml

from runner.agent.gpu import SeenGpu, Sight
from runner.agent.refusals import RefusedError


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
