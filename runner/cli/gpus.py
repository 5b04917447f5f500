"""Command: `gpus`."""

import os
from pathlib import Path

from runner import console
from runner.cli import shapes
from runner.cli.options import JsonOption
from runner.cli.session import load_checked
from runner.engine.client import Engine
from runner.errors import RunnerError
from runner.fleet.agents import Agent
from runner.fleet.holders import mark_held
from runner.gpus.gpu import Gpu
from runner.gpus.nvml import read_gpus
from runner.launchers.docker.observe import read_agents
from runner.state.find import find_state

HEADER = ("GPU", "UUID", "NAME", "MEMORY", "UTIL", "TEMP", "STATE", "USED BY")


def gpus(as_json: JsonOption = False) -> None:
    """Show this machine's GPUs and who uses each."""
    seen = read_gpus()
    settings = load_checked()
    agents = _read_all_agents(settings.engine)
    found = mark_held(seen, agents, foreign_mib=settings.run.foreign_mib)
    if as_json:
        console.data(console.to_json({"gpus": [shapes.gpu(one) for one in found]}))
        return
    rows = [row for gpu in found for row in _gpu_rows(gpu)]
    console.data(console.table(HEADER, rows) if rows else "this machine has no GPU")


def _read_all_agents(engine: str | None) -> list[Agent]:
    """All agents of the engine; an empty list and a note if no engine answers."""
    state = find_state(Path.cwd(), environ=os.environ, read_only=True)
    try:
        return read_agents(Engine.connect(engine, state=state, environ=os.environ), state)
    except RunnerError as error:
        console.note(f"only leases show who uses a GPU: {error.message}")
        return []


def _gpu_rows(gpu: Gpu) -> list[tuple[str, ...]]:
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
