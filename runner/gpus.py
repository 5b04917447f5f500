"""GPUs as NVML shows them, and who has each."""

import os
import pwd
import re
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Literal

import pynvml

from runner.agent.contract import paths
from runner.console import format_bytes
from runner.errors import ExitCode, RunnerError

LEASES = Path(paths.HOST_LEASES)  # files by UUID

GpuState = Literal["free", "agent", "foreign", "lost"]

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
        "`nvidia-smi` should say the same; restart what this runs in, or reboot",
    ),
}
_ABSENT = (
    pynvml.NVMLError_NotSupported,
    pynvml.NVMLError_FunctionNotFound,
    pynvml.NVMLError_NotFound,
    pynvml.NVMLError_NoPermission,
)


@dataclass(frozen=True, slots=True)
class Process:
    """A process that computes on a GPU; display servers are not counted."""

    pid: int  # the host's
    used_bytes: int | None  # None where the driver does not tell
    owner: str
    container: str | None  # its ID, 64 hex digits


@dataclass(frozen=True, slots=True)
class Mig:
    """A slice of a GPU that was split by MIG; agents get slices, never the split GPU."""

    uuid: str
    name: str
    memory_total_bytes: int
    processes: tuple[Process, ...] = ()
    state: GpuState = "free"
    reason: str | None = None
    agent: str | None = None


@dataclass(frozen=True, slots=True)
class Gpu:
    """One NVIDIA GPU as NVML reported it at one moment; `mark_gpus` adds who has it."""

    index: int  # NVML order, by PCI bus; CUDA agrees only under CUDA_DEVICE_ORDER=PCI_BUS_ID
    uuid: str  # "GPU-…", the same after a reboot; empty where a lost GPU does not tell it
    name: str
    driver: str
    compute_capability: tuple[int, int] | None = None
    memory_total_bytes: int = 0
    memory_used_bytes: int = 0
    utilization_percent: int | None = None
    temperature_c: int | None = None
    mig: tuple[Mig, ...] = ()
    processes: tuple[Process, ...] = ()
    state: GpuState = "free"
    reason: str | None = None
    agent: str | None = None

    @property
    def short(self) -> str:
        """As errors name it: `0 (GPU-1a2b3c4d, free)`."""
        return f"{self.index} ({self.uuid[:12] or 'no UUID'}, {self.state})"


@dataclass(frozen=True, slots=True)
class Holder:
    """Who has a GPU: a live agent container, or a lease of another engine or user."""

    uuid: str
    agent: str
    container: str | None
    note: str  # `fleet demo-1a2b`


def read_gpus() -> list[Gpu]:
    """All GPUs in NVML's order; one that is lost is a row with its reason.

    Raises:
        RunnerError: there is no driver, or NVML does not start.
    """
    with _nvml():
        driver = str(pynvml.nvmlSystemGetDriverVersion())
        return [_read_gpu(index, driver) for index in range(pynvml.nvmlDeviceGetCount())]


def read_leases(folder: Path = LEASES, locks: Path = Path("/proc/locks")) -> dict[str, int]:
    """GPU UUID → pid of the process that holds its lease, without touching the locks."""
    held = {}
    for line in locks.read_text("ascii").splitlines() if locks.exists() else []:
        fields = line.split()  # 1: FLOCK ADVISORY WRITE 4242 fe:01:131 0 EOF
        if len(fields) >= 6 and fields[1] == "FLOCK":
            held[fields[5]] = int(fields[4])
    leases = {}
    for file in folder.iterdir() if folder.is_dir() else []:
        with suppress(OSError):
            status = file.stat()
            device = f"{os.major(status.st_dev):02x}:{os.minor(status.st_dev):02x}"
            if pid := held.get(f"{device}:{status.st_ino}"):
                leases[file.name] = pid
    return leases


def mark_gpus(gpus: Sequence[Gpu], holders: Sequence[Holder], *, foreign_bytes: int) -> list[Gpu]:
    """Each GPU with its state: held by an agent, used by a foreign process, lost or free."""
    by_uuid = {holder.uuid: holder for holder in holders}
    ours = {holder.container for holder in holders if holder.container}
    return [_mark(gpu, by_uuid, ours, foreign_bytes) for gpu in gpus]


def _mark(gpu: Gpu, holders: dict[str, Holder], ours: set[str], foreign_bytes: int) -> Gpu:
    if gpu.state == "lost":
        return gpu
    slices = tuple(
        replace(mig, **_standing(mig.uuid, mig.processes, holders, ours, foreign_bytes))
        for mig in gpu.mig
    )
    if busy := [mig for mig in slices if mig.state != "free"]:
        return replace(
            gpu, mig=slices, state=busy[0].state, reason=busy[0].reason, agent=busy[0].agent
        )
    standing = _standing(gpu.uuid, gpu.processes, holders, ours, foreign_bytes)
    return replace(gpu, mig=slices, **standing)


def _standing(
    uuid: str,
    processes: Sequence[Process],
    holders: dict[str, Holder],
    ours: set[str],
    foreign_bytes: int,
) -> dict[str, Any]:
    if holder := holders.get(uuid):
        return {"state": "agent", "reason": holder.note, "agent": holder.agent}
    foreign = [process for process in processes if process.container not in ours]
    if sum(process.used_bytes or 0 for process in foreign) > foreign_bytes:
        users = ", ".join(
            f"pid {process.pid} of {process.owner} holds {format_bytes(process.used_bytes or 0)}"
            for process in foreign
        )
        return {"state": "foreign", "reason": users}
    return {"state": "free"}


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


def find_owner(pid: int) -> str:
    """The user that a process belongs to."""
    try:
        uid = Path(f"/proc/{pid}").stat().st_uid
    except OSError:  # gone, or in another pid namespace
        return "unknown"
    try:
        return pwd.getpwuid(uid).pw_name
    except KeyError:
        return f"uid {uid}"


def _find_container(pid: int) -> str | None:
    """The ID in the process's cgroup path, as Docker, containerd and podman write it."""
    try:
        text = Path(f"/proc/{pid}/cgroup").read_text("utf-8")
    except OSError:
        return None
    found = re.search(r"[0-9a-f]{64}", text)
    return found[0] if found else None
