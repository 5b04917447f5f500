"""GPUs as NVML shows them, and who has each."""

import os
import pwd
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Literal

from runner.agent.contract import paths
from runner.console import format_bytes

LEASES = Path(paths.HOST_LEASES)  # files by UUID

GpuState = Literal["free", "agent", "foreign", "lost"]


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
            status = file.lstat()
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
