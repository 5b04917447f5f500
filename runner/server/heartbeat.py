"""What an agent is told: which run to start, which to stop, when to go.

A reply may be lost, the run in it must not be: what was handed out and is not listed by its agent
is handed out again, as long as it cannot have started and ended in between.
"""

import json
import logging
from collections.abc import Mapping
from typing import Any

from runner.run_states import OVER, RunState
from runner.search.suggest import next_config
from runner.server.access import ADMIN, Access
from runner.server.ends import EndReport, begin_anew, hear_agent
from runner.server.logs import warn
from runner.server.progress import SweepProgress
from runner.server.records import Agent, Run, Sweep, blank_run, replace
from runner.server.scores import place_anew
from runner.server.service import Service, new_id, seed_of
from runner.server.wire import Args, Refused, dumps, json_object, local_names, required, text

log = logging.getLogger(__name__)
CommandJson = dict[str, Any]
RETRY_S = 4.0  # upstream's agent polls every 5 s: what comes sooner is a repeated request
STOP_BACKUP_S = 20.0  # a stream answers within 15 s; then the agent is told, too
SILENT_S = 40.0  # a stream speaks every 30 s; its agent says that the process is gone
MOST_ATTEMPTS = 5  # of a run whose agent vanished each time: the run may be why
ABANDONED_S = 300.0  # neither stream nor agent speaks
STORED_EVERY_S = 30.0  # an agent's heartbeat: what counts is remembered (`Service.ages`)


class Undecided(Exception):  # noqa: N818 - not a fault
    """An agent's next run is not chosen yet: that takes longer than a transaction may last."""

    def __init__(self, sweep: Sweep, agent: str) -> None:
        super().__init__(f"{sweep.path} has no configuration for {agent} yet")
        self.sweep, self._agent = sweep, agent

    def decide(self, service: Service) -> None:
        """Choose the configuration; one at a time for each sweep."""
        progress, spec = SweepProgress(service, self.sweep), service.spec(self.sweep)
        with service.store.database.snapshot():
            config = next_config(spec, None, progress, seed=seed_of(self.sweep))
        service.suggested[self._agent] = config

    def forget(self, service: Service) -> None:
        """The choice is made use of, or will not be."""
        service.suggested.pop(self._agent, None)


def beat(service: Service, args: Args, access: Access = ADMIN) -> list[CommandJson]:
    """Answer one heartbeat with commands.

    Raises:
        Undecided: nothing has changed; to be asked again once that has decided.
    """
    agent_id = local_names(required(args, "id"), "Agent")[-1]
    listed = {
        run for run, alive in json_object(text(args, "runState"), name="runState").items() if alive
    }
    metrics = json_object(text(args, "metrics"), name="metrics")
    leaving = bool(metrics.get("leaving"))
    with service.store.transaction():
        agent, sweep = _known(service, agent_id)
        access.check_sweep(sweep)
        known_before, agent = agent.ours, _meet(service, agent, metrics)
        if agent.ours and not known_before:
            _relieve(service, agent, sweep)
        verdicts = _take_reports(service, agent, metrics)
        commands = _attend(service, agent, listed, leaving=leaving)
        if not (listed or commands or leaving):
            waits = bool(metrics.get("waits"))
            commands = _without_run(sweep) if waits else _hand_out(service, agent, sweep)
    return [*verdicts, *commands]


def reap(service: Service) -> None:
    """Mark runs as crashed when neither stream nor agent mentions them any more.

    Sweeps that have no further configuration finish with the last of their runs.
    """
    store, ages = service.store, service.ages
    ages.forget()
    with store.transaction():
        for run in store.live_runs():
            quiet = _quiet(service, run)
            agent_quiet = ages.since("agent", run.agent) if run.agent else quiet
            gone = run.lost and quiet > SILENT_S
            if gone or (quiet > ABANDONED_S and agent_quiet > ABANDONED_S):
                store.put(replace(run, state=_vanished(run), ended=run.heartbeat, lost=0))
                warn(
                    log, "a run is silent: nobody speaks for it", run=run.path, seconds=round(quiet)
                )
        for sweep in store.running_sweeps():
            if store.sums.is_exhausted(sweep) or _capped(service, sweep):
                _finish_if_drained(service, sweep)


def _quiet(service: Service, run: Run) -> float:
    """Seconds since the run's stream was heard, or the run was handed out."""
    ages = service.ages
    return min(ages.since("heard", run.path), ages.since("issued", run.path))


def _known(service: Service, agent_id: str) -> tuple[Agent, Sweep]:
    agent = service.store.agent(agent_id)
    if agent is None:
        raise Refused(404, f"agent {agent_id} not found")
    sweep = service.store.sweep(agent.entity, agent.project, agent.sweep)
    if sweep is None:
        raise Refused(404, f"sweep {agent.sweep} not found")
    return agent, sweep


def _meet(service: Service, agent: Agent, metrics: Mapping[str, Any]) -> Agent:
    """The agent as it reports; what is stored of its time may be a little late."""
    service.ages.note("agent", agent.id)
    met, name, gpu = agent, metrics.get("agent"), metrics.get("gpu")
    if isinstance(name, str):
        met = replace(met, ours=1, host=name)
    if isinstance(gpu, dict):
        met = replace(met, gpu=dumps(gpu))
    now = service.clock()
    if met != agent or abs(now - agent.heartbeat) > STORED_EVERY_S:
        met = replace(met, heartbeat=now)
        service.store.put(met)
    return met


def _relieve(service: Service, agent: Agent, sweep: Sweep) -> None:
    """A container that comes back is a new agent of the same name: the old one's runs go back.

    There is one container of a name, and its processes went with it.
    """
    for other in service.store.agents(sweep, host=agent.host):
        if other.ours and other.id != agent.id:
            for run in service.store.live_runs_of_agent(other.id):
                service.store.put(_returned(run, service.clock()))


def _returned(run: Run, now: float) -> Run:
    if run.stop is not None or run.attempts >= MOST_ATTEMPTS:
        return replace(run, lost=1)
    return replace(run, state="preempted", ended=now, lost=0)


def _take_reports(service: Service, agent: Agent, metrics: Mapping[str, Any]) -> list[CommandJson]:
    """Note how the agent's processes ended; tells it what their runs are now, for its counts."""
    verdicts: list[CommandJson] = []
    ended = metrics.get("ended")
    for raw in ended if isinstance(ended, list) else []:
        report = EndReport.read(raw)
        run = report and service.store.run(agent.entity, agent.project, report.run)
        if report and run and run.agent == agent.id:
            run = hear_agent(run, report, service.clock())
            service.store.put(run)
            state = run.state if run.state in OVER else "preempted"
            verdicts.append({"type": "ended", "run_id": run.id, "state": state})
    return verdicts


def _vanished(run: Run) -> RunState:
    """Nobody says how it ended."""
    return "killed" if run.stop else "crashed"


def _attend(
    service: Service, agent: Agent, listed: set[str], *, leaving: bool
) -> list[CommandJson]:
    """Note what became of the agent's runs; the commands that concern them."""
    commands: list[CommandJson] = []
    now = service.clock()
    for run in service.store.live_runs_of_agent(agent.id):
        if run.id in listed:
            service.store.put(replace(run, seen=1, lost=0))
            if run.stop and service.ages.since("stop", run.path) > STOP_BACKUP_S:
                commands.append({"type": "stop", "run_id": run.id})
        elif _may_be_unheard(service, run, agent):
            if leaving:  # somebody else's, then
                service.store.put(replace(run, state="preempted", ended=now))
            else:
                commands.append(_start(service, run))
        else:
            silent = _quiet(service, run) > SILENT_S
            if run.state == "pending" or silent:  # it went without a word
                service.store.put(replace(run, state=_vanished(run), ended=now, lost=0, seen=1))
            else:
                service.store.put(replace(run, seen=1, lost=1))
    return commands


def _may_be_unheard(service: Service, run: Run, agent: Agent) -> bool:
    """Was the reply with this run perhaps lost, on the way or with the server's own end?"""
    if run.state != "pending" or run.seen or run.stop:
        return False
    ages, path = service.ages, run.path
    return (
        bool(agent.ours) or not ages.knows("issued", path) or ages.since("issued", path) < RETRY_S
    )


def _hand_out(service: Service, agent: Agent, sweep: Sweep) -> list[CommandJson]:
    """A run for an idle agent: one that was preempted, else a new one, else the end."""
    store = service.store
    if sweep.state != "RUNNING":
        return _without_run(sweep)
    again = _requeued(service, agent, sweep)
    if again:
        return [_start(service, again)]
    config = _next_config(service, agent, sweep)
    if config is None:
        store.sums.set_exhausted(sweep, exhausted=True)
        _finish_if_drained(service, sweep)
        return [{"type": "exit"}]
    run = _new_run(service, agent, sweep, config)
    store.put(run)
    service.ages.note("issued", run.path)
    return [_start(service, run)]


def _next_config(service: Service, agent: Agent, sweep: Sweep) -> Mapping[str, object] | None:
    spec, suggested = service.spec(sweep), service.suggested
    if spec.method == "bayes":
        if agent.id not in suggested:
            raise Undecided(sweep, agent.id)
        return suggested[agent.id]
    progress = SweepProgress(service, sweep)
    return next_config(spec, service.grid(sweep), progress, seed=seed_of(sweep))


def _without_run(sweep: Sweep) -> list[CommandJson]:
    return [] if sweep.state in ("RUNNING", "PAUSED") else [{"type": "exit"}]


def _requeued(service: Service, agent: Agent, sweep: Sweep) -> Run | None:
    """The run that was preempted first, given to this agent."""
    first = service.store.first_preempted(sweep)
    if first is None:
        return None
    run = replace(
        begin_anew(first),
        state="pending",
        agent=agent.id,
        issued=service.clock(),
        attempts=first.attempts + 1,
        seen=0,
    )
    service.store.put(run)
    service.ages.note("issued", run.path)
    return run


def _new_run(service: Service, agent: Agent, sweep: Sweep, config: Mapping[str, object]) -> Run:
    run_id = new_id()
    while service.store.run(sweep.entity, sweep.project, run_id):
        run_id = new_id()
    wire = {key: {"value": value} for key, value in config.items()}
    blank = blank_run(sweep.entity, sweep.project, run_id, service.clock())
    run = replace(
        blank,
        sweep=sweep.id,
        agent=agent.id,
        state="pending",
        config=dumps(wire),
        suggested=dumps(config),
        issued=blank.created,
    )
    return place_anew(service, None, run)


def _start(service: Service, run: Run) -> CommandJson:
    sweep = service.store.sweep(run.entity, run.project, run.sweep or "")
    program = service.spec(sweep).program if sweep else None
    chosen: dict[str, Any] = json.loads(run.suggested or "{}")
    return {
        "type": "resume" if run.attempts > 1 else "run",
        "run_id": run.id,
        "program": program,
        "args": {key: {"value": value} for key, value in chosen.items()},
        "logs": [],
    }


def _capped(service: Service, sweep: Sweep) -> bool:
    try:
        cap = service.spec(sweep).run_cap
    except Refused:  # an older version took its file; the others are looked after all the same
        return False
    return cap is not None and service.store.sums.count_runs(sweep) >= cap


def _finish_if_drained(service: Service, sweep: Sweep) -> None:
    """There is no further config: the sweep ends with its last run."""
    if not service.store.sums.is_under_way(sweep):
        service.store.put(replace(sweep, state="FINISHED", updated=service.clock()))
