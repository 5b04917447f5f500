"""Plan what `up` and `stop` do: actions, each with its cause. Pure: reads and changes nothing."""

import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

from runner.agent.contract import exits
from runner.agent.contract.sweeps import SweepPath
from runner.fleet.agents import Agent
from runner.fleet.selection import Slot

Verb = Literal["start", "keep", "stop", "replace", "refuse"]


@dataclass(frozen=True, slots=True)
class Wanted:
    """The agent that each selected GPU should have."""

    fleet: str
    sweep: SweepPath | None  # None: not created yet
    image: str
    settings_hash: str
    count: int | None = None
    sweep_finished: bool = False


@dataclass(frozen=True, slots=True)
class Action:
    """One step of a plan: what happens to the agent of one slot, and why."""

    do: Verb
    agent: str
    uuid: str
    cause: str
    old: Agent | None = None  # the container to rename, replace or stop
    slot: Slot | None = None  # where to start; None: the action only ends an agent

    def __str__(self) -> str:
        return f"{self.do} {self.agent} on {self.uuid}: {self.cause}"


def plan_fleet(
    slots: Sequence[Slot],
    agents: Sequence[Agent],
    wanted: Wanted,
    *,
    force: bool = False,
    again: bool = False,
) -> list[Action]:
    """Plan the actions that give each of `slots` one agent as wanted; leave other GPUs alone.

    Do not carry out any action of a plan that contains a refusal.

    Args:
        slots: the selected slots, with their present state.
        agents: all agents of the engine.
        wanted: the agent that each slot should have.
        force: start even where another process uses the GPU.
        again: start agents again that reached their count of runs.
    """
    return [_plan_slot(slot, agents, wanted, force=force, again=again) for slot in slots]


def plan_command(slots: Sequence[Slot], name: str, *, force: bool = False) -> list[Action]:
    """Plan one command on all of `slots`: an action for each, of which none may be a refusal.

    Args:
        slots: the selected slots, with their present state.
        name: of the command.
        force: start even where another process uses a GPU.
    """
    refusals = [_find_refusal(slot, force=force) for slot in slots]
    return [
        Action("refuse" if why else "start", name, slot.uuid, why or "free", None, slot)
        for slot, why in zip(slots, refusals, strict=True)
    ]


def plan_stop(agents: Sequence[Agent]) -> list[Action]:
    """Plan to stop agents that are alive and to keep those that have ended."""
    return [
        Action("stop", agent.name, agent.place, _stop_cause(agent), agent)
        if agent.alive
        else Action("keep", agent.name, agent.place, f"has ended already: {describe_end(agent)}")
        for agent in agents
    ]


def hash_settings(settings: Mapping[str, object]) -> str:
    """16 hex digits that change with any setting of an agent."""
    text = json.dumps(settings, sort_keys=True, default=str)
    return hashlib.sha256(text.encode()).hexdigest()[:16]


def describe_end(agent: Agent) -> str:
    """How an agent ended: `stopped`, `failed (exit 69): lease held`."""
    state = agent.status.state if agent.status else None
    reason = agent.status.reason if agent.status else None
    tail = f": {reason}" if reason else ""
    if agent.exit_code == exits.AGENT_DONE:
        return f"{state or 'finished'}{tail}"
    if agent.exit_code == exits.AGENT_STOPPED:
        return "stopped"
    return f"failed (exit {agent.exit_code}){tail}"


def _plan_slot(
    slot: Slot, agents: Sequence[Agent], wanted: Wanted, *, force: bool, again: bool
) -> Action:
    name = slot.agent_name(wanted.fleet)
    same = [agent for agent in agents if agent.name == name and not agent.retired]
    old = same[0] if same else None

    def act(do: Verb, cause: str) -> Action:
        return Action(do, name, slot.uuid, cause, old, slot)

    if wanted.sweep_finished:
        return act("keep", "the sweep is finished: nothing to start")
    if old and old.alive and old.fleet != wanted.fleet:
        return act("refuse", f"an agent of fleet `{old.fleet}` has it")
    if old and old.alive and old.keeps_for and old.engine_state != "created":
        return act("refuse", f"`{old.keeps_for}` has it: `runner stop {old.keeps_for}` ends it")
    if old and old.engine_state == "created":
        return act("replace", "was never started: the `up` that made it was killed")
    if old and old.alive:
        change = _find_change(old, wanted)
        return act("replace", change) if change else act("keep", "runs as wanted")
    if refusal := _find_refusal(slot, force=force):
        return act("refuse", refusal)
    if old and not again and _has_its_count(old, wanted):
        return act("keep", f"reached its count of {wanted.count}; `--again` starts it again")
    return act("start", _start_cause(old, wanted))


def _find_refusal(slot: Slot, *, force: bool) -> str | None:
    match slot.state:
        case "lost":
            return f"GPU {slot.index} is lost: {slot.reason}"
        case "agent":
            return f"another agent has it: {slot.reason}"
        case "foreign" if not force:
            return f"in use: {slot.reason}; `--force` starts beside it"
        case _:
            return None


def _find_change(agent: Agent, wanted: Wanted) -> str | None:
    if agent.sweep != wanted.sweep:
        return f"sweep changed: `{agent.sweep}` → `{wanted.sweep or 'a new one'}`"
    if agent.image != wanted.image:
        return "image changed"
    return "settings changed" if agent.settings_hash != wanted.settings_hash else None


def _has_its_count(agent: Agent, wanted: Wanted) -> bool:
    if wanted.count is None or agent.exit_code != exits.AGENT_DONE or agent.fleet != wanted.fleet:
        return False
    return _find_change(agent, wanted) is None and agent.runs_ended >= wanted.count


def _start_cause(old: Agent | None, wanted: Wanted) -> str:
    if old is None or old.fleet != wanted.fleet or old.keeps_for:
        return "no agent"
    return f"{_find_change(old, wanted) or 'the last one ended'}; was {describe_end(old)}"


def _stop_cause(agent: Agent) -> str:
    run = agent.running_run
    if agent.command is not None:
        return "the command gets SIGTERM"
    return f"run {run} saves and ends" if run else "no run is under way"
