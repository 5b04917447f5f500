"""Mark each GPU with its holder: an agent, another process, or nobody."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

from runner.console import format_bytes
from runner.gpus.gpu import Gpu
from runner.gpus.processes import Process


@dataclass(frozen=True, slots=True)
class Holder:
    """The holder of a GPU: a live agent container, or a lease of another engine or user."""

    uuid: str
    agent: str
    container: str | None
    note: str  # `fleet demo-1a2b`


def mark_gpus(gpus: Sequence[Gpu], holders: Sequence[Holder], *, foreign_bytes: int) -> list[Gpu]:
    """Each GPU with its state: held by an agent, used by another process, lost or free."""
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
        return {"state": "foreign", "reason": describe_users(foreign)}
    return {"state": "free"}


def describe_users(processes: Sequence[Process]) -> str:
    """`pid 4242 of alice holds 1.2 GiB`, for each."""
    return ", ".join(
        f"pid {process.pid} of {process.owner} holds {format_bytes(process.used_bytes or 0)}"
        for process in processes
    )
