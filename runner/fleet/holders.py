"""Find the agent or the lease that holds each GPU of this machine."""

from collections.abc import Sequence

from runner.errors import RunnerError
from runner.fleet.agents import Agent
from runner.gpus.gpu import Gpu
from runner.gpus.leases import read_leases
from runner.gpus.marks import Holder, describe_users, mark_gpus
from runner.gpus.processes import find_owner


def mark_held(found: Sequence[Gpu], agents: Sequence[Agent], *, foreign_mib: int) -> list[Gpu]:
    """Mark each GPU with its holder: an agent of this engine, or a lease of another."""
    alive = [agent for agent in agents if agent.alive]
    holders = [
        Holder(str(slot), agent.keeps_for or agent.name, agent.container, f"fleet `{agent.fleet}`")
        for agent in sorted(alive, key=lambda one: one.keeps_for is None)  # a command's own counts
        for slot in agent.slots
    ]
    known = {holder.uuid for holder in holders}
    for uuid, pid in read_leases().items():
        if uuid not in known:
            note = f"pid {pid} of {find_owner(pid)} holds its lease"
            holders.append(Holder(uuid, "of another engine", None, note))
    return mark_gpus(found, holders, foreign_bytes=foreign_mib << 20)


def read_present() -> Sequence[Gpu]:
    """The GPUs as NVML shows them now; none if it does not answer."""
    from runner.gpus.nvml import read_gpus  # slow to load, and a fleet on CPUs does not need it

    try:
        return read_gpus()
    except RunnerError:  # show the fleet anyway; `runner gpus` shows the cause
        return []


def find_indices(gpus: Sequence[Gpu]) -> dict[str, int]:
    """UUID → NVML index of GPUs and MIG slices."""
    return {uuid: gpu.index for gpu in gpus for uuid in (gpu.uuid, *(m.uuid for m in gpu.mig))}


def find_users(gpus: Sequence[Gpu]) -> dict[str, str]:
    """UUID → who computes on this GPU or slice, of those that somebody computes on."""
    whole = [(gpu.uuid, gpu.processes) for gpu in gpus]
    places = whole + [(mig.uuid, mig.processes) for gpu in gpus for mig in gpu.mig]
    return {uuid: describe_users(processes) for uuid, processes in places if processes}
