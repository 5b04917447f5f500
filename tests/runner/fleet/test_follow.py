"""What `ps` and `up --follow` say of a fleet, from plain values."""

import itertools
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from runner.agent.contract.slots import cpu_slot, parse_slot
from runner.agent.contract.status import AgentState, LiveRun, SeenSlot, Status
from runner.agent.contract.sweeps import SweepPath
from runner.backend.nodes import RunInfo
from runner.cli import shapes
from runner.engine.types import Container
from runner.errors import ExitCode, RunnerError
from runner.fleet.agents import Agent, find_state_of
from runner.fleet.follow import (
    LAST_LOOKS,
    Search,
    Snapshot,
    describe_changes,
    find_exit_code,
    follow,
    new_runs,
    summarize,
)
from runner.launchers.docker.observe import read_agent
from runner.state.folder import State

MIB = 1 << 20
NOW = 1_700_000_000.0
SEARCH = Search("loss", "minimize", ["lr"])
SWEEP = SweepPath("me", "p", "s1")
AGENT = Agent(
    "a-0", "c" * 64, "demo", parse_slot("GPU-a"), "running", None, SWEEP, "sha256:1", "f00d"
)
STATUS = Status("a-0", "c" * 12, 7, str(SWEEP), SeenSlot("GPU-a"), updated_at=NOW)
RUN = RunInfo(
    "r1", "r1", "running", {"lr": 0.1, "seed": 3}, {}, 1, "a-0", None, False, None, None, None
)


def alive(state: AgentState = "running", **fields: Any) -> Agent:
    """A live agent with this status."""
    return replace(AGENT, status=replace(STATUS, state=state, **fields))


def ended(code: int, state: AgentState, reason: str | None = None, **fields: Any) -> Agent:
    """An agent that is no more."""
    status = replace(STATUS, state=state, reason=reason, **fields)
    return replace(AGENT, engine_state="exited", exit_code=code, status=status)


def at(agent: Agent | None, *runs: RunInfo) -> Snapshot:
    """One moment."""
    return Snapshot({agent.name: agent} if agent else {}, {run.id: run for run in runs}, NOW)


@pytest.mark.parametrize(
    ("agent", "expected"),
    [
        (replace(AGENT, engine_state="created"), ("created", "was never started")),
        (AGENT, ("starting", None)),
        (
            alive("waiting", reason="the server does not answer"),
            ("waiting", "the server does not answer"),
        ),
        (
            alive(updated_at=NOW - 90),
            ("unknown", "no sign of life for 90 s"),
        ),
        (replace(AGENT, engine_state="paused"), ("waiting", "paused by the engine")),
        (
            replace(AGENT, engine_state="restarting", exit_code=69),
            ("starting", "exit code 69, the engine starts it again"),
        ),
        (ended(143, "stopped", "told to stop"), ("stopped", "told to stop")),
        (ended(0, "finished", "count of 2 reached"), ("finished", "count of 2 reached")),
        (ended(0, "quarantined", "Xid 79"), ("quarantined", "Xid 79")),
        (ended(69, "failed", "lease held"), ("failed", "lease held")),
        (ended(137, "running"), ("failed", "killed by SIGKILL (exit code 137)")),
        (
            replace(ended(0, "finished"), status=None),
            ("unknown", "exit code 0, and it wrote no status"),
        ),
    ],
)
def test_an_agents_state_comes_from_container_and_status(
    agent: Agent, expected: tuple[str, str | None]
) -> None:
    """The exit code has the last word; what nobody wrote down is unknown."""
    assert find_state_of(agent, now=NOW) == expected


def test_a_run_that_waited_is_told_when_it_goes_on_and_counts_as_this_calls() -> None:
    """Once each, and the best may be among them."""
    waits = replace(RUN, state="preempted")
    goes_on = replace(RUN, attempts=2)
    done = replace(goes_on, state="finished", best=0.5)
    first = at(alive(), waits)

    assert describe_changes(first, first, SEARCH) == []
    assert describe_changes(first, at(alive(), goes_on), SEARCH) == [
        "run r1 resumed (attempt 2) on a-0: lr 0.1"
    ]
    assert new_runs(first, at(alive(), done)) == [done]
    assert new_runs(first, first) == []


def test_ps_has_the_shape_that_scripts_rely_on() -> None:
    """Every field of the contract, a CPU slot by its number."""
    agent = replace(
        alive(run=LiveRun("r1", "running", started_at=1.0), runs_finished=2, runs_failed=1),
        slot=cpu_slot(1),
    )

    assert shapes.agent(agent, {}, now=NOW) == {
        "name": "a-0",
        "gpus": [{"index": 1, "uuid": "cpu-1"}],
        "state": "running",
        "sweep": "me/p/s1",
        "command": None,
        "run": {
            "id": "r1",
            "state": "running",
            "host_peak_bytes": None,
            "gpu_peak_bytes": None,
        },
        "last_run": None,
        "runs_finished": 2,
        "runs_failed": 1,
        "reason": None,
        "exit_code": None,
        "image": "sha256:1",
        "container": "c" * 64,
    }
    assert shapes.agent(alive(), {"GPU-a": 3}, now=NOW)["gpus"] == [{"index": 3, "uuid": "GPU-a"}]


def test_a_status_of_another_container_is_void(tmp_path: Path) -> None:
    """A new container of the same name starts without the old one's counts."""
    state = State(tmp_path, "demo")
    status = state.status / "a-0" / "a-0.json"
    status.parent.mkdir(parents=True)
    labels = {"dev.runner.fleet": "demo", "dev.runner.gpu": "GPU-a", "dev.runner.settings": "f00d"}
    container = Container("c" * 64, "runner-a-0", "running", None, labels, "sha256:1", {})
    written = replace(STATUS, container="b" * 12, runs_finished=7)
    status.write_text(written.to_json())

    assert read_agent(container, state).status is None

    status.write_text(replace(written, container="c" * 12).to_json())
    assert read_agent(container, state).runs_ended == 7


def test_each_event_is_told_once_and_in_order() -> None:
    """Agents up, ends, starts, agents gone."""
    done = replace(RUN, state="finished", best=0.25, duration_s=12.34)
    second = replace(RUN, id="r2", config={"lr": 0.5})
    failure = {
        "class": "signal",
        "signal": 9,
        "exit_code": -9,
        "lines": ["Killed", "wandb: Find logs at: ./x"],
    }
    failed = replace(second, state="failed", failure=failure)
    moments = [
        at(None),
        at(AGENT),
        at(alive(), RUN),
        at(alive(), done, second),
        at(ended(0, "finished", "no more runs"), done, failed),
    ]

    lines = [
        describe_changes(before, after, SEARCH) for before, after in itertools.pairwise(moments)
    ]

    assert lines == [
        [],
        ["agent a-0 started on GPU-a", "run r1 started on a-0: lr 0.1"],
        ["run r1 finished: loss 0.25, 12.3 s", "run r2 started on a-0: lr 0.5"],
        ["run r2 failed: crash, killed by signal 9: Killed", "agent a-0 finished: no more runs"],
    ]


def test_a_run_stopped_early_is_told_so() -> None:
    """It is no failure."""
    after = at(alive(), replace(RUN, state="finished", stopped_early=True, best=0.5))

    assert describe_changes(at(alive(), RUN), after, SEARCH) == ["run r1 stopped early: loss 0.5"]


def test_the_table_at_the_end_has_agents_and_the_best_run() -> None:
    """Best by the metric's goal, of the runs of this call."""
    runs = [
        replace(RUN, id=f"r{i}", state="finished", best=value, config={"lr": value})
        for i, value in enumerate([0.3, 0.1, 0.2])
    ]
    last = at(ended(0, "finished", "no more runs", runs_finished=3, runs_failed=0), *runs)

    assert summarize(at(None), last, SEARCH).splitlines() == [
        "AGENT  STATE     FINISHED  FAILED  REASON",
        "a-0    finished  3         0       no more runs",
        "",
        "best run r1: loss 0.1 (lr 0.1)",
    ]
    assert "best run r0" in summarize(at(None), last, replace(SEARCH, goal="maximize"))
    assert "best" not in summarize(last, last, SEARCH)  # they had ended before


@pytest.mark.parametrize(
    ("agent", "state", "code"),
    [
        (ended(0, "finished"), "finished", ExitCode.OK),
        (ended(0, "finished", runs_failed=1), "finished", ExitCode.RUNS_FAILED),
        (ended(0, "finished"), "failed", ExitCode.RUNS_FAILED),
        (ended(69, "failed"), "finished", ExitCode.UNFIT),
        (ended(1, "failed"), "finished", ExitCode.FAILED),
        (ended(143, "stopped"), "killed", ExitCode.OK),
    ],
)
def test_the_exit_code_tells_the_worst(agent: Agent, state: str, code: ExitCode) -> None:
    """Refused before crashed before failed runs; stopping is the user's own wish."""
    assert find_exit_code(at(None), at(agent, replace(RUN, state=state))) == code


def test_following_waits_out_a_server_that_restarts() -> None:
    """It says so once, and goes on to the end."""
    silence = RunnerError("no answer")
    moments: list[Snapshot | RunnerError] = [
        at(alive(), RUN),
        silence,
        silence,
        at(ended(0, "finished"), replace(RUN, state="finished", host_peak_bytes=MIB)),
    ]

    last, lines = follow_through(moments)

    assert last.ended
    assert lines == [
        "agent a-0 started on GPU-a",
        "run r1 started on a-0: lr 0.1",
        "waits: no answer",
        "run r1 finished: host 1.0 MiB",
        "agent a-0 finished",
    ]


def test_an_end_is_told_once_with_what_its_agent_reports() -> None:
    """The stream ends first; the agent's report may correct it."""
    finished = replace(RUN, state="finished", best=0.25)
    failure = {"class": "crash", "signal": 9, "exit_code": None, "lines": []}
    moments = [
        at(alive(), RUN),
        at(alive(), finished),
        at(alive(), replace(finished, state="failed", host_peak_bytes=MIB, failure=failure)),
        at(ended(0, "finished")),
    ]

    _, lines = follow_through(moments)

    assert lines[2:] == [
        "run r1 failed: loss 0.25, host 1.0 MiB, crash, killed by signal 9",
        "agent a-0 finished",
    ]


def test_an_end_without_a_report_is_told_after_some_looks() -> None:
    """Its agent was killed, or is W&B's: of these the report never comes."""
    finished = replace(RUN, state="finished")
    moments = [at(alive(), RUN), *[at(alive(), finished)] * LAST_LOOKS, at(ended(137, "running"))]

    _, lines = follow_through([*moments, *moments[-1:] * LAST_LOOKS])

    assert lines[2:] == [
        "run r1 finished",
        "agent a-0 failed: killed by SIGKILL (exit code 137)",
    ]


def test_the_last_snapshot_holds_nothing_back() -> None:
    """A run that ends after its agent, when there are no more looks."""
    finished = replace(RUN, state="finished")
    late = at(ended(0, "finished"), finished)
    moments = [at(alive(), RUN), *[at(ended(0, "finished"), RUN)] * (LAST_LOOKS - 1), late]

    last, lines = follow_through(moments)

    assert last == late
    assert lines[-1] == "run r1 finished"


def follow_through(moments: Sequence[Snapshot | RunnerError]) -> tuple[Snapshot, list[str]]:
    """The last snapshot and what was told."""
    lines: list[str] = []
    left = iter(moments)

    def read() -> Snapshot:
        moment = next(left)
        if isinstance(moment, RunnerError):
            raise moment
        return moment

    return follow(read, SEARCH, at(None), lines.append, poll_s=0), lines
