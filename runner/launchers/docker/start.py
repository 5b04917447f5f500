"""Start and replace agents: carry out planned actions, one container each."""

import os
import threading
from contextlib import suppress
from dataclasses import dataclass, field, replace
from pathlib import Path

from runner.agent.contract import labels, limits
from runner.agent.contract.labels import container_name, short_id
from runner.agent.lease import make_lease
from runner.agent.refusals import RefusedError
from runner.console.narration import Report
from runner.disk.own_files import write_atomic
from runner.engine.client import Engine
from runner.engine.errors import EngineError, GpuAccessError, NameTaken
from runner.engine.target import read_access, remember_access
from runner.engine.types import Container, ContainerSpec, GpuAccess
from runner.errors import ExitCode, RunnerError
from runner.fleet.agents import Agent
from runner.fleet.carry_out import Result
from runner.fleet.exchange import asked_to_leave, find_copied_sweep, prepare_copy, prepare_exchange
from runner.fleet.plan import Action
from runner.fleet.selection import Slot
from runner.gpus.leases import LEASES
from runner.guard.walk import make_folders
from runner.launchers.docker.container_spec import Folders, Host, Launch, make_spec
from runner.launchers.docker.mounts import make_mount_points
from runner.launchers.docker.observe import read_agent
from runner.launchers.docker.relaxed import relax
from runner.state.folder import State

POLL_S = 0.5
LEAVING_POLLS = 30  # time for an agent without a run to end by itself: seconds


@dataclass(frozen=True, slots=True)
class Starter:
    """Everything to start the agents of one `up` with."""

    engine: Engine
    state: State
    launch: Launch
    host: Host
    key: str
    code: Path  # the folder with the agent's code
    access: GpuAccess | None  # None: try each way until one works
    report: Report
    interrupt: bool = False  # do not wait for runs of agents that are replaced
    cancelled: threading.Event = field(default_factory=threading.Event)

    def apply(self, action: Action) -> Result:
        """Carry out one action; an expected failure becomes its outcome."""
        try:
            detail = self._apply(action)
        except NameTaken as error:
            refused = replace(action, do="refuse", cause="another command was faster")
            return Result(refused, "failed", error)
        except RunnerError as error:
            return Result(action, "failed", error)
        return Result(action, "done", None, detail)

    def _apply(self, action: Action) -> str:
        if action.slot is None or action.do not in ("start", "replace"):
            return ""
        if action.do == "replace" and action.old is not None:
            self._check_points(action.agent)
            self._end(action.old)
        folders = prepare_folders(self.state, self.launch, action.agent, self.key, self.code)
        if not action.slot.is_cpu:
            prepare_lease(action.slot.uuid)
        if action.old is not None:  # otherwise the name was free when the plan was made
            rename_ended(self.engine, action.agent)
        way = self._start(action.slot, folders)
        return f"by {way}" if way else ""

    def _check_points(self, agent: str) -> None:
        """Refuse a link in place of a mount point before a run is ended for it."""
        options = self.launch.options
        if options.live or find_copied_sweep(self.state, agent) == self.launch.sweep.id:
            make_mount_points(options.mounts, self.state, agent, live=options.live)

    def _start(self, slot: Slot, folders: Folders) -> GpuAccess | None:
        if slot.is_cpu:
            spec = self._make_spec(slot, folders, None)
            self.engine.launch(spec)
            return None
        failures = []
        for way in find_ways(self.engine, self.state, self.access, slot.uuid):
            spec = self._make_spec(slot, folders, way)
            try:
                self.engine.launch(spec)
            except GpuAccessError as error:
                failures.append(error)
            else:
                remember_access(self.state, way)
                return way
        raise failures[0]

    def _make_spec(self, slot: Slot, folders: Folders, way: GpuAccess | None) -> ContainerSpec:
        spec = make_spec(self.launch, slot, folders, self.host, way)
        return relax(spec) if self.launch.options.relaxed else spec

    def _end(self, old: Agent) -> None:
        """Stop an agent: wait for its run, or interrupt it."""
        if old.engine_state == "created":
            # where the start of a command that was killed is still under way, it runs by now
            with suppress(EngineError):
                self.engine.remove(old.container)
                return
        if not self.interrupt and old.running_run:
            self._wait_for_run(old)
        grace_s = self.launch.options.grace_s + limits.STOP_MARGIN_S
        self.engine.stop(old.container, grace_s=grace_s)

    def _wait_for_run(self, agent: Agent) -> None:
        """Ask the agent to end after its run, and wait for that."""
        with asked_to_leave(self.state, agent):
            # it may have begun the next run since the plan was made
            run = (self._look_at(agent) or agent).running_run or agent.running_run
            self.report(f"{agent.name}: waits for run {run} to end (`--now` interrupts it)")
            found, left = self._look_at(agent), LEAVING_POLLS
            while found and found.alive and found.running_run in (run, None) and left:
                if self.cancelled.wait(POLL_S):
                    raise RunnerError(f"interrupted: run {run} continues")
                left = LEAVING_POLLS if found.running_run else left - 1
                found = self._look_at(agent)

    def _look_at(self, agent: Agent) -> Agent | None:
        container = self.engine.find(agent.container)
        return read_agent(container, self.state) if container else None


def find_ways(engine: Engine, state: State, access: GpuAccess | None, uuid: str) -> list[GpuAccess]:
    """The ways to give a container this GPU: `access`, else all, first the one that last worked."""
    if access:
        return [access]
    worked, ways = read_access(state), engine.info().access_ways(uuid)
    return sorted(ways, key=lambda way: way != worked)


def prepare_folders(state: State, launch: Launch, agent: str, key: str, code: Path) -> Folders:
    """Make all mounted folders, the copy of the key, and a working copy for this sweep.

    Args:
        state: the state folder of the fleet.
        launch: what all agents of this call share.
        agent: name of the agent.
        key: of the server, for the agent's copy.
        code: the folder with the agent's code.

    Raises:
        RunnerError: something else is in the place of one of them.
    """
    live = launch.options.live
    folders = Folders(state, agent, code, live)
    for shared in (state.runs, state.checkpoints, folders.cache):
        make_folders(state.root, *shared.relative_to(state.root).parts)
    prepare_exchange(state, agent)
    if live is None:
        prepare_copy(state, agent, launch.sweep.id)
    make_mount_points(launch.options.mounts, state, agent, live=live)
    make_folders(state.root, "secrets", "agents", mode=0o700)
    write_atomic(folders.key, key, mode=0o400)
    return folders


def prepare_lease(uuid: str) -> None:
    """Make the lease file of a GPU, for mounting.

    Raises:
        RunnerError: the folder of the leases belongs to another user, or is not a folder.
    """
    try:
        make_lease(LEASES, uuid)
    except RefusedError as error:
        raise RunnerError(error.reason, hint=error.hint, code=ExitCode.UNFIT) from error


def rename_ended(engine: Engine, agent: str) -> None:
    """Rename the ended container of this name, of any fleet; it keeps its log and reason.

    Raises:
        NameTaken: it is alive: another command started it.
    """
    name = container_name(agent)
    found = engine.find(name)
    if found is None or found.name != name:
        return
    if main := found.labels.get(labels.KEEPS_FOR):
        _clear_placeholder(engine, found, main)
        return
    if found.alive:
        raise NameTaken(f"`{name}` runs already: another command was faster", hint="`runner ps`")
    try:
        engine.rename(found.id, f"{name}-{short_id(found.id)}")
    except EngineError:
        left = engine.find(found.id)
        if left is not None and left.name == name:
            raise  # otherwise another `up` renamed it; the start reports a taken name


def _clear_placeholder(engine: Engine, found: Container, main: str) -> None:
    """Remove a placeholder whose command has ended."""
    keeps_for = engine.find(main)
    if keeps_for is not None and keeps_for.alive:
        who = keeps_for.name.removeprefix(labels.NAME_PREFIX)
        raise NameTaken(f"`{who}` has this GPU: another command was faster", hint="`runner ps`")
    engine.remove(found.id)


def make_host(engine: Engine, agents: int) -> Host:
    """The share of each of `agents` agents in the engine's machine."""
    info = engine.info()
    user = info.user(os.getuid(), os.getgid())
    return Host(user, info.cpus, info.memory_bytes, max(1, agents))
