"""W&B's agent protocol: two mutations, the same from client 0.17 to 0.31, and our additions."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

from runner.agent.contract import variables
from runner.agent.contract.sweeps import SweepPath
from runner.agent.failures import Ended
from runner.agent.refusals import RefusedError

CREATE_AGENT = """
mutation CreateAgent($host: String!, $projectName: String, $entityName: String, $sweep: String!) {
  createAgent(input: {
    host: $host, projectName: $projectName, entityName: $entityName, sweep: $sweep
  }) { agent { id } }
}"""

HEARTBEAT = """
mutation Heartbeat($id: ID!, $metrics: JSONString, $runState: JSONString) {
  agentHeartbeat(input: {id: $id, metrics: $metrics, runState: $runState}) {
    agent { id }
    commands
  }
}"""

SWEEP_CONFIG = """
query SweepConfig($entity: String!, $project: String!, $sweep: String!) {
  project(name: $project, entityName: $entity) { sweep(sweepName: $sweep) { id config } }
}"""


@dataclass(frozen=True)
class Command:
    """What the server wants done next; of our own also what has become of a run that ended."""

    type: Literal["run", "resume", "stop", "exit", "ended"]
    run: str = ""
    program: str | None = None
    values: tuple[tuple[str, Any], ...] = ()
    state: str = ""  # of the run that ended


@dataclass(frozen=True)
class Beat:
    """What one heartbeat tells: the runs that live here, and those that ended since."""

    alive: tuple[str, ...]
    ended: tuple[Ended, ...] = ()
    leaving: bool = False  # the last one: hand out nothing more
    waits: bool = False  # hand out nothing for now: it could not start

    @property
    def asks(self) -> bool:
        """Whether its answer may bring a run."""
        return not (self.alive or self.leaving or self.waits)


def agent_variables(sweep: SweepPath, host: str) -> dict[str, Any]:
    """Variables of `CREATE_AGENT`."""
    names = {"projectName": sweep.project, "entityName": sweep.entity, "sweep": sweep.id}
    return {"host": host, **names}


def heartbeat_variables(
    agent_id: str, beat: Beat, identity: Mapping[str, object] | None
) -> dict[str, Any]:
    """Variables of `HEARTBEAT`; `identity` (ours only) says which agent on which GPU it is."""
    metrics: dict[str, object] = {}
    if identity is not None:
        ended = [one.to_wire() for one in beat.ended]
        metrics = {"ended": ended, "leaving": beat.leaving, "waits": beat.waits, **identity}
    state = dict.fromkeys(beat.alive, True)
    return {"id": agent_id, "metrics": json.dumps(metrics), "runState": json.dumps(state)}


def read_agent_id(data: Mapping[str, Any]) -> str:
    """The ID in the reply to `CREATE_AGENT`.

    Raises:
        RefusedError: there is none.
    """
    try:
        return str(data["createAgent"]["agent"]["id"])
    except (LookupError, TypeError) as error:
        raise RefusedError("the server registered no agent") from error


def read_commands(data: Mapping[str, Any]) -> list[Command]:
    """The commands in the reply to `HEARTBEAT`; those of kinds unknown to us are left out."""
    try:
        listed = json.loads(data["agentHeartbeat"]["commands"] or "[]")
        return [_read_command(one) for one in listed if one["type"] in _KINDS]
    except (LookupError, TypeError, ValueError, AttributeError) as error:
        raise RefusedError("the server's commands cannot be read") from error


def read_template(data: Mapping[str, Any]) -> tuple[tuple[str, ...] | None, str | None]:
    """Command template and program in the sweep's config.

    Raises:
        RefusedError: no such sweep, or its config cannot be read here.
    """
    try:
        config = _parse(data["project"]["sweep"]["config"])
        command, program = config.get("command"), config.get("program")
    except (LookupError, TypeError, AttributeError, ValueError) as error:
        raise RefusedError("the server does not know this sweep, or shows no config") from error
    template = tuple(map(str, command)) if isinstance(command, Sequence) and command else None
    return template, None if program is None else str(program)


_KINDS = ("run", "resume", "stop", "exit", "ended")


def _read_command(one: Mapping[str, Any]) -> Command:
    values = tuple((name, arg["value"]) for name, arg in (one.get("args") or {}).items())
    run = str(one.get("run_id") or "")
    if one["type"] != "exit" and (not run or "/" in run or run.startswith(".")):
        raise ValueError(run)  # it becomes the name of a folder
    return Command(one["type"], run, one.get("program"), values, str(one.get("state") or ""))


def _parse(text: str) -> Any:
    """JSON, or YAML where the image can read it; wandb itself needs PyYAML."""
    try:
        return json.loads(text)
    except ValueError:
        pass
    try:
        import yaml
    except ImportError as error:
        raise RefusedError(
            f"the sweep's config is YAML and this image has no PyYAML: set `{variables.COMMAND}`"
        ) from error
    try:
        return yaml.safe_load(text)
    except yaml.YAMLError as error:
        raise RefusedError("the sweep's config is no YAML") from error
