"""Agents of a service: what they tell it, and what they are told."""

import json
from collections.abc import Sequence
from typing import Any

from runner.server.heartbeat import beat
from runner.server.records import Sweep
from runner.server.runchanges import RunChanges
from runner.server.service import Service
from runner.server.sweepchanges import SweepChanges
from runner.server.views import Views
from tests.runner.server.servers import stream


def join(service: Service, sweep: Sweep, host: str = "box") -> str:
    """A new agent's ID."""
    place = {"projectName": sweep.project, "entityName": sweep.entity, "sweep": sweep.id}
    node = SweepChanges(service, Views(service, "")).create_agent({"host": host, **place})
    return str(node["agent"]["id"])


def ask(service: Service, agent: str, /, *alive: str, **metrics: object) -> list[dict[str, Any]]:
    """What the agent is to do."""
    return [one for one in answer(service, agent, *alive, **metrics) if one["type"] != "ended"]


def answer(service: Service, agent: str, /, *alive: str, **metrics: object) -> list[dict[str, Any]]:
    """All that an agent is told."""
    state = json.dumps(dict.fromkeys(alive, True))
    return beat(service, {"id": agent, "runState": state, "metrics": json.dumps(metrics)})


def states(service: Service, sweep: Sweep) -> list[str]:
    """Of the sweep's runs, in their order."""
    return [run.state for run in service.store.runs_of_sweep(sweep)]


def begin(service: Service, run_id: str) -> None:
    """The run's client says that it is there."""
    RunChanges(service, Views(service, "")).upsert_bucket(
        {"name": run_id, "modelName": "demo", "entityName": "local", "sweep": "s1"}
    )


def finish(service: Service, run_id: str, code: int = 0) -> None:
    """Its stream ends."""
    stream(service, run_id, {"complete": True, "exitcode": code})


def ended(run: str, code: int | None, cause: str | None, lines: Sequence[str] = ()) -> object:
    """What its agent reports of a process that ended."""
    signal = -code if code is not None and code < 0 else None
    return {"run": run, "exit_code": code, "signal": signal, "class": cause, "lines": [*lines]}
