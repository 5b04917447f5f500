"""Find the agent or the lease that holds each GPU of this machine."""

from collections.abc import Sequence

from runner.errors import RunnerError
from runner.fleet.agents import Agent
from runner.gpus.gpu import Gpu
from runner.gpus.leases import read_leases
from runner.gpus.marks import Holder, mark_gpus
from runner.gpus.processes import find_owner


def mark_held(found: Sequence[Gpu], agents: Sequence[Agent], *, foreign_mib: int) -> list[Gpu]:
    """GPUs as NVML has them, each with who has it: agents of this engine, and leases of others."""
    alive = [agent for agent in agents if agent.alive]
    holders = [
        Holder(agent.place, agent.name, agent.container, f"fleet `{agent.fleet}`")
        for agent in alive
    ]
    known = {agent.place for agent in alive}
    for uuid, pid in read_leases().items():
        if uuid not in known:
            note = f"pid {pid} of {find_owner(pid)} holds its lease"
            holders.append(Holder(uuid, "of another engine", None, note))
    return mark_gpus(found, holders, foreign_bytes=foreign_mib << 20)


def read_indices() -> dict[str, int]:
    """UUID → NVML index of GPUs and MIG slices; empty if NVML does not answer."""
    from runner.gpus.nvml import read_gpus  # slow to load, and a fleet on CPUs does not need it

    try:
        found = read_gpus()
    except RunnerError:  # show the fleet anyway; `runner gpus` shows the cause
        return {}
    return {uuid: gpu.index for gpu in found for uuid in (gpu.uuid, *(m.uuid for m in gpu.mig))}
