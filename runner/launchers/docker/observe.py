"""Read the present fleet: the engine's labels and the agents' status files."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, TypeVar

from runner.agent.contract import labels
from runner.agent.contract.slots import parse_slot
from runner.agent.contract.sweeps import SweepPath
from runner.engine.labels import is_here
from runner.engine.types import Container
from runner.fleet.agents import Agent
from runner.fleet.exchange import read_status
from runner.guard.foreign_files import DamagedFile
from runner.state.folder import State

if TYPE_CHECKING:
    from runner.engine.client import Engine

ROLE = {labels.ROLE: labels.AGENT_ROLE}
_Value = TypeVar("_Value")


def read_agents(engine: "Engine", state: State | None) -> list[Agent]:
    """The agents of all fleets on this engine; `state` adds the status of ours."""
    return read_all(engine.containers(ROLE), state)


def read_all(containers: Sequence[Container], state: State | None) -> list[Agent]:
    """The agents of all fleets among all containers of an engine.

    A placeholder never runs: it is alive as long as the container whose GPU it keeps.
    """
    agents = [read_agent(container, state) for container in containers]
    by_id = {agent.container: agent for agent in agents}
    return [_judge_placeholder(agent, by_id) for agent in agents]


def _judge_placeholder(agent: Agent, by_id: Mapping[str, Agent]) -> Agent:
    if agent.keeps_for is None:
        return agent
    main = by_id.get(agent.keeps_for)
    if main is None:
        return replace(agent, engine_state="exited")
    return replace(agent, keeps_for=main.name, engine_state=main.engine_state)


def read_fleet(engine: "Engine", state: State) -> list[Agent]:
    """The agents of this state folder, with those that were replaced."""
    return select_fleet(engine.containers(ROLE), state)


def select_fleet(containers: Sequence[Container], state: State) -> list[Agent]:
    """The agents of this state folder among all containers of an engine."""
    found = (agent for agent in read_all(containers, state) if agent.fleet == state.fleet)
    return [agent for agent in found if agent.keeps_for is None]


def read_agent(container: Container, state: State | None) -> Agent:
    """One agent: its container, and its status file if this container wrote it."""
    told = container.labels
    name = told.get(labels.AGENT) or container.name.removeprefix(labels.NAME_PREFIX)
    fleet = told.get(labels.FLEET, "")
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
    slot, *more = slot.split(",") if slot else (None,)
    if status is not None:  # the agent reports what Compose could not know
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
        settings_hash=told.get(labels.SETTINGS, ""),
        server=told.get(labels.SERVER, ""),
        status=status,
        damaged=damaged,
        more_slots=tuple(found for one in more if (found := _parse(parse_slot, one))),
        command=told.get(labels.COMMAND),
        keeps_for=told.get(labels.KEEPS_FOR),
        shared=shared,
    )


def _parse(parse: Callable[[str], _Value], text: str | None) -> _Value | None:
    """Parse a label or a status; None if it is missing or unknown."""
    try:
        return parse(text) if text else None
    except ValueError:
        return None
