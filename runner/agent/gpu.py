"""Does this container see its GPU, and only that? What NVML shows comes from `nvml`."""

from collections.abc import Sequence
from dataclasses import dataclass

from runner.agent.contract.slots import SlotId
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


def select_gpu(gpus: Sequence[SeenGpu], wanted: SlotId, *, only: bool) -> SeenGpu:
    """The GPU or MIG slice that is this slot; `only`: it must be the one and only to be seen.

    Raises:
        RefusedError: another one, several or none are seen.
    """
    is_mig = wanted.kind == "mig"
    seen = [slice_ for gpu in gpus for slice_ in gpu.migs] if is_mig else list(gpus)
    found = [one for one in seen if one.uuid == wanted.text]
    if not found:
        raise RefusedError(f"`{wanted}` is not here; NVML shows {_names(seen)}")
    if only and len(seen) > 1:
        raise RefusedError(f"more than `{wanted}` is here; NVML shows {_names(seen)}")
    return found[0]


def check_gpus(gpus: Sequence[SeenGpu], wanted: Sequence[SlotId]) -> Sequence[SeenGpu]:
    """The GPUs or slices of these slots, in their order; no others may be seen.

    Raises:
        RefusedError: one is missing, or others are seen.
    """
    found = [select_gpu(gpus, slot, only=False) for slot in wanted]
    is_mig = any(slot.kind == "mig" for slot in wanted)
    seen = [slice_ for gpu in gpus for slice_ in gpu.migs] if is_mig else list(gpus)
    if len(seen) > len(found):
        names = ", ".join(f"`{slot}`" for slot in wanted)
        raise RefusedError(f"more than {names} is here; NVML shows {_names(seen)}")
    return found


def _names(seen: Sequence[SeenGpu]) -> str:
    return ", ".join(f"`{one.uuid}`" for one in seen) or "none"
