"""Command: `gpus`."""

import os
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from runner import console
from runner.errors import RunnerError

if TYPE_CHECKING:
    from runner.fleet.agents import Agent
    from runner.gpus.gpu import Gpu

JsonOption = Annotated[bool, typer.Option("--json", help="Print one JSON object.")]


def gpus(as_json: JsonOption = False) -> None:
    """The GPUs and MIG slices of this machine, and who uses each."""
    from runner.cli.consent import load_checked
    from runner.fleet.holders import mark_gpus
    from runner.gpus.nvml import read_gpus
    from runner.project.find import find_project

    seen = read_gpus()
    settings = load_checked(find_project(Path.cwd()))
    agents = _read_all_agents(settings.engine)
    found = mark_gpus(seen, agents, foreign_mib=settings.run.foreign_mib)
    if as_json:
        console.data(console.to_json({"gpus": [_gpu_record(gpu) for gpu in found]}))
        return
    header = ("GPU", "UUID", "NAME", "MEMORY", "UTIL", "TEMP", "STATE", "USED BY")
    rows = [row for gpu in found for row in _gpu_rows(gpu)]
    console.data(console.table(header, rows) if rows else "this machine has no GPU")


def _read_all_agents(engine: str | None) -> "list[Agent]":
    """All agents of the engine; none, said in one line, where no engine answers."""
    from runner.engine.client import Engine
    from runner.launchers.docker.observe import read_agents
    from runner.state.find import find_state

    state = find_state(Path.cwd(), environ=os.environ, read_only=True)
    try:
        return read_agents(Engine.connect(engine, state=state, environ=os.environ), state)
    except RunnerError as error:
        console.note(f"agents are seen by their leases only: {error.message}")
        return []


def _gpu_rows(gpu: "Gpu") -> list[tuple[str, ...]]:
    memory = f"{gpu.memory_used_bytes / 2**30:.1f} / {console.format_bytes(gpu.memory_total_bytes)}"
    whole = (
        str(gpu.index),
        gpu.uuid or "-",
        gpu.name,
        memory if gpu.memory_total_bytes else "-",
        "-" if gpu.utilization_percent is None else f"{gpu.utilization_percent} %",
        "-" if gpu.temperature_c is None else f"{gpu.temperature_c} °C",
        gpu.state,
        _users(gpu.agent, gpu.reason),
    )
    slices = [
        (
            f"{gpu.index}:{position}",
            mig.uuid,
            mig.name,
            console.format_bytes(mig.memory_total_bytes),
            "-",
            "-",
            mig.state,
            _users(mig.agent, mig.reason),
        )
        for position, mig in enumerate(gpu.mig)
    ]
    return [whole, *slices]


def _users(agent: str | None, reason: str | None) -> str:
    return ", ".join(text for text in (agent, reason) if text)


def _gpu_record(gpu: "Gpu") -> dict[str, Any]:
    return {
        "index": gpu.index,
        "uuid": gpu.uuid or None,
        "name": gpu.name,
        "memory_total_bytes": gpu.memory_total_bytes,
        "memory_used_bytes": gpu.memory_used_bytes,
        "utilization_percent": gpu.utilization_percent,
        "temperature_c": gpu.temperature_c,
        "driver": gpu.driver,
        "compute_capability": gpu.compute_capability,
        "state": gpu.state,
        "reason": gpu.reason,
        "agent": gpu.agent,
        "mig": [
            {
                "uuid": mig.uuid,
                "name": mig.name,
                "memory_total_bytes": mig.memory_total_bytes,
                "state": mig.state,
                "reason": mig.reason,
                "agent": mig.agent,
            }
            for mig in gpu.mig
        ],
        "processes": [
            {
                "pid": process.pid,
                "used_bytes": process.used_bytes,
                "owner": process.owner,
                "container": process.container,
            }
            for process in gpu.processes
        ],
    }
