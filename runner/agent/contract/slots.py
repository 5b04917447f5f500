"""Where an agent runs: a GPU, a slice of one that MIG has split, or a share of the CPU cores."""

import re
from dataclasses import dataclass
from typing import Literal

SlotKind = Literal["gpu", "mig", "cpu"]

_NVIDIA = re.compile(r"(GPU|MIG)-[A-Za-z0-9-]+")  # NVML's UUIDs
_CPU = re.compile(r"cpu-([0-9]+)")


@dataclass(frozen=True)
class SlotId:
    """One slot as variables, labels and status files name it: `GPU-…`, `MIG-…` or `cpu-0`."""

    kind: SlotKind
    text: str
    index: int | None = None  # of a CPU slot

    @property
    def is_cpu(self) -> bool:
        """Whether no GPU goes with it: nothing to check, nothing to lease."""
        return self.kind == "cpu"

    def __str__(self) -> str:
        return self.text


def cpu_slot(index: int) -> SlotId:
    """The share of the CPU cores with this number."""
    return SlotId("cpu", f"cpu-{index}", index)


def parse_slots(text: str) -> "tuple[SlotId, ...]":
    """The slots of these names, by comma: a command may have several GPUs.

    Raises:
        ValueError: one is none.
    """
    return tuple(parse_slot(part) for part in text.split(","))


def parse_slot(text: str) -> SlotId:
    """The slot of this name.

    Raises:
        ValueError: it is none.
    """
    if match := _CPU.fullmatch(text):
        return SlotId("cpu", text, int(match[1]))
    if match := _NVIDIA.fullmatch(text):
        return SlotId("gpu" if match[1] == "GPU" else "mig", text)
    raise ValueError(f"`{text}` is not a slot: GPU-…, MIG-… or cpu-0")
