"""Command: `ps`."""

import os
import time
from collections.abc import Mapping, Sequence
from typing import Annotated, Any

import typer

from runner import console
from runner.cli import shapes
from runner.cli.options import JsonOption
from runner.cli.session import open_session
from runner.engine.listing import list_containers
from runner.engine.target import find_target
from runner.fleet.agents import Agent
from runner.fleet.ends import describe_last
from runner.fleet.holders import find_indices, find_users, read_present
from runner.launchers.docker.observe import ROLE, read_fleet, select_fleet

HEADER = ("AGENT", "GPU", "STATE", "RUN", "FINISHED", "FAILED", "SWEEP", "REASON")


def ps(
    every: Annotated[
        bool, typer.Option("--all", help="Also show ended agents that were replaced.")
    ] = False,
    as_json: JsonOption = False,
) -> None:
    """Show each agent, its GPU and its run."""
    session = open_session(read_only=True)
    target = find_target(session.settings.engine, session.state, os.environ)
    listed = list_containers(target, ROLE)
    agents = (
        read_fleet(session.engine(), session.state)
        if listed is None
        else select_fleet(listed, session.state)
    )
    shown = [agent for agent in agents if every or not agent.retired]
    gpus = read_present() if any(one.slot and not one.slot.is_cpu for one in shown) else ()
    now, indices, users = time.time(), find_indices(gpus), find_users(gpus)
    records = [_add_users(shapes.agent(agent, indices, now=now), users) for agent in shown]
    if as_json:
        console.data(console.to_json({"fleet": session.state.fleet, "agents": records}))
        return
    if not records:
        console.data(f"fleet {session.state.fleet} has no agents: `runner up` starts them")
        return
    rows = [_row(agent, record) for agent, record in zip(shown, records, strict=True)]
    console.data(console.table(HEADER, rows))


def _add_users(record: dict[str, Any], users: Mapping[str, str]) -> dict[str, Any]:
    """Say who holds the GPU of an agent in quarantine: in its container nobody can see that."""
    holders = users.get(record["gpus"][0]["uuid"])
    if record["state"] == "quarantined" and holders:
        return {**record, "reason": f"{record['reason']}; {holders}"}
    return record


def _row(agent: Agent, record: dict[str, Any]) -> tuple[object, ...]:
    last = agent.status and agent.status.last
    return (
        record["name"],
        _describe_slots(agent, [gpu["index"] for gpu in record["gpus"]]),
        record["state"],
        record["run"]["id"] if record["run"] else "-",
        record["runs_finished"],
        record["runs_failed"],
        record["sweep"] or "-",
        ": ".join(filter(None, (agent.command, record["reason"])))
        or (last and describe_last(last))
        or "",
    )


def _describe_slots(agent: Agent, indices: Sequence[int | None]) -> str:
    """`0`, `0,1`; names where the slots are not GPUs or NVML does not show one."""
    if agent.slot is None or agent.slot.is_cpu or None in indices:
        return ",".join(str(slot)[:12] for slot in agent.slots) or agent.place[:12]
    return ",".join(map(str, indices))
