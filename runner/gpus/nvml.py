"""The host's door to NVML: the GPUs and MIG slices of this machine, and who computes on them."""

import re
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pynvml

from runner.errors import ExitCode, RunnerError
from runner.gpus.gpu import Gpu, Mig
from runner.gpus.processes import Process, find_owner

_CAUSES = {  # NVML's code: what it means, and the way out (all but 12 were met on real machines)
    9: ("the NVIDIA driver is installed but not loaded", "`modprobe nvidia`, or reboot"),
    12: (
        "no NVIDIA driver: `libnvidia-ml.so.1` was not found",
        "install the driver, or go without a GPU: `--gpus cpu:2`",
    ),
    18: (
        "the NVIDIA driver was upgraded while the old one runs: library and kernel module differ",
        "reboot",
    ),
    999: (
        "NVML does not answer (unknown error): access to the GPUs is lost or was never given",
        "`nvidia-smi` should say the same; restart the container or VM around it, or reboot",
    ),
}
_ABSENT = (
    pynvml.NVMLError_NotSupported,
    pynvml.NVMLError_FunctionNotFound,
    pynvml.NVMLError_NotFound,
    pynvml.NVMLError_NoPermission,
)


def read_gpus() -> list[Gpu]:
    """All GPUs in NVML's order; one that is lost is a row with its reason.

    Raises:
        RunnerError: there is no driver, or NVML does not start.
    """
    with _nvml():
        driver = str(pynvml.nvmlSystemGetDriverVersion())
        return [_read_gpu(index, driver) for index in range(pynvml.nvmlDeviceGetCount())]


@contextmanager
def _nvml() -> Iterator[None]:
    try:
        pynvml.nvmlInit()
    except pynvml.NVMLError as error:
        raise _translate(error) from error
    try:
        yield
    except pynvml.NVMLError as error:
        raise _translate(error) from error
    finally:
        pynvml.nvmlShutdown()


def _translate(error: pynvml.NVMLError) -> RunnerError:
    plain = (f"NVML failed: {error}", "`nvidia-smi` should say the same")
    message, hint = _CAUSES.get(error.value, plain)
    return RunnerError(message, hint=hint, code=ExitCode.UNFIT)


def _read_gpu(index: int, driver: str) -> Gpu:
    uuid = name = ""
    try:
        handle = pynvml.nvmlDeviceGetHandleByIndex(index)
        uuid, name = pynvml.nvmlDeviceGetUUID(handle), pynvml.nvmlDeviceGetName(handle)
        memory = pynvml.nvmlDeviceGetMemoryInfo(handle)
        rates = _ask(pynvml.nvmlDeviceGetUtilizationRates, handle)
        return Gpu(
            index=index,
            uuid=uuid,
            name=name,
            driver=driver,
            compute_capability=_ask(pynvml.nvmlDeviceGetCudaComputeCapability, handle),
            memory_total_bytes=memory.total,
            memory_used_bytes=memory.used,
            utilization_percent=None if rates is None else rates.gpu,
            temperature_c=_ask(
                pynvml.nvmlDeviceGetTemperature, handle, pynvml.NVML_TEMPERATURE_GPU
            ),
            mig=_read_slices(handle),
            processes=_read_processes(handle),
        )
    except pynvml.NVMLError as error:  # one broken GPU must not hide the others
        return Gpu(index, uuid, name or "unknown", driver, state="lost", reason=str(error))


def _ask(function: Callable[..., Any], *arguments: object) -> Any:
    """What NVML answers; None where this GPU or driver does not know."""
    try:
        return function(*arguments)
    except _ABSENT:
        return None


def _read_slices(handle: object) -> tuple[Mig, ...]:
    mode = _ask(pynvml.nvmlDeviceGetMigMode, handle)
    if not mode or mode[0] != pynvml.NVML_DEVICE_MIG_ENABLE:
        return ()
    slices = []
    for position in range(_ask(pynvml.nvmlDeviceGetMaxMigDeviceCount, handle) or 0):
        mig = _ask(pynvml.nvmlDeviceGetMigDeviceHandleByIndex, handle, position)
        if mig is None:  # slots are sparse
            continue
        memory = pynvml.nvmlDeviceGetMemoryInfo(mig)
        uuid, name = pynvml.nvmlDeviceGetUUID(mig), pynvml.nvmlDeviceGetName(mig)
        slices.append(Mig(uuid, name, memory.total, _read_processes(mig)))
    return tuple(slices)


def _read_processes(handle: object) -> tuple[Process, ...]:
    found = _ask(pynvml.nvmlDeviceGetComputeRunningProcesses, handle) or ()
    return tuple(
        Process(entry.pid, entry.usedGpuMemory, find_owner(entry.pid), _find_container(entry.pid))
        for entry in found
    )


def _find_container(pid: int) -> str | None:
    """The ID in the process's cgroup path, as Docker, containerd and podman write it."""
    try:
        text = Path(f"/proc/{pid}/cgroup").read_text("utf-8")
    except OSError:
        return None
    found = re.search(r"[0-9a-f]{64}", text)
    return found[0] if found else None
