"""The files of the status folder: an agent's status, the request to leave, what it placed."""

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any, Literal, get_args

from runner.agent.contract import labels

SCHEMA = 1

AgentState = Literal[
    "starting", "running", "waiting", "finished", "failed", "stopped", "quarantined"
]
AGENT_STATES: tuple[str, ...] = get_args(AgentState)


def status_file(agent: str) -> str:
    """The name of the file that an agent replaces whenever something changes."""
    return f"{agent}.json"


def drain_file(agent: str) -> str:
    """The name of the file by which the host asks an agent to leave when its run has ended."""
    return f"{agent}.drain"


def manifest_file(agent: str) -> str:
    """The name of the file that lists what lies in an agent's workspace because it put it there."""
    return f"{agent}.files"


def format_drain(container: str) -> str:
    """The request's text: it is for this container and none that comes after it."""
    return f"{labels.short_id(container)}\n"


def is_drain_for(text: str, container: str) -> bool:
    """Whether a request's text is for this container."""
    return text.strip() == labels.short_id(container)


@dataclass(frozen=True)
class SeenSlot:
    """The slot of an agent as it sees it."""

    uuid: str | None  # see `slots`; None: it could not find out
    name: str | None = None  # the GPU's


@dataclass(frozen=True)
class LiveRun:
    """The run that an agent works on."""

    id: str
    state: str
    started_at: float  # seconds since the epoch


@dataclass(frozen=True)
class Status:
    """One agent at one moment."""

    agent: str
    container: str | None  # `short_id`; None outside of a container
    pid: int
    sweep: str
    gpu: SeenSlot
    state: AgentState = "starting"
    run: LiveRun | None = None
    runs_finished: int = 0
    runs_failed: int = 0
    reason: str | None = None
    exit_code: int | None = None
    updated_at: float = 0.0  # seconds since the epoch
    schema: int = SCHEMA

    @property
    def runs_ended(self) -> int:
        """Runs that count towards a number of runs that was asked for."""
        return self.runs_finished + self.runs_failed

    def to_json(self) -> str:
        """The text of its file."""
        return json.dumps(asdict(self)) + "\n"

    @classmethod
    def from_json(cls, text: str) -> "Status":
        """The status in a file's text, of this schema or an older one.

        Raises:
            ValueError: there is none in it, or a later version wrote it.
        """
        try:
            return _read_status(json.loads(text))
        except (LookupError, TypeError, AttributeError) as error:
            raise ValueError(f"no agent's status: {error!r}") from error


def _read_status(found: Mapping[str, Any]) -> Status:
    schema = int(found["schema"])
    if schema > SCHEMA:
        raise ValueError(f"written by a later version (schema {schema}, this one knows {SCHEMA})")
    state = found["state"]
    if state not in AGENT_STATES:
        raise ValueError(f"`{state}` is not a state of an agent")
    gpu, run = found["gpu"], found.get("run")
    return Status(
        agent=str(found["agent"]),
        container=_text(found["container"]),
        pid=int(found["pid"]),
        sweep=str(found["sweep"]),
        gpu=SeenSlot(_text(gpu.get("uuid")), _text(gpu.get("name"))),
        state=state,
        run=run and LiveRun(str(run["id"]), str(run["state"]), float(run["started_at"])),
        runs_finished=int(found["runs_finished"]),
        runs_failed=int(found["runs_failed"]),
        reason=_text(found.get("reason")),
        exit_code=found.get("exit_code"),
        updated_at=float(found["updated_at"]),
        schema=schema,
    )


def _text(value: object) -> str | None:
    return None if value is None else str(value)
