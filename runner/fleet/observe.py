"""The fleet as it is: the engine's labels, the agents' status files and NVML."""

import fcntl
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING, TypeVar

from runner import gpus
from runner.agent.contract import exits, labels
from runner.agent.contract.limits import STATUS_STALE_S
from runner.agent.contract.slots import SlotId, parse_slot
from runner.agent.contract.sweeps import SweepPath
from runner.engine.types import FLEET_LABEL, ROLE_LABEL, Container
from runner.errors import RunnerError
from runner.fleet.composed import is_here
from runner.fleet.exchange import read_status
from runner.fleet.plan import Agent
from runner.gpus import Gpu, Holder
from runner.guard.foreign_files import DamagedFile, open_lock
from runner.state import State

if TYPE_CHECKING:
    from runner.engine.client import Engine

ROLE = {ROLE_LABEL: labels.AGENT_ROLE}
_Value = TypeVar("_Value")


def read_agents(engine: "Engine", state: State | None) -> list[Agent]:
    """The agents of all fleets on this engine; with `state` those of ours have their status."""
    return [read_agent(container, state) for container in engine.containers(ROLE)]


def read_fleet(engine: "Engine", state: State) -> list[Agent]:
    """The agents of this state folder, those that were put aside among them."""
    return select_fleet(engine.containers(ROLE), state)


def select_fleet(containers: Sequence[Container], state: State) -> list[Agent]:
    """The agents of this state folder among all of an engine."""
    found = (read_agent(container, state) for container in containers)
    return [agent for agent in found if agent.fleet == state.fleet]


def read_agent(container: Container, state: State | None) -> Agent:
    """One container and, where it is its own, its status file."""
    told = container.labels
    name = told.get(labels.AGENT) or container.name.removeprefix(labels.NAME_PREFIX)
    fleet = told.get(FLEET_LABEL, "")
    status, damaged, shared = None, None, told.get(labels.SCHEMA) == labels.SHARED_STATUS
    if state is not None and not fleet and is_here(container, state):
        fleet = state.fleet
    if state is not None and fleet == state.fleet:
        try:
            status = read_status(state, name, shared=shared)
        except DamagedFile as error:
            damaged = str(error)
    if status is not None and status.container != labels.short_id(container.id):
        status = None  # another container wrote it
    slot, sweep = told.get(labels.SLOT), told.get(labels.SWEEP)
    if status is not None:  # an agent says itself what Compose could not know
        slot, sweep = slot or status.gpu.uuid, status.sweep or sweep
    return Agent(
        name=name,
        container=container.id,
        fleet=fleet,
        slot=_parse(parse_slot, slot),
        engine_state=container.state,
        exit_code=container.exit_code,
        sweep=_parse(SweepPath.parse, sweep),
        image=told.get(labels.IMAGE) or container.image_id,
        settings=told.get(labels.SETTINGS, ""),
        server=told.get(labels.SERVER, ""),
        status=status,
        damaged=damaged,
        shared=shared,
    )


def mark_gpus(found: Sequence[Gpu], agents: Sequence[Agent], *, foreign_mib: int) -> list[Gpu]:
    """GPUs as NVML has them, each with who has it: agents of this engine, and leases of others."""
    alive = [agent for agent in agents if agent.alive]
    holders = [
        Holder(agent.place, agent.name, agent.container, f"fleet `{agent.fleet}`")
        for agent in alive
    ]
    known = {agent.place for agent in alive}
    for uuid, pid in gpus.read_leases().items():
        if uuid not in known:
            note = f"pid {pid} of {gpus.find_owner(pid)} holds its lease"
            holders.append(Holder(uuid, "of another engine", None, note))
    return gpus.mark_gpus(found, holders, foreign_bytes=foreign_mib << 20)


def find_state_of(agent: Agent, *, now: float) -> tuple[str, str | None]:
    """What `ps` shows: state and reason, from the container and its own status file."""
    why = agent.status.reason if agent.status else None
    match agent.engine_state:
        case "created":
            return "created", "was never started"
        case "running":
            return _state_alive(agent, why, now)
        case "restarting":
            return "starting", why or f"exit code {agent.exit_code}, the engine starts it again"
        case "paused":
            return "waiting", "paused by the engine"
        case _:
            return _state_ended(agent, why)


def find_index(slot: SlotId | None, indices: Mapping[str, int]) -> int | None:
    """The index of a GPU or CPU slot; None where NVML does not show it."""
    if slot is None:
        return None
    return slot.index if slot.is_cpu else indices.get(slot.text)


@contextmanager
def locked_fleet(state: State, waiting: str, report: Callable[[str], None]) -> Iterator[None]:
    """One `up` of a state folder at a time: what it observed still holds when it acts.

    A dry run does not act, so it locks nothing.
    """
    if state.read_only:
        yield
        return
    try:
        lock = open_lock(state.root / "lock")
    except OSError as error:
        raise RunnerError(
            f"cannot write in `{state.root}`: {error.strerror}",
            hint="see `df -h` and the folder's owner and mode",
        ) from error
    with lock as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            report(waiting)
            fcntl.flock(file, fcntl.LOCK_EX)
        yield


def read_indices() -> dict[str, int]:
    """UUID → index of GPUs and MIG slices; empty where NVML does not answer."""
    from runner.nvml import read_gpus  # slow to load, and a fleet on CPUs has no use for it

    try:
        found = read_gpus()
    except RunnerError:  # the fleet is shown all the same; `runner gpus` tells the cause
        return {}
    return {uuid: gpu.index for gpu in found for uuid in (gpu.uuid, *(m.uuid for m in gpu.mig))}


def _parse(parse: Callable[[str], _Value], text: str | None) -> _Value | None:
    """The value in a label or status; None where there is none that we know."""
    try:
        return parse(text) if text else None
    except ValueError:
        return None


def _state_alive(agent: Agent, why: str | None, now: float) -> tuple[str, str | None]:
    status = agent.status
    if status is None:
        return ("unknown", f"damaged: {agent.damaged}") if agent.damaged else ("starting", None)
    age_s = now - status.updated_at
    if age_s > STATUS_STALE_S:
        return "unknown", f"no sign of life for {age_s:.0f} s"
    return status.state, why


def _state_ended(agent: Agent, why: str | None) -> tuple[str, str | None]:
    state = agent.status.state if agent.status else None
    if agent.exit_code == exits.AGENT_STOPPED:
        return "stopped", why
    if agent.status is None:
        why = f"damaged: {agent.damaged}" if agent.damaged else "no status of its own"
        return "unknown", f"exit code {agent.exit_code}, and {why}"
    if agent.exit_code == exits.AGENT_DONE:
        return ("quarantined" if state == "quarantined" else "finished"), why
    return "failed", why or _explain_code(agent.exit_code)


def _explain_code(code: int | None) -> str:
    if code == exits.AGENT_KILLED:
        return f"killed by SIGKILL (exit code {code})"
    return f"exit code {code}"
