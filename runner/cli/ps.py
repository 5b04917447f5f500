"""Command: `ps`."""

import os
import time
from typing import Annotated, Any

import typer

from runner import console
from runner.cli import shapes
from runner.cli.options import JsonOption
from runner.cli.session import open_session
from runner.engine.listing import list_containers
from runner.engine.target import find_target
from runner.fleet.agents import Agent
from runner.fleet.holders import read_indices
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
    indices = read_indices() if any(one.slot and not one.slot.is_cpu for one in shown) else {}
    now = time.time()
    records = [shapes.agent(agent, indices, now=now) for agent in shown]
    if as_json:
        console.data(console.to_json({"fleet": session.state.fleet, "agents": records}))
        return
    if not records:
        console.data(f"fleet {session.state.fleet} has no agents: `runner up` starts them")
        return
    rows = [_row(agent, record) for agent, record in zip(shown, records, strict=True)]
    console.data(console.table(HEADER, rows))


def _row(agent: Agent, record: dict[str, Any]) -> tuple[object, ...]:
    index = record["gpus"][0]["index"]
    is_gpu = agent.slot is not None and not agent.slot.is_cpu
    return (
        record["name"],
        index if is_gpu and index is not None else agent.place[:12],
        record["state"],
        record["run"]["id"] if record["run"] else "-",
        record["runs_finished"],
        record["runs_failed"],
        record["sweep"],
        record["reason"] or "",
    )
