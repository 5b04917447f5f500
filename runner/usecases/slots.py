"""Find the slots of this machine that `--gpus` selects."""

from collections.abc import Sequence

from runner.errors import ExitCode, RunnerError
from runner.fleet.agents import Agent
from runner.fleet.holders import mark_held
from runner.fleet.selection import CpuSlots, FreeGpus, Selection, Slot, select_slots
from runner.usecases.session import Session


def find_slots(session: Session, agents: Sequence[Agent], selection: Selection) -> list[Slot]:
    """The slots that `--gpus` selects, each with its present user: one of `agents` or another."""
    if isinstance(selection, CpuSlots):
        return select_slots([], selection)
    from runner.gpus.nvml import read_gpus  # slow to load, and CPU slots do not need it

    foreign_mib = session.settings.run.foreign_mib
    return select_slots(mark_held(read_gpus(), agents, foreign_mib=foreign_mib), selection)


def missing_gpus() -> RunnerError:
    """The error for a missing `--gpus`; its hint lists the free GPUs."""
    from runner.gpus.nvml import read_gpus  # slow to load, and only this error needs it

    try:
        free = select_slots(mark_held(read_gpus(), [], foreign_mib=500), FreeGpus(None))
        hint = "free: " + ", ".join(f"`--gpus {slot.index}` ({slot.uuid})" for slot in free)
    except RunnerError as error:  # no driver, no GPU, or none is free
        hint = f"{error.message}; `--gpus cpu:2` runs two agents on the CPU"
    return RunnerError("which GPUs? `--gpus` is missing", hint=hint, code=ExitCode.USAGE)
