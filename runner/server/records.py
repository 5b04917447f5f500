"""What the store keeps, as it was at one moment.

A post reads some of these and changes them several times. Records have no slots, because a copy of
a `__dict__` takes 1.5 µs for a run's 44 fields, and `dataclasses.replace` takes 70 to 90.
"""

from collections.abc import Sequence
from dataclasses import dataclass, fields
from typing import TYPE_CHECKING, Any, Literal, TypeAlias, TypeVar, get_args

from runner.run_states import RunState

SweepState: TypeAlias = Literal["RUNNING", "PAUSED", "FINISHED", "CANCELED"]
SWEEP_STATES: tuple[SweepState, ...] = get_args(SweepState)


@dataclass(frozen=True)
class Project:
    """A W&B project: where sweeps and runs lie."""

    entity: str
    name: str
    created: float


@dataclass(frozen=True)
class Sweep:
    """A sweep and how far it is."""

    entity: str
    project: str
    id: str
    config: str  # YAML as it was sent
    state: SweepState
    name: str | None  # as it is shown
    prior: str  # JSON list of run IDs that inform the search (`wandb sweep -R`)
    description: str | None
    created: float
    updated: float

    @property
    def path(self) -> str:
        """`entity/project/id`."""
        return f"{self.entity}/{self.project}/{self.id}"


@dataclass(frozen=True)
class Agent:
    """What asks for run after run of one sweep."""

    id: str
    entity: str
    project: str
    sweep: str
    host: str | None  # our agent: its own name
    ours: int  # 1 once it has sent our extension of the heartbeat
    gpu: str | None
    created: float
    heartbeat: float


@dataclass(frozen=True)
class Run:
    """One training, with what its stream and its agent have said so far."""

    entity: str
    project: str
    id: str
    sweep: str | None
    agent: str | None
    state: RunState
    config: str  # JSON as the client sends it: {key: {"value": …}}
    summary: str  # JSON
    suggested: str | None  # JSON of the search's config
    display: str | None
    grp: str | None
    job_type: str | None
    tags: str  # JSON list
    notes: str | None
    host: str | None
    program: str | None
    repo: str | None
    git_commit: str | None
    created: float
    heartbeat: float  # last word of its stream
    started: float | None
    ended: float | None
    exit_code: int | None
    stop: str | None  # why it is to stop: "early", "user", "canceled"
    stop_at: float | None
    failure: str | None  # JSON: why it failed, as our agent says
    report: str | None  # JSON of our agent's report of this attempt's end
    attempts: int
    issued: float | None  # when it was last handed to its agent
    seen: int  # 1: its agent has listed it since
    lost: int  # 1: its agent has stopped listing it
    history_rows: int
    events_rows: int
    output_rows: int
    best: float | None  # of the sweep's metric, by its goal
    last: float | None
    stream_code: int | None  # the exit code with which its stream ended in this attempt
    preempting: int  # 1: its stream has announced that this attempt will be interrupted
    report_before: str | None  # the report of the attempt before, to know a repeated one
    last_step: int | None  # the highest `_step` of its rows
    points: int  # finite values of its sweep's metric among its rows
    cell: int | None  # the number of its configuration in its sweep's grid
    sealed: int  # rows of its history that have columns (`seal`)

    @property
    def path(self) -> str:
        """`entity/project/id`."""
        return f"{self.entity}/{self.project}/{self.id}"

    @property
    def shown(self) -> str:
        """The name for people."""
        return self.display or self.id


@dataclass(frozen=True)
class Upload:
    """A file that belongs to a run."""

    name: str
    size: int
    updated: float


@dataclass(frozen=True)
class Artifact:
    """One version of an artifact."""

    id: str
    entity: str
    project: str
    run: str | None
    type: str
    collection: str
    digest: str
    state: Literal["PENDING", "COMMITTED"]
    version: int
    metadata: str | None
    created: float


def blank_run(entity: str, project: str, run_id: str, now: float) -> Run:
    """A run of which nothing is known yet."""
    return Run(
        entity=entity,
        project=project,
        id=run_id,
        sweep=None,
        agent=None,
        state="running",
        config="{}",
        summary="{}",
        suggested=None,
        display=None,
        grp=None,
        job_type=None,
        tags="[]",
        notes=None,
        host=None,
        program=None,
        repo=None,
        git_commit=None,
        created=now,
        heartbeat=now,
        started=None,
        ended=None,
        exit_code=None,
        stop=None,
        stop_at=None,
        failure=None,
        report=None,
        attempts=1,
        issued=None,
        seen=0,
        lost=0,
        history_rows=0,
        events_rows=0,
        output_rows=0,
        best=None,
        last=None,
        stream_code=None,
        preempting=0,
        report_before=None,
        last_step=None,
        points=0,
        cell=None,
        sealed=0,
    )


Record = TypeVar("Record", Project, Sweep, Agent, Run, Artifact)
NAMES: dict[type, tuple[str, ...]] = {
    kind: tuple(one.name for one in fields(kind)) for kind in (Project, Sweep, Agent, Run, Artifact)
}

if TYPE_CHECKING:
    from dataclasses import replace as replace
else:

    def replace(record: Record, /, **changes: Any) -> Record:
        """The same as `dataclasses.replace`, for these records."""
        changed = object.__new__(type(record))
        values = changed.__dict__
        values.update(record.__dict__)
        values.update(changes)
        if len(values) != len(record.__dict__):
            raise TypeError(f"{type(record).__name__} has no {changes.keys() - record.__dict__}")
        return changed


def restore(kind: type[Record], row: Sequence[Any]) -> Record:
    """The record whose fields, in their order, are the columns of a row of the database."""
    record = object.__new__(kind)
    record.__dict__.update(zip(NAMES[kind], row, strict=True))
    return record
