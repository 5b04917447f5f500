"""GPUs and MIG slices from NVML."""

from dataclasses import dataclass
from typing import Literal

from runner.gpus.processes import Process

GpuState = Literal["free", "agent", "foreign", "lost"]


@dataclass(frozen=True, slots=True)
class Mig:
    """A slice of a GPU that MIG splits; agents get slices, never the split GPU."""

    uuid: str
    name: str
    memory_total_bytes: int
    processes: tuple[Process, ...] = ()
    state: GpuState = "free"
    reason: str | None = None
    agent: str | None = None


@dataclass(frozen=True, slots=True)
class Gpu:
    """One NVIDIA GPU as NVML reported it at one moment; `mark_gpus` adds its holder."""

    index: int  # NVML order, by PCI bus; CUDA agrees only under CUDA_DEVICE_ORDER=PCI_BUS_ID
    uuid: str  # "GPU-…", the same after a reboot; empty if a lost GPU does not report it
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
        """Its name in errors: `0 (GPU-1a2b3c4d, free)`."""
        return f"{self.index} ({self.uuid[:12] or 'no UUID'}, {self.state})"
