"""`up --follow`: report what happens to a fleet, a line per event, until all agents have ended."""

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Self

from runner.agent.contract import exits
from runner.backend.nodes import RunInfo, SweepInfo
from runner.console import format_duration, table
from runner.console.terminal import inline
from runner.errors import ExitCode, RunnerError
from runner.fleet.agents import Agent, find_state_of
from runner.fleet.ends import describe_failure, describe_peaks, find_last_words
from runner.run_states import LIVE
from runner.search.best import find_best
from runner.sweepfile.model import Goal

LAST_LOOKS = 5  # the server may learn of the last ends shortly after the agents ended


@dataclass(frozen=True, slots=True)
class Snapshot:
    """The agents of one `up` and the sweep's runs at one moment."""

    agents: Mapping[str, Agent]
    runs: Mapping[str, RunInfo]  # of these agents; from W&B, which does not name agents, all runs
    now: float

    @property
    def ended(self) -> bool:
        """Whether no agent is alive or about to restart."""
        return not any(agent.alive for agent in self.agents.values())

    @property
    def runs_live(self) -> bool:
        """Whether a run is still live on the server."""
        return any(run.state in LIVE for run in self.runs.values())


@dataclass(frozen=True, slots=True)
class Search:
    """The metric, its goal and the parameters of a sweep."""

    metric: str | None
    goal: Goal
    parameters: Sequence[str]  # those that differ between runs

    @classmethod
    def of(cls, sweep: SweepInfo) -> Self:
        """Read them from the sweep's configuration."""
        found = sweep.config.get("parameters")
        items = found.items() if isinstance(found, Mapping) else ()
        varied = [k for k, v in items if not (isinstance(v, Mapping) and set(v) == {"value"})]
        return cls(sweep.metric, sweep.goal, varied)


def follow(
    read: Callable[[], Snapshot],
    search: Search,
    first: Snapshot,
    report: Callable[[str], None],
    *,
    poll_s: float,
) -> Snapshot:
    """Report changes until all agents have ended; return the last snapshot.

    Args:
        read: gives the present; after a `RunnerError` (a server restarts) it is called again.
        first: the snapshot to start from.
    """
    before, silent, left, ends = first, False, LAST_LOOKS, _Ends()
    while True:
        try:
            after = read()
        except RunnerError as error:
            if not silent:
                report(f"waits: {error.message}")
            silent = True
        else:
            silent = False
            if not after.ended or left > 1:
                after = ends.hold_back(before, after)
            for line in describe_changes(before, after, search):
                report(line)
            before, left = after, left - 1 if after.ended else LAST_LOOKS
            if after.ended and (not after.runs_live or not left):
                return after
        time.sleep(poll_s)


@dataclass(slots=True)
class _Ends:
    """Ends of which one half is known: the stream's. Its agent reports the other a moment later."""

    _looks: dict[str, int] = field(default_factory=dict)  # run → how often it was held back

    def hold_back(self, before: Snapshot, after: Snapshot) -> Snapshot:
        """`after`, in which such runs are still live, for fewer looks than `LAST_LOOKS`."""
        held = {}
        for run in after.runs.values():
            if not _has_ended(run, before) or not run.agent or run.host_peak_bytes is not None:
                continue
            self._looks[run.id] = self._looks.get(run.id, 0) + 1
            if self._looks[run.id] < LAST_LOOKS:
                held[run.id] = before.runs.get(run.id) or replace(run, state="running")
        return replace(after, runs={**after.runs, **held}) if held else after


def describe_changes(before: Snapshot, after: Snapshot, search: Search) -> list[str]:
    """A line for each event between two snapshots, causes before effects."""
    pairs = [(before.agents.get(name), agent) for name, agent in after.agents.items()]
    begun = [
        f"agent {agent.name} started on {agent.place}"
        for old, agent in pairs
        if _is_up(agent, after.now) and not (old and _is_up(old, before.now))
    ]
    ended = [_describe_end(run, search) for run in after.runs.values() if _has_ended(run, before)]
    started = [
        _describe_start(run, search)
        for run in after.runs.values()
        if run.state in LIVE and _is_idle(before.runs.get(run.id))
    ]
    gone = [
        _describe_gone(agent, after.now)
        for old, agent in pairs
        if not agent.alive and (old is None or old.alive)
    ]
    return [*begun, *ended, *started, *gone]


def summarize(first: Snapshot, last: Snapshot, search: Search) -> str:
    """The table at the end: each agent's runs, then the best run of this call."""
    rows = []
    for name, agent in last.agents.items():
        state, reason = find_state_of(agent, now=last.now)
        status = agent.status
        counts = (status.runs_finished, status.runs_failed) if status else (0, 0)
        rows.append((name, state, *counts, reason or ""))
    text = table(("AGENT", "STATE", "FINISHED", "FAILED", "REASON"), rows)
    best = find_best(new_runs(first, last), search.goal)
    if best is None:
        ended = [run for run in new_runs(first, last) if run.state == "finished"]
        if search.metric and ended:
            return f"{text}\n\nno best run: none of {len(ended)} logged `{inline(search.metric)}`"
        return text
    return f"{text}\n\nbest run " + inline(
        f"{best.id}: {search.metric} {best.best:.6g} ({_config(best, search)})"
    )


def find_exit_code(first: Snapshot, last: Snapshot) -> ExitCode:
    """6 if an agent was refused or its GPU failed, 1 if one crashed, 5 if a run failed, else 0."""
    codes = {agent.exit_code for agent in last.agents.values()}
    states = {find_state_of(agent, now=last.now)[0] for agent in last.agents.values()}
    if exits.AGENT_REFUSED in codes or "quarantined" in states:
        return ExitCode.UNFIT
    if codes - {exits.AGENT_DONE, exits.AGENT_STOPPED}:
        return ExitCode.FAILED
    failed = [  # W&B does not name agents: the run may be another machine's
        run for run in new_runs(first, last) if run.agent and run.state in ("failed", "crashed")
    ]
    counted = sum(_count_failed(agent) for agent in last.agents.values())
    return ExitCode.RUNS_FAILED if failed or counted else ExitCode.OK


def new_runs(first: Snapshot, last: Snapshot) -> list[RunInfo]:
    """The runs that continued or ended since `first`."""
    before = {run.id: first.runs.get(run.id) for run in last.runs.values()}
    return [
        run
        for run in last.runs.values()
        if _was_live(before[run.id]) or (_is_idle(before[run.id]) and run.state != "preempted")
    ]


def _has_ended(run: RunInfo, before: Snapshot) -> bool:
    """Whether it has ended since, or the agent has corrected how it ended."""
    old = before.runs.get(run.id)
    return run.state not in LIVE and (old is None or run.state != old.state)


def _is_idle(run: RunInfo | None) -> bool:
    """Whether it has not begun, or waits to be resumed."""
    return run is None or run.state == "preempted"


def _was_live(run: RunInfo | None) -> bool:
    return run is None or run.state in LIVE


def _count_failed(agent: Agent) -> int:
    return agent.status.runs_failed if agent.status else 0


def _describe_start(run: RunInfo, search: Search) -> str:
    where = f" on {run.agent}" if run.agent else ""
    how = "started" if run.attempts in (None, 1) else f"resumed (attempt {run.attempts})"
    return f"run {run.id} {how}{where}: {_config(run, search)}"


def _describe_end(run: RunInfo, search: Search) -> str:
    how = "stopped early" if run.stopped_early else run.state
    facts = []
    if run.best is not None:
        facts.append(f"{search.metric} {run.best:.6g}")
    if run.duration_s is not None:
        facts.append(format_duration(run.duration_s))
    facts += describe_peaks(run.host_peak_bytes, run.gpu_peak_bytes)
    if run.failure:
        facts.append(_explain(run.failure))
    return f"run {run.id} {how}" + (f": {', '.join(facts)}" if facts else "")


def _explain(failure: Mapping[str, object]) -> str:
    why, own = describe_failure(failure), find_last_words(failure.get("lines"))
    return f"{why}: {own}" if own else why


def _config(run: RunInfo, search: Search) -> str:
    shown = [
        f"{key} {value:.4g}" if isinstance(value, float) else f"{key} {value}"
        for key, value in sorted(run.config.items())  # servers send them in any order
        if key in search.parameters
    ]
    return ", ".join(shown) or "no parameters"


def _is_up(agent: Agent, now_s: float) -> bool:
    return agent.alive and find_state_of(agent, now=now_s)[0] not in ("created", "starting")


def _describe_gone(agent: Agent, now_s: float) -> str:
    state, reason = find_state_of(agent, now=now_s)
    return f"agent {agent.name} {state}" + (f": {reason}" if reason else "")
