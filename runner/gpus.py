"""GPUs as NVML shows them, who has each, and which ones a `--gpus` specification means."""

import os
import pwd
import re
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Literal

import pynvml

from runner.console import format_bytes
from runner.errors import ExitCode, RunnerError

LEASES = Path("/var/tmp/runner-leases")  # noqa: S108 - shared by all users; files by UUID

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


@dataclass(frozen=True, slots=True)
class Slot:
    """Where one agent can run: a GPU, a MIG slice, or a share of the CPU cores."""

    index: int
    uuid: str  # "GPU-…", "MIG-…", "cpu-0"
    name: str
    state: GpuState = "free"
    reason: str | None = None

    @property
    def is_cpu(self) -> bool:
        """Whether no GPU goes with it."""
        return self.uuid.startswith("cpu-")

    def agent_name(self, fleet: str) -> str:
        """The name that the engine lets exist once: by the UUID, or within the fleet for CPUs."""
        if self.is_cpu:
            return f"{fleet}-{self.uuid}"
        return f"{re.sub(r'[^0-9a-f]', '', self.uuid[4:].lower())[:12]}-0"


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


def needs_gpus(spec: str) -> bool:
    """Whether NVML must be asked: not for `cpu` and `cpu:2`."""
    return not re.fullmatch(r"cpu(:\d+)?", spec.strip())


def select_gpus(gpus: Sequence[Gpu], spec: str) -> list[Slot]:
    """The slots that a `--gpus` value names, each once, in the order given.

    Raises:
        RunnerError: no such form (2), no such GPU (3), not enough free ones (6).
    """
    text = spec.strip()
    word, _, number = text.partition(":")
    if word in ("cpu", "free", "all") and (not number or word != "all"):
        return _select_word(gpus, word, _count(spec, number) if ":" in text else None)
    chosen: dict[str, Slot] = {}
    for item in text.split(","):
        for slot in _select_item(gpus, item.strip(), spec):
            chosen.setdefault(slot.uuid or f"lost-{slot.index}", slot)
    return list(chosen.values())


def describe_gpus(gpus: Sequence[Gpu]) -> str:
    """Which GPUs there are, in one line."""
    if not gpus:
        return "this machine has no GPU"
    return "there " + ("is" if len(gpus) == 1 else "are") + f" {', '.join(g.short for g in gpus)}"


def _select_word(gpus: Sequence[Gpu], word: str, wanted: int | None) -> list[Slot]:
    if word == "cpu":
        return [Slot(index, f"cpu-{index}", "CPU") for index in range(wanted or 1)]
    slots = [slot for gpu in gpus for slot in _slots(gpu)]
    if word == "free":
        slots = [slot for slot in slots if slot.state == "free"]
    if not gpus:
        raise _not_found("this machine has no GPU")
    if not slots or len(slots) < (wanted or 0):
        found = f"{len(slots)} of {wanted} GPUs are free" if wanted else "no GPU is free"
        hint = describe_gpus(gpus) + "; `runner gpus` says who has them"
        raise RunnerError(found, hint=hint, code=ExitCode.UNFIT)
    return slots[:wanted]


def _select_item(gpus: Sequence[Gpu], item: str, spec: str) -> list[Slot]:
    if match := re.fullmatch(r"(\d+)(?:-(\d+))?", item):
        first, last = int(match[1]), int(match[2] or match[1])
        if last < first or last - first > 1023:
            raise _bad_spec(spec)
        return [slot for index in range(first, last + 1) for slot in _by_index(gpus, index)]
    if not re.fullmatch(r"(?i)(GPU-|MIG-|MIG-GPU-)?[0-9a-f][0-9a-f/-]*", item):
        raise _bad_spec(spec)
    return [_by_uuid(gpus, item)]


def _by_index(gpus: Sequence[Gpu], index: int) -> list[Slot]:
    for gpu in gpus:
        if gpu.index == index and gpu.mig:
            slices = ", ".join(f"`{mig.uuid}` ({mig.state})" for mig in gpu.mig)
            raise RunnerError(
                f"GPU {index} is split by MIG, so an agent gets one of its slices",
                hint=f"name slices: {slices}",
                code=ExitCode.USAGE,
            )
        if gpu.index == index:
            return _slots(gpu)
    raise _not_found(f"no GPU {index}", gpus)


def _by_uuid(gpus: Sequence[Gpu], prefix: str) -> Slot:
    bare = prefix.lower()
    slots = [slot for gpu in gpus for slot in _slots(gpu) if slot.uuid]
    found = [s for s in slots if s.uuid.lower().startswith((bare, f"gpu-{bare}", f"mig-{bare}"))]
    if len(found) == 1:
        return found[0]
    if found:
        names = ", ".join(f"`{slot.uuid}`" for slot in found)
        hint = "type more of the one that you mean"
        raise RunnerError(f"`{prefix}` fits {names}", hint=hint, code=ExitCode.USAGE)
    raise _not_found(f"no GPU `{prefix}`", gpus)


def _slots(gpu: Gpu) -> list[Slot]:
    if gpu.mig:
        return [Slot(gpu.index, mig.uuid, mig.name, mig.state, mig.reason) for mig in gpu.mig]
    return [Slot(gpu.index, gpu.uuid, gpu.name, gpu.state, gpu.reason)]


def _count(spec: str, number: str) -> int:
    if not re.fullmatch(r"[1-9]\d{0,3}", number):
        raise _bad_spec(spec)
    return int(number)


def _bad_spec(spec: str) -> RunnerError:
    return RunnerError(
        f"`--gpus {spec}` is no selection of GPUs",
        hint="`0,1`, `0-3`, `all`, `free`, `free:2`, a UUID or its beginning, `MIG-…`, `cpu:2`",
        code=ExitCode.USAGE,
    )


def _not_found(message: str, gpus: Sequence[Gpu] = ()) -> RunnerError:
    hint = describe_gpus(gpus) if gpus else "`--gpus cpu:2` runs two agents on the CPU"
    return RunnerError(message, hint=hint, code=ExitCode.NOT_FOUND)


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
