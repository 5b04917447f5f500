"""Select where agents run: GPUs, MIG slices and shares of the CPU, by the value of `--gpus`."""

import re
from collections.abc import Sequence
from dataclasses import dataclass

from runner.agent.contract.slots import SlotId, cpu_slot
from runner.errors import ExitCode, RunnerError
from runner.gpus.gpu import Gpu, GpuState


@dataclass(frozen=True, slots=True)
class Slot:
    """A place for one agent: a GPU, a MIG slice, or a share of the CPU cores."""

    index: int
    id: SlotId
    name: str
    state: GpuState = "free"
    reason: str | None = None

    @property
    def is_cpu(self) -> bool:
        """Whether it has no GPU."""
        return self.id.is_cpu

    @property
    def uuid(self) -> str:
        """Its name for NVML and the engine; `cpu-0` for a share of the cores."""
        return self.id.text

    def agent_name(self, fleet: str) -> str:
        """A name that is unique on the engine: from the UUID, or from fleet and number for CPUs."""
        if self.is_cpu:
            return f"{fleet}-{self.id}"
        return f"{re.sub(r'[^0-9a-f]', '', self.uuid[4:].lower())[:12]}-0"


@dataclass(frozen=True, slots=True)
class CpuSlots:
    """`cpu:2`: shares of the CPU cores."""

    count: int


@dataclass(frozen=True, slots=True)
class FreeGpus:
    """`free`, or `free:2`."""

    count: int | None  # None: all free GPUs


@dataclass(frozen=True, slots=True)
class AllGpus:
    """`all`."""


@dataclass(frozen=True, slots=True)
class NamedGpus:
    """`0-3,GPU-1a2b`: ranges of indices and beginnings of UUIDs, in the given order."""

    items: tuple[range | str, ...]


class TooFewFreeError(RunnerError):
    """`--gpus free` finds fewer than were asked for: other commands may leave some."""


Selection = CpuSlots | FreeGpus | AllGpus | NamedGpus


def parse_selection(text: str) -> Selection:
    """Parse the value of `--gpus`; needs no GPU.

    Raises:
        RunnerError: it is not a GPU selection (2).
    """
    word, colon, number = text.strip().partition(":")
    match word:
        case "cpu":
            return CpuSlots(_parse_count(text, number) if colon else 1)
        case "free":
            return FreeGpus(_parse_count(text, number) if colon else None)
        case "all" if not colon:
            return AllGpus()
    return NamedGpus(tuple(_parse_item(item.strip(), text) for item in text.split(",")))


def select_slots(gpus: Sequence[Gpu], selection: Selection) -> list[Slot]:
    """The selected slots, each once, in the given order.

    Args:
        gpus: all GPUs of the machine; not used for `CpuSlots`.
        selection: the parsed `--gpus`.

    Raises:
        RunnerError: a GPU does not exist (3), too few are free (6), or an index is split (2).
    """
    match selection:
        case CpuSlots(count):
            return [Slot(index, cpu_slot(index), "CPU") for index in range(count)]
        case FreeGpus(count):
            return _take_free(gpus, count)
        case AllGpus():
            return _get_slots(gpus)
        case NamedGpus(items):
            chosen: dict[str, Slot] = {}
            for slot in (slot for item in items for slot in _get_named(gpus, item)):
                chosen.setdefault(slot.uuid or f"lost-{slot.index}", slot)
            return list(chosen.values())


def describe_gpus(gpus: Sequence[Gpu]) -> str:
    """List the GPUs in one line."""
    if not gpus:
        return "this machine has no GPU"
    return "there " + ("is" if len(gpus) == 1 else "are") + f" {', '.join(g.short for g in gpus)}"


def _get_slots(gpus: Sequence[Gpu]) -> list[Slot]:
    if not gpus:
        raise _not_found("this machine has no GPU")
    return [slot for gpu in gpus for slot in _slots(gpu)]


def _take_free(gpus: Sequence[Gpu], count: int | None) -> list[Slot]:
    slots = [slot for slot in _get_slots(gpus) if slot.state == "free"]
    if not slots or len(slots) < (count or 0):
        found = f"{len(slots)} of {count} GPUs are free" if count else "no GPU is free"
        hint = describe_gpus(gpus) + "; `runner gpus` shows who has them"
        raise TooFewFreeError(found, hint=hint, code=ExitCode.UNFIT)
    return slots[:count]


def _get_named(gpus: Sequence[Gpu], item: range | str) -> list[Slot]:
    if isinstance(item, str):
        return [_by_uuid(gpus, item)]
    return [slot for index in item for slot in _by_index(gpus, index)]


def _parse_item(item: str, text: str) -> range | str:
    """Parse one part of `--gpus`: indices, or the beginning of a UUID."""
    if match := re.fullmatch(r"(\d+)(?:-(\d+))?", item):
        first, last = int(match[1]), int(match[2] or match[1])
        if last < first or last - first > 1023:
            raise _bad_selection(text)
        return range(first, last + 1)
    if not re.fullmatch(r"(?i)(GPU-|MIG-|MIG-GPU-)?[0-9a-f][0-9a-f/-]*", item):
        raise _bad_selection(text)
    return item


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
        hint = "type more characters of its UUID"
        raise RunnerError(f"`{prefix}` fits {names}", hint=hint, code=ExitCode.USAGE)
    raise _not_found(f"no GPU `{prefix}`", gpus)


def _slots(gpu: Gpu) -> list[Slot]:
    if gpu.mig:
        return [
            Slot(gpu.index, SlotId("mig", mig.uuid), mig.name, mig.state, mig.reason)
            for mig in gpu.mig
        ]
    return [Slot(gpu.index, SlotId("gpu", gpu.uuid), gpu.name, gpu.state, gpu.reason)]


def _parse_count(text: str, number: str) -> int:
    if not re.fullmatch(r"[1-9]\d{0,3}", number):
        raise _bad_selection(text)
    return int(number)


def _bad_selection(text: str) -> RunnerError:
    return RunnerError(
        f"`--gpus {text}` is not a GPU selection",
        hint="`0,1`, `0-3`, `all`, `free`, `free:2`, a UUID or its beginning, `MIG-…`, `cpu:2`",
        code=ExitCode.USAGE,
    )


def _not_found(message: str, gpus: Sequence[Gpu] = ()) -> RunnerError:
    hint = describe_gpus(gpus) if gpus else "`--gpus cpu:2` runs two agents on the CPU"
    return RunnerError(message, hint=hint, code=ExitCode.NOT_FOUND)
