"""Where agents can run: the GPUs, MIG slices and shares of the CPU that a `--gpus` value means."""

import re
from collections.abc import Sequence
from dataclasses import dataclass

from runner.errors import ExitCode, RunnerError
from runner.gpus import Gpu, GpuState


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


def needs_gpus(spec: str) -> bool:
    """Whether NVML must be asked: not for `cpu` and `cpu:2`."""
    return not re.fullmatch(r"cpu(:\d+)?", spec.strip())


def check_spec(spec: str) -> None:
    """Whether `--gpus` has a form that means something, on whatever machine.

    Raises:
        RunnerError: it has none (2).
    """
    word, colon, number = spec.strip().partition(":")
    if word in ("cpu", "free") and colon:
        _count(spec, number)
    elif spec.strip() not in ("cpu", "free", "all"):
        for item in spec.split(","):
            _parse_item(item.strip(), spec)


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
    meant = _parse_item(item, spec)
    if isinstance(meant, str):
        return [_by_uuid(gpus, meant)]
    return [slot for index in meant for slot in _by_index(gpus, index)]


def _parse_item(item: str, spec: str) -> range | str:
    """The indices that one part of `--gpus` means, or the beginning of a UUID."""
    if match := re.fullmatch(r"(\d+)(?:-(\d+))?", item):
        first, last = int(match[1]), int(match[2] or match[1])
        if last < first or last - first > 1023:
            raise _bad_spec(spec)
        return range(first, last + 1)
    if not re.fullmatch(r"(?i)(GPU-|MIG-|MIG-GPU-)?[0-9a-f][0-9a-f/-]*", item):
        raise _bad_spec(spec)
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
