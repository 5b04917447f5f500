"""`up --follow`: reads engine, status files and server, and reports each event in a line."""

import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import replace

from runner.agent.contract.labels import NAME_PREFIX as PREFIX
from runner.backend.nodes import RunInfo
from runner.engine.client import Engine
from runner.errors import ExitCode, RunnerError
from runner.fleet.agents import Agent
from runner.fleet.follow import Search, Snapshot, find_exit_code, follow, summarize
from runner.fleet.plan import Action
from runner.launchers.docker.observe import read_agent
from runner.state.folder import State
from runner.sweeps.records import SweepHandle

POLL_S = 1.0
WANDB_POLL_S = 10.0  # W&B limits the rate of requests


class Watch:
    """Follows the agents of one `up`. Make it before they start, so that it misses nothing."""

    def __init__(
        self,
        engine: Engine,
        state: State,
        joined: SweepHandle,
        actions: Sequence[Action],
        report: Callable[[str], None],
        *,
        offline: bool = False,
    ) -> None:
        self._report = report
        self._engine, self._state, self._joined = engine, state, joined
        by_wandb = joined.server.kind == "wandb"
        self._deaf = offline and by_wandb  # W&B never learns that a run ended
        self._gone = False  # the sweep was deleted
        self._names = [action.agent for action in actions]
        self._search = Search.of(joined.sweep)
        self._poll_s = WANDB_POLL_S if by_wandb else POLL_S
        kept = {a.agent: a.old for a in actions if a.do == "keep" and a.old is not None}
        self._last: dict[str, Agent] = dict(kept)
        self._first = Snapshot(kept, self._read_runs(), time.time())

    def follow(self, show: Callable[[str], None]) -> ExitCode:
        """Report each event until all agents have ended, then show a table; Ctrl-C only detaches.

        Args:
            show: prints the table.
        """
        try:
            last = follow(self._read, self._search, self._first, self._report, poll_s=self._poll_s)
        except KeyboardInterrupt:
            self._report(
                "detached: the fleet keeps running; `runner ps` shows it, `runner stop` ends it"
            )
            return ExitCode.INTERRUPTED
        show(summarize(self._first, last, self._search))
        code = find_exit_code(self._first, last)
        if code == ExitCode.RUNS_FAILED and self._joined.server.kind == "wandb":
            self._report("W&B does not say why a run failed; `runner logs RUN` does")
        if self._deaf:
            self._look_for_sweep()
        return ExitCode.NOT_FOUND if self._gone and code == ExitCode.OK else code

    def _look_for_sweep(self) -> None:
        """Report the sweep as gone if the server says so; say nothing if it does not answer."""
        sweep, client = self._joined.sweep, self._joined.server.client
        with suppress(RunnerError):
            self._gone = client.find_sweep(sweep.path) is None
        if self._gone:
            self._report(f"sweep {sweep.path} is gone from {client.url}")

    def _read(self) -> Snapshot:
        agents = {name: agent for name in self._names if (agent := self._find(name))}
        return Snapshot(agents, self._read_runs(), time.time())

    def _find(self, name: str) -> Agent | None:
        """The agent now. If its container is gone (`down` in another shell), it has ended."""
        container = self._engine.find(PREFIX + name)
        if container is not None:
            self._last[name] = read_agent(container, self._state)
        elif name in self._last:
            self._last[name] = replace(self._last[name], engine_state="removed")
        return self._last.get(name)

    def _read_runs(self) -> dict[str, RunInfo]:
        if self._gone or self._deaf:
            return {}
        try:
            runs = list(self._joined.server.client.runs(self._joined.sweep))
        except RunnerError as error:
            if error.code != ExitCode.NOT_FOUND:
                raise
            self._report(f"{error.message}; current runs may continue to their end")
            self._gone = True
            return {}
        return {run.id: run for run in runs if run.agent is None or run.agent in self._names}
